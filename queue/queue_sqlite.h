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

#define APPLICATION_ID	0x6c617464 /* "latd" */
#define BUSY_TIMEOUT_MS 5000
#define WAL_LIMIT	(64 << 20)
#define WAL_MOST	((int64_t)1 << 30) /* see db_log_bounded() */
#define TODO_BACKLOG	(1 << 20)	   /* jobs that are sorted in memory at once */
#define CONTENT_BACKLOG (1 << 18)	   /* samples that are sorted in memory at once */

enum stmt_slot {
	STMT_BEGIN,
	STMT_COMMIT,
	STMT_TALLY,
	STMT_TALLY_READ,
	STMT_DATASET_FIND,
	STMT_DATASET_INSERT,
	STMT_DATASET_MOVE,
	STMT_DATASET_KNOWN,
	STMT_DATASET_LIST,
	STMT_JOB_NAMED,
	STMT_JOB_INSERT,
	STMT_JOB_REMEMBER,
	STMT_JOB_CAPTION,
	STMT_JOB_READ,
	STMT_NAME_INSERT,
	STMT_WORK_PUT,
	STMT_WORK_DELETE,
	STMT_TODO_INSERT,
	STMT_TODO_DELETE,
	STMT_TODO_FILL,
	STMT_TODO_PUT,
	STMT_TODO_LAST,
	STMT_OWNER_INSERT,
	STMT_OWNER_FIND,
	STMT_OWNER_DELETE,
	STMT_CLAIM_DATASETS,
	STMT_CLAIM_TODO,
	STMT_CLAIM_DUE,
	STMT_CLAIM_SUSPECT,
	STMT_CLAIM_LATER,
	STMT_CLAIM_TAKE,
	STMT_CLAIM_FIND,
	STMT_EXTEND,
	STMT_SETTLE,
	STMT_DROPPED_PUT,
	STMT_DROPPED_DELETE,
	STMT_JOBS_RUNNING,
	STMT_JOBS_SPOOLED,
	STMT_JOBS_RETRIED,
	STMT_JOBS_CANCELLED,
	STMT_RECAPTION_PUT,
	STMT_RECAPTION_DELETE,
	STMT_RECAPTIONS,
	STMT_RECAPTIONS_OF_SHARD,
	STMT_RECAPTION_PLACES,
	STMT_SCAN_IDS,
	STMT_SHARD_READ,
	STMT_SHARD_KNOWN,
	STMT_SHARD_INSERT,
	STMT_SHARD_DEAD,
	STMT_SHARD_DELETE,
	STMT_RETIRE,
	STMT_RETIRED_DELETE,
	STMT_RETIRED,
	STMT_SAMPLE_NEXT,
	STMT_SAMPLE_INSERT,
	STMT_SAMPLE_LIVE,
	STMT_SAMPLE_KILL,
	STMT_SAMPLE_AT,
	STMT_SAMPLE_OF_SHARD,
	STMT_SAMPLE_LEFT,
	STMT_SAMPLES_DELETE,
	STMT_CONTENT_FILL,
	STMT_CONTENT_LAST,
	STMT_CONTENT_FORGET,
	STMT_CONTENT_TAIL,
	STMT_CONTENT_VISIBLE,
	STMT_CONTENT_RECENT,
	STMT_CONTENT_SPOOLED,
	STMT_CONTENT_VARIANTS,
	STMT_COUNTS,
	STMT_JOBS_SCAN,
	STMT_JOBS_INDEXED,
	STMT_JOB_SHOW,
	STMT_REASONS,
	STMT_DUPLICATE_PRINTS,
	STMT_DUPLICATE_DROPPED,
	STMT_DUPLICATE_SAMPLE,
	STMT_DUPLICATE_SKIPPED,
	STMT_SHARDS,
	STMT_SAMPLES,
	STMT_SPEND,
	STMT_SPENT,
	STMT_SPENT_FORGET,
	STMT_KEEP_HISTORY,
	STMT_HISTORY,
	STMT_SLOTS
};

