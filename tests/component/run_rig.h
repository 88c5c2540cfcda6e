/*
 * What packer, recovery and pipeline stand on, for tests: queue and store in memory, a spool in a temporary
 * folder, the fake recipe with 64 x 64 targets, and the threads where a test wants them.
 *
 *	run_open(&run)                      no threads: the queue and the spool are the test's
 *	run_open_packer(&run, ...)          from here on the queue is the database thread's
 *	run_until_idle(&run)
 *	run_close_packer(&run)              the queue is the test's again
 *	run_close(&run)
 */
#ifndef LATENTD_TESTS_COMPONENT_RUN_RIG_H
#define LATENTD_TESTS_COMPONENT_RUN_RIG_H

#include "daemon/packer.h"
#include "daemon/pipeline.h"
#include "tests/testing.h"

#define RUN_OWNER "host:boot:1:1"
#define RUN_MANY  1000000

struct run {
	char *dir, *spool_dir;
	struct queue *queue;
	struct store *store;
	struct spool *spool;
	struct recipe recipe;
	struct bucket_table *buckets;
	int64_t dataset;
	sd_event *event;
	struct inbox *inbox;
	struct db *db;
	struct packer *packer;
	struct pipeline *pipeline; /* the test's; NULL, or told what the packer reports */
	/* what the packer reported */
	size_t encoded, rejected, shards, shard_samples;
	char *rejected_path;
	struct error rejected_why, fatal;
};

void run_open(struct run *run);
void run_close(struct run *run);
/* Another recipe with these buckets, before there are any records. */
void run_use_buckets(struct run *run, enum bucket_rule rule, size_t resolution);
void run_use_bucket_options(struct run *run, const struct bucket_options *options);

/* -- jobs ------------------------------------------------------------------------------------------- */

/* A file PATH with its sample_key, and this rank. */
void run_enqueue(struct run *run, const char *path, uint64_t rank);
/* The next @n jobs for @owner, one by one in @jobs; to be released. */
void run_claim(struct run *run, const char *owner, struct job *jobs, size_t n);
/* Enqueues PATH and claims it for RUN_OWNER: no other job may be claimable. */
struct job run_claimed(struct run *run, const char *path, uint64_t rank);
void run_settle(struct run *run, const struct job *job, enum outcome_kind kind);
uint64_t run_count(struct run *run, enum job_state state);

/* -- records ---------------------------------------------------------------------------------------- */

/* The encoded image of @job, of @width x @height pixels, with content and latent of its key. */
struct finished run_finished(const struct job *job, size_t width, size_t height);
/* The record that the packer makes of it under @recipe. */
void run_record(const struct recipe *recipe, const struct job *job, size_t width, size_t height,
		struct record *out);
/* Appends run_record() of each to the spool, and syncs. */
void run_spool(struct run *run, const struct job *jobs, size_t n);
/* Seals run_record() of each into the store without a row; the shard's name, to be freed. */
char *run_seal(struct run *run, const struct recipe *recipe, const struct job *jobs, size_t n);

/* -- the packer's threads --------------------------------------------------------------------------- */

struct run_limits {
	size_t samples, bytes; /* of a shard; 0: RUN_MANY */
	uint64_t waste;	       /* bytes of sealed records in the spool; 0: no limit */
	int64_t age_ms;	       /* of a record that is sealed with its group; 0: no limit */
	size_t backlog;	       /* bytes of latents to append; 0: no limit */
	const char *node;      /* of several; NULL: one */
};

/* The loop, the inbox and the database thread. */
void run_open_loop(struct run *run);
void run_open_packer(struct run *run, const struct run_limits *limits);
/* Turns the loop once; fails the test where nothing happens for half a minute. */
void run_turn(struct run *run);
void run_until_idle(struct run *run);
void run_close_packer(struct run *run);

/* -- the result ------------------------------------------------------------------------------------- */

/*
 * "SHARD: KEY KEY ..." for each shard of the catalog, a line each, by name; after checking that store and
 * catalog agree in every sample, latent and span. To be freed. The queue must be the test's.
 */
char *run_catalog(struct run *run);
/* Names of all visible objects, a line each; to be freed. */
char *run_objects(struct run *run);

#endif
