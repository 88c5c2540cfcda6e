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
 *	packer_drain(packer, seal)            at the end: sync everything and, if asked, seal everything
 *	packer_idle(packer)                   nothing is under way and nothing is left to do
 *	packer_close(packer)
 */
#ifndef LATENTD_DAEMON_PACKER_H
#define LATENTD_DAEMON_PACKER_H

#include "daemon/db.h"
#include "daemon/record_build.h"
#include "storage/seal.h"
#include "storage/spool.h"

struct packer;

struct packer_handlers {
	/* The job is durable in the spool and marked so. */
	void (*on_encoded)(void *arg, int64_t job);
	/* A record that cannot be made (ERR_DATA): the job is still running, the caller settles it. */
	void (*on_rejected)(void *arg, int64_t job, uint64_t fence, const char *path,
			    const struct error *why);
	/* A shard is visible and in the catalog. */
	void (*on_shard)(void *arg, const char *name, size_t samples, uint64_t bytes);
	/* Nothing more can be stored; the run must stop. */
	void (*on_fatal)(void *arg, const struct error *why);
};

struct packer_options {
	struct db *db;
	struct spool *spool; /* used by the packer's thread alone until close */
	struct store *store; /* of OUT/NAME, likewise */
	const struct shard_ops *format;
	const struct recipe *recipe;
	int64_t dataset;
	size_t shard_samples, shard_bytes; /* a group with so much is sealed */
	/* bytes of sealed records that a few unsealed ones may keep on disk: beyond, those are sealed too */
	uint64_t spool_waste;
	size_t backlog; /* bytes of latents that may wait to be appended */
	struct packer_handlers handlers;
	void *arg;
};

/* An encoded image, all of it owned. */
struct finished {
	int64_t job;
	uint64_t fence, rank;
	char *key, *path, *caption;
	struct sample_facts facts; /* its strings are set by the packer */
	struct ndarray latent;
};

/* A record that is in the spool and belongs into a shard of this dataset. */
struct spooled {
	int64_t job;
	uint64_t rank;
	uint64_t bytes;
	char group[RECORD_GROUP_SIZE];
	struct spool_place place;
};

int packer_open(sd_event *event, struct inbox *inbox, const struct packer_options *options,
		struct packer **out, struct error *err);
void packer_restore(struct packer *p, const struct spooled *entry);
void packer_append(struct packer *p, struct finished *items, size_t n);
/* Images appended and not yet encoded (durable) or rejected. */
size_t packer_pending(const struct packer *p);
/* Shards that exist or existed, by name: their numbers are taken. */
void packer_note_shard(struct packer *p, const char *name);
/* So much waits to be appended that nothing more should be encoded. */
bool packer_is_behind(const struct packer *p);
void packer_drain(struct packer *p, bool seal);
bool packer_idle(const struct packer *p);
/* NULL is fine. */
void packer_close(struct packer *p);

void finished_release(struct finished *f);

#endif
