/*
 * Reading: jobs and reasons.
 */
#include "queue/queue_sqlite_batch.h"

#include <sqlite3.h>
#include <string.h>

/* -- jobs ----------------------------------------------------------------------------------------- */

#define JOB_COLUMNS                                                                                \
	"SELECT job.id, job.root, job.key, job.path, ifnull(attempts, 0), ifnull(crashes, 0),"     \
	" reason, message, job.size, job.mtime_ns, iif(work.state = 5, due, 0),"                   \
	" iif(work.state = 3, content, NULL), "

/* Of a completed job, whose columns of `work` are all NULL. */
#define VISIBLE_AT                                                                                 \
	"(SELECT max(visible_at) FROM sample CROSS JOIN shard ON shard.id = sample.shard"          \
	"  WHERE sample.rank = job.rank AND sample.job = job.id AND sample.dead = 0)"

#define UPDATED_AT "ifnull(updated_at, ifnull(" VISIBLE_AT ", 0))"

/* The state of a job without a row in `work` follows from whether it has a live sample. */
#define STATE                                                                                      \
	"ifnull(work.state, iif(EXISTS (SELECT 1 FROM sample"                                      \
	"  WHERE sample.rank = job.rank AND sample.job = job.id AND dead = 0), 4, 1))"

static void read_job(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	size_t size;
	const char *content = db_column(stmt, 11, &size);

	row->job = (struct job_row){
	    .id = sqlite3_column_int64(stmt, 0),
	    .root = (uint32_t)sqlite3_column_int64(stmt, 1),
	    .key = batch_keep(b, job_column_key(stmt, 2, 3)),
	    .path = batch_keep(b, db_column_copy(stmt, 3)),
	    .attempts = (uint32_t)sqlite3_column_int64(stmt, 4),
	    .crashes = (uint32_t)sqlite3_column_int64(stmt, 5),
	    .reason = batch_keep(b, db_column_copy(stmt, 6)),
	    .message = batch_keep(b, db_column_copy(stmt, 7)),
	    .size = (uint64_t)sqlite3_column_int64(stmt, 8),
	    .mtime_ns = sqlite3_column_int64(stmt, 9),
	    .not_before = sqlite3_column_int64(stmt, 10),
	    .updated_at = sqlite3_column_int64(stmt, 12),
	    .state = (enum job_state)sqlite3_column_int64(stmt, 13),
	};
	row->job.has_content = size == sizeof(row->job.content.bytes);
	if (row->job.has_content)
		memcpy(row->job.content.bytes, content, size);
}

/* States with a row in `work`: by its index. */
static struct sqlite3_stmt *jobs_indexed(struct sqlite_queue *q, const struct job_filter *which,
					 struct error *err)
{
	static const char sql[] =
	    JOB_COLUMNS "updated_at, work.state FROM work INDEXED BY work_state"
			" CROSS JOIN job ON job.id = work.job"
			" WHERE work.state = ?1 AND work.dataset = ?2 AND work.job > ?3"
			" AND work.job <= ?4 AND (?6 IS NULL OR work.reason = ?6)"
			" ORDER BY work.job LIMIT ?5";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOBS_INDEXED, sql, err);

	if (stmt)
		db_bind_text(stmt, 6, which->reason);
	return stmt;
}

/* The two states that nearly all jobs are in, mostly without a reason: in the order of the table. */
static struct sqlite3_stmt *jobs_scanned(struct sqlite_queue *q, const struct job_filter *which,
					 struct error *err)
{
	static const char sql[] = JOB_COLUMNS UPDATED_AT
	    ", ?1 FROM job LEFT JOIN work ON work.job = job.id"
	    " WHERE job.id > ?3 AND job.id <= ?4 AND job.dataset = ?2"
	    " AND (?6 IS NULL OR work.reason = ?6) AND ?1 = " STATE " ORDER BY job.id LIMIT ?5";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOBS_SCAN, sql, err);

	if (stmt)
		db_bind_text(stmt, 6, which->reason);
	return stmt;
}

static int list_one(struct sqlite_queue *q, const struct job_filter *which, struct batch *b,
		    queue_job_fn fn, void *arg, struct error *err)
{
	static const char sql[] = JOB_COLUMNS UPDATED_AT
	    ", " STATE " FROM job LEFT JOIN work ON work.job = job.id WHERE job.id = ?1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOB_SHOW, sql, err);
	int64_t id;

	if (!stmt || job_of_key(q, which->dataset, which->key, &id, err) < 0)
		return -1;
	db_bind_int(stmt, 1, id);
	if (batch_read(q, stmt, read_job, b, err) < 0)
		return -1;
	if (b->count > 0)
		fn(arg, &b->rows[0].job);
	return 0;
}

