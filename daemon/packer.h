/*
 * The durable half of a run: encoded images become spooled records, spooled records become shards. It
 * keeps the order of durability (docs/FORMAT.md):
 *
 *	record appended to the spool -> fdatasync, at most each second -> jobs `encoded`
 *	enough records of one group -> sealed shard, verified, visible -> one transaction: shard, samples, jobs
 *	`completed` -> records dropped from the spool
 *
 *	packer_open(event, inbox, &options, &packer, err)
 *	packer_restore(packer, &entry)        records that an earlier run left in the spool
 *	packer_append(packer, finished, n)    takes ownership of the array and what is in it
 *	packer_flush(packer)                  seals what was appended until now, however little
 *	packer_hold(packer, true)             seals nothing while somebody else changes shards
 *	packer_drain(packer, seal)            at the end: sync everything and, if asked, seal everything
 *	packer_idle(packer)                   nothing is under way and nothing is left to do
 *	packer_close(packer)
 */
#ifndef LATENTD_DAEMON_PACKER_H
#define LATENTD_DAEMON_PACKER_H

#include "daemon/db.h"
#include "daemon/record_build.h"
#include "daemon/stage_meter.h"
#include "daemon/variants.h"
#include "storage/seal.h"
#include "storage/spool.h"

struct packer;

/* An image that the packer was given. */
struct packed {
	int64_t job;
	uint64_t fence;
	struct hash128 content;
	bool copied; /* from a stored record */
	bool again;  /* its job had a record of another content */
};

struct packer_handlers {
	/* The job is durable in the spool and marked so. */
	void (*on_encoded)(void *arg, const struct packed *what);
	/* A record that cannot be made (ERR_DATA): the job is still running, the caller settles it. */
	void (*on_rejected)(void *arg, const struct packed *what, const char *path,
			    const struct error *why);
	/* A shard is visible and in the catalog. */
	void (*on_shard)(void *arg, const char *name, size_t samples, uint64_t bytes);
	/* Nothing more can be stored; the run must stop. */
	void (*on_fatal)(void *arg, const struct error *why);
};

/* Another dataset of the output under the same recipe: its records can be copied. */
struct packer_sibling {
	int64_t dataset;
	struct store *store;
};

struct packer_options {
	struct db *db;
	struct spool *spool;	     /* used by the packer's thread alone until close */
	struct store *store;	     /* of OUT/NAME, likewise; another thread publishes (store.h) */
	const struct recipe *recipe; /* its form is that of the shards */
	int64_t dataset;
	bool masks;			       /* each record gets one */
	bool alpha;			       /* the same, of its image's own alpha */
	const char *node;		       /* of several that share the store; NULL: one */
	const struct packer_sibling *siblings; /* must live until close */
	size_t n_siblings;
	size_t shard_samples,
	    shard_bytes; /* a group with so much is sealed; variants are not parted */
	/* bytes of sealed records that a few unsealed ones may keep on disk: beyond, those are sealed too */
	uint64_t spool_waste;
	int64_t
	    seal_age_ms; /* a record that has waited so long is sealed with its group; 0: never */
	struct stage_meter *stages; /* where its work is counted; NULL: nowhere */
	size_t backlog;		    /* bytes of latents that may wait to be appended */
	struct packer_handlers handlers;
	void *arg;
};

/* A stored record. */
struct packer_stored {
	enum content_where where; /* CONTENT_NONE: none */
	struct spool_place place;
	int64_t dataset;
	char *shard;
	struct shard_span spans[VARIANTS]; /* of each that the recipe has, in its order */
};

/* An encoded image, all of it owned; or one whose record is to be copied. */
struct finished {
	int64_t job;
	uint64_t fence, rank;
	char *key, *path, *caption, *meta;
	char *engines[RESOLUTIONS_MAX]; /* of each resolution */
	struct bucket_placement placements[RESOLUTIONS_MAX];
	struct sample_facts facts;	  /* its strings and its placement are set by the packer */
	struct ndarray latents[VARIANTS]; /* of each that the recipe has, in its order */
	bool in_float32[VARIANTS];	  /* see struct sample_facts */
	struct packer_stored
	    stored;	    /* the latent is this one's; of facts only content and captions count */
	bool again;	    /* see struct packed */
	struct buffer mask; /* the file with its mask; empty: it has none */
	bool has_file;	    /* the image itself, for its alpha: */
	int file;
};

/* A record, with its variants, that is in the spool and belongs into a shard of this dataset. */
struct spooled {
	int64_t job;
	uint64_t rank;
	uint64_t bytes;
	char group[RECORD_GROUP_SIZE];
	struct spool_place place;
	int64_t since; /* monotonic ms: when this process was given it */
};

int packer_open(sd_event *event, struct inbox *inbox, const struct packer_options *options,
		struct packer **out, struct error *err);
void packer_restore(struct packer *p, const struct spooled *entry);
void packer_append(struct packer *p, struct finished *items, size_t n);
/*
 * Where what the queue found lies, in *@stored (to be released with the finished image). False: it cannot be
 * copied from there: it is in another dataset's spool or store that is not at hand, or has just left the spool
 * (ask the queue again then).
 */
bool packer_locate(const struct packer *p, const struct content_found *found,
		   struct packer_stored *stored);
/* What is appended becomes durable now, and not within a second. */
void packer_sync(struct packer *p);
/* Images appended and not yet encoded (durable) or rejected. */
size_t packer_pending(const struct packer *p);
/* Shards that exist or existed, by name: their numbers are taken. */
void packer_note_shard(struct packer *p, const char *name);
/* So much waits to be appended, or for a store that takes shards more slowly, that nothing more should be encoded. */
bool packer_is_behind(const struct packer *p);
/* Images that wait for that: for people. */
size_t packer_waiting(const struct packer *p);
/* Images whose records are in the spool and in no shard. */
size_t packer_unsealed(const struct packer *p);
/* Their bytes. */
uint64_t packer_unsealed_bytes(const struct packer *p);
/* Seals everything that is appended now, in shards as full as it makes them; what comes later waits for others. */
void packer_flush(struct packer *p);
/*
 * While held no shard is begun; what is being sealed when the hold begins is finished: packer_sealing() tells.
 */
void packer_hold(struct packer *p, bool held);
bool packer_sealing(const struct packer *p);
void packer_drain(struct packer *p, bool seal);
/* For a watchdog: its threads have something to do, and a number that changes while they do that. */
bool packer_works(const struct packer *p);
uint64_t packer_steps(const struct packer *p);
bool packer_idle(const struct packer *p);
/* NULL is fine. */
void packer_close(struct packer *p);

void finished_release(struct finished *f);

#endif
