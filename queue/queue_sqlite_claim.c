/*
 * Claims.
 */
#include "queue/queue_sqlite.h"

#include "base/buffer.h"
#include "base/checked.h"

#include <sqlite3.h>
#include <string.h>

struct candidate {
	struct job job;
	enum job_state state;
};

struct candidates {
	struct candidate *items;
	size_t count, capacity;
};

static void candidates_release(struct candidates *c)
{
	for (size_t i = 0; i < c->count; i++)
		job_release(&c->items[i].job);
	free(c->items);
}

static int by_rank(const void *left, const void *right)
{
	const struct job *a = &((const struct candidate *)left)->job;
	const struct job *b = &((const struct candidate *)right)->job;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* [1,4] for json_each: the sources that a claim is limited to. */
static void append_roots(struct buffer *out, const struct queue_claim *claim)
{
	buffer_append_string(out, "[");
	for (size_t i = 0; i < claim->n_roots; i++)
		buffer_appendf(out, "%s%u", i ? "," : "", claim->roots[i]);
	buffer_append_string(out, "]");
}

/* Version 1 kept the content of jobs that failed, too: what nothing is stored of is not compared with. */
#define CANDIDATE                                                                                  \
	"SELECT job.id, job.dataset, job.rank, job.root, job.size, job.key, job.path,"             \
	" work.state, work.attempts, work.crashes,"                                                \
	" CASE WHEN work.spooled THEN work.content WHEN work.changed THEN"                         \
	"  (SELECT content FROM sample INDEXED BY sample_live WHERE dead = 0"                      \
	"    AND sample.rank = job.rank AND sample.job = job.id ORDER BY variant LIMIT 1)"         \
	" END FROM "
#define OF_ROOTS "(?4 IS NULL OR job.root IN (SELECT value FROM json_each(?4)))"

static int add_rows(struct sqlite_queue *q, struct sqlite3_stmt *stmt, struct candidates *out,
		    struct error *err)
{
	int r;

	while ((r = db_step(q, stmt, err)) > 0) {
		size_t size;
		const char *content = db_column(stmt, 10, &size);
		struct candidate *c;

		ARRAY_GROW(out->items, out->count, out->capacity);
		c = &out->items[out->count++];
		*c = (struct candidate){
		    .job =
			{
			    .id = sqlite3_column_int64(stmt, 0),
			    .dataset = sqlite3_column_int64(stmt, 1),
			    .rank = (uint64_t)sqlite3_column_int64(stmt, 2),
			    .root = (uint32_t)sqlite3_column_int64(stmt, 3),
			    .size = (uint64_t)sqlite3_column_int64(stmt, 4),
			    .key = job_column_key(stmt, 5, 6),
			    .path = db_column_copy(stmt, 6),
			    .attempts = (uint32_t)sqlite3_column_int64(stmt, 8) + 1,
			    .crashes = (uint32_t)sqlite3_column_int64(stmt, 9),
			    .has_content = size == sizeof(struct hash128),
			},
		    .state = sqlite3_column_int64(stmt, 7) == JOB_RETRYABLE ? JOB_RETRYABLE
									    : JOB_AVAILABLE,
		};
		if (c->job.has_content)
			memcpy(c->job.content.bytes, content, size);
	}
	return r;
}

/* The first of a dataset, by rank, from one of the places where they are. */
static int add_candidates(struct sqlite_queue *q, const struct queue_claim *claim, int64_t dataset,
			  enum stmt_slot slot, const char *sql, struct candidates *out,
			  struct error *err)
{
	struct sqlite3_stmt *stmt = db_stmt(q, slot, sql, err);
	cleanup_buffer struct buffer roots = BUFFER_INIT;
	size_t limit = claim->suspects ? 1 : claim->limit;
	int r;

	if (!stmt)
		return -1;
	if (claim->roots)
		append_roots(&roots, claim);
	db_bind_int(stmt, 1, dataset);
	db_bind_int(stmt, 2, claim->now);
	db_bind_int(stmt, 3, limit < INT64_MAX ? (int64_t)limit : INT64_MAX);
	db_bind_text(stmt, 4, (const char *)roots.data);
	r = add_rows(q, stmt, out, err);
	db_bind_text(stmt, 4, NULL);
	return r;
}

static int add_of_dataset(struct sqlite_queue *q, const struct queue_claim *claim, int64_t dataset,
			  struct candidates *out, struct error *err)
{
	static const char suspect[] =
	    CANDIDATE "work INDEXED BY work_suspect CROSS JOIN job ON job.id = work.job"
		      " WHERE work.crashes >= 3 AND work.dataset = ?1"
		      " AND (work.state = 1 OR work.state = 5 AND work.due <= ?2) AND " OF_ROOTS
		      " ORDER BY job.rank, job.id LIMIT ?3";
	static const char todo[] =
	    CANDIDATE "todo CROSS JOIN job ON job.id = todo.job LEFT JOIN work ON work.job = job.id"
		      " WHERE todo.dataset = ?1"
		      " AND (?4 IS NULL OR todo.root IN (SELECT value FROM json_each(?4)))"
		      " ORDER BY todo.rank, todo.job LIMIT ?3";
	static const char due[] =
	    CANDIDATE "work INDEXED BY work_due CROSS JOIN job ON job.id = work.job"
		      " WHERE work.state = 5 AND work.dataset = ?1 AND work.due <= ?2"
		      " AND work.crashes < 3 AND " OF_ROOTS " ORDER BY job.rank, job.id LIMIT ?3";

	if (claim->suspects)
		return add_candidates(q, claim, dataset, STMT_CLAIM_SUSPECT, suspect, out, err);
	if (add_candidates(q, claim, dataset, STMT_CLAIM_TODO, todo, out, err) < 0)
		return -1;
	return add_candidates(q, claim, dataset, STMT_CLAIM_DUE, due, out, err);
}

/* QUEUE_LATER or QUEUE_EMPTY of what such a claim would get if it were not too early. */
static int anything_later(struct sqlite_queue *q, const struct queue_claim *claim,
			  struct error *err)
{
	static const char sql[] =
	    "SELECT 1 FROM work INDEXED BY work_due CROSS JOIN job ON job.id = work.job"
	    " WHERE work.state = 5 AND (?1 = 0 OR work.dataset = ?1) AND work.due > ?2"
	    " AND (work.crashes >= 3) = ?3 AND " OF_ROOTS " LIMIT 1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_CLAIM_LATER, sql, err);
	cleanup_buffer struct buffer roots = BUFFER_INIT;
	int r;

	if (!stmt)
		return -1;
	if (claim->roots)
		append_roots(&roots, claim);
	db_bind_int(stmt, 1, claim->dataset);
	db_bind_int(stmt, 2, claim->now);
	db_bind_int(stmt, 3, claim->suspects);
	db_bind_text(stmt, 4, (const char *)roots.data);
	r = db_step(q, stmt, err);
	if (r >= 0)
		db_done(stmt);
	db_bind_text(stmt, 4, NULL);
	return r < 0 ? -1 : r > 0 ? QUEUE_LATER : QUEUE_EMPTY;
}

static int find_candidates(struct sqlite_queue *q, const struct queue_claim *claim,
			   struct candidates *out, struct error *err)
{
	size_t limit = claim->suspects ? 1 : claim->limit;
	struct sqlite3_stmt *stmt;
	int r;

	if (todo_fill(q, 0, err) < 0)
		return -1;
	if (claim->dataset != 0) {
		if (add_of_dataset(q, claim, claim->dataset, out, err) < 0)
			return -1;
	} else {
		stmt = db_stmt(q, STMT_CLAIM_DATASETS, "SELECT id FROM dataset", err);
		if (!stmt)
			return -1;
		while ((r = db_step(q, stmt, err)) > 0) {
			if (add_of_dataset(q, claim, sqlite3_column_int64(stmt, 0), out, err) < 0)
				return -1;
		}
		if (r < 0)
			return -1;
	}
	if (out->count == 0)
		return anything_later(q, claim, err);
	qsort(out->items, out->count, sizeof(*out->items), by_rank);
	while (out->count > limit)
		job_release(&out->items[--out->count].job);
	return 0;
}

int owner_find(struct sqlite_queue *q, const char *owner, int64_t *out, struct error *err)
{
	struct sqlite3_stmt *stmt =
	    db_stmt(q, STMT_OWNER_FIND, "SELECT id FROM owner WHERE name = ?1", err);
	int r;

	if (!stmt)
		return -1;
	db_bind_text(stmt, 1, owner);
	r = db_step(q, stmt, err);
	if (r < 0)
		return -1;
	*out = r > 0 ? sqlite3_column_int64(stmt, 0) : 0;
	db_done(stmt);
	return 0;
}

static int owner_number(struct sqlite_queue *q, const char *owner, int64_t *out, struct error *err)
{
	struct sqlite3_stmt *stmt;

	if (owner_find(q, owner, out, err) < 0)
		return -1;
	if (*out != 0)
		return 0;
	stmt = db_stmt(q, STMT_OWNER_INSERT, "INSERT INTO owner (name) VALUES (?1)", err);
	if (!stmt)
		return -1;
	db_bind_text(stmt, 1, owner);
	if (db_run(q, stmt, err) < 0)
		return -1;
	*out = sqlite3_last_insert_rowid(q->db);
	return 0;
}

static int take(struct sqlite_queue *q, const struct queue_claim *claim, int64_t owner,
		const struct candidate *c, struct error *err)
{
	static const char sql[] =
	    "INSERT INTO work (job, dataset, state, attempts, crashes, fence, owner, due,"
	    " updated_at, changed, spooled) VALUES (?1, ?2, 2, ?3, 0, ?4, ?5, ?6, ?7, 0, 0)"
	    " ON CONFLICT (job) DO UPDATE SET state = 2, attempts = ?3, fence = ?4, owner = ?5,"
	    " due = ?6, updated_at = ?7";
	const struct job *job = &c->job;
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_CLAIM_TAKE, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, job->id);
	db_bind_int(stmt, 2, job->dataset);
	db_bind_int(stmt, 3, job->attempts);
	db_bind_int(stmt, 4, (int64_t)job->fence);
	db_bind_int(stmt, 5, owner);
	db_bind_int(stmt, 6, claim->lease_until);
	db_bind_int(stmt, 7, claim->now);
	if (db_run(q, stmt, err) < 0)
		return -1;
	db_tally_move(q, job->dataset, c->state, JOB_RUNNING);
	if (c->state != JOB_AVAILABLE || claim->suspects)
		return 0;
	return todo_delete(q, job->dataset, (int64_t)job->rank, job->id, err);
}

