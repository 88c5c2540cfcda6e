/*
 * Private to queue_sqlite*.c: one connection, its statements and its transaction.
 *
 * An operation that writes has this shape, so that it happens whole or not at all:
 *
 *	if (db_begin(q, err) < 0)
 *		return -1;
 *	return db_end(q, what_it_does(q, ..., err), err);
 *
 * Counters: whoever changes how many rows of a kind there are tells db_tally(), and db_end() adds the
 * sums to the table `tally` within the same transaction; so counting never scans.
 *
 * Statements are prepared once, at first use, and kept in a slot. A step that is done or failed resets its
 * statement; one that returned a row is reset by db_done().
 */
#ifndef LATENTD_QUEUE_QUEUE_SQLITE_H
#define LATENTD_QUEUE_QUEUE_SQLITE_H

#include "queue/queue.h"

struct sqlite3;
struct sqlite3_stmt;

enum stmt_slot {
	STMT_BEGIN,
	STMT_COMMIT,
	STMT_TALLY,
	STMT_DATASET_FIND,
	STMT_DATASET_INSERT,
	STMT_DATASET_KNOWN,
	STMT_DATASET_LIST,
	STMT_JOB_NAMED,
	STMT_JOB_INSERT,
	STMT_NAME_INSERT,
	STMT_JOB_REMEMBER,
	STMT_JOB_REQUEUE,
	STMT_OWNER_INSERT,
	STMT_OWNER_FIND,
	STMT_OWNER_DELETE,
	STMT_CLAIM_DATASETS,
	STMT_CLAIM_FIND,
	STMT_CLAIM_TAKE,
	STMT_EXTEND,
	STMT_SETTLE,
	STMT_RESCUE,
	STMT_ENCODED_IDS,
	STMT_ENCODED_LOST,
	STMT_RETRY,
	STMT_SHARD_KNOWN,
	STMT_SHARD_INSERT,
	STMT_SAMPLE_INSERT,
	STMT_JOB_COMPLETE,
	STMT_SHARD_DROPPED,
	STMT_DROP_JOBS,
	STMT_DROP_SAMPLES,
	STMT_DROP_SHARD,
	STMT_COUNTS,
	STMT_JOBS_SCAN,
	STMT_JOBS_INDEXED,
	STMT_SHARDS,
	STMT_SAMPLES,
	STMT_SLOTS
};

/* What is counted of a dataset: jobs by enum job_state, then these. Stored as these numbers. */
enum tally_kind { TALLY_SHARDS = JOB_STATES, TALLY_SAMPLES, TALLY_SHARD_BYTES, TALLY_KINDS };

struct tally {
	int64_t dataset;
	int64_t by[TALLY_KINDS];
};

struct sqlite_queue {
	struct queue base;
	char *path;
	bool readonly;
	struct sqlite3 *db;
	struct sqlite3_stmt *stmts[STMT_SLOTS];
	struct tally *tallies; /* of the transaction that is open */
	size_t tally_count, tally_capacity;
};

static inline struct sqlite_queue *sqlite_queue(struct queue *q)
{
	return (struct sqlite_queue *)q;
}

/* -- queue_sqlite_db.c ---------------------------------------------------------------------------- */

/* The connection's last failure as an error with the path in it: -1. */
int db_fail(struct sqlite_queue *q, struct error *err);
int db_exec(struct sqlite_queue *q, const char *sql, struct error *err);
/* The integer in the first column of the first row of @sql. */
int db_value(struct sqlite_queue *q, const char *sql, int64_t *out, struct error *err);

int db_begin(struct sqlite_queue *q, struct error *err);
/* Commits if @r is 0; rolls back what failed and what had an outcome. Returns @r, or -1. */
int db_end(struct sqlite_queue *q, int r, struct error *err);

/* The statement in @slot, reset; NULL if it cannot be prepared. @sql is always the same for a slot. */
struct sqlite3_stmt *db_stmt(struct sqlite_queue *q, enum stmt_slot slot, const char *sql,
			     struct error *err);
/* 1: a row; 0: done; -1. */
int db_step(struct sqlite_queue *q, struct sqlite3_stmt *stmt, struct error *err);
/* Steps a statement that returns no row to its end. */
int db_run(struct sqlite_queue *q, struct sqlite3_stmt *stmt, struct error *err);
void db_done(struct sqlite3_stmt *stmt);

/* Binding cannot fail but by a programming error. Strings and bytes stay the caller's; NULL is NULL. */
void db_bind_int(struct sqlite3_stmt *stmt, int index, int64_t value);
void db_bind_null(struct sqlite3_stmt *stmt, int index);
void db_bind_text(struct sqlite3_stmt *stmt, int index, const char *s);
void db_bind_blob(struct sqlite3_stmt *stmt, int index, const void *data, size_t size);

