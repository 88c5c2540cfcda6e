/*
 * Private to db_queue*.c: an operation on its way to the database thread.
 *
 * Each is its arguments in a struct, a function that calls the same operation with them, and one that fills the
 * struct and waits.
 */
#ifndef LATENTD_DAEMON_DB_QUEUE_PARTS_H
#define LATENTD_DAEMON_DB_QUEUE_PARTS_H

#include "daemon/db_queue.h"

/* The first member of its arguments. */
struct operation {
	int (*run)(struct queue *queue, const struct operation *op, struct error *err);
	struct error *err;
	int result;
};

/* Runs it on the database thread; its result. */
int db_queue_forward(struct queue *q, struct operation *op, struct error *err);
/* The same for what only reads: by the reader, where there is one. */
int db_queue_read(struct queue *q, struct operation *op, struct error *err);

/* Only what threads other than the loop's ask. */
extern const struct queue_nodes_ops db_queue_nodes;

int db_queue_find_content(struct queue *q, int64_t dataset, const struct hash128 *content,
			  struct content_found *found, struct error *err);
int db_queue_find_variants(struct queue *q, struct content_found *found, struct error *err);
int db_queue_swap(struct queue *q, const struct queue_swap *swap, int64_t now, int64_t *shard_ids,
		  struct error *err);
int db_queue_drop_shard(struct queue *q, int64_t shard, int64_t now, size_t *requeued,
			struct error *err);
int db_queue_drop_samples(struct queue *q, int64_t shard, const uint64_t *offsets, size_t n,
			  int64_t now, size_t *requeued, struct error *err);
int db_queue_retired(struct queue *q, int64_t dataset, queue_retired_fn fn, void *arg,
		     struct error *err);
int db_queue_forget_retired(struct queue *q, const int64_t *shards, size_t n, struct error *err);
int db_queue_counts(struct queue *q, int64_t dataset, struct queue_counts *out, struct error *err);
int db_queue_recaptions(struct queue *q, int64_t dataset, int64_t shard, queue_recaption_fn fn,
			void *arg, struct error *err);
int db_queue_recaption(struct queue *q, int64_t dataset, const char *const *keys, size_t n,
		       struct error *err);
int db_queue_recaptioned(struct queue *q, const struct recaptioned *done, size_t n,
			 struct error *err);
int db_queue_jobs(struct queue *q, const struct job_filter *which, queue_job_fn fn, void *arg,
		  struct error *err);
int db_queue_reasons(struct queue *q, int64_t dataset, enum job_state state, queue_reason_fn fn,
		     void *arg, struct error *err);
int db_queue_duplicates(struct queue *q, int64_t dataset, const struct hash128 *after, size_t limit,
			queue_duplicate_fn fn, void *arg, struct error *err);
int db_queue_shards(struct queue *q, int64_t dataset, queue_shard_fn fn, void *arg,
		    struct error *err);
int db_queue_samples(struct queue *q, int64_t shard, queue_sample_fn fn, void *arg,
		     struct error *err);
int db_queue_spend(struct queue *q, const char *account, uint64_t requests, uint64_t bytes,
		   int64_t now, struct error *err);
int db_queue_spent(struct queue *q, const char *account, queue_spent_fn fn, void *arg,
		   struct error *err);
int db_queue_keep_history(struct queue *q, const struct history_row *rows, size_t n,
			  struct error *err);
int db_queue_history(struct queue *q, queue_history_fn fn, void *arg, struct error *err);

#endif
