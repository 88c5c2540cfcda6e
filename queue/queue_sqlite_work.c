/*
 * The state of a job: tables work, todo and tally, kept in step.
 */
#include "queue/queue_sqlite.h"

#include "base/checked.h"

#include <assert.h>
#include <sqlite3.h>
#include <string.h>

static bool in_todo(enum job_state state, int64_t crashes)
{
	return state == JOB_AVAILABLE && crashes < QUEUE_SUSPECT_CRASHES;
}

/* -- todo ----------------------------------------------------------------------------------------- */

int todo_insert(struct sqlite_queue *q, int64_t job, struct error *err)
{
	static const char sql[] = "INSERT OR IGNORE INTO todo (dataset, rank, job, root)"
				  " SELECT dataset, rank, id, root FROM job WHERE id = ?1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_TODO_INSERT, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, job);
	return db_run(q, stmt, err);
}

int todo_delete(struct sqlite_queue *q, int64_t dataset, int64_t rank, int64_t job,
		struct error *err)
{
	static const char sql[] = "DELETE FROM todo WHERE dataset = ?1 AND rank = ?2 AND job = ?3";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_TODO_DELETE, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	db_bind_int(stmt, 2, rank);
	db_bind_int(stmt, 3, job);
	return db_run(q, stmt, err);
}

/* A row of table todo: SQLite's own sorter takes five times as much for it. */
struct todo {
	int64_t dataset, rank, job;
	uint32_t root;
};

struct todos {
	struct todo *items; /* as many as there can be */
	size_t count;
};

static void todos_release(struct todos *t)
{
	free(t->items);
}

static int by_rank(const void *left, const void *right)
{
	const struct todo *a = left, *b = right;

	if (a->dataset != b->dataset)
		return a->dataset < b->dataset ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return (a->job > b->job) - (a->job < b->job);
}

static int collect_todos(struct sqlite_queue *q, int64_t after, int64_t upto, struct todos *out,
			 struct error *err)
{
	static const char sql[] =
	    "SELECT dataset, rank, id, root FROM job"
	    " WHERE id > ?1 AND id <= ?2"
	    " AND NOT EXISTS (SELECT 1 FROM work WHERE work.job = job.id)"
	    " AND NOT EXISTS (SELECT 1 FROM sample"
	    "  WHERE sample.rank = job.rank AND sample.job = job.id AND dead = 0)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_TODO_FILL, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, after);
	db_bind_int(stmt, 2, upto);
	while ((r = db_step(q, stmt, err)) > 0) {
		out->items[out->count++] = (struct todo){
		    .dataset = sqlite3_column_int64(stmt, 0),
		    .rank = sqlite3_column_int64(stmt, 1),
		    .job = sqlite3_column_int64(stmt, 2),
		    .root = (uint32_t)sqlite3_column_int64(stmt, 3),
		};
	}
	return r;
}

static int fill(struct sqlite_queue *q, int64_t after, int64_t upto, struct error *err)
{
	static const char sql[] =
	    "INSERT INTO todo (dataset, rank, job, root) VALUES (?1, ?2, ?3, ?4)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_TODO_PUT, sql, err);
	cleanup_with(todos_release) struct todos todos = {
	    xcalloc((size_t)(upto - after), sizeof(struct todo)), 0};

	if (!stmt || collect_todos(q, after, upto, &todos, err) < 0)
		return -1;
	if (todos.count > 0)
		qsort(todos.items, todos.count, sizeof(*todos.items), by_rank);
	for (size_t i = 0; i < todos.count; i++) {
		db_bind_int(stmt, 1, todos.items[i].dataset);
		db_bind_int(stmt, 2, todos.items[i].rank);
		db_bind_int(stmt, 3, todos.items[i].job);
		db_bind_int(stmt, 4, todos.items[i].root);
		if (db_run(q, stmt, err) < 0)
			return -1;
	}
	return 0;
}

int todo_fill(struct sqlite_queue *q, int64_t backlog, struct error *err)
{
	struct sqlite3_stmt *stmt;
	int64_t after, last;
	int r;

	if (db_tally_read(q, 0, TALLY_TODO, &after, err) < 0)
		return -1;
	stmt = db_stmt(q, STMT_TODO_LAST, "SELECT max(id) FROM job", err);
	if (!stmt)
		return -1;
	r = db_step(q, stmt, err);
	if (r < 0)
		return -1;
	last = sqlite3_column_int64(stmt, 0);
	db_done(stmt);
	if (last - after <= backlog)
		return 0;
	db_tally(q, 0, TALLY_TODO, last - after);
	while (after < last) {
		int64_t upto = last - after > TODO_BACKLOG ? after + TODO_BACKLOG : last;

		if (fill(q, after, upto, err) < 0)
			return -1;
		after = upto;
	}
	return 0;
}

/* -- jobs ----------------------------------------------------------------------------------------- */

