/*
 * Private to queue_postgres*.c: one connection, statements, transactions, and jobs as rows.
 *
 * Nothing depends on a session, so that a pooler that hands out connections by transaction may stand in between:
 * every name is qualified, statements are not prepared by name, locks end with the transaction.
 *
 * An operation that changes has this shape:
 *
 *	if (pg_begin(q, err) < 0)
 *		return -1;
 *	return pg_end(q, what_it_does(q, ..., err), err);
 *
 * What it does is mostly: lock the rows of some jobs (jobs_lock), change them in memory by the rules of the
 * queue in memory, write them back in one statement (jobs_write). Who changes samples of a job holds the job's row.
 *
 * So that nobody waits in a circle, a transaction locks in this order: the dataset's names (names_lock); rows of
 * nodes; of jobs; of shards (shards_lock); then all others, of one table. Of each kind all that it needs at once and by
 * id, or in several steps of rising ids; nothing of a kind once it has one of the next. An UPDATE or DELETE of several rows locks in whatever
 * order its plan has, so that what others may lock, too, is locked before. Whoever adds the path of a shard waits for another that has added it: no circle,
 * because of swaps that add several only one at a time gets past the gate of the turn (queue_postgres_turn.c), and the others add one.
 *
 * Counters: triggers add what every statement changed to table `tally`, as rows of their own, so that nobody
 * waits for a counter; pg_fold() puts them together now and then. What is shown is their sum.
 */
#ifndef LATENTD_QUEUE_QUEUE_POSTGRES_H
#define LATENTD_QUEUE_QUEUE_POSTGRES_H

#include "base/buffer.h"
#include "base/clock.h"
#include "queue/queue_nodes.h"

typedef struct pg_conn PGconn;
typedef struct pg_result PGresult;

#define PG_PAGE 1000 /* rows that one statement of a listing fetches */

/* What is counted of a dataset: jobs by enum job_state, then these. Stored as these numbers. */
enum pg_tally_kind {
	PG_TALLY_SHARDS = JOB_STATES,
	PG_TALLY_SAMPLES, /* live ones */
	PG_TALLY_SHARD_BYTES,
	PG_TALLY_RECAPTIONS,
	PG_TALLY_KINDS
};

struct pg_turn;

struct postgres_queue {
	struct queue base;
	char *conninfo, *node;
	bool callers_clock, readonly, in_transaction;
	bool is_open; /* queue_postgres_open() has returned it */
	int patience_ms;
	PGconn *conn;
	int64_t now;		/* the database's, when the transaction began */
	char xid[24];		/* of that transaction; "": it has none, as on a standby */
	char timeline[12];	/* of the server, when the transaction began */
	char beat_timeline[12]; /* at this node's last sign of life */
	int64_t tables;		/* where this node's row is: those of a restored dump are others */
	int64_t beat_tables;	/* at its last sign of life */
	int64_t node_id;	/* 0: not known yet */
	/* By the database's clock: this node's last sign of life, 0: none yet; and since when there was no gap between them. */
	int64_t beat_at, watches, timeout_ms;
	char *owner;		 /* the last one that was looked up, */
	int64_t owner_id;	 /* and its number */
	unsigned unfolded;	 /* transactions since pg_fold() */
	struct open_scan *scans; /* a list */
	struct pg_turn *turn;	 /* NULL: none */
};

static inline struct postgres_queue *postgres_queue(struct queue *q)
{
	return (struct postgres_queue *)q;
}

/* -- arguments of a statement --------------------------------------------------------------------- */

#define PG_ARGS_MAX 24

/* $1, $2, ... in the order of the calls: arrays as libpq's binary format has them, others as text. */
struct pg_args {
	struct buffer data;
	size_t at[PG_ARGS_MAX]; /* SIZE_MAX: NULL */
	int sizes[PG_ARGS_MAX]; /* of arrays; 0: text */
	uint32_t items;		/* of the array that is open */
	int count;
};

#define PG_ARGS_INIT                                                                               \
	{                                                                                          \
		.data = BUFFER_INIT                                                                \
	}

void pg_args_release(struct pg_args *a);
void pg_args_clear(struct pg_args *a);
void pg_int(struct pg_args *a, int64_t value);
void pg_null(struct pg_args *a);
/* NULL: null. */
void pg_text(struct pg_args *a, const char *s);
void pg_bytes(struct pg_args *a, const void *data, size_t size);
void pg_hash(struct pg_args *a, const struct hash128 *hash);

