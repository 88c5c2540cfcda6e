/*
 * Scans that notice what vanished.
 */
#include "queue/queue_sqlite.h"

#include "queue/open_scan.h"

#include "base/checked.h"

#include <sqlite3.h>

int queue_sqlite_scan_begin(struct queue *base, int64_t dataset, const uint32_t *roots, size_t n,
			    struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	int64_t last = 0;

	if (dataset_check(q, dataset, err) < 0 ||
	    db_value(q, "SELECT max(id) FROM job", &last, err) < 0)
		return -1;
	return open_scan_begin(&q->scans, dataset, roots, n, last, err);
}

/* -- the end -------------------------------------------------------------------------------------- */

/* The next job at or after *id that was not met and is of the scan's dataset; 0: none. */
static int next_missed(struct sqlite_queue *q, const struct open_scan *scan, int64_t *id,
		       struct error *err)
{
	static const char sql[] =
	    "SELECT id FROM job WHERE id BETWEEN ?1 AND ?2 AND +dataset = ?3 LIMIT 1";
	int64_t from = *id, to;

	for (;;) {
		struct sqlite3_stmt *stmt;
		int r;

		while (from <= scan->last && open_scan_has(scan, from))
			from++;
		if (from > scan->last)
			break;
		for (to = from; to < scan->last && !open_scan_has(scan, to + 1);)
			to++;
		stmt = db_stmt(q, STMT_SCAN_IDS, sql, err);
		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, from);
		db_bind_int(stmt, 2, to);
		db_bind_int(stmt, 3, scan->dataset);
		r = db_step(q, stmt, err);
		if (r < 0)
			return -1;
		*id = sqlite3_column_int64(stmt, 0);
		db_done(stmt);
		if (r > 0)
			return 0;
		from = to + 1;
	}
	*id = 0;
	return 0;
}

static bool of_scan(const struct open_scan *scan, const struct work *w)
{
	bool wanted = scan->all_roots;

	for (size_t i = 0; i < scan->n_roots; i++)
		wanted = wanted || scan->roots[i] == w->root;
	return wanted && w->state != JOB_RUNNING && w->state != JOB_ENCODED;
}

static int kill_samples(struct sqlite_queue *q, const struct work *w, struct error *err)
{
	for (;;) {
		struct live_sample live;

		if (sample_find(q, w->rank, w->job, ANY_VARIANT, &live, err) < 0)
			return -1;
		if (live.id == 0)
			return 0;
		if (sample_kill(q, w->dataset, &live, err) < 0)
			return -1;
	}
}

static int miss(struct sqlite_queue *q, struct work *w, enum scan_end how, int64_t now,
		struct scan_counts *counts, struct error *err)
{
	struct live_sample live;

	if (sample_find(q, w->rank, w->job, ANY_VARIANT, &live, err) < 0)
		return -1;
	if (live.id == 0 && w->state == JOB_GONE)
		return 0;
	if (live.id != 0)
		counts->missed_done++;
	else
		counts->missed++;
	if (how == SCAN_COUNT || (how == SCAN_KEEP && live.id != 0 && w->state == JOB_COMPLETED))
		return 0;
	if (how == SCAN_REMOVE && kill_samples(q, w, err) < 0)
		return -1;
	w->state = JOB_GONE;
	w->updated_at = now;
	w->says = true;
	return job_write(q, w, err);
}

static int miss_all(struct sqlite_queue *q, const struct open_scan *scan, enum scan_end how,
		    int64_t now, struct scan_counts *counts, struct error *err)
{
	for (int64_t id = 1;; id++) {
		struct work w;

		if (next_missed(q, scan, &id, err) < 0)
			return -1;
		if (id == 0)
			return 0;
		if (job_read(q, id, &w, err) < 0)
			return -1;
		if (of_scan(scan, &w) && miss(q, &w, how, now, counts, err) < 0)
			return -1;
	}
}

int queue_sqlite_scan_end(struct queue *base, int64_t dataset, enum scan_end how, int64_t now,
			  struct scan_counts *counts, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	struct open_scan **scan = open_scan_of(&q->scans, dataset);
	struct scan_counts counted = {0};

	if (!*scan)
		return error_set(err, ERR_BUG, "no scan is open");
	counted.met = (*scan)->met;
	if (how != SCAN_ABANDON &&
	    (db_begin(q, err) < 0 ||
	     db_end(q, miss_all(q, *scan, how, now, &counted, err), err) < 0))
		return -1;
	if (how != SCAN_COUNT)
		open_scan_close(scan);
	*counts = counted;
	return 0;
}
