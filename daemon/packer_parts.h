/*
 * What the packer's parts share; nobody else includes it.
 *
 *	packer.c          opening and closing, and what others want to know
 *	packer_append.c   images become records of the spool
 *	packer_sync.c     records become durable
 *	packer_places.c   where stored records lie
 *	packer_seal.c     when a shard is made, and how
 */
#ifndef LATENTD_DAEMON_PACKER_PARTS_H
#define LATENTD_DAEMON_PACKER_PARTS_H

#include "daemon/id_table.h"
#include "daemon/packer.h"
#include "daemon/record_mask.h"
#include "daemon/spool_index.h"

#include <stdatomic.h>

/* A record in the spool whose job is not yet marked. */
struct unsynced {
	struct spooled entry;
	struct packed what;
};

struct packer {
	sd_event_source *timer;
	struct executor *executor;
	struct executor *uploads; /* NULL: shards are published where they are made */
	struct packer_options options;
	struct spool_index index;
	struct id_table places;	   /* by job: struct spool_place of all that is in the spool */
	struct unsynced *unsynced; /* appended, no sync asked for yet */
	size_t n_unsynced, unsynced_capacity;
	/* Shards on their way from the spool into the catalog, at most so many; their records. */
	size_t sealing, sealing_max, being_sealed;
	uint64_t sealing_bytes;
	size_t pending;			     /* images appended and not yet encoded or rejected */
	size_t backlog_tasks, backlog_bytes; /* append tasks that have not come back */
	size_t backlog_files;		     /* that their images have open */
	uint64_t spool_bytes;		     /* on disk, when it was last asked */
	uint64_t
	    spool_foreign; /* of that, what was there before this run and is not ours to seal */
	struct mask_reader mask_reader; /* of its thread */
	atomic_uint_fast64_t steps;	/* that its threads have done */
	atomic_bool gives_up;		/* no shard is published any more */
	size_t under_way;		/* tasks and database commands that will come back */
	/* append tasks so far: posted, come back, and those whose images are all encoded or rejected */
	uint64_t posted_tasks, append_tasks, settled_tasks;
	int64_t flush_at;     /* what was appended until then is to be sealed; monotonic */
	uint64_t flush_tasks; /* when so many are settled */
	bool syncing, making /* of the shards one is not made yet */, held, flushing, draining,
	    drain_seals, failed;
};

/* -- packer.c --------------------------------------------------------------------------------------- */

/* Does whatever can be done now. */
void packer_pump(struct packer *p);
void packer_fail(struct packer *p, const struct error *why);
/* To the packer's thread; its `done` takes it from p->under_way. */
void packer_post(struct packer *p, struct task *t);
/* Likewise, to the thread that publishes. */
void packer_post_upload(struct packer *p, struct task *t);

/* -- packer_places.c -------------------------------------------------------------------------------- */

/* The record of @job is in the spool; the last one counts: of a changed file there may be an older one. */
void packer_note_place(struct packer *p, int64_t job, const struct spool_place *place);
/* Not any more. */
void packer_forget_place(struct packer *p, int64_t job, const struct spool_place *place);

void packer_forget_places(struct packer *p);
/* Of a dataset whose records can be copied; NULL: it is none. */
struct store *packer_store_of(const struct packer *p, int64_t dataset);

/* -- packer_seal.c ---------------------------------------------------------------------------------- */

/* Begins a shard if there is reason to. */
void packer_seal(struct packer *p);
/* Images of a full shard. */
size_t packer_shard_images(const struct packer *p);

#endif