/* What an array is of: the type's number in PostgreSQL. */
enum pg_items { PG_BYTEA = 17, PG_BIGINT = 20, PG_UUID = 2950 };

/* An array: opened, filled with what it is of, closed. */
void pg_array(struct pg_args *a, enum pg_items what);
/* Of PG_BIGINT. */
void pg_item_int(struct pg_args *a, int64_t value);
void pg_item_null(struct pg_args *a);
/* Of PG_BYTEA; NULL: null. */
void pg_item_bytes(struct pg_args *a, const void *data, size_t size);
/* Of PG_UUID; NULL: null. */
void pg_item_hash(struct pg_args *a, const struct hash128 *hash);
void pg_array_end(struct pg_args *a);
void pg_ints(struct pg_args *a, const int64_t *values, size_t n);

/* -- rows of a COPY, in its binary format --------------------------------------------------------- */

/* Before the first row; after the last one. */
void pg_rows_begin(struct buffer *rows);
void pg_rows_end(struct buffer *rows);
/* Each row: how many columns, then these. */
void pg_row(struct buffer *rows, uint16_t columns);
/* @size: of the column's type, 2, 4 or 8 bytes. */
void pg_column_int(struct buffer *rows, unsigned size, int64_t value);
void pg_column_bytes(struct buffer *rows, const void *data, size_t size);
void pg_column_null(struct buffer *rows);

#define cleanup_pg_args cleanup_with(pg_args_release)

/* -- queue_postgres_connect.c --------------------------------------------------------------------- */

int pg_connect(struct postgres_queue *q, struct error *err);
void pg_disconnect(struct postgres_queue *q);
/* Numbers of nodes and owners that are remembered may be others' by now. */
void pg_forget_numbers(struct postgres_queue *q);
/* Which the server is on; a standby that took over is on another, and one that only reads on ''. */
#define PG_TIMELINE                                                                                \
	"CASE WHEN pg_is_in_recovery() THEN ''"                                                    \
	" ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END::text"
void pg_note_timeline(struct postgres_queue *q, const char *timeline);
/* libpq would print what a server says unasked, that it shuts down for instance. */
void pg_hush(PGconn *conn);
/* What libpq says, in one line and without its own prefixes. */
void pg_one_line(const char *message, char *out, size_t size);

/* For PQconnectdbParams() and its kin, with expand_dbname. */
struct pg_params {
	const char *names[12], *values[12];
};

struct pg_params pg_params_of(const char *conninfo);
/* What goes before what is written in the connection string; NULL: nothing. */
void pg_params_add(struct pg_params *params, const char *name, const char *value);

/*
 * For the server, after how much silence its client is gone by the measure that the client itself uses. Otherwise a node
 * that was cut off keeps its locks, and its place among the connections, for as long as the server's kernel likes: hours. A
 * pooler's connections may keep these settings. As columns; their arguments come first. False: out of memory.
 */
#define PG_PATIENCE                                                                                \
	"set_config('tcp_keepalives_idle', $1::text, false),"                                      \
	" set_config('tcp_keepalives_interval', $2::text, false),"                                 \
	" set_config('tcp_keepalives_count', $3::text, false),"                                    \
	" set_config('tcp_user_timeout', $4::text, false)"
bool pg_patience(const PGconn *conn, struct pg_args *args);

/* -- queue_postgres_hosts.c ----------------------------------------------------------------------- */

/* What libpq uses, wherever it found it; to be freed. NULL: nothing. */
char *pg_option(const PGconn *conn, const char *name);

struct pg_place {
	char *host, *port;
	char *address; /* NULL: the host is a socket's folder, or a name that has none now */
};

struct pg_places {
	struct pg_place *items;
	size_t count, capacity;
};

void pg_places_release(struct pg_places *places);
/* Each host of @conn, in order, with each of the addresses that it has now. */
void pg_places_of(const PGconn *conn, struct pg_places *places);

/* -- queue_postgres_db.c -------------------------------------------------------------------------- */

/* Rows in *out, to be freed with pg_free(). @args may be NULL. */
int pg_query(struct postgres_queue *q, const char *sql, const struct pg_args *args, PGresult **out,
	     struct error *err);
