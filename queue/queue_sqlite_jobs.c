/*
 * Jobs in: enqueue and claim.
 */
#include "queue/queue_sqlite.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/text.h"

#include <sqlite3.h>
#include <string.h>

/* -- names ---------------------------------------------------------------------------------------- */

/* Length of @path without its extension, by the rule of sample keys: a leading dot begins none. */
static size_t stem_size(const char *path, size_t size)
{
	for (size_t i = size; i > 0 && path[i - 1] != '/'; i--) {
		if (path[i - 1] == '.')
			return i == 1 || path[i - 2] == '/' ? size : i - 1;
	}
	return size;
}

/*
 * Where a path's stem or a key stands in table `name`. The upper half leaves the last four bytes out, so that
 * names that count up (000123, 000124) have neighbouring prints: a scan in order then fills pages one
 * after the other, where a plain hash would write to every page of the table.
 */
static int64_t name_print(int64_t dataset, const char *name, size_t size)
{
	uint64_t seed = (uint64_t)dataset;
	uint64_t group = hash64_of(name, size > 4 ? size - 4 : 0, seed);
	uint64_t member = hash64_of(name, size, seed);

	return (int64_t)((group & 0xffffffff00000000) | member >> 32);
}

static bool bytes_equal(const char *a, size_t a_size, const char *b, size_t b_size)
{
	return a_size == b_size && memcmp(a, b, a_size) == 0;
}

char *job_column_key(struct sqlite3_stmt *stmt, int key_column, int path_column)
{
	char *path;

	if (sqlite3_column_type(stmt, key_column) != SQLITE_NULL)
		return db_column_copy(stmt, key_column);
	path = db_column_copy(stmt, path_column);
	path[stem_size(path, strlen(path))] = '\0';
	return path;
}

/* One row that has the print: is it the job of that path, or the holder of that key? */
static int match_row(struct sqlite3_stmt *stmt, uint32_t root, const char *path, const char *key,
		     struct job_match *out, struct error *err)
{
	int64_t state = sqlite3_column_int64(stmt, 4);
	int64_t id = sqlite3_column_int64(stmt, 0);
	size_t row_path_size, row_key_size;
	const char *row_path = db_column(stmt, 1, &row_path_size);
	const char *row_key = db_column(stmt, 2, &row_key_size);
	bool same_path;

	if (!row_key) {
		row_key = row_path;
		row_key_size = stem_size(row_path, row_path_size);
	}
	if (state < 0 || state >= JOB_STATES)
		return error_set(err, ERR_IO, "queue is damaged: job %lld is in state %lld",
				 (long long)id, (long long)state);
	same_path = bytes_equal(row_path, row_path_size, path, strlen(path));
	if (bytes_equal(row_key, row_key_size, key, strlen(key))) {
		out->key_holder = id;
		out->holder_state = (enum job_state)state;
		out->holder_has_path = same_path;
	}
	if (!same_path || sqlite3_column_int64(stmt, 3) != (int64_t)root)
		return 0;
	out->id = id;
	out->state = (enum job_state)state;
	out->size = (uint64_t)sqlite3_column_int64(stmt, 5);
	out->mtime_ns = sqlite3_column_int64(stmt, 6);
	out->inode = (uint64_t)sqlite3_column_int64(stmt, 7);
	return 0;
}

static int match_print(struct sqlite_queue *q, int64_t dataset, int64_t print, uint32_t root,
		       const char *path, const char *key, struct job_match *out, struct error *err)
{
	static const char sql[] = "SELECT job.id, job.path, job.key, job.root, job.state, job.size,"
				  " job.mtime_ns, job.inode"
				  " FROM name JOIN job ON job.id = name.job"
				  " WHERE name.print = ?1 AND job.dataset = ?2";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOB_NAMED, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, print);
	db_bind_int(stmt, 2, dataset);
	while ((r = db_step(q, stmt, err)) > 0) {
		if (match_row(stmt, root, path, key, out, err) < 0)
			return -1;
	}
	return r;
}

