/*
 * What people may ask about the running daemon, as one picture of one moment.
 *
 *	the loop:       s = service_status_new(n_datasets, n_encoders);
 *	                s->version = xstrdup(LATENTD_VERSION); ...       fills it in
 *	                status_board_publish(board, s);                  which takes it over
 *	any thread:     const struct service_status *now = status_board_get(board);    NULL: none yet
 *	                ...
 *	                service_status_unref(now);
 *
 * A picture does not change once it is published, so readers look at it without a lock for as long as they
 * hold it, and publishing never waits for them. The loop publishes when something has changed, and at least once
 * a second. Getting one costs the same with ten datasets and with ten million samples.
 *
 * Strings belong to the picture (malloc) and may be NULL wherever there is nothing to say; they are bytes, as
 * paths are. Times are wall-clock milliseconds, 0: never. What is not known is -1.
 */
#ifndef LATENTD_DAEMON_SERVICE_STATUS_H
#define LATENTD_DAEMON_SERVICE_STATUS_H

#include "config/fetch_options.h"
#include "config/source_options.h"
#include "daemon/bottleneck.h"
#include "daemon/eta.h"
#include "queue/queue.h"

#include <stdbool.h>
#include <stdint.h>

/* The names that people see stand in service_status.c, in this order. */
enum service_state {
	SERVICE_STARTING, /* models, recovery */
	SERVICE_RUNNING,
	SERVICE_DRAINING, /* takes no new files; ends when everything is encoded and sealed */
	SERVICE_STOPPING,
};

enum dataset_state {
	DATASET_STARTING, /* its model is loaded, its spool recovered */
	DATASET_SCANNING, /* the first look at its folders; images that were found are worked on already */
	DATASET_RUNNING,
	DATASET_IDLE,	 /* nothing to do: everything that was found is done */
	DATASET_PAUSED,	 /* by a command, or outside its hours */
	DATASET_BLOCKED, /* it cannot go on by itself before something changes: `why` says what */
};

enum watch_mode {
	WATCH_OFF,
	WATCH_INOTIFY,
	WATCH_POLLING, /* rescans every now and then: a network file system, or too many folders */
};

enum encoder_state {
	ENCODER_STARTING,
	ENCODER_IDLE,
	ENCODER_BUSY,
	ENCODER_PAUSED,	 /* by a command, by its cost guard, or outside its hours */
	ENCODER_FAILED,	 /* `why` says how */
	ENCODER_WAITING, /* none of its endpoints can encode; they are tried again */
};

const char *service_state_name(enum service_state state);
const char *dataset_state_name(enum dataset_state state);
const char *watch_mode_name(enum watch_mode mode);
const char *encoder_state_name(enum encoder_state state);

struct service_scan {
	int64_t began_at; /* the last one that ended */
	int64_t duration_ms;
	uint64_t files;
	bool running;		/* another one is under way */
	uint64_t running_files; /* that it has met until now */
};

struct service_watch {
	enum watch_mode mode;
	uint64_t folders; /* watched */
	char *note;	  /* what people should know: the limit that was met, with its sysctl */
};

struct service_dataset {
	char *name;
	char *output;	    /* its folder: OUT/NAME */
	char *state_folder; /* whose queue has its jobs */
	int64_t queue_id;   /* its number there; 0: not opened yet */
	char *recipe_id;
	char *vae; /* as configured */
	struct service_source {
		char *path; /* as configured */
		struct fetch_options fetch;
		char *cache; /* its folder */
		enum followed_symlinks symlinks;
	} * sources;
	size_t n_sources;
	enum dataset_state state;
	char *why;
	int64_t
	    retry_at; /* what failed is tried again then, or its hours begin; 0: not by itself */
	int priority; /* larger goes first */
	struct queue_counts counts;
	bool counting;			   /* they are older than what was done last */
	double images_per_second;	   /* over the last minute */
	struct eta_range eta;		   /* until nothing is left to do; all -1: not known */
	uint64_t encoded, failed, skipped; /* since the daemon began */
	struct service_scan scan;
	struct service_watch watch;
	char *last_shard; /* path below the dataset's folder */
	int64_t last_shard_at;
	uint64_t shard_bytes_written; /* since the daemon began */
	uint64_t deletions;	      /* samples of vanished files that wait for accept-deletions */
};

/* Of a remote encoder. */
struct service_endpoint {
	char *url;		   /* without secrets */
	char *model;		   /* short name of the VAE that it is used for */
	const char *state;	   /* encoder_remote_state_name() */
	char *why;		   /* the last failure; NULL: none, or it is over */
	int64_t wait_ms;	   /* until it is tried again */
	uint64_t in_flight, limit; /* requests; the limit moves with what it bears */
	double latency_ms;	   /* 0: not known */
	double busy; /* share of what it bears, over the last seconds, 0 to 1; -1: not known yet */
	double images_per_second; /* over the last minute; -1: not known yet */
	uint64_t requests, failures, images, sent, received; /* since the model was loaded; bytes */
};