int pg_run(struct postgres_queue *q, const char *sql, const struct pg_args *args,
	   struct error *err);
/* Several statements without arguments. */
int pg_exec(struct postgres_queue *q, const char *sql, struct error *err);
/* COPY ... FROM STDIN (FORMAT binary) of @rows. */
int pg_copy(struct postgres_queue *q, const char *sql, const struct buffer *rows,
	    struct error *err);
/* A statement outside a transaction that only reads: asked again once where the connection was lost. */
int pg_read(struct postgres_queue *q, const char *sql, const struct pg_args *args, PGresult **out,
	    struct error *err);
void pg_free(PGresult **result);

#define cleanup_pg_result cleanup_with(pg_free)

int pg_rows(const PGresult *result);
bool pg_is_null(const PGresult *result, int row, int column);
/* 0 for NULL. */
int64_t pg_value(const PGresult *result, int row, int column);
/* Valid while the result is, and ended by NUL; "" for NULL. */
const char *pg_string(const PGresult *result, int row, int column);
size_t pg_size(const PGresult *result, int row, int column);
/* Zeros for NULL. */
struct hash128 pg_hash_of(const PGresult *result, int row, int column);

/* Asks for the database's time, too. */
int pg_begin(struct postgres_queue *q, struct error *err);
/*
 * Likewise, for what finds nothing to change more often than not: it takes no number, of which there are 2^32 until all
 * tables have been vacuumed, before its first change, which pg_number() precedes.
 */
int pg_begin_look(struct postgres_queue *q, struct error *err);
int pg_number(struct postgres_queue *q, struct error *err);
/*
 * What the caller's @time, seen from its @now, is by the database's clock: that counts, whatever clocks the nodes
 * have. The same as @time where tests own the clock.
 */
int64_t pg_time(const struct postgres_queue *q, int64_t time, int64_t now);
/*
 * Commits if @r is 0; rolls back what failed and what had an outcome. Returns @r, or -1. Where the connection ends
 * before the answer to COMMIT came, the database is asked what became of the transaction; that it is not known
 * is said only where that could not be asked for as long as patience_ms.
 */
int pg_end(struct postgres_queue *q, int r, struct error *err);
void pg_fold(struct postgres_queue *q);

/* -- queue_postgres_listen.c ---------------------------------------------------------------------- */

/* Nodes that listen hear of it when the transaction commits: jobs of @dataset are available. */
int pg_tell(struct postgres_queue *q, int64_t dataset, struct error *err);
struct queue_listener *pg_listener_new(struct queue *base);

/* -- queue_postgres_turn.c ------------------------------------------------------------------------ */

int pg_turn_take(struct queue *base, int64_t dataset, int64_t *now, struct error *err);
void pg_turn_end(struct queue *base);
void pg_turn_free(struct postgres_queue *q);
/* In a transaction, which nobody overtakes until its end: ERR_TRANSIENT if this queue had the turn and has lost it. */
int pg_turn_check(struct postgres_queue *q, int64_t dataset, struct error *err);

/* -- queue_postgres_schema.c ---------------------------------------------------------------------- */

/* Checks the schema's version, and makes or migrates it; for writing also pg_check_home(). */
int pg_schema(struct postgres_queue *q, struct error *err);
/*
 * The tables were made in this database, or somebody has said what became of the one that they were made in. A standby that was
 * promoted is the same database. ERR_CONFIG; while the queue is open ERR_TRANSIENT.
 */
int pg_check_home(struct postgres_queue *q, struct error *err);

/* -- queue_postgres_jobs.c ------------------------------------------------------------------------ */

struct pg_live { /* a live sample of a job */
	int64_t job, shard;
	uint32_t variant;
	uint64_t offset;
	struct hash128 content, latent;
	struct pg_live *next; /* of the job, by variant */
	bool dead;	      /* killed by the operation that is under way */
	bool is_new;	      /* made by it */
};

struct pg_job {
	int64_t id, dataset, rank;
	uint32_t root;
	uint64_t size, inode, caption; /* CAPTION_UNSEEN: not known */
	int64_t mtime_ns;
	enum job_state state;
	int64_t attempts, crashes, fence, due, updated_at;
	int64_t owner;	/* of the claim; 0: none */
	int64_t keeper; /* the node in whose spool a record is; 0: none is */
	bool changed, recaption, has_content, has_dropped;
	struct hash128 content, dropped;
	char *key, *path; /* both are always there */
	char *reason, *message;
	struct pg_live *live; /* of jobs_lock() */
	bool is_changed;      /* to be written */
};