int job_find(struct sqlite_queue *q, int64_t dataset, uint32_t root, const char *path,
	     const char *key, struct job_match *out, struct error *err)
{
	int64_t path_print = name_print(dataset, path, stem_size(path, strlen(path)));
	int64_t key_print = name_print(dataset, key, strlen(key));

	memset(out, 0, sizeof(*out));
	if (match_print(q, dataset, path_print, root, path, key, out, err) < 0)
		return -1;
	if (key_print == path_print)
		return 0;
	return match_print(q, dataset, key_print, root, path, key, out, err);
}

static int insert_name(struct sqlite_queue *q, int64_t print, int64_t job, struct error *err)
{
	static const char sql[] = "INSERT INTO name (print, job) VALUES (?1, ?2)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_NAME_INSERT, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, print);
	db_bind_int(stmt, 2, job);
	return db_run(q, stmt, err);
}

int job_insert(struct sqlite_queue *q, int64_t dataset, const struct job_spec *spec,
	       const char *key, int64_t *id, struct error *err)
{
	static const char sql[] =
	    "INSERT INTO job (dataset, state, attempts, crashes, fence, updated_at, rank, root,"
	    " size, mtime_ns, inode, key, path)"
	    " VALUES (?1, 1, 0, 0, 0, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
	size_t path_size = strlen(spec->path), key_size = strlen(key);
	size_t stem = stem_size(spec->path, path_size);
	bool key_is_stem = bytes_equal(spec->path, stem, key, key_size);
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOB_INSERT, sql, err);
	int64_t path_print = name_print(dataset, spec->path, stem);
	int64_t key_print = name_print(dataset, key, key_size);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	db_bind_int(stmt, 2, (int64_t)spec->rank);
	db_bind_int(stmt, 3, spec->root);
	db_bind_int(stmt, 4, (int64_t)spec->size);
	db_bind_int(stmt, 5, spec->mtime_ns);
	db_bind_int(stmt, 6, (int64_t)spec->inode);
	db_bind_text(stmt, 7, key_is_stem ? NULL : key);
	db_bind_blob(stmt, 8, spec->path, path_size);
	if (db_run(q, stmt, err) < 0)
		return -1;
	*id = sqlite3_last_insert_rowid(q->db);
	db_tally(q, dataset, JOB_AVAILABLE, 1);
	if (insert_name(q, path_print, *id, err) < 0)
		return -1;
	return key_print == path_print ? 0 : insert_name(q, key_print, *id, err);
}

/* -- enqueue -------------------------------------------------------------------------------------- */

static int remember_file(struct sqlite_queue *q, int64_t job, const struct job_spec *spec,
			 struct error *err)
{
	static const char sql[] =
	    "UPDATE job SET size = ?2, mtime_ns = ?3, inode = ?4 WHERE id = ?1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOB_REMEMBER, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, job);
	db_bind_int(stmt, 2, (int64_t)spec->size);
	db_bind_int(stmt, 3, spec->mtime_ns);
	db_bind_int(stmt, 4, (int64_t)spec->inode);
	return db_run(q, stmt, err);
}

static int requeue(struct sqlite_queue *q, int64_t dataset, const struct job_match *match,
		   struct error *err)
{
	static const char sql[] = "UPDATE job SET state = 1, attempts = 0, crashes = 0, due = NULL,"
				  " reason = NULL, message = NULL WHERE id = ?1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOB_REQUEUE, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, match->id);
	db_tally_move(q, dataset, match->state, JOB_AVAILABLE);
	return db_run(q, stmt, err);
}

static int enqueue_known(struct sqlite_queue *q, int64_t dataset, const struct job_spec *spec,
			 const struct job_match *match, struct enqueue_counts *counts,
			 struct error *err)
{
	bool adopted = match->state == JOB_COMPLETED && match->size == 0 && match->mtime_ns == 0 &&
		       match->inode == 0;
	bool same = match->size == spec->size && match->mtime_ns == spec->mtime_ns &&
		    match->inode == spec->inode;

