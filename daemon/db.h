/*
 * The database thread: the only one that calls the queue once a run has begun. Each command is a task; its
 * answer comes back on the loop's thread. Threads that may wait use the queue through a db_queue (db_queue.h).
 */
#ifndef LATENTD_DAEMON_DB_H
#define LATENTD_DAEMON_DB_H

#include "daemon/executor.h"
#include "queue/queue.h"

struct db;

/* @queue stays the caller's and is used by the thread alone until close. */
int db_open(struct inbox *inbox, struct queue *queue, const char *owner, struct db **out,
	    struct error *err);
/* Runs what was posted, then ends the thread. NULL is fine. */
void db_close(struct db *db);

/*
 * Runs @run(queue, @arg) on the database thread and waits until it has returned, behind what the loop has asked
 * for. For any thread but that one; the loop itself only where nothing else matters.
 */
void db_call(struct db *db, void (*run)(struct queue *queue, void *arg), void *arg);

/* The same, but nobody waits for it. */
void db_post(struct db *db, void (*run)(struct queue *queue, void *arg), void *arg);

/*
 * Jobs as @what says (dataset, limit, roots); the callback owns them. n is 0 where there were none; @later: some such become
 * due later.
 */
typedef void (*db_claimed_fn)(void *arg, struct job *jobs, size_t n, bool later,
			      const struct error *err);
void db_claim(struct db *db, const struct queue_claim *what, int64_t lease_ms, db_claimed_fn fn,
	      void *arg);

/* @outcomes (malloc'ed, with malloc'ed reason and message) belong to the call. */
typedef void (*db_settled_fn)(void *arg, size_t lost, const struct error *err);
void db_settle(struct db *db, struct job_outcome *outcomes, size_t n, db_settled_fn fn, void *arg);

/* The rows stay the caller's and must live until the answer. @conflict: see QUEUE_CONFLICT. */
typedef void (*db_completed_fn)(void *arg, bool conflict, const struct error *err);
void db_complete(struct db *db, const struct shard_row *shard, const struct sample_row *samples,
		 size_t n, db_completed_fn fn, void *arg);

/*
 * What is stored of each of @n contents, of @dataset or another one of its recipe. Both must live until the answer; what was found is
 * released after it, unless the callback takes it (where = CONTENT_NONE then). @variants: where all variants lie, too.
 */
typedef void (*db_found_fn)(void *arg, struct content_found *found, size_t n,
			    const struct error *err);
void db_find(struct db *db, int64_t dataset, const struct hash128 *contents, size_t n,
	     bool variants, db_found_fn fn, void *arg);

/* How much of a dataset is in which state. */
typedef void (*db_counted_fn)(void *arg, const struct queue_counts *counts,
			      const struct error *err);
void db_count(struct db *db, int64_t dataset, db_counted_fn fn, void *arg);

/* Nothing: when it is answered, everything before it is done. The caller's until then, or until the inbox is closed. */
struct db_ping {
	struct task base;
	void (*fn)(void *arg);
	void *arg;
};

void db_ping(struct db *db, struct db_ping *ping);

/* Renews every lease of this owner. */
typedef void (*db_extended_fn)(void *arg, const struct error *err);
void db_extend(struct db *db, int64_t lease_ms, db_extended_fn fn, void *arg);

#endif
