/*
 * What becomes of claims: extended, settled, rescued, retried.
 */
#include "queue/queue_sqlite.h"

#include "base/checked.h"

#include <assert.h>
#include <sqlite3.h>

static int extend_leases(struct sqlite_queue *q, const char *owner, int64_t lease_until,
			 struct error *err)
{
	static const char sql[] = "UPDATE job INDEXED BY job_side SET due = ?2"
				  " WHERE state = 2 AND state NOT IN (1, 4) AND owner = ?1";
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

/* -- settle --------------------------------------------------------------------------------------- */

static enum job_state state_after(enum outcome_kind kind)
{
	switch (kind) {
	case OUTCOME_ENCODED:
		return JOB_ENCODED;
	case OUTCOME_RETRY:
		return JOB_RETRYABLE;
	case OUTCOME_RELEASE:
		return JOB_AVAILABLE;
	case OUTCOME_QUARANTINE:
		return JOB_QUARANTINED;
	case OUTCOME_SKIP:
		return JOB_SKIPPED;
	case OUTCOME_GONE:
		break;
	}
	return JOB_GONE;
}

static int settle_one(struct sqlite_queue *q, const struct job_outcome *o, int64_t now,
		      size_t *lost, struct error *err)
{
	static const char sql[] =
	    "UPDATE job SET state = ?3, attempts = attempts - ?4, owner = NULL, due = ?5,"
	    " content = ifnull(?6, content), reason = iif(?4, reason, ?7),"
	    " message = iif(?4, message, ?8), updated_at = ?9"
	    " WHERE id = ?1 AND fence = ?2 AND state = 2 RETURNING dataset";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SETTLE, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, o->job);
	db_bind_int(stmt, 2, (int64_t)o->fence);
	db_bind_int(stmt, 3, state_after(o->kind));
	db_bind_int(stmt, 4, o->kind == OUTCOME_RELEASE);
	if (o->kind == OUTCOME_RETRY)
		db_bind_int(stmt, 5, o->not_before);
	else
		db_bind_null(stmt, 5);
	db_bind_blob(stmt, 6, o->has_content ? o->content.bytes : NULL, sizeof(o->content.bytes));
	db_bind_text(stmt, 7, o->reason);
	db_bind_text(stmt, 8, o->message);
	db_bind_int(stmt, 9, now);
	r = db_step(q, stmt, err);
	if (r < 0)
		return -1;
	if (r == 0) {
		++*lost;
		return 0;
	}
	db_tally_move(q, sqlite3_column_int64(stmt, 0), JOB_RUNNING, state_after(o->kind));
	db_done(stmt);
	return 0;
}

static int settle_all(struct sqlite_queue *q, const struct job_outcome *outcomes, size_t n,
		      int64_t now, size_t *lost, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		if (settle_one(q, &outcomes[i], now, lost, err) < 0)
			return -1;
	}
	return 0;
}

int queue_sqlite_settle(struct queue *base, const struct job_outcome *outcomes, size_t n,
			int64_t now, size_t *lost, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t counted = 0;

	if (db_begin(q, err) < 0 ||
	    db_end(q, settle_all(q, outcomes, n, now, &counted, err), err) < 0)
		return -1;
	*lost = counted;
	return 0;
}

/* -- back to available ---------------------------------------------------------------------------- */

/* Runs an UPDATE that made jobs available and returns the dataset of each. */
static int count_available(struct sqlite_queue *q, struct sqlite3_stmt *stmt, enum job_state from,
			   size_t *count, struct error *err)
{
	int r;

	while ((r = db_step(q, stmt, err)) > 0) {
		db_tally_move(q, sqlite3_column_int64(stmt, 0), from, JOB_AVAILABLE);
		++*count;
	}
	return r;
}

static int rescue_jobs(struct sqlite_queue *q, const char *owner, int64_t now, size_t *count,
		       struct error *err)
{
	static const char sql[] =
	    "UPDATE job INDEXED BY job_side SET state = 1, owner = NULL, due = NULL,"
	    " updated_at = ?2, crashes = crashes + (owner <> ?1),"
	    " attempts = attempts - (owner <> ?1)"
	    " WHERE state = 2 AND state NOT IN (1, 4) AND (owner <> ?1 OR due < ?2)"
	    " RETURNING dataset";
	struct sqlite3_stmt *stmt;
	int64_t me;