	if (same && match->state != JOB_GONE) {
		counts->known++;
		return 0;
	}
	if (adopted || match->state == JOB_RUNNING) {
		counts->known++;
		return remember_file(q, match->id, spec, err);
	}
	if (match->state == JOB_ENCODED || match->state == JOB_COMPLETED) {
		counts->changed_done++;
		return 0;
	}
	counts->requeued++;
	if (remember_file(q, match->id, spec, err) < 0)
		return -1;
	return requeue(q, dataset, match, err);
}

static int enqueue_new(struct sqlite_queue *q, int64_t dataset, const struct job_spec *spec,
		       bool key_is_free, struct enqueue_counts *counts, struct error *err)
{
	const char *key = spec->key;
	int64_t id;

	if (!key_is_free) {
		char quoted[2][TEXT_QUOTE_SIZE];
		struct job_match match;

		key = spec->key_distinct;
		if (job_find(q, dataset, spec->root, spec->path, key, &match, err) < 0)
			return -1;
		if (match.key_holder != 0)
			return error_set(err, ERR_BUG, "keys %s and %s are both taken",
					 text_quote(spec->key, quoted[0]),
					 text_quote(key, quoted[1]));
	}
	counts->added++;
	return job_insert(q, dataset, spec, key, &id, err);
}