/* What is counted of a dataset: jobs by enum job_state, then these. Stored as these numbers. */
enum tally_kind {
	TALLY_SHARDS = JOB_STATES,
	TALLY_SAMPLES, /* live ones */
	TALLY_SHARD_BYTES,
	TALLY_FENCE,   /* of dataset 0: the last fence of any claim */
	TALLY_TODO,    /* of dataset 0: the last job that todo_fill() saw */
	TALLY_CONTENT, /* of dataset 0: the last sample that content_fill() saw */
	TALLY_RECAPTIONS,
	TALLY_KINDS
};

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
	struct open_scan *scans;	/* a list */
	struct recent_contents *recent; /* see queue_sqlite_content.c; NULL: not asked for yet */
	int64_t content_backlog;	/* CONTENT_BACKLOG, but for tests */
	int64_t log_most;		/* WAL_MOST, likewise */
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
/* As it stood when the transaction began. */
int db_tally_read(struct sqlite_queue *q, int64_t dataset, int kind, int64_t *out,
		  struct error *err);
/* Cuts back a log that readers made grow: to be called where nobody waits. */
void db_idle(struct sqlite_queue *q);
/*
 * Before new work is begun, outside of transactions. While another program reads, the log cannot start anew: ERR_TRANSIENT
 * if it has more than log_most bytes, and its readers have not ended within BUSY_TIMEOUT_MS. What else keeps it from being
 * cut back, such as the disk, is an error of its own.
 */
int db_log_bounded(struct sqlite_queue *q, struct error *err);
/* A job that goes from one state to the other. */
void db_tally_move(struct sqlite_queue *q, int64_t dataset, enum job_state from, enum job_state to);

/* -- queue_sqlite_schema.c ------------------------------------------------------------------------ */

/*
 * Checks that the file is ours (or empty, when writing) and not newer than this program, before anything is
 * written to it; then, when writing, switches to WAL and migrates.
 */
int schema_open(struct sqlite_queue *q, struct error *err);

/* -- queue_sqlite_sums.c -------------------------------------------------------------------------- */

/*
 * The name of the VFS that keeps a checksum in each page; NULL: SQLite has no memory for it. A page that has not the
 * one it was written with is SQLITE_IOERR_DATA. Databases of versions that had none are read without.
 */
const char *page_sums_vfs(void);
/* A database that is made through @db has room for them. */
void page_sums_ask(struct sqlite3 *db);

/* -- queue_sqlite_jobs.c -------------------------------------------------------------------------- */

/* What the tables know of a path and of a key. */
struct job_match {
	int64_t id; /* of the job of (root, path); 0: none */
	uint64_t size, inode;
	int64_t mtime_ns;
	bool gone, waiting;
	uint64_t caption;     /* CAPTION_UNSEEN: not known */
	int64_t key_holder;   /* the job that has the key; 0: none */
	bool holder_has_path; /* its path is the one asked for, in whichever root */
};

int job_find(struct sqlite_queue *q, int64_t dataset, uint32_t root, const char *path,
	     const char *key, struct job_match *out, struct error *err);
/* A new job as it is enqueued: available, and counted so. */
int job_insert(struct sqlite_queue *q, int64_t dataset, const struct job_spec *spec,
	       const char *key, int64_t *id, struct error *err);
/* Size, mtime and inode of its file are now those of @file. */
int job_remember(struct sqlite_queue *q, int64_t job, const struct job_spec *file,
		 struct error *err);
/* The key of a row from its columns: its own, or the path's stem. To be freed. */
char *job_column_key(struct sqlite3_stmt *stmt, int key_column, int path_column);
/* Whether they are @key and @path. */
bool job_column_is(struct sqlite3_stmt *stmt, int key_column, int path_column, const char *key,
		   const char *path);

/* The job of @dataset that has the key; 0: none. */
int job_of_key(struct sqlite_queue *q, int64_t dataset, const char *key, int64_t *id,
	       struct error *err);

int queue_sqlite_enqueue(struct queue *base, int64_t dataset, const struct job_spec *specs,
			 size_t n, struct enqueue_counts *counts, struct error *err);

/* -- queue_sqlite_work.c -------------------------------------------------------------------------- */

/*
 * A job as it is now. To change its state: job_read(), change what is said below, job_write(), which keeps
 * the tables work, todo and tally in step. Strings are not read.
 */
struct work {
	int64_t job, dataset, rank;
	uint32_t root;
	bool has_row;		   /* in table work */
	bool seen;		   /* its file, by a scan; not written */
	enum job_state state, was; /* was: as it was read */
	int64_t attempts, crashes, fence;
	int64_t crashes_were;
	int64_t due; /* of running and retryable jobs */
	int64_t updated_at;
	bool changed, spooled;
	bool has_content;
	struct hash128 content;
	bool says; /* reason and message are written; otherwise they stay */
	const char *reason, *message;
};

/* QUEUE_CONFLICT if there is none, or if it has another key or path (NULL: whatever they are). */
int job_try(struct sqlite_queue *q, int64_t job, const char *key, const char *path,
	    struct work *out, struct error *err);