	if (owner_find(q, owner, &me, err) < 0)
		return -1;
	stmt = db_stmt(q, STMT_RESCUE, sql, err);
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, me);
	db_bind_int(stmt, 2, now);
	if (count_available(q, stmt, JOB_RUNNING, count, err) < 0)
		return -1;
	/* No job has another owner any more. */
	stmt = db_stmt(q, STMT_OWNER_DELETE, "DELETE FROM owner WHERE id <> ?1", err);
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, me);
	return db_run(q, stmt, err);
}

int queue_sqlite_rescue(struct queue *base, const char *owner, int64_t now, size_t *rescued,
			struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t count = 0;

	if (db_begin(q, err) < 0 || db_end(q, rescue_jobs(q, owner, now, &count, err), err) < 0)
		return -1;
	*rescued = count;
	return 0;
}

struct ids {
	int64_t *items;
	size_t count, capacity;
};

static void ids_release(struct ids *ids)
{
	free(ids->items);
}

static int compare_ids(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

	return a < b ? -1 : a > b;
}

/* Collected first: the index that finds them changes with every job that is requeued. */
static int find_lost(struct sqlite_queue *q, const int64_t *spooled, size_t n, struct ids *lost,
		     struct error *err)
{
	static const char sql[] = "SELECT id FROM job INDEXED BY job_side"
				  " WHERE state = 3 AND state NOT IN (1, 4)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_ENCODED_IDS, sql, err);
	int r;

	if (!stmt)
		return -1;
	while ((r = db_step(q, stmt, err)) > 0) {
		int64_t id = sqlite3_column_int64(stmt, 0);

		if (n > 0 && bsearch(&id, spooled, n, sizeof(id), compare_ids))
			continue;
		ARRAY_GROW(lost->items, lost->count, lost->capacity);
		lost->items[lost->count++] = id;
	}
	return r;
}

static int requeue_lost(struct sqlite_queue *q, const int64_t *spooled, size_t n, int64_t now,
			size_t *count, struct error *err)
{
	static const char sql[] =
	    "UPDATE job SET state = 1, updated_at = ?2 WHERE id = ?1 RETURNING dataset";
	cleanup_with(ids_release) struct ids lost = {NULL, 0, 0};

	if (find_lost(q, spooled, n, &lost, err) < 0)
		return -1;
	for (size_t i = 0; i < lost.count; i++) {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_ENCODED_LOST, sql, err);

		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, lost.items[i]);
		db_bind_int(stmt, 2, now);
		if (count_available(q, stmt, JOB_ENCODED, count, err) < 0)
			return -1;
	}
	return 0;
}

int queue_sqlite_requeue_lost(struct queue *base, const int64_t *spooled, size_t n, int64_t now,
			      size_t *requeued, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t count = 0;

	if (db_begin(q, err) < 0 ||
	    db_end(q, requeue_lost(q, spooled, n, now, &count, err), err) < 0)
		return -1;
	*requeued = count;
	return 0;
}

static int retry_jobs(struct sqlite_queue *q, int64_t dataset, enum job_state from,
		      const char *reason, int64_t now, size_t *count, struct error *err)
{
	static const char sql[] =
	    "UPDATE job INDEXED BY job_side SET state = 1, attempts = 0, reason = NULL,"
	    " message = NULL, updated_at = ?3"
	    " WHERE state = ?4 AND state NOT IN (1, 4) AND dataset = ?1"
	    " AND (?2 IS NULL OR reason = ?2) RETURNING dataset";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_RETRY, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	db_bind_text(stmt, 2, reason);
	db_bind_int(stmt, 3, now);
	db_bind_int(stmt, 4, from);
	return count_available(q, stmt, from, count, err);
}

int queue_sqlite_retry(struct queue *base, int64_t dataset, enum job_state from, const char *reason,
		       int64_t now, size_t *retried, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t count = 0;

	if (db_begin(q, err) < 0 ||
	    db_end(q, retry_jobs(q, dataset, from, reason, now, &count, err), err) < 0)
		return -1;
	*retried = count;
	return 0;
}