struct pg_jobs {
	struct pg_job *items; /* by id */
	size_t count, capacity;
	struct pg_live *lives;
	size_t live_count;
};

void pg_jobs_release(struct pg_jobs *jobs);
#define cleanup_pg_jobs cleanup_with(pg_jobs_release)

/* Locks the rows of these jobs and reads them; ids that are not there are left out. */
int jobs_lock_alone(struct postgres_queue *q, const int64_t *ids, size_t n, struct pg_jobs *out,
		    struct error *err);
/* With their live samples. */
int jobs_lock(struct postgres_queue *q, const int64_t *ids, size_t n, struct pg_jobs *out,
	      struct error *err);
/* Those that are changed. */
int jobs_write(struct postgres_queue *q, const struct pg_jobs *jobs, struct error *err);
/* NULL: not among them. */
struct pg_job *jobs_find(const struct pg_jobs *jobs, int64_t id);

/* The first live sample; NULL: none. */
struct pg_live *job_live(const struct pg_job *job);
void job_set_state(struct pg_job *job, enum job_state state);
/* NULL: none. */
void job_says(struct pg_job *job, const char *reason, const char *message);
/* Without a trace of what went before. */
void job_complete(struct pg_job *job);
bool job_was_seen(const struct pg_job *job);

/* -- queue_postgres_take.c ------------------------------------------------------------------------ */

/* Its caption is waited for. */
bool spec_must_wait(const struct job_spec *spec);
/* The file is as @spec says; the job has its live samples. */
void job_take_spec(struct pg_job *job, const struct job_spec *spec, struct enqueue_counts *counts);

/* -- queue_postgres_jobs.c: names ----------------------------------------------------------------- */

/* A key that is NULL is the path's stem: to be freed. */
char *pg_key(const PGresult *result, int row, int key_column, int path_column);
/* Locks the dataset's names: until the end of the transaction nobody else adds any. */
int names_lock(struct postgres_queue *q, int64_t dataset, struct error *err);
/*
 * Jobs of @dataset that have one of @prints, without a lock, some of them twice: id, path, key (NULL: the stem), root, state,
 * size, mtime_ns, inode, caption.
 */
int names_find(struct postgres_queue *q, int64_t dataset, const int64_t *prints, size_t n,
	       PGresult **out, struct error *err);
/* The job that has @key, or 0. */
int pg_job_of_key(struct postgres_queue *q, int64_t dataset, const char *key, int64_t *id,
		  struct error *err);
/* ERR_BUG: no such dataset. */
int pg_dataset_check(struct postgres_queue *q, int64_t dataset, struct error *err);
/* That error. */
int pg_no_dataset(int64_t dataset, struct error *err);

struct ids {
	int64_t *items;
	size_t count, capacity;
};

void ids_add(struct ids *ids, int64_t id);
void ids_release(struct ids *ids);
/* The first column of all rows. */
void ids_of(struct ids *ids, const PGresult *result);
#define cleanup_ids cleanup_with(ids_release)

/* This node's number; it is added where it is not known. */
int node_number(struct postgres_queue *q, int64_t *id, struct error *err);

/* -- samples -------------------------------------------------------------------------------------- */

/* Locks the rows of these shards, as far as they are there. */
int shards_lock(struct postgres_queue *q, const int64_t *ids, size_t n, struct error *err);
/* @lives: made dead, and counted in their shards, which are locked. */
int samples_kill(struct postgres_queue *q, const struct pg_live *const *lives, size_t n,
		 struct error *err);

/* -- the operations ------------------------------------------------------------------------------- */

extern const struct queue_nodes_ops queue_postgres_nodes;

/* Of a node n; $1: now. */
#define PG_NODE_IS_ALIVE                                                                           \
	"(n.instance IS NOT NULL AND NOT n.left_in_order AND n.beat_at + n.timeout_ms >= "         \
	"$1::bigint)"
/* ERR_CONFIG. */
int pg_no_such_node(const char *node, struct error *err);

int queue_postgres_forget(struct queue *base, const char *node, size_t *requeued,
			  struct error *err);
int queue_postgres_forget_silent(struct queue *base, int64_t silent_ms, queue_forgotten_fn fn,
				 void *arg, struct error *err);

