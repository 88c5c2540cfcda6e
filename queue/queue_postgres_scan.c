/*
 * Scans that notice what vanished. What a scan has met is one bit a job in the memory of the process that scans.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <string.h>

#define WINDOW 20000 /* ids that one statement looks at */

struct open_scan { /* at most one for each dataset */
	struct open_scan *next;
	int64_t dataset;
	uint32_t *roots;
	size_t n_roots;
	bool all_roots;
	int64_t last;  /* the youngest job when it began: later ones were met by it */
	uint8_t *bits; /* of jobs 1 to last: met */
	size_t met;
};

/* The link to the dataset's; to NULL: there is none. */
static struct open_scan **scan_of(struct postgres_queue *q, int64_t dataset)
{
	struct open_scan **at = &q->scans;

	while (*at && (*at)->dataset != dataset)
		at = &(*at)->next;
	return at;
}

static void scan_close(struct open_scan **at)
{
	struct open_scan *scan = *at;

	*at = scan->next;
	free(scan->roots);
	free(scan->bits);
	free(scan);
}

void pg_scans_free(struct postgres_queue *q)
{
	while (q->scans)
		scan_close(&q->scans);
}

void pg_scan_met(struct postgres_queue *q, int64_t dataset, int64_t job)
{
	struct open_scan *scan = *scan_of(q, dataset);
	uint8_t bit = (uint8_t)(1 << (job & 7));

	if (!scan || job < 1 || job > scan->last || scan->bits[job >> 3] & bit)
		return;
	scan->bits[job >> 3] |= bit;
	scan->met++;
}

static bool is_met(const struct open_scan *scan, int64_t job)
{
	return scan->bits[job >> 3] >> (job & 7) & 1;
}

static int last_job(struct postgres_queue *q, int64_t *last, struct error *err)
{
	cleanup_pg_result PGresult *result = NULL;

	if (pg_read(q, "SELECT coalesce(max(id), 0) FROM latentd.job", NULL, &result, err) < 0)
		return -1;
	*last = pg_value(result, 0, 0);
	if (*last < 0 || *last > INT32_MAX * (int64_t)1024)
		return error_set(err, ERR_IO, "queue is damaged: the last job is %lld",
				 (long long)*last);
	return 0;
}

int queue_postgres_scan_begin(struct queue *base, int64_t dataset, const uint32_t *roots, size_t n,
			      struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	struct open_scan *scan;
	int64_t last = 0;

	if (*scan_of(q, dataset))
		return error_set(err, ERR_BUG, "a scan is open already");
	if (pg_dataset_check(q, dataset, err) < 0 || last_job(q, &last, err) < 0)
		return -1;
	scan = xcalloc(1, sizeof(*scan));
	scan->dataset = dataset;
	scan->all_roots = !roots;
	scan->roots = xcalloc(n + 1, sizeof(*scan->roots));
	if (n > 0)
		memcpy(scan->roots, roots, n * sizeof(*roots));
	scan->n_roots = n;
	scan->last = last;
	scan->bits = xcalloc((size_t)last / 8 + 1, 1);
	scan->next = q->scans;
	q->scans = scan;
	return 0;
}

/* -- the end -------------------------------------------------------------------------------------- */

static bool all_met(const struct open_scan *scan, int64_t from, int64_t to)
{
	while (from <= to && is_met(scan, from))
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
		pg_array(&args);
		for (size_t i = 0; i < scan->n_roots; i++)
			pg_item_int(&args, scan->roots[i]);
		pg_array_end(&args);
	}
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		int64_t id = pg_value(result, i, 0);

		if (!is_met(scan, id))
			ids_add(ids, id);
	}
	return 0;
}

struct killed {
	const struct pg_live **items;
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
		killed->items[killed->count++] = live;
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
		       struct error *err)
{
	cleanup_ids struct ids ids = {NULL, 0, 0};
	cleanup_pg_jobs struct pg_jobs jobs = {0};
	cleanup_with(killed_release) struct killed killed = {NULL, 0, 0};

	if (all_met(scan, from, to))
		return 0;
	if (collect_missed(q, scan, from, to, &ids, err) < 0 ||
	    jobs_lock(q, ids.items, ids.count, &jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < jobs.count; i++)
		miss(&jobs.items[i], how, now, counts, &killed);
	if (samples_kill(q, killed.items, killed.count, err) < 0)
		return -1;
	return jobs_write(q, &jobs, err);
}

static int miss_all(struct postgres_queue *q, const struct open_scan *scan, enum scan_end how,
		    int64_t now, struct scan_counts *counts, struct error *err)
{
	for (int64_t from = 1; from <= scan->last; from += WINDOW) {
		int64_t to = scan->last - from < WINDOW ? scan->last : from + WINDOW - 1;

		if (miss_window(q, scan, from, to, how, now, counts, err) < 0)
			return -1;
	}
	return 0;
}

int queue_postgres_scan_end(struct queue *base, int64_t dataset, enum scan_end how, int64_t now,
			    struct scan_counts *counts, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	struct open_scan **scan = scan_of(q, dataset);
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
		scan_close(scan);
	*counts = counted;
	return 0;
}
