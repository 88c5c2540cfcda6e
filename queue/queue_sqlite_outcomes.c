/*
 * What becomes of claims but for their outcomes, and of jobs by the hand of a person: extended, rescued, retried,
 * cancelled.
 */
#include "queue/queue_sqlite.h"

#include "base/checked.h"

#include <sqlite3.h>
#include <stdio.h>

static int extend_leases(struct sqlite_queue *q, const char *owner, int64_t lease_until,
			 struct error *err)
{
	static const char sql[] = "UPDATE work INDEXED BY work_state SET due = ?2"
				  " WHERE state = 2 AND owner = ?1";
	struct sqlite3_stmt *stmt;
	int64_t me;

	if (owner_find(q, owner, &me, err) < 0)
		return -1;
	stmt = db_stmt(q, STMT_EXTEND, sql, err);
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, me);
	db_bind_int(stmt, 2, lease_until);
	return db_run(q, stmt, err);
}

int queue_sqlite_extend(struct queue *base, const char *owner, int64_t lease_until,
			struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);

	if (db_begin(q, err) < 0)
		return -1;
	return db_end(q, extend_leases(q, owner, lease_until, err), err);
}

/* -- back to available ---------------------------------------------------------------------------- */

struct ids {
	int64_t *items;
	size_t count, capacity;
};

static void ids_release(struct ids *ids)
{
	free(ids->items);
}

/* The first column of all rows: collected first, for the index that finds them changes with every job. */
static int collect(struct sqlite_queue *q, struct sqlite3_stmt *stmt, struct ids *out,
		   struct error *err)
{
	int r;

	while ((r = db_step(q, stmt, err)) > 0) {
		ARRAY_GROW(out->items, out->count, out->capacity);
		out->items[out->count++] = sqlite3_column_int64(stmt, 0);
	}
	return r;
}

#define CRASH_MESSAGE "its owner died %lld times, at last while it ran alone"

static int rescue_one(struct sqlite_queue *q, int64_t job, bool crashed, int64_t now, size_t *count,
		      struct error *err)
{
	char message[96];
	struct work w;

	if (job_read(q, job, &w, err) < 0)
		return -1;
	w.updated_at = now;
	w.state = JOB_AVAILABLE;
	if (crashed) {
		w.crashes++;
		w.attempts--;
	}
	if (crashed && w.crashes >= QUEUE_BLAMED_CRASHES) {
		snprintf(message, sizeof(message), CRASH_MESSAGE, (long long)w.crashes);
		w.state = JOB_QUARANTINED;
		w.says = true;
		w.reason = "crash";
		w.message = message;
	} else {
		++*count;
	}
	return job_write(q, &w, err);
}

/* Running jobs of others (@crashed), or of @me whose lease ended. */
static int rescue_from(struct sqlite_queue *q, int64_t dataset, int64_t me, bool crashed,
		       int64_t now, size_t *count, struct error *err)
{
	static const char sql[] = "SELECT job FROM work INDEXED BY work_state"
				  " WHERE state = 2 AND dataset = ?4"
				  " AND iif(?3, owner <> ?1, owner = ?1 AND due < ?2)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOBS_RUNNING, sql, err);
	cleanup_with(ids_release) struct ids ids = {NULL, 0, 0};

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, me);
	db_bind_int(stmt, 2, now);
	db_bind_int(stmt, 3, crashed);
	db_bind_int(stmt, 4, dataset);
	if (collect(q, stmt, &ids, err) < 0)
		return -1;
	for (size_t i = 0; i < ids.count; i++) {
		if (rescue_one(q, ids.items[i], crashed, now, count, err) < 0)
			return -1;
	}
	return 0;
}

static int rescue_jobs(struct sqlite_queue *q, int64_t dataset, const char *owner, int64_t now,
		       size_t *count, struct error *err)
{
	static const char unused[] =
	    "DELETE FROM owner WHERE id <> ?1 AND id NOT IN"
	    " (SELECT owner FROM work INDEXED BY work_state WHERE state = 2)";
	struct sqlite3_stmt *stmt;
	int64_t me;

	if (owner_find(q, owner, &me, err) < 0 ||
	    rescue_from(q, dataset, me, true, now, count, err) < 0 ||
	    rescue_from(q, dataset, me, false, now, count, err) < 0)
		return -1;
	stmt = db_stmt(q, STMT_OWNER_DELETE, unused, err);
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, me);
	return db_run(q, stmt, err);
}

int queue_sqlite_rescue(struct queue *base, int64_t dataset, const char *owner, int64_t now,
			size_t *rescued, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t count = 0;

	if (db_begin(q, err) < 0 ||
	    db_end(q, rescue_jobs(q, dataset, owner, now, &count, err), err) < 0)
		return -1;
	*rescued = count;
	return 0;
}

static int compare_ids(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

	return a < b ? -1 : a > b;
}

static int requeue_lost(struct sqlite_queue *q, int64_t dataset, const int64_t *spooled, size_t n,
			int64_t now, size_t *count, struct error *err)
{
	static const char sql[] = "SELECT job FROM work WHERE spooled = 1 AND dataset = ?1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOBS_SPOOLED, sql, err);
	cleanup_with(ids_release) struct ids ids = {NULL, 0, 0};

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	if (collect(q, stmt, &ids, err) < 0)
		return -1;
	for (size_t i = 0; i < ids.count; i++) {
		struct work w;

		if (n > 0 && bsearch(&ids.items[i], spooled, n, sizeof(*spooled), compare_ids))
			continue;
		if (job_read(q, ids.items[i], &w, err) < 0)
			return -1;
		w.spooled = w.has_content = false;
		if (w.state == JOB_ENCODED) {
			w.state = JOB_AVAILABLE;
			w.updated_at = now;
			++*count;
		}
		if (job_write(q, &w, err) < 0)
			return -1;
	}
	return 0;
}