/* One that some row names: ERR_IO if there is none. */
int job_read(struct sqlite_queue *q, int64_t job, struct work *out, struct error *err);
/* Of running jobs the lease stays as it is; only claims make them. */
int job_write(struct sqlite_queue *q, struct work *w, struct error *err);
/*
 * New jobs come into todo later than into the other tables, where more than @backlog of them are not in it:
 * sorted by rank, so that a page of it takes many of them at once.
 */
int todo_fill(struct sqlite_queue *q, int64_t backlog, struct error *err);
int todo_insert(struct sqlite_queue *q, int64_t job, struct error *err);
int todo_delete(struct sqlite_queue *q, int64_t dataset, int64_t rank, int64_t job,
		struct error *err);

/* -- queue_sqlite_claim.c ------------------------------------------------------------------------- */

/* The number that stands for an owner in job rows; 0 if no job can have it. */
int owner_find(struct sqlite_queue *q, const char *owner, int64_t *out, struct error *err);

int queue_sqlite_claim(struct queue *base, const struct queue_claim *claim, struct job *jobs,
		       size_t *n, struct error *err);

/* -- queue_sqlite_settle.c ------------------------------------------------------------------------ */

int queue_sqlite_settle(struct queue *base, const struct job_outcome *outcomes, size_t n,
			int64_t now, size_t *lost, struct error *err);

/* -- queue_sqlite_outcomes.c ---------------------------------------------------------------------- */

int queue_sqlite_extend(struct queue *base, const char *owner, int64_t lease_until,
			struct error *err);
int queue_sqlite_rescue(struct queue *base, int64_t dataset, const char *owner, int64_t now,
			size_t *rescued, struct error *err);
int queue_sqlite_requeue_lost(struct queue *base, int64_t dataset, const int64_t *spooled, size_t n,
			      int64_t now, size_t *requeued, struct error *err);
int queue_sqlite_retry(struct queue *base, const struct job_filter *which, int64_t now,
		       size_t *retried, struct error *err);
int queue_sqlite_cancel(struct queue *base, const struct job_filter *which, int64_t now,
			size_t *cancelled, struct error *err);

/* -- queue_sqlite_scan.c -------------------------------------------------------------------------- */

int queue_sqlite_scan_begin(struct queue *base, int64_t dataset, const uint32_t *roots, size_t n,
			    struct error *err);
int queue_sqlite_scan_end(struct queue *base, int64_t dataset, enum scan_end how, int64_t now,
			  struct scan_counts *counts, struct error *err);

/* -- queue_sqlite_catalog.c ----------------------------------------------------------------------- */

/* ERR_BUG if there is none with this id. */
int dataset_check(struct sqlite_queue *q, int64_t dataset, struct error *err);

struct shard_place {
	int64_t id, dataset, first, samples;
	int64_t bytes, dead;
};

/* ERR_BUG if there is none with this id. */
int shard_find(struct sqlite_queue *q, int64_t shard, struct shard_place *out, struct error *err);
/* A sample that is live; id 0: none. */
struct live_sample {
	int64_t id, shard;
	struct hash128 content, latent;
};
/* A live sample of a job, of @variant; UINT32_MAX + 1: of its first variant. */
#define ANY_VARIANT ((int64_t)UINT32_MAX + 1)
int sample_find(struct sqlite_queue *q, int64_t rank, int64_t job, int64_t variant,
		struct live_sample *out, struct error *err);
/* Its row is dead; counted. */
int sample_kill(struct sqlite_queue *q, int64_t dataset, const struct live_sample *sample,
		struct error *err);

int queue_sqlite_open_dataset(struct queue *base, const struct queue_dataset_spec *spec,
			      int64_t *id, struct error *err);

/* -- queue_sqlite_content.c ----------------------------------------------------------------------- */

/*
 * New samples come into table content later than into the other tables, where more than content_backlog of
 * them are not in it: sorted, so that a page of it takes many of them at once.
 */
int content_fill(struct sqlite_queue *q, struct error *err);
/* Samples from @first up to @end are dead, or will be deleted. */
int content_forget(struct sqlite_queue *q, int64_t first, int64_t end, struct error *err);
/* Rows of samples are deleted. */
void recent_contents_reset(struct sqlite_queue *q);
void recent_contents_free(struct recent_contents *recent);

/* A sample that table content has not yet. */
struct recent {
	uint64_t print; /* the first 8 bytes of its content */
	int64_t sample;
};

