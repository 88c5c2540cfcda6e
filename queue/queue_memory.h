/*
 * Private to queue_memory*.c: the arrays. Ids are positions + 1, so they rise in the order of insertion, as
 * SQLite's do.
 */
#ifndef LATENTD_QUEUE_QUEUE_MEMORY_H
#define LATENTD_QUEUE_QUEUE_MEMORY_H

#include "queue/queue.h"

struct memory_job {
	struct job job;
	enum job_state state;
	int64_t mtime_ns;
	uint64_t inode;
	char *owner; /* running */
	int64_t due; /* running: end of the lease; retryable: not before */
	char *reason, *message;
	int64_t updated_at;
	bool changed;	  /* since job.content was encoded */
	bool spooled;	  /* a record of job.content */
	bool met;	  /* by the scan of its dataset that is open */
	uint64_t caption; /* CAPTION_UNSEEN: not known */
	bool recaption;
	bool is_dropped; /* skipped as a duplicate of what has the content `dropped` */
	struct hash128 dropped;
};

struct memory_shard {
	struct shard_row row; /* dataset 0: no longer there; its place stays, so that ids do */
	char *path, *format, *group;
	int64_t visible_at;
};

struct memory_sample {
	int64_t shard, job;    /* 0: no longer there */
	struct sample_row row; /* its strings are the job's */
};

struct memory_retired {
	int64_t id, dataset; /* dataset 0: forgotten */
	char *path;
	int64_t retired_at;
};

struct memory_spent {
	char *account;
	struct spent_row row;
};

struct memory_scan { /* one that is open */
	int64_t dataset;
	uint32_t *roots;
	size_t root_count;
	bool all_roots;
	size_t jobs; /* that there were when it began */
};

struct memory_queue {
	struct queue base;
	struct queue_dataset *datasets;
	size_t dataset_count, dataset_capacity;
	struct memory_job *jobs;
	size_t job_count, job_capacity;
	struct memory_shard *shards;
	size_t shard_count, shard_capacity;
	struct memory_sample *samples;
	size_t sample_count, sample_capacity;
	struct memory_retired *retired;
	size_t retired_count, retired_capacity;
	uint64_t fence; /* of the last claim */
	struct memory_scan *scans;
	size_t scan_count, scan_capacity;
	struct memory_spent *spent; /* by account and minute */
	size_t spent_count, spent_capacity;
	struct history_row *history; /* by series and place */
	size_t history_count, history_capacity;
};

static inline struct memory_queue *memory_queue(struct queue *q)
{
	return (struct memory_queue *)q;
}

/* -- queue_memory_jobs.c -------------------------------------------------------------------------- */

/* ERR_BUG if there is none with this id. */
int memory_dataset_check(struct memory_queue *q, int64_t dataset, struct error *err);
/* NULL: none. */
struct memory_job *memory_find_path(struct memory_queue *q, int64_t dataset, uint32_t root,
				    const char *path);
struct memory_job *memory_find_key(struct memory_queue *q, int64_t dataset, const char *key);
/* A new job in state available. */
struct memory_job *memory_insert_job(struct memory_queue *q, int64_t dataset,
				     const struct job_spec *spec, const char *key);
/* Takes the youngest jobs away again, down to @count. */
void memory_remove_jobs(struct memory_queue *q, size_t count);
/* Its size, mtime and inode are now those of @spec. */
void memory_remember_file(struct memory_job *j, const struct job_spec *spec);
void memory_set_state(struct memory_job *j, enum job_state state);
/* *s becomes a copy of @by, or NULL. */
void memory_replace(char **s, const char *by);

/* The live sample of a job, of one variant; NULL: none. */
struct memory_sample *memory_live(struct memory_queue *q, int64_t job, uint32_t variant);
/* That of its first variant. */
struct memory_sample *memory_first_live(struct memory_queue *q, int64_t job);
/* Without a trace of what went before. */
void memory_complete_job(struct memory_job *j);
void memory_kill(struct memory_queue *q, struct memory_sample *sample);

int memory_enqueue(struct queue *base, int64_t dataset, const struct job_spec *specs, size_t n,
		   struct enqueue_counts *counts, struct error *err);