/* The bytes of a text or blob column and how many; valid until the next step. */
const char *db_column(struct sqlite3_stmt *stmt, int column, size_t *size);
/* A copy, to be freed; empty for NULL. */
char *db_column_copy(struct sqlite3_stmt *stmt, int column);

void db_tally(struct sqlite_queue *q, int64_t dataset, int kind, int64_t change);
/* A job that goes from one state to the other. */
void db_tally_move(struct sqlite_queue *q, int64_t dataset, enum job_state from, enum job_state to);

/* -- queue_sqlite_schema.c ------------------------------------------------------------------------ */

/*
 * Checks that the file is ours (or empty, when writing) and not newer than this program, before anything is
 * written to it; then, when writing, switches to WAL and migrates.
 */
int schema_open(struct sqlite_queue *q, struct error *err);

/* -- queue_sqlite_jobs.c -------------------------------------------------------------------------- */

/* What the tables know of a path and of a key. */
struct job_match {
	int64_t id; /* of the job of (root, path); 0: none */
	enum job_state state;
	uint64_t size, inode;
	int64_t mtime_ns;
	int64_t key_holder; /* the job that has the key; 0: none */
	enum job_state holder_state;
	bool holder_has_path; /* its path is the one asked for, in whichever root */
};

int job_find(struct sqlite_queue *q, int64_t dataset, uint32_t root, const char *path,
	     const char *key, struct job_match *out, struct error *err);
/* A new job in state available. */
int job_insert(struct sqlite_queue *q, int64_t dataset, const struct job_spec *spec,
	       const char *key, int64_t *id, struct error *err);
/* The key of a row from its columns: its own, or the path's stem. To be freed. */
char *job_column_key(struct sqlite3_stmt *stmt, int key_column, int path_column);

/* The number that stands for an owner in job rows; 0 if no job can have it. */
int owner_find(struct sqlite_queue *q, const char *owner, int64_t *out, struct error *err);

int queue_sqlite_enqueue(struct queue *base, int64_t dataset, const struct job_spec *specs,
			 size_t n, struct enqueue_counts *counts, struct error *err);
int queue_sqlite_claim(struct queue *base, const struct queue_claim *claim, struct job *jobs,
		       size_t *n, struct error *err);

/* -- queue_sqlite_outcomes.c ---------------------------------------------------------------------- */

int queue_sqlite_extend(struct queue *base, const char *owner, int64_t lease_until,
			struct error *err);
int queue_sqlite_settle(struct queue *base, const struct job_outcome *outcomes, size_t n,
			int64_t now, size_t *lost, struct error *err);
int queue_sqlite_rescue(struct queue *base, const char *owner, int64_t now, size_t *rescued,
			struct error *err);
int queue_sqlite_requeue_lost(struct queue *base, const int64_t *spooled, size_t n, int64_t now,
			      size_t *requeued, struct error *err);
int queue_sqlite_retry(struct queue *base, int64_t dataset, enum job_state from, const char *reason,
		       int64_t now, size_t *retried, struct error *err);

/* -- queue_sqlite_catalog.c ----------------------------------------------------------------------- */

/* ERR_BUG if there is none with this id. */
int dataset_check(struct sqlite_queue *q, int64_t dataset, struct error *err);

int queue_sqlite_open_dataset(struct queue *base, const struct queue_dataset_spec *spec,
			      int64_t *id, struct error *err);
int queue_sqlite_complete(struct queue *base, const struct shard_row *shard,
			  const struct sample_row *samples, size_t n, int64_t now,
			  int64_t *shard_id, struct error *err);

int queue_sqlite_drop_shard(struct queue *base, int64_t shard, int64_t now, size_t *requeued,
			    struct error *err);

/* -- queue_sqlite_lists.c ------------------------------------------------------------------------- */

int queue_sqlite_datasets(struct queue *base, queue_dataset_fn fn, void *arg, struct error *err);
int queue_sqlite_counts(struct queue *base, int64_t dataset, struct queue_counts *out,
			struct error *err);
int queue_sqlite_jobs(struct queue *base, int64_t dataset, enum job_state state, queue_job_fn fn,
		      void *arg, struct error *err);
int queue_sqlite_shards(struct queue *base, int64_t dataset, queue_shard_fn fn, void *arg,
			struct error *err);
int queue_sqlite_samples(struct queue *base, int64_t shard, queue_sample_fn fn, void *arg,
			 struct error *err);

/* -- queue_sqlite.c ------------------------------------------------------------------------------- */

/* The name of the network file system with this statfs f_type; NULL: a local one, as far as known. */
const char *network_file_system(uint32_t f_type);

#endif