/* All of them, in order of id, until the next call on the queue. */
int recent_contents_read(struct sqlite_queue *q, const struct recent **out, size_t *n,
			 struct error *err);

int queue_sqlite_find_content(struct queue *base, int64_t dataset, const struct hash128 *content,
			      struct content_found *found, struct error *err);
int queue_sqlite_find_variants(struct queue *base, struct content_found *found, struct error *err);

/* -- queue_sqlite_duplicates.c -------------------------------------------------------------------- */

/* A job is skipped: it has the content of another one. */
int dropped_put(struct sqlite_queue *q, int64_t job, const struct hash128 *content,
		struct error *err);
/* It is skipped no longer. */
int dropped_delete(struct sqlite_queue *q, int64_t job, struct error *err);

int queue_sqlite_duplicates(struct queue *base, int64_t dataset, const struct hash128 *after,
			    size_t limit, queue_duplicate_fn fn, void *arg, struct error *err);

/* -- queue_sqlite_captions.c ---------------------------------------------------------------------- */

/* Puts a job on the list; *added: 1 more if it was not there. */
int recaption_put(struct sqlite_queue *q, int64_t dataset, int64_t job, size_t *added,
		  struct error *err);

int queue_sqlite_recaptions(struct queue *base, int64_t dataset, int64_t shard,
			    queue_recaption_fn fn, void *arg, struct error *err);
int queue_sqlite_recaption(struct queue *base, int64_t dataset, const char *const *keys, size_t n,
			   struct error *err);
int queue_sqlite_recaptioned(struct queue *base, const struct recaptioned *done, size_t n,
			     struct error *err);

/* -- queue_sqlite_swap.c -------------------------------------------------------------------------- */

int queue_sqlite_swap(struct queue *base, const struct queue_swap *swap, int64_t now,
		      int64_t *shard_ids, struct error *err);

/* -- queue_sqlite_drop.c -------------------------------------------------------------------------- */

/* The sample of a shard that is live at @offset; id 0: none. *job: whose it is. */
int sample_at(struct sqlite_queue *q, const struct shard_place *shard, uint64_t offset,
	      struct live_sample *out, int64_t *job, struct error *err);
/* The rows of a shard and its samples; tallied. Live samples' jobs are the caller's business. */
int shard_delete(struct sqlite_queue *q, const struct shard_place *shard, struct error *err);

int queue_sqlite_drop_shard(struct queue *base, int64_t shard, int64_t now, size_t *requeued,
			    struct error *err);
int queue_sqlite_drop_samples(struct queue *base, int64_t shard, const uint64_t *offsets, size_t n,
			      int64_t now, size_t *requeued, struct error *err);
int queue_sqlite_forget_retired(struct queue *base, const int64_t *shards, size_t n,
				struct error *err);

/* -- queue_sqlite_lists.c ------------------------------------------------------------------------- */

int queue_sqlite_datasets(struct queue *base, queue_dataset_fn fn, void *arg, struct error *err);
int queue_sqlite_counts(struct queue *base, int64_t dataset, struct queue_counts *out,
			struct error *err);
int queue_sqlite_shards(struct queue *base, int64_t dataset, queue_shard_fn fn, void *arg,
			struct error *err);
int queue_sqlite_samples(struct queue *base, int64_t shard, queue_sample_fn fn, void *arg,
			 struct error *err);
int queue_sqlite_retired(struct queue *base, int64_t dataset, queue_retired_fn fn, void *arg,
			 struct error *err);

/* -- queue_sqlite_job_lists.c --------------------------------------------------------------------- */

int queue_sqlite_jobs(struct queue *base, const struct job_filter *which, queue_job_fn fn,
		      void *arg, struct error *err);
int queue_sqlite_reasons(struct queue *base, int64_t dataset, enum job_state state,
			 queue_reason_fn fn, void *arg, struct error *err);

/* -- queue_sqlite_spent.c ------------------------------------------------------------------------- */

int queue_sqlite_spend(struct queue *base, const char *account, uint64_t requests, uint64_t bytes,
		       int64_t now, struct error *err);
int queue_sqlite_spent(struct queue *base, const char *account, queue_spent_fn fn, void *arg,
		       struct error *err);

/* -- queue_sqlite_history.c ----------------------------------------------------------------------- */

int queue_sqlite_keep_history(struct queue *base, const struct history_row *rows, size_t n,
			      struct error *err);
int queue_sqlite_history(struct queue *base, queue_history_fn fn, void *arg, struct error *err);

#endif