int queue_sqlite_requeue_lost(struct queue *base, int64_t dataset, const int64_t *spooled, size_t n,
			      int64_t now, size_t *requeued, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t count = 0;

	if (db_begin(q, err) < 0 ||
	    db_end(q, requeue_lost(q, dataset, spooled, n, now, &count, err), err) < 0)
		return -1;
	*requeued = count;
	return 0;
}

/* -- by a person ---------------------------------------------------------------------------------- */

/* Jobs without attempts and reason. */
static int set_all(struct sqlite_queue *q, const struct ids *ids, enum job_state state, int64_t now,
		   struct error *err)
{
	for (size_t i = 0; i < ids->count; i++) {
		struct work w;

		if (job_read(q, ids->items[i], &w, err) < 0)
			return -1;
		if (state == JOB_AVAILABLE)
			w.attempts = 0;
		w.state = state;
		w.updated_at = now;
		w.says = true;
		if (job_write(q, &w, err) < 0)
			return -1;
	}
	return 0;
}

/* -1: all. */
static int64_t limit_of(const struct job_filter *which)
{
	return which->limit > 0 && which->limit < INT64_MAX ? (int64_t)which->limit : -1;
}

/* What one key names; 0: nothing. */
static int find_key(struct sqlite_queue *q, const struct job_filter *which, int64_t *id,
		    struct error *err)
{
	*id = 0;
	return which->key ? job_of_key(q, which->dataset, which->key, id, err) : 0;
}

static int retry_jobs(struct sqlite_queue *q, const struct job_filter *which, int64_t now,
		      size_t *count, struct error *err)
{
	static const char sql[] = "SELECT job FROM work INDEXED BY work_state"
				  " WHERE state = ?1 AND dataset = ?2 AND job > ?3"
				  " AND (?4 IS NULL OR reason = ?4) AND (?5 IS NULL OR job = ?5)"
				  " ORDER BY job LIMIT ?6";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOBS_RETRIED, sql, err);
	cleanup_with(ids_release) struct ids ids = {NULL, 0, 0};
	int64_t only;

	if (!stmt || find_key(q, which, &only, err) < 0)
		return -1;
	db_bind_int(stmt, 1, which->state);
	db_bind_int(stmt, 2, which->dataset);
	db_bind_int(stmt, 3, which->after);
	db_bind_text(stmt, 4, which->reason);
	if (which->key)
		db_bind_int(stmt, 5, only);
	else
		db_bind_null(stmt, 5);
	db_bind_int(stmt, 6, limit_of(which));
	if (collect(q, stmt, &ids, err) < 0 || set_all(q, &ids, JOB_AVAILABLE, now, err) < 0)
		return -1;
	*count = ids.count;
	return 0;
}

int queue_sqlite_retry(struct queue *base, const struct job_filter *which, int64_t now,
		       size_t *retried, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t count = 0;

	if (db_begin(q, err) < 0 || db_end(q, retry_jobs(q, which, now, &count, err), err) < 0)
		return -1;
	*retried = count;
	return 0;
}

static int collect_cancelled(struct sqlite_queue *q, const struct job_filter *which,
			     struct ids *out, struct error *err)
{
	static const char sql[] =
	    "SELECT job, rank FROM todo WHERE dataset = ?1 UNION ALL"
	    " SELECT work.job, job.rank FROM work INDEXED BY work_state"
	    "  CROSS JOIN job ON job.id = work.job WHERE state IN (0, 5) AND work.dataset = ?1"
	    " UNION ALL SELECT work.job, job.rank FROM work INDEXED BY work_suspect"
	    "  CROSS JOIN job ON job.id = work.job"
	    "  WHERE crashes >= 3 AND work.dataset = ?1 AND state = 1"
	    " ORDER BY 2, 1 LIMIT ?2";
	struct sqlite3_stmt *stmt;

	if (todo_fill(q, 0, err) < 0)
		return -1;
	stmt = db_stmt(q, STMT_JOBS_CANCELLED, sql, err);
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, which->dataset);
	db_bind_int(stmt, 2, limit_of(which));
	return collect(q, stmt, out, err);
}

static int collect_one(struct sqlite_queue *q, const struct job_filter *which, struct ids *out,
		       struct error *err)
{
	struct work w;
	int64_t id;

	if (find_key(q, which, &id, err) < 0)
		return -1;
	if (id == 0)
		return 0;
	if (job_read(q, id, &w, err) < 0)
		return -1;
	if (w.state != JOB_WAITING && w.state != JOB_AVAILABLE && w.state != JOB_RETRYABLE)
		return 0;
	ARRAY_GROW(out->items, out->count, out->capacity);
	out->items[out->count++] = id;
	return 0;
}

static int cancel_jobs(struct sqlite_queue *q, const struct job_filter *which, int64_t now,
		       size_t *count, struct error *err)
{
	cleanup_with(ids_release) struct ids ids = {NULL, 0, 0};
	int r =
	    which->key ? collect_one(q, which, &ids, err) : collect_cancelled(q, which, &ids, err);

	*count = ids.count;
	return r < 0 ? -1 : set_all(q, &ids, JOB_CANCELLED, now, err);
}

int queue_sqlite_cancel(struct queue *base, const struct job_filter *which, int64_t now,
			size_t *cancelled, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t count = 0;

	if (db_begin(q, err) < 0 || db_end(q, cancel_jobs(q, which, now, &count, err), err) < 0)
		return -1;
	*cancelled = count;
	return 0;
}