static int read_work(struct sqlite3_stmt *stmt, struct work *out, struct error *err)
{
	int64_t state = sqlite3_column_int64(stmt, 5);
	size_t size;
	const char *content = db_column(stmt, 13, &size);

	out->dataset = sqlite3_column_int64(stmt, 0);
	out->rank = sqlite3_column_int64(stmt, 1);
	out->root = (uint32_t)sqlite3_column_int64(stmt, 2);
	out->has_row = sqlite3_column_type(stmt, 5) != SQLITE_NULL;
	out->seen = sqlite3_column_int(stmt, 14);
	if (!out->has_row)
		return 0;
	if (state < 0 || state >= JOB_STATES || state == JOB_COMPLETED)
		return error_set(err, ERR_IO, "queue is damaged: job %lld is in state %lld",
				 (long long)out->job, (long long)state);
	out->state = (enum job_state)state;
	out->attempts = sqlite3_column_int64(stmt, 6);
	out->crashes = sqlite3_column_int64(stmt, 7);
	out->fence = sqlite3_column_int64(stmt, 8);
	out->due = sqlite3_column_int64(stmt, 9);
	out->updated_at = sqlite3_column_int64(stmt, 10);
	out->changed = sqlite3_column_int(stmt, 11);
	out->spooled = sqlite3_column_int(stmt, 12);
	out->has_content = size == sizeof(out->content.bytes);
	if (out->has_content)
		memcpy(out->content.bytes, content, size);
	return 0;
}

int job_try(struct sqlite_queue *q, int64_t job, const char *key, const char *path,
	    struct work *out, struct error *err)
{
	static const char sql[] =
	    "SELECT job.dataset, job.rank, job.root, job.key, job.path, state, attempts, crashes,"
	    " fence, due, updated_at, changed, spooled, content,"
	    " (job.size, job.mtime_ns, job.inode) <> (0, 0, 0)"
	    " FROM job LEFT JOIN work ON work.job = job.id WHERE job.id = ?1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOB_READ, sql, err);
	bool named;
	int r;

	if (!stmt)
		return -1;
	*out = (struct work){.job = job};
	db_bind_int(stmt, 1, job);
	r = db_step(q, stmt, err);
	if (r <= 0)
		return r < 0 ? -1 : QUEUE_CONFLICT;
	named = !key || job_column_is(stmt, 3, 4, key, path);
	r = read_work(stmt, out, err);
	db_done(stmt);
	if (r < 0 || !named)
		return r < 0 ? -1 : QUEUE_CONFLICT;
	if (!out->has_row) {
		struct live_sample live;

		if (sample_find(q, out->rank, job, ANY_VARIANT, &live, err) < 0)
			return -1;
		out->state = live.id != 0 ? JOB_COMPLETED : JOB_AVAILABLE;
	}
	out->was = out->state;
	out->crashes_were = out->crashes;
	return 0;
}

int job_read(struct sqlite_queue *q, int64_t job, struct work *out, struct error *err)
{
	int r = job_try(q, job, NULL, NULL, out, err);

	if (r > 0)
		return error_set(err, ERR_IO, "queue is damaged: there is no job %lld",
				 (long long)job);
	return r;
}

static int put(struct sqlite_queue *q, const struct work *w, struct error *err)
{
	static const char sql[] =
	    "INSERT INTO work (job, dataset, state, attempts, crashes, fence, due, updated_at,"
	    " changed, spooled, content, reason, message)"
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
	    " ON CONFLICT (job) DO UPDATE SET state = ?3, attempts = ?4, crashes = ?5,"
	    " owner = iif(?3 = 2, owner, NULL), due = iif(?3 = 2, due, ?7), updated_at = ?8, "
	    "changed = ?9, spooled = ?10, content = ?11,"
	    " reason = iif(?14, ?12, reason), message = iif(?14, ?13, message)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_WORK_PUT, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, w->job);
	db_bind_int(stmt, 2, w->dataset);
	db_bind_int(stmt, 3, w->state);
	db_bind_int(stmt, 4, w->attempts);
	db_bind_int(stmt, 5, w->crashes);
	db_bind_int(stmt, 6, w->fence);
	if (w->state == JOB_RETRYABLE)
		db_bind_int(stmt, 7, w->due);
	else
		db_bind_null(stmt, 7);
	db_bind_int(stmt, 8, w->updated_at);
	db_bind_int(stmt, 9, w->changed);
	db_bind_int(stmt, 10, w->spooled);
	db_bind_blob(stmt, 11, w->has_content ? w->content.bytes : NULL, sizeof(w->content.bytes));
	db_bind_text(stmt, 12, w->reason);
	db_bind_text(stmt, 13, w->message);
	db_bind_int(stmt, 14, w->says);
	return db_run(q, stmt, err);
}

static int forget(struct sqlite_queue *q, int64_t job, struct error *err)
{
	struct sqlite3_stmt *stmt =
	    db_stmt(q, STMT_WORK_DELETE, "DELETE FROM work WHERE job = ?1", err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, job);
	return db_run(q, stmt, err);
}

int job_write(struct sqlite_queue *q, struct work *w, struct error *err)
{
	bool was_todo = in_todo(w->was, w->crashes_were), is_todo = in_todo(w->state, w->crashes);
	int r = 0;

	assert(w->state != JOB_RUNNING || w->was == JOB_RUNNING);
	if (was_todo && !is_todo)
		r = todo_delete(q, w->dataset, w->rank, w->job, err);
	/* One without a row may not have been in todo yet, and with a row todo_fill() leaves it out. */
	else if (is_todo && (!was_todo || !w->has_row))
		r = todo_insert(q, w->job, err);
	if (r < 0)
		return -1;
	if (w->state != w->was) {
		db_tally_move(q, w->dataset, w->was, w->state);
		if (w->was == JOB_SKIPPED && dropped_delete(q, w->job, err) < 0)
			return -1;
	}
	if (w->state != JOB_COMPLETED)
		return put(q, w, err);
	return w->has_row ? forget(q, w->job, err) : 0;
}