struct service_encoder {
	char *name, *type; /* "cpu" */
	char *engine;	   /* as in the records: "cpu/winograd-0.1.0-avx2 float32" */
	enum encoder_state state;
	char *why;
	bool ready;	    /* it has a model in memory */
	bool paused;	    /* by a command; what it has it finishes */
	double busy;	    /* share of the last seconds, 0 to 1; -1: not known yet */
	uint64_t busy_ns;   /* since the daemon began, of one that is on this machine */
	uint64_t in_flight; /* batches */
	uint64_t images;    /* in them */
	double batch;	    /* images in one of its last batches, on average; 0: none yet */
	uint64_t images_done, images_failed; /* since the daemon began */
	double images_per_second;	     /* over the last minute */
	uint64_t memory_used, memory_limit;  /* bytes on its device; 0: not known */
	struct service_endpoint *endpoints;
	size_t n_endpoints;
};

/* A disk that state or outputs lie on. */
struct service_disk_view {
	char *path; /* of a folder there */
	uint64_t free, total;
	uint64_t usable; /* until nothing new is begun */
	uint64_t needed; /* for what is left to do, as far as shards tell */
	int64_t
	    full_in_s; /* at the speed of the last minute; -1: not known, or nothing is written */
};

enum serve_state {
	SERVE_STARTING, /* its model is loaded, or its encoders are outside their hours: `why` */
	SERVE_READY,
	SERVE_FAILED, /* it could not be; tried again */
	SERVE_STOPPING,
};

const char *serve_state_name(enum serve_state state);

/* The server for others, `serve:` of the configuration. */
struct service_serve {
	char *url;   /* NULL: nothing is served; then nothing else counts */
	char *model; /* NULL: not known yet */
	enum serve_state state;
	char *why;			 /* it failed */
	uint64_t connections, in_flight; /* clients; requests to encode */
	uint64_t requests,
	    refused;		  /* to encode, answered since the daemon began; without a latent */
	uint64_t images_done;	  /* since the daemon began */
	double images_per_second; /* over the last minute */
};

/* The server that is told, `webhook:` of the configuration. */
struct service_webhook {
	char *server;		      /* NULL: nobody is told; then nothing else counts */
	uint64_t waiting, sent, lost; /* messages */
	char *why;		      /* the last try failed */
};

/* This machine among those that share the queue. */
struct service_node {
	char *name;		  /* NULL: the queue is its own; then nothing else counts */
	bool drains;		  /* somebody asked it to: `latentctl nodes --drain` */
	uint64_t encoded;	  /* images, since the daemon began */
	double images_per_second; /* over the last minute */
	char *why; /* it is not told of images that others find; NULL: it is, or asks by plan */
};

struct service_status {
	int64_t taken_at;
	char *version;
	int64_t pid;
	int64_t started_at;
	enum service_state state;
	char *state_dir, *config, *socket; /* paths */
	char *intake_paused; /* why nothing new is begun in any dataset: a full disk */
	uint64_t memory_used, memory_limit; /* bytes of pixels and latents in flight */
	uint64_t decode_busy, decode_workers;
	char *decode_warning; /* decode_pool_warning() */
	int64_t reloaded_at;  /* the last reload, good or bad */
	char *reload_error;   /* why it left the old settings in force; NULL: it did not */
	struct stage_view stages[STAGES];
	struct stage_sums stage_sums[STAGES];
	enum work_stage limit_stage;
	char *limit; /* why it is as fast as it is; NULL: nothing to do, or not known yet */
	struct service_disk_view *disks;
	size_t n_disks;
	struct service_dataset *datasets; /* in the order of the config file */
	size_t n_datasets;
	struct service_encoder *encoders;
	size_t n_encoders;
	struct service_serve serve;
	struct service_webhook webhook;
	struct service_node node;
	unsigned refs; /* private to service_status.c */
};

/* All zero, but for what is not known. */
struct service_status *service_status_new(size_t n_datasets, size_t n_encoders);
/* NULL is fine. */
void service_status_unref(const struct service_status *s);
/* The dataset of that name; NULL: there is none. */
const struct service_dataset *service_status_dataset(const struct service_status *s,
						     const char *name);

struct status_board;

struct status_board *status_board_new(void);
/* What readers still hold stays valid. NULL is fine. */
void status_board_free(struct status_board *board);
void status_board_publish(struct status_board *board, struct service_status *status);
const struct service_status *status_board_get(struct status_board *board);
/* Since the last one was published, on a clock that nobody sets; -1: none was. */
int64_t status_board_age_ms(struct status_board *board);

static inline void service_status_unref_p(const struct service_status **s)
{
	service_status_unref(*s);
}

#define cleanup_status cleanup_with(service_status_unref_p)

#endif
