/*
 * gc and compact of one dataset, by whoever owns the output: a command, or the daemon on its background thread.
 *
 *	u = upkeep_new(&order);
 *	while ((r = upkeep_run(u, &place, err)) == UPKEEP_GOES_ON)
 *		...                            others have their turn: they may open, seal, change jobs
 *	result = upkeep_result(u);             numbers for scripts (docs/API.md)
 *	upkeep_text(&out, "photos", result)    lines for people, from these
 *	upkeep_free(u);
 *
 * Whatever step a crash leaves it at, replaced_settle() completes or undoes it. A dry run changes nothing, and needs neither lock nor
 * owner.
 */
#ifndef LATENTD_DAEMON_UPKEEP_H
#define LATENTD_DAEMON_UPKEEP_H

#include "queue/queue.h"

#include "base/buffer.h"

struct json_t;
struct dataset_store_use;

enum upkeep_kind {
	UPKEEP_GC, /* dead samples leave their shards, shards that were replaced long ago are removed */
	UPKEEP_COMPACT, /* small shards are merged, captions that a person gave come into theirs */
};

struct upkeep_order {
	enum upkeep_kind kind;
	bool dry_run;
	size_t grace_hours;		   /* gc: replaced shards that are younger stay */
	size_t shard_samples, shard_bytes; /* compact: of a full shard */
};

/* Where it is done; another one each time, of the same dataset. */
struct upkeep_place {
	struct queue *queue;
	const struct queue_dataset *dataset;
	const char *root;		     /* OUT */
	const struct dataset_store_use *use; /* of the store; a dry run only reads */
	bool
	    shared; /* nodes share it, and work meanwhile: the caller has its turn (queue_nodes.h) */
	int64_t now; /* with shared: by the database's clock, ms */
	bool busy;   /* others work here: what is in the store alone may be theirs */
	/* It is to end soon, between two shards; and others wait, so that it goes on later. NULL: never. */
	bool (*stop)(void *arg);
	bool (*waited_for)(void *arg);
	/* One line for a person about what could not be done, or was found. */
	void (*note)(void *arg, const char *line);
	void *arg;
};

/* "gc", "compact" */
const char *upkeep_name(enum upkeep_kind kind);

struct upkeep;

struct upkeep *upkeep_new(const struct upkeep_order *order);
/* NULL is fine. */
void upkeep_free(struct upkeep *u);
const struct upkeep_order *upkeep_order(const struct upkeep *u);

#define UPKEEP_GOES_ON                                                                             \
	1 /* something was done, more is left: place->stop or place->waited_for said so */
#define UPKEEP_NOTHING 2 /* the dataset has no folder yet */

int upkeep_run(struct upkeep *u, const struct upkeep_place *place, struct error *err);
/* The caller has the reference. */
struct json_t *upkeep_result(const struct upkeep *u);
void upkeep_text(struct buffer *out, const char *dataset, const struct json_t *result);

#endif
