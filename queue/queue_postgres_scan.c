/*
 * Scans that notice what vanished. What a scan has met is one bit a job in the memory of the process that scans.
 */
#include "queue/queue_postgres.h"

#include "queue/open_scan.h"

#include "base/checked.h"

#define WINDOW 20000 /* ids that one statement looks at */

static int last_job(struct postgres_queue *q, int64_t *last, struct error *err)
{
	cleanup_pg_result PGresult *result = NULL;

	if (pg_read(q, "SELECT coalesce(max(id), 0) FROM latentd.job", NULL, &result, err) < 0)
		return -1;
	*last = pg_value(result, 0, 0);
	return 0;
}

int queue_postgres_scan_begin(struct queue *base, int64_t dataset, const uint32_t *roots, size_t n,
			      struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	int64_t last = 0;

	if (pg_dataset_check(q, dataset, err) < 0 || last_job(q, &last, err) < 0)
		return -1;
	return open_scan_begin(&q->scans, dataset, roots, n, last, err);
}

/* -- the end -------------------------------------------------------------------------------------- */

static bool all_met(const struct open_scan *scan, int64_t from, int64_t to)
{
	while (from <= to && open_scan_has(scan, from))
		from++;
	return from > to;
}

/* Ids of a window that may be missed; their rows, once they are locked, decide. */
static int collect_missed(struct postgres_queue *q, const struct open_scan *scan, int64_t from,
			  int64_t to, struct ids *ids, struct error *err)
{
	static const char sql[] =
	    "SELECT id FROM latentd.job WHERE id BETWEEN $1::bigint AND $2::bigint"
	    " AND dataset = $3::bigint AND state NOT IN (2, 3)"
	    " AND ($4::bigint[] IS NULL OR root = ANY($4)) ORDER BY id";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, from);
	pg_int(&args, to);
	pg_int(&args, scan->dataset);
	if (scan->all_roots) {
		pg_null(&args);
	} else {
		pg_array(&args, PG_BIGINT);
		for (size_t i = 0; i < scan->n_roots; i++)
			pg_item_int(&args, scan->roots[i]);
		pg_array_end(&args);
	}
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		int64_t id = pg_value(result, i, 0);

		if (!open_scan_has(scan, id))
			ids_add(ids, id);
	}
	return 0;
}

/* Of all windows: their shards are locked after the last job. */
struct killed {
	struct pg_live *items;
	size_t count, capacity;
};

static void killed_release(struct killed *k)
{
	free(k->items);
}

static void kill_samples(struct pg_job *job, struct killed *killed)
{
	struct pg_live *live;

	while ((live = job_live(job))) {
		live->dead = true;
		ARRAY_GROW(killed->items, killed->count, killed->capacity);
		killed->items[killed->count++] = *live;
	}
}

static void miss(struct pg_job *job, enum scan_end how, int64_t now, struct scan_counts *counts,
		 struct killed *killed)
{
	bool done = job_live(job) != NULL;

	if (job->state == JOB_RUNNING || job->state == JOB_ENCODED ||
	    (job->state == JOB_GONE && !done))
		return;
	counts->missed += !done;
	counts->missed_done += done;
	if (how == SCAN_COUNT || (how == SCAN_KEEP && done && job->state == JOB_COMPLETED))
		return;
	if (how == SCAN_REMOVE)
		kill_samples(job, killed);
	job_set_state(job, JOB_GONE);
	job_says(job, NULL, NULL);
	job->updated_at = now;
}

static int miss_window(struct postgres_queue *q, const struct open_scan *scan, int64_t from,
		       int64_t to, enum scan_end how, int64_t now, struct scan_counts *counts,
		       struct killed *killed, struct error *err)
{
	cleanup_ids struct ids ids = {NULL, 0, 0};
	cleanup_pg_jobs struct pg_jobs jobs = {0};

	if (all_met(scan, from, to))
		return 0;
	if (collect_missed(q, scan, from, to, &ids, err) < 0 ||
	    jobs_lock(q, ids.items, ids.count, &jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < jobs.count; i++)
		miss(&jobs.items[i], how, now, counts, killed);
	return jobs_write(q, &jobs, err);
}

static int kill_all(struct postgres_queue *q, const struct killed *killed, struct error *err)
{
	cleanup_free const struct pg_live **lives =
	    xcalloc(killed->count + 1, sizeof(const struct pg_live *));

	for (size_t i = 0; i < killed->count; i++)
		lives[i] = &killed->items[i];
	return samples_kill(q, lives, killed->count, err);
}

static int miss_all(struct postgres_queue *q, const struct open_scan *scan, enum scan_end how,
		    int64_t now, struct scan_counts *counts, struct error *err)
{
	cleanup_with(killed_release) struct killed killed = {NULL, 0, 0};

	for (int64_t from = 1; from <= scan->last; from += WINDOW) {
		int64_t to = scan->last - from < WINDOW ? scan->last : from + WINDOW - 1;

		if (miss_window(q, scan, from, to, how, now, counts, &killed, err) < 0)
			return -1;
	}
	return kill_all(q, &killed, err);
}

int queue_postgres_scan_end(struct queue *base, int64_t dataset, enum scan_end how, int64_t now,
			    struct scan_counts *counts, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	struct open_scan **scan = open_scan_of(&q->scans, dataset);
	struct scan_counts counted = {0};

	if (!*scan)
		return error_set(err, ERR_BUG, "no scan is open");
	counted.met = (*scan)->met;
	if (how != SCAN_ABANDON) {
		if (pg_begin(q, err) < 0 ||
		    pg_end(q, miss_all(q, *scan, how, pg_time(q, now, now), &counted, err), err) <
			0)
			return -1;
	}
	if (how != SCAN_COUNT)
		open_scan_close(scan);
	*counts = counted;
	return 0;
}
