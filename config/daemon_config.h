/*
 * The configuration of latentd: a YAML file as plain structs. docs/CONFIG.md and config/latentd.example.yaml, both
 * made from the tables in daemon_settings.c, say what each setting means; this header says what a program can rely on.
 *
 *	struct daemon_config *config = NULL;
 *	daemon_config_load(path, &config, err)              the file, and everything it refers to, is good
 *	for (i < config->n_datasets) ... config->datasets[i]
 *	daemon_config_free(config);
 *
 * On reload (the old configuration stays in force until the new one is known to be good):
 *
 *	daemon_config_load(path, &wanted, err)
 *	daemon_config_merge(wanted, config, &changes, err)  what changed, setting by setting
 *	for (i < changes.n) if (!changes.items[i].reloadable) ... name it, it waits for a restart ...
 *	... apply what `wanted` says now; it is in force, the old one is freed ...
 *
 * All strings belong to the struct daemon_config and live as long as it. Every path is absolute: a relative one in
 * the file is relative to the folder of the file. Durations are milliseconds.
 */
#ifndef LATENTD_CONFIG_DAEMON_CONFIG_H
#define LATENTD_CONFIG_DAEMON_CONFIG_H

#include "config/api_config.h"
#include "config/cuda_options.h"
#include "config/dataset_options.h"
#include "config/encoder_limits.h"
#include "config/fetch_options.h"
#include "config/output_options.h"
#include "config/queue_options.h"
#include "config/recipe_options.h"
#include "config/remote_options.h"
#include "config/serve_options.h"
#include "config/source_options.h"
#include "config/store_options.h"
#include "config/webhook_options.h"

/* Where a service has it. */
#define DAEMON_CONFIG_DEFAULT "/etc/latentd/latentd.yaml"

enum source_watch {
	SOURCE_WATCH_AUTO, /* inotify where the file system tells of changes, polling elsewhere */
	SOURCE_WATCH_INOTIFY,
	SOURCE_WATCH_POLL, /* a rescan every `rescan` */
	SOURCE_WATCH_OFF,  /* scanned at the start and when asked for */
};

struct source_config {
	const char *path;
	bool recursive;
	enum source_watch watch;
	uint64_t
	    rescan; /* ms between two scans of everything; 0: 5 minutes polling, a day watching */
	struct source_options options;
	struct fetch_options fetch;
	struct config_place place;
};

struct dataset_config {
	const char *name; /* unique; also of its folder in the output */
	struct source_config *sources;
	size_t n_sources; /* at least one; none lies in another or in an output */
	struct {
		const char *path; /* shards go to PATH/NAME/train/WxH; datasets may share it */
		struct output_options options;
		struct store_options store;
		size_t quota; /* bytes of its latents: nothing new is begun with so much; 0: none */
	} output;
	bool captions;	      /* the .txt beside an image becomes part of its sample */
	bool require_caption; /* an image waits until it has one */
	const char *masks;    /* masks_where() */
	enum on_duplicate duplicates;
	enum on_delete on_delete;
	int priority;		     /* higher first; equal: in turn */
	bool paused;		     /* from the start, until `latentctl resume` */
	const char *hours;	     /* day_hours_parse(): when it is encoded; NULL: always */
	size_t max_requests_per_day; /* images, variants counted, that endpoints encode; 0: any */
	const char *part;	     /* "2/3" (dataset_part_parse); NULL: all */
	uint64_t seal_age; /* ms after which what has been encoded is sealed, full shard or not */
	struct recipe_options recipe;
	struct config_place place; /* of its item in the list */
};

enum encoder_type { ENCODER_TYPE_CPU, ENCODER_TYPE_FAKE, ENCODER_TYPE_REMOTE, ENCODER_TYPE_CUDA };

/* "cpu", "fake", "remote", "cuda" */
const char *encoder_type_name(enum encoder_type type);

/* Of the parts below `type`, only that of its own type is set. */
struct encoder_config {
	enum encoder_type type;
	const char *name; /* unique; made from the type where the file gives none: "cpu", "cpu-2" */
	const char *hours; /* day_hours_parse(): when it encodes; NULL: always */
	struct encoder_limits cpu;
	struct cuda_limits cuda;
	struct remote_config remote;
	struct config_place place;
};

/* Whether both are opened as the same. Hours, what they may spend and endpoints do not count: they change in place. */
bool encoder_config_same(const struct encoder_config *a, const struct encoder_config *b);
bool encoder_endpoints_same(const struct encoder_config *a, const struct encoder_config *b);

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* NULL behind the last; the same words in files and on command lines. */
extern const char *const log_levels[];

enum log_format {
	LOG_FORMAT_AUTO, /* the journal, where standard error leads there; else as text */
	LOG_FORMAT_TEXT,
	LOG_FORMAT_FIELDS, /* key=value */
};

struct daemon_config {
	const char *file; /* its absolute path */
	const char *state_dir;
	struct queue_options queue;
	size_t memory_limit; /* bytes of pixels and latents in flight */
	uint64_t model_idle; /* ms that an unused model stays in memory */
	enum log_level log_level;
	enum log_format log_format;
	struct {
		size_t workers; /* 0: all cores less what the encoders use */
	} decode;
	struct api_config api;
	struct serve_options serve; /* listen NULL: nothing is served */
	struct webhook_options webhook;
	struct dataset_config *datasets;
	size_t n_datasets; /* may be 0 */
	struct encoder_config *encoders;
	size_t n_encoders;	      /* at least one */
	struct config_memory *memory; /* what the strings and lists lie in */
};

/*
 * Reads and checks a file completely, without changing anything: its syntax, every setting, whether the settings go
 * together, and whether the folders, models and the group that it names are there (their contents are not read).
 *
 * ERR_CONFIG: "FILE:LINE:COLUMN: what was found, what was expected"; also where the file cannot be read as text. ERR_IO:
 * the file cannot be read at all. *config is untouched then.
 */
int daemon_config_load(const char *path, struct daemon_config **config, struct error *err);
/* NULL is accepted. */
void daemon_config_free(struct daemon_config *config);

/*
 * The same checks except for those of the file system: @text as if it stood in a file of that name.
 */
int daemon_config_parse(const char *file, const void *text, size_t size,
			struct daemon_config **config, struct error *err);

/* One setting that differs; as text, as the file would say it. */
struct config_change {
	char
	    *setting; /* "memory_limit", "datasets.photos.priority"; "datasets.photos": all of it */
	char *dataset;	 /* that it belongs to; NULL: none */
	char *was, *now; /* NULL: not there; of a whole item: its name */
	bool reloadable; /* it can change while the daemon runs */
};

struct config_changes {
	struct config_change *items;
	size_t n, capacity;
};

#define CONFIG_CHANGES_INIT                                                                        \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

/*
 * What @wanted says otherwise than @in_force: datasets and encoders by name, sources by path, in whatever order.
 * Places in the file do not count. @changes is empty before.
 *
 * Whatever is not reloadable is put back in @wanted, which then is what can be in force without a restart, and refers
 * to nothing in @in_force. What is put back may not go with what is new (folders that lie in each other): ERR_CONFIG
 * then, and @wanted is only good to be freed.
 */
int daemon_config_merge(struct daemon_config *wanted, const struct daemon_config *in_force,
			struct config_changes *changes, struct error *err);
void config_changes_release(struct config_changes *changes);

#endif