static int enqueue_all(struct sqlite_queue *q, int64_t dataset, const struct job_spec *specs,
		       size_t n, struct enqueue_counts *counts, struct error *err)
{
	if (dataset_check(q, dataset, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct job_spec *spec = &specs[i];
		struct job_match match;
		int r;

		if (job_find(q, dataset, spec->root, spec->path, spec->key, &match, err) < 0)
			return -1;
		if (match.id != 0)
			r = enqueue_known(q, dataset, spec, &match, counts, err);
		else
			r = enqueue_new(q, dataset, spec, match.key_holder == 0, counts, err);
		if (r < 0)
			return -1;
	}
	return 0;
}

int queue_sqlite_enqueue(struct queue *base, int64_t dataset, const struct job_spec *specs,
			 size_t n, struct enqueue_counts *counts, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	struct enqueue_counts counted = *counts;

	if (db_begin(q, err) < 0 ||
	    db_end(q, enqueue_all(q, dataset, specs, n, &counted, err), err) < 0)
		return -1;
	*counts = counted;
	return 0;
}

/* -- claim ---------------------------------------------------------------------------------------- */

struct candidate {
	int64_t id, rank;
	enum job_state state;
};

struct candidates {
	struct candidate *items;
	size_t count, capacity;
};

static void candidates_release(struct candidates *c)
{
	free(c->items);
}

static int by_rank(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;

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

/* The first of a dataset, by rank, in either claimable state. */
static int add_candidates(struct sqlite_queue *q, const struct queue_claim *claim, int64_t dataset,
			  struct candidates *out, struct error *err)
{
	static const char sql[] = "SELECT * FROM (SELECT id, rank, 1 FROM job INDEXED BY job_claim"
				  " WHERE state = 1 AND dataset = ?1"
				  " AND (?4 IS NULL OR root IN (SELECT value FROM json_each(?4)))"
				  " ORDER BY rank, id LIMIT ?3)"
				  " UNION ALL "
				  "SELECT * FROM (SELECT id, rank, 5 FROM job INDEXED BY job_due"
				  " WHERE state = 5 AND dataset = ?1 AND due <= ?2"
				  " AND (?4 IS NULL OR root IN (SELECT value FROM json_each(?4)))"
				  " ORDER BY rank, id LIMIT ?3)";
	cleanup_buffer struct buffer roots = BUFFER_INIT;
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_CLAIM_FIND, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	db_bind_int(stmt, 2, claim->now);
	db_bind_int(stmt, 3, claim->limit < INT64_MAX ? (int64_t)claim->limit : INT64_MAX);
	if (claim->roots)
		append_roots(&roots, claim);
	db_bind_text(stmt, 4, (const char *)roots.data);
	while ((r = db_step(q, stmt, err)) > 0) {
		ARRAY_GROW(out->items, out->count, out->capacity);
		out->items[out->count++] = (struct candidate){
		    sqlite3_column_int64(stmt, 0),
		    sqlite3_column_int64(stmt, 1),
		    (enum job_state)sqlite3_column_int(stmt, 2),
		};
	}
	return r;
}

static int find_candidates(struct sqlite_queue *q, const struct queue_claim *claim,
			   struct candidates *out, struct error *err)
{
	struct sqlite3_stmt *stmt;
	int r;

	if (claim->dataset != 0) {
		if (add_candidates(q, claim, claim->dataset, out, err) < 0)
			return -1;
	} else {
		stmt = db_stmt(q, STMT_CLAIM_DATASETS, "SELECT id FROM dataset", err);
		if (!stmt)
			return -1;
		while ((r = db_step(q, stmt, err)) > 0) {
			if (add_candidates(q, claim, sqlite3_column_int64(stmt, 0), out, err) < 0)
				return -1;
		}
		if (r < 0)
			return -1;
	}
	if (out->count == 0)
		return QUEUE_EMPTY;
	qsort(out->items, out->count, sizeof(*out->items), by_rank);
	if (out->count > claim->limit)
		out->count = claim->limit;
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
		const struct candidate *candidate, struct job *job, struct error *err)
{
	static const char sql[] =
	    "UPDATE job SET state = 2, attempts = attempts + 1, fence = fence + 1, owner = ?2,"
	    " due = ?3, updated_at = ?4 WHERE id = ?1"
	    " RETURNING dataset, fence, attempts, crashes, root, size, rank, key, path";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_CLAIM_TAKE, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, candidate->id);
	db_bind_int(stmt, 2, owner);
	db_bind_int(stmt, 3, claim->lease_until);
	db_bind_int(stmt, 4, claim->now);
	if (db_step(q, stmt, err) < 0)
		return -1;
	*job = (struct job){
	    .id = candidate->id,
	    .dataset = sqlite3_column_int64(stmt, 0),
	    .fence = (uint64_t)sqlite3_column_int64(stmt, 1),
	    .attempts = (uint32_t)sqlite3_column_int64(stmt, 2),
	    .crashes = (uint32_t)sqlite3_column_int64(stmt, 3),
	    .root = (uint32_t)sqlite3_column_int64(stmt, 4),
	    .size = (uint64_t)sqlite3_column_int64(stmt, 5),
	    .rank = (uint64_t)sqlite3_column_int64(stmt, 6),
	    .key = job_column_key(stmt, 7, 8),
	    .path = db_column_copy(stmt, 8),
	};
	db_done(stmt);
	db_tally_move(q, job->dataset, candidate->state, JOB_RUNNING);
	return 0;
}

/* *jobs is the caller's to free, with what the first *n of them hold, in every case. */
static int claim_jobs(struct sqlite_queue *q, const struct queue_claim *claim, struct job **jobs,
		      size_t *n, struct error *err)
{
	cleanup_with(candidates_release) struct candidates found = {NULL, 0, 0};
	int64_t owner;
	int r = find_candidates(q, claim, &found, err);

	if (r != 0)
		return r;
	if (owner_number(q, claim->owner, &owner, err) < 0)
		return -1;
	*jobs = xcalloc(found.count, sizeof(**jobs));
	for (*n = 0; *n < found.count; ++*n) {
		if (take(q, claim, owner, &found.items[*n], &(*jobs)[*n], err) < 0)
			return -1;
	}
	return 0;
}

int queue_sqlite_claim(struct queue *base, const struct queue_claim *claim, struct job *jobs,
		       size_t *n, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_free struct job *claimed = NULL;
	size_t count = 0;
	int r;

	if (db_begin(q, err) < 0)
		return -1;
	r = db_end(q, claim_jobs(q, claim, &claimed, &count, err), err);
	if (r != 0) {
		for (size_t i = 0; i < count; i++)
			job_release(&claimed[i]);
		return r;
	}
	memcpy(jobs, claimed, count * sizeof(*jobs));
	*n = count;
	return 0;
}