int queue_postgres_open_dataset(struct queue *base, const struct queue_dataset_spec *spec,
				int64_t *id, struct error *err);
int queue_postgres_datasets(struct queue *base, queue_dataset_fn fn, void *arg, struct error *err);
int queue_postgres_enqueue(struct queue *base, int64_t dataset, const struct job_spec *specs,
			   size_t n, struct enqueue_counts *counts, struct error *err);
int queue_postgres_scan_begin(struct queue *base, int64_t dataset, const uint32_t *roots, size_t n,
			      struct error *err);
int queue_postgres_scan_end(struct queue *base, int64_t dataset, enum scan_end how, int64_t now,
			    struct scan_counts *counts, struct error *err);
int queue_postgres_claim(struct queue *base, const struct queue_claim *claim, struct job *jobs,
			 size_t *n, struct error *err);
int queue_postgres_extend(struct queue *base, const char *owner, int64_t lease_until,
			  struct error *err);
int queue_postgres_settle(struct queue *base, const struct job_outcome *outcomes, size_t n,
			  int64_t now, size_t *lost, struct error *err);
int queue_postgres_rescue(struct queue *base, int64_t dataset, const char *owner, int64_t now,
			  size_t *rescued, struct error *err);
int queue_postgres_requeue_lost(struct queue *base, int64_t dataset, const int64_t *spooled,
				size_t n, int64_t now, size_t *requeued, struct error *err);
int queue_postgres_retry(struct queue *base, const struct job_filter *which, int64_t now,
			 size_t *retried, struct error *err);
int queue_postgres_cancel(struct queue *base, const struct job_filter *which, int64_t now,
			  size_t *cancelled, struct error *err);
int queue_postgres_find_content(struct queue *base, int64_t dataset, const struct hash128 *content,
				struct content_found *found, struct error *err);
int queue_postgres_find_variants(struct queue *base, struct content_found *found,
				 struct error *err);
int queue_postgres_swap(struct queue *base, const struct queue_swap *swap, int64_t now,
			int64_t *shard_ids, struct error *err);
int queue_postgres_drop_shard(struct queue *base, int64_t shard, int64_t now, size_t *requeued,
			      struct error *err);
int queue_postgres_drop_samples(struct queue *base, int64_t shard, const uint64_t *offsets,
				size_t n, int64_t now, size_t *requeued, struct error *err);
int queue_postgres_retired(struct queue *base, int64_t dataset, queue_retired_fn fn, void *arg,
			   struct error *err);
int queue_postgres_forget_retired(struct queue *base, const int64_t *shards, size_t n,
				  struct error *err);
int queue_postgres_recaptions(struct queue *base, int64_t dataset, int64_t shard,
			      queue_recaption_fn fn, void *arg, struct error *err);
int queue_postgres_recaption(struct queue *base, int64_t dataset, const char *const *keys, size_t n,
			     struct error *err);
int queue_postgres_recaptioned(struct queue *base, const struct recaptioned *done, size_t n,
			       struct error *err);
int queue_postgres_counts(struct queue *base, int64_t dataset, struct queue_counts *out,
			  struct error *err);
int queue_postgres_jobs(struct queue *base, const struct job_filter *which, queue_job_fn fn,
			void *arg, struct error *err);
int queue_postgres_reasons(struct queue *base, int64_t dataset, enum job_state state,
			   queue_reason_fn fn, void *arg, struct error *err);
int queue_postgres_duplicates(struct queue *base, int64_t dataset, const struct hash128 *after,
			      size_t limit, queue_duplicate_fn fn, void *arg, struct error *err);
int queue_postgres_shards(struct queue *base, int64_t dataset, queue_shard_fn fn, void *arg,
			  struct error *err);
int queue_postgres_samples(struct queue *base, int64_t shard, queue_sample_fn fn, void *arg,
			   struct error *err);
int queue_postgres_spend(struct queue *base, const char *account, uint64_t requests, uint64_t bytes,
			 int64_t now, struct error *err);
int queue_postgres_spent(struct queue *base, const char *account, queue_spent_fn fn, void *arg,
			 struct error *err);
int queue_postgres_keep_history(struct queue *base, const struct history_row *rows, size_t n,
				struct error *err);
int queue_postgres_history(struct queue *base, queue_history_fn fn, void *arg, struct error *err);

#endif