static int list_state(struct sqlite_queue *q, const struct job_filter *which, struct batch *b,
		      queue_job_fn fn, void *arg, struct error *err)
{
	bool scanned = which->state == JOB_AVAILABLE || which->state == JOB_COMPLETED;
	int64_t window = scanned || which->reason ? WINDOW : INT64_MAX;
	size_t left = which->limit > 0 ? which->limit : SIZE_MAX;
	int64_t after = which->after, last = 0;

	if (db_value(q, "SELECT max(id) FROM job", &last, err) < 0)
		return -1;
	while (after < last && left > 0) {
		struct sqlite3_stmt *stmt =
		    scanned ? jobs_scanned(q, which, err) : jobs_indexed(q, which, err);
		int64_t upto = last - after > window ? after + window : last;
		size_t limit = left < BATCH ? left : BATCH;
		int r;

		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, which->state);
		db_bind_int(stmt, 2, which->dataset);
		db_bind_int(stmt, 3, after);
		db_bind_int(stmt, 4, upto);
		db_bind_int(stmt, 5, (int64_t)limit);
		r = batch_read(q, stmt, read_job, b, err);
		db_bind_text(stmt, 6, NULL);
		if (r < 0)
			return -1;
		for (size_t i = 0; i < b->count; i++) {
			if (fn(arg, &b->rows[i].job) != 0)
				return 0;
		}
		after = b->count == limit ? b->rows[limit - 1].job.id : upto;
		left -= b->count;
	}
	return 0;
}

int queue_sqlite_jobs(struct queue *base, const struct job_filter *which, queue_job_fn fn,
		      void *arg, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_batch struct batch *b = batch_new();

	return which->key ? list_one(q, which, b, fn, arg, err)
			  : list_state(q, which, b, fn, arg, err);
}

/* -- reasons -------------------------------------------------------------------------------------- */

struct reasons {
	struct reason_row *items;
	size_t count, capacity;
};

static void reasons_release(struct reasons *r)
{
	for (size_t i = 0; i < r->count; i++)
		free((char *)r->items[i].reason);
	free(r->items);
}

/* There are few. */
static void add_reason(struct reasons *r, char *reason, uint64_t jobs)
{
	size_t at = 0;

	while (at < r->count && strcmp(r->items[at].reason, reason) != 0)
		at++;
	if (at == r->count) {
		ARRAY_GROW(r->items, r->count, r->capacity);
		r->items[r->count++] = (struct reason_row){reason, jobs};
		return;
	}
	r->items[at].jobs += jobs;
	free(reason);
}

static int by_reason(const void *left, const void *right)
{
	const struct reason_row *a = left, *b = right;

	return strcmp(a->reason, b->reason);
}

/* Some jobs above *after, which becomes the last of them; *more: there were any. */
static int count_reasons(struct sqlite_queue *q, int64_t dataset, enum job_state state,
			 int64_t *after, bool *more, struct reasons *out, struct error *err)
{
	static const char sql[] =
	    "SELECT reason, count(*), max(job) FROM (SELECT reason, job"
	    "  FROM work INDEXED BY work_state WHERE state = ?1 AND dataset = ?2 AND job > ?3"
	    "  ORDER BY job LIMIT ?4) GROUP BY reason";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_REASONS, sql, err);
	int r;

	*more = false;
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, state);
	db_bind_int(stmt, 2, dataset);
	db_bind_int(stmt, 3, *after);
	db_bind_int(stmt, 4, WINDOW);
	while ((r = db_step(q, stmt, err)) > 0) {
		int64_t last = sqlite3_column_int64(stmt, 2);

		add_reason(out, db_column_copy(stmt, 0), (uint64_t)sqlite3_column_int64(stmt, 1));
		*after = last > *after ? last : *after;
		*more = true;
	}
	return r;
}

int queue_sqlite_reasons(struct queue *base, int64_t dataset, enum job_state state,
			 queue_reason_fn fn, void *arg, struct error *err)
{
	cleanup_with(reasons_release) struct reasons reasons = {NULL, 0, 0};
	int64_t after = 0;
	bool more = true;

	while (more) {
		if (count_reasons(sqlite_queue(base), dataset, state, &after, &more, &reasons,
				  err) < 0)
			return -1;
	}
	if (reasons.count > 0)
		qsort(reasons.items, reasons.count, sizeof(*reasons.items), by_reason);
	for (size_t i = 0; i < reasons.count && fn(arg, &reasons.items[i]) == 0; i++)
		;
	return 0;
}