int memory_claim(struct queue *base, const struct queue_claim *claim, struct job *jobs, size_t *n,
		 struct error *err);
int memory_extend(struct queue *base, const char *owner, int64_t lease_until, struct error *err);
int memory_settle(struct queue *base, const struct job_outcome *outcomes, size_t n, int64_t now,
		  size_t *lost, struct error *err);
int memory_rescue(struct queue *base, int64_t dataset, const char *owner, int64_t now,
		  size_t *rescued, struct error *err);
int memory_requeue_lost(struct queue *base, int64_t dataset, const int64_t *spooled, size_t n,
			int64_t now, size_t *requeued, struct error *err);

/* -- queue_memory_person.c ------------------------------------------------------------------------ */

int memory_retry(struct queue *base, const struct job_filter *which, int64_t now, size_t *retried,
		 struct error *err);
int memory_cancel(struct queue *base, const struct job_filter *which, int64_t now,
		  size_t *cancelled, struct error *err);

/* -- queue_memory_scan.c -------------------------------------------------------------------------- */

int memory_scan_begin(struct queue *base, int64_t dataset, const uint32_t *roots, size_t n,
		      struct error *err);
int memory_scan_end(struct queue *base, int64_t dataset, enum scan_end how, int64_t now,
		    struct scan_counts *counts, struct error *err);

/* -- queue_memory_lists.c ------------------------------------------------------------------------- */

int memory_counts(struct queue *base, int64_t dataset, struct queue_counts *out, struct error *err);
int memory_jobs(struct queue *base, const struct job_filter *which, queue_job_fn fn, void *arg,
		struct error *err);
int memory_reasons(struct queue *base, int64_t dataset, enum job_state state, queue_reason_fn fn,
		   void *arg, struct error *err);
int memory_duplicates(struct queue *base, int64_t dataset, const struct hash128 *after,
		      size_t limit, queue_duplicate_fn fn, void *arg, struct error *err);
int memory_recaptions(struct queue *base, int64_t dataset, int64_t shard, queue_recaption_fn fn,
		      void *arg, struct error *err);
int memory_recaption(struct queue *base, int64_t dataset, const char *const *keys, size_t n,
		     struct error *err);
int memory_recaptioned(struct queue *base, const struct recaptioned *done, size_t n,
		       struct error *err);
int memory_shards(struct queue *base, int64_t dataset, queue_shard_fn fn, void *arg,
		  struct error *err);
int memory_samples(struct queue *base, int64_t shard, queue_sample_fn fn, void *arg,
		   struct error *err);

/* -- queue_memory_content.c ----------------------------------------------------------------------- */

int memory_find_content(struct queue *base, int64_t dataset, const struct hash128 *content,
			struct content_found *found, struct error *err);
int memory_find_variants(struct queue *base, struct content_found *found, struct error *err);

/* -- queue_memory_catalog.c ----------------------------------------------------------------------- */

int memory_swap(struct queue *base, const struct queue_swap *swap, int64_t now, int64_t *shard_ids,
		struct error *err);
int memory_drop_shard(struct queue *base, int64_t shard, int64_t now, size_t *requeued,
		      struct error *err);
int memory_drop_samples(struct queue *base, int64_t shard, const uint64_t *offsets, size_t n,
			int64_t now, size_t *requeued, struct error *err);
int memory_retired(struct queue *base, int64_t dataset, queue_retired_fn fn, void *arg,
		   struct error *err);
int memory_forget_retired(struct queue *base, const int64_t *shards, size_t n, struct error *err);

/* -- queue_memory_spent.c ------------------------------------------------------------------------- */

int memory_spend(struct queue *base, const char *account, uint64_t requests, uint64_t bytes,
		 int64_t now, struct error *err);
int memory_spent(struct queue *base, const char *account, queue_spent_fn fn, void *arg,
		 struct error *err);

/* -- queue_memory_history.c ----------------------------------------------------------------------- */

int memory_keep_history(struct queue *base, const struct history_row *rows, size_t n,
			struct error *err);
int memory_history(struct queue *base, queue_history_fn fn, void *arg, struct error *err);

#endif
