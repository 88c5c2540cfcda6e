/*
 * Claims that end with an outcome.
 */
#include "queue/queue_sqlite.h"

#include <sqlite3.h>
#include <string.h>

static enum job_state state_after(enum outcome_kind kind)
{
	switch (kind) {
	case OUTCOME_ENCODED:
	case OUTCOME_KEPT:
		return JOB_ENCODED;
	case OUTCOME_RETRY:
	case OUTCOME_POSTPONE:
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

/* What an outcome has to know of its claim. */
struct claimed {
	int64_t dataset, crashes;
};

/* 1: the job is running with the outcome's fence. 0: it is not. */
static int find_claim(struct sqlite_queue *q, const struct job_outcome *o, struct claimed *out,
		      struct error *err)
{
	static const char sql[] = "SELECT dataset, crashes FROM work"
				  " WHERE job = ?1 AND fence = ?2 AND +state = 2";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_CLAIM_FIND, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, o->job);
	db_bind_int(stmt, 2, (int64_t)o->fence);
	r = db_step(q, stmt, err);
	if (r <= 0)
		return r;
	out->dataset = sqlite3_column_int64(stmt, 0);
	out->crashes = sqlite3_column_int64(stmt, 1);
	db_done(stmt);
	return 1;
}

/*
 * Everything but KEPT. Asking first and changing then takes a third of the time of an UPDATE with RETURNING,
 * for which SQLite opens a temporary table each time.
 */
static int settle_plain(struct sqlite_queue *q, const struct job_outcome *o, enum outcome_kind kind,
			int64_t now, size_t *lost, struct error *err)
{
	static const char sql[] =
	    "UPDATE work SET state = ?2, attempts = attempts - ?3, owner = NULL, due = ?4,"
	    " changed = iif(?9, 0, changed), spooled = iif(?9, 1, spooled),"
	    " content = iif(?9, ?5, content), reason = iif(?10, reason, ?6),"
	    " message = iif(?10, message, ?7), updated_at = ?8 WHERE job = ?1";
	struct sqlite3_stmt *stmt;
	struct claimed claimed;
	int r = find_claim(q, o, &claimed, err);

	if (r <= 0) {
		*lost += r == 0;
		return r;
	}
	stmt = db_stmt(q, STMT_SETTLE, sql, err);
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, o->job);
	db_bind_int(stmt, 2, state_after(kind));
	db_bind_int(stmt, 3, kind == OUTCOME_RELEASE || kind == OUTCOME_POSTPONE);
	if (kind == OUTCOME_RETRY || kind == OUTCOME_POSTPONE)
		db_bind_int(stmt, 4, o->not_before);
	else
		db_bind_null(stmt, 4);
	db_bind_blob(stmt, 5, o->has_content ? o->content.bytes : NULL, sizeof(o->content.bytes));
	db_bind_text(stmt, 6, o->reason);
	db_bind_text(stmt, 7, o->message);
	db_bind_int(stmt, 8, now);
	db_bind_int(stmt, 9, kind == OUTCOME_ENCODED);
	db_bind_int(stmt, 10, kind == OUTCOME_RELEASE);
	if (db_run(q, stmt, err) < 0)
		return -1;
	db_tally_move(q, claimed.dataset, JOB_RUNNING, state_after(kind));
	if (kind == OUTCOME_SKIP && o->has_content && o->reason &&
	    strcmp(o->reason, "duplicate") == 0)
		return dropped_put(q, o->job, &o->content, err);
	if (kind == OUTCOME_RELEASE && claimed.crashes < QUEUE_SUSPECT_CRASHES)
		return todo_insert(q, o->job, err);
	return 0;
}

static int settle_kept(struct sqlite_queue *q, const struct job_outcome *o, int64_t now,
		       size_t *lost, struct error *err)
{
	struct live_sample live; /* of any variant: all have the same content */
	struct work w;
	int r = job_try(q, o->job, NULL, NULL, &w, err);

	if (r < 0)
		return -1;
	if (r != 0 || w.state != JOB_RUNNING || (uint64_t)w.fence != o->fence) {
		++*lost;
		return 0;
	}
	if (w.spooled && w.has_content && hash128_equal(&w.content, &o->content))
		return settle_plain(q, o, OUTCOME_ENCODED, now, lost, err);
	if (sample_find(q, w.rank, w.job, ANY_VARIANT, &live, err) < 0)
		return -1;
	if (live.id == 0 || !hash128_equal(&live.content, &o->content))
		return settle_plain(q, o, OUTCOME_RELEASE, now, lost, err);
	w.state = JOB_COMPLETED;
	return job_write(q, &w, err);
}

static int settle_one(struct sqlite_queue *q, const struct job_outcome *o, int64_t now,
		      size_t *lost, struct error *err)
{
	if (o->kind == OUTCOME_KEPT)
		return settle_kept(q, o, now, lost, err);
	return settle_plain(q, o, o->kind, now, lost, err);
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