static int claim_jobs(struct sqlite_queue *q, const struct queue_claim *claim,
		      struct candidates *found, struct error *err)
{
	int64_t owner, fence;
	int r = find_candidates(q, claim, found, err);

	if (r != 0)
		return r;
	if (owner_number(q, claim->owner, &owner, err) < 0 ||
	    db_tally_read(q, 0, TALLY_FENCE, &fence, err) < 0)
		return -1;
	for (size_t i = 0; i < found->count; i++) {
		found->items[i].job.fence = (uint64_t)++fence;
		if (take(q, claim, owner, &found->items[i], err) < 0)
			return -1;
	}
	db_tally(q, 0, TALLY_FENCE, (int64_t)found->count);
	return 0;
}

int queue_sqlite_claim(struct queue *base, const struct queue_claim *claim, struct job *jobs,
		       size_t *n, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_with(candidates_release) struct candidates found = {NULL, 0, 0};
	int outcome, r;

	if (db_log_bounded(q, err) < 0 || db_begin(q, err) < 0)
		return -1;
	outcome = claim_jobs(q, claim, &found, err);
	/* Where there was nothing to claim, what todo_fill() did stays done. */
	r = db_end(q, outcome < 0 ? outcome : 0, err);
	if (r == 0)
		r = outcome;
	if (r == QUEUE_EMPTY)
		db_idle(q);
	if (r != 0)
		return r;
	*n = found.count;
	for (size_t i = 0; i < found.count; i++)
		jobs[i] = found.items[i].job;
	found.count = 0;
	return 0;
}
