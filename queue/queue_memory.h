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
};

struct memory_shard {
	struct shard_row row;
	char *path, *format, *group;
};

struct memory_sample {
	int64_t shard, job;
	struct sample_row row; /* its strings are the job's */
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
void memory_set_state(struct memory_job *j, enum job_state state);
/* *s becomes a copy of @by, or NULL. */
void memory_replace(char **s, const char *by);

int memory_enqueue(struct queue *base, int64_t dataset, const struct job_spec *specs, size_t n,
		   struct enqueue_counts *counts, struct error *err);
int memory_claim(struct queue *base, const struct queue_claim *claim, struct job *jobs, size_t *n,
		 struct error *err);
int memory_extend(struct queue *base, const char *owner, int64_t lease_until, struct error *err);
int memory_settle(struct queue *base, const struct job_outcome *outcomes, size_t n, int64_t now,
		  size_t *lost, struct error *err);
int memory_rescue(struct queue *base, const char *owner, int64_t now, size_t *rescued,
		  struct error *err);
int memory_requeue_lost(struct queue *base, const int64_t *spooled, size_t n, int64_t now,
			size_t *requeued, struct error *err);
int memory_retry(struct queue *base, int64_t dataset, enum job_state from, const char *reason,
		 int64_t now, size_t *retried, struct error *err);

#endif
