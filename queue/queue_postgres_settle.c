/*
 * Claims that end with an outcome, and what a person does with jobs.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <string.h>

static enum outcome_kind kind_of_kept(const struct pg_job *job, const struct hash128 *content)
{
	const struct pg_live *live = job_live(job);

	if (job->keeper != 0 && job->has_content && hash128_equal(&job->content, content))
		return OUTCOME_ENCODED;
	return live && hash128_equal(&live->content, content) ? OUTCOME_KEPT : OUTCOME_RELEASE;
}

static void settle_one(struct pg_job *job, const struct job_outcome *o, int64_t node, int64_t now,
		       int64_t not_before)
{
	static const enum job_state after[] = {
	    [OUTCOME_ENCODED] = JOB_ENCODED,	[OUTCOME_RETRY] = JOB_RETRYABLE,
	    [OUTCOME_RELEASE] = JOB_AVAILABLE,	[OUTCOME_QUARANTINE] = JOB_QUARANTINED,
	    [OUTCOME_SKIP] = JOB_SKIPPED,	[OUTCOME_GONE] = JOB_GONE,
	    [OUTCOME_POSTPONE] = JOB_RETRYABLE,
	};
	enum outcome_kind kind = o->kind == OUTCOME_KEPT ? kind_of_kept(job, &o->content) : o->kind;

	if (kind == OUTCOME_KEPT) {
		job_complete(job);
		return;
	}
	job_set_state(job, after[kind]);
	job->updated_at = now;
	if (kind == OUTCOME_SKIP && o->has_content && o->reason &&
	    strcmp(o->reason, "duplicate") == 0) {
		job->has_dropped = true;
		job->dropped = o->content;
	}
	if (kind == OUTCOME_RELEASE || kind == OUTCOME_POSTPONE)
		job->attempts--;
	if (kind == OUTCOME_RELEASE)
		return;
	if (kind == OUTCOME_RETRY || kind == OUTCOME_POSTPONE)
		job->due = not_before;
	if (kind == OUTCOME_ENCODED) {
		job->changed = false;
		/* One that is kept lies where it lay. */
		if (o->kind == OUTCOME_ENCODED)
			job->keeper = node;
		job->has_content = o->has_content;
		job->content = o->content;
	}
	job_says(job, o->reason, o->message);
}

static int settle_all(struct postgres_queue *q, const struct job_outcome *outcomes, size_t n,
		      int64_t now, size_t *lost, struct error *err)
{
	cleanup_ids struct ids ids = {NULL, 0, 0};
	cleanup_pg_jobs struct pg_jobs jobs = {0};
	bool kept = false;

	for (size_t i = 0; i < n; i++) {
		ids_add(&ids, outcomes[i].job);
		kept = kept || outcomes[i].kind == OUTCOME_KEPT;
	}
	if (q->node_id == 0 && node_number(q, &q->node_id, err) < 0)
		return -1;
	/* Where what is kept lies is in the samples. */
	if ((kept ? jobs_lock : jobs_lock_alone)(q, ids.items, ids.count, &jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct job_outcome *o = &outcomes[i];
		struct pg_job *job = jobs_find(&jobs, o->job);

		if (!job || job->state != JOB_RUNNING || (uint64_t)job->fence != o->fence) {
			++*lost;
			continue;
		}
		settle_one(job, o, q->node_id, pg_time(q, now, now),
			   pg_time(q, o->not_before, now));
	}
	return jobs_write(q, &jobs, err);
}

int queue_postgres_settle(struct queue *base, const struct job_outcome *outcomes, size_t n,
			  int64_t now, size_t *lost, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	size_t counted = 0;
	int r;

	if (pg_begin(q, err) < 0)
		return -1;
	r = pg_end(q, settle_all(q, outcomes, n, now, &counted, err), err);
	pg_fold(q);
	if (r == 0)
		*lost = counted;
	return r;
}

/* -- by a person ---------------------------------------------------------------------------------- */

static int64_t limit_of(const struct job_filter *which)
{
	return which->limit > 0 && which->limit < INT64_MAX ? (int64_t)which->limit : INT64_MAX;
}

/* $1 dataset, $2 the one job that is meant or NULL, $3 limit; of a retry also $4 state, $5 after, $6 reason or NULL. */
static int collect(struct postgres_queue *q, const char *sql, const struct job_filter *which,
		   bool retry, struct ids *ids, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	int64_t only = 0;

	if (which->key && pg_job_of_key(q, which->dataset, which->key, &only, err) < 0)
		return -1;
	pg_int(&args, which->dataset);
	if (which->key)
		pg_int(&args, only);
	else
		pg_null(&args);
	pg_int(&args, limit_of(which));
	if (retry) {
		pg_int(&args, which->state);
		pg_int(&args, which->after);
		pg_text(&args, which->reason);
	}
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	ids_of(ids, result);
	return 0;
}

/* What @sql names, without attempts and reason. */
static int set_all(struct postgres_queue *q, const char *sql, const struct job_filter *which,
		   enum job_state state, int64_t now, size_t *count, struct error *err)
{
	cleanup_ids struct ids ids = {NULL, 0, 0};
	cleanup_pg_jobs struct pg_jobs jobs = {0};

	if (collect(q, sql, which, state == JOB_AVAILABLE, &ids, err) < 0 ||
	    jobs_lock_alone(q, ids.items, ids.count, &jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < jobs.count; i++) {
		struct pg_job *job = &jobs.items[i];
		bool waits = job->state == JOB_WAITING || job->state == JOB_AVAILABLE ||
			     job->state == JOB_RETRYABLE;

		/* It may have become another while its lock was waited for. */
		if (state == JOB_CANCELLED ? !waits : job->state != which->state)
			continue;
		job_set_state(job, state);
		job_says(job, NULL, NULL);
		job->updated_at = now;
		if (state == JOB_AVAILABLE)
			job->attempts = 0;
		++*count;
	}
	return jobs_write(q, &jobs, err);
}

static int by_person(struct queue *base, const char *sql, const struct job_filter *which,
		     enum job_state state, int64_t now, size_t *out, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	size_t count = 0;
	int r;

	if (pg_begin(q, err) < 0)
		return -1;
	r = pg_end(q, set_all(q, sql, which, state, pg_time(q, now, now), &count, err), err);
	if (r == 0)
		*out = count;
	return r;
}

int queue_postgres_retry(struct queue *base, const struct job_filter *which, int64_t now,
			 size_t *retried, struct error *err)
{
	static const char sql[] =
	    "SELECT id FROM latentd.job WHERE dataset = $1::bigint AND state = $4::smallint"
	    " AND state NOT IN (1, 2, 3, 4) AND id > $5::bigint"
	    " AND ($6::text IS NULL OR reason = $6) AND ($2::bigint IS NULL OR id = $2)"
	    " ORDER BY id LIMIT $3::bigint";

	return by_person(base, sql, which, JOB_AVAILABLE, now, retried, err);
}

int queue_postgres_cancel(struct queue *base, const struct job_filter *which, int64_t now,
			  size_t *cancelled, struct error *err)
{
	static const char sql[] =
	    "SELECT id FROM latentd.job WHERE dataset = $1::bigint AND state IN (0, 1, 5)"
	    " AND ($2::bigint IS NULL OR id = $2) ORDER BY rank, id LIMIT $3::bigint";

	return by_person(base, sql, which, JOB_CANCELLED, now, cancelled, err);
}
