/*
 * Jobs in: names and enqueue.
 */
#include "queue/queue_sqlite.h"

#include "queue/open_scan.h"

#include "base/checked.h"
#include "base/text.h"
#include "queue/queue_names.h"

#include <sqlite3.h>
#include <string.h>

/* -- names ---------------------------------------------------------------------------------------- */

char *job_column_key(struct sqlite3_stmt *stmt, int key_column, int path_column)
{
	char *path;

	if (sqlite3_column_type(stmt, key_column) != SQLITE_NULL)
		return db_column_copy(stmt, key_column);
	path = db_column_copy(stmt, path_column);
	path[name_stem_size(path, strlen(path))] = '\0';
	return path;
}

bool job_column_is(struct sqlite3_stmt *stmt, int key_column, int path_column, const char *key,
		   const char *path)
{
	size_t row_path_size, row_key_size;
	const char *row_path = db_column(stmt, path_column, &row_path_size);
	const char *row_key = db_column(stmt, key_column, &row_key_size);

	if (!row_key) {
		row_key = row_path;
		row_key_size = name_stem_size(row_path, row_path_size);
	}
	return name_equal(row_path, row_path_size, path, strlen(path)) &&
	       name_equal(row_key, row_key_size, key, strlen(key));
}

/* One row that has the print: is it the job of that path, or the holder of that key? */
static void match_row(struct sqlite3_stmt *stmt, uint32_t root, const char *path, const char *key,
		      struct job_match *out)
{
	int64_t id = sqlite3_column_int64(stmt, 0);
	size_t row_path_size, row_key_size;
	const char *row_path = db_column(stmt, 1, &row_path_size);
	const char *row_key = db_column(stmt, 2, &row_key_size);
	bool same_path;

	if (!row_key) {
		row_key = row_path;
		row_key_size = name_stem_size(row_path, row_path_size);
	}
	same_path = name_equal(row_path, row_path_size, path, strlen(path));
	if (name_equal(row_key, row_key_size, key, strlen(key))) {
		out->key_holder = id;
		out->holder_has_path = same_path;
	}
	if (!same_path || sqlite3_column_int64(stmt, 3) != (int64_t)root)
		return;
	out->id = id;
	out->gone = sqlite3_column_int64(stmt, 4) == JOB_GONE;
	out->waiting = sqlite3_column_type(stmt, 4) != SQLITE_NULL &&
		       sqlite3_column_int64(stmt, 4) == JOB_WAITING;
	out->size = (uint64_t)sqlite3_column_int64(stmt, 5);
	out->mtime_ns = sqlite3_column_int64(stmt, 6);
	out->inode = (uint64_t)sqlite3_column_int64(stmt, 7);
	out->caption = sqlite3_column_type(stmt, 8) == SQLITE_NULL
			   ? CAPTION_UNSEEN
			   : (uint64_t)sqlite3_column_int64(stmt, 8);
}

static int match_print(struct sqlite_queue *q, int64_t dataset, int64_t print, uint32_t root,
		       const char *path, const char *key, struct job_match *out, struct error *err)
{
	static const char sql[] =
	    "SELECT job.id, job.path, job.key, job.root, work.state, job.size,"
	    " job.mtime_ns, job.inode, job.caption"
	    " FROM name CROSS JOIN job ON job.id = name.job"
	    " LEFT JOIN work ON work.job = job.id"
	    " WHERE name.print = ?1 AND job.dataset = ?2";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOB_NAMED, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, print);
	db_bind_int(stmt, 2, dataset);
	while ((r = db_step(q, stmt, err)) > 0)
		match_row(stmt, root, path, key, out);
	return r;
}

int job_find(struct sqlite_queue *q, int64_t dataset, uint32_t root, const char *path,
	     const char *key, struct job_match *out, struct error *err)
{
	int64_t path_print = name_print(dataset, path, name_stem_size(path, strlen(path)));
	int64_t key_print = name_print(dataset, key, strlen(key));

	memset(out, 0, sizeof(*out));
	if (match_print(q, dataset, path_print, root, path, key, out, err) < 0)
		return -1;
	if (key_print == path_print)
		return 0;
	return match_print(q, dataset, key_print, root, path, key, out, err);
}

int job_of_key(struct sqlite_queue *q, int64_t dataset, const char *key, int64_t *id,
	       struct error *err)
{
	struct job_match match = {.id = 0};

	if (match_print(q, dataset, name_print(dataset, key, strlen(key)), 0, "", key, &match,
			err) < 0)
		return -1;
	*id = match.key_holder;
	return 0;
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
	    "INSERT INTO job (dataset, rank, root, size, mtime_ns, inode, key, path, caption)"
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
	size_t path_size = strlen(spec->path), key_size = strlen(key);
	size_t stem = name_stem_size(spec->path, path_size);
	bool key_is_stem = name_equal(spec->path, stem, key, key_size);
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
	if (spec->caption == CAPTION_UNSEEN)
		db_bind_null(stmt, 9);
	else
		db_bind_int(stmt, 9, (int64_t)spec->caption);
	if (db_run(q, stmt, err) < 0)
		return -1;
	*id = sqlite3_last_insert_rowid(q->db);
	db_tally(q, dataset, JOB_AVAILABLE, 1);
	if (insert_name(q, path_print, *id, err) < 0)
		return -1;
	return key_print == path_print ? 0 : insert_name(q, key_print, *id, err);
}

int job_remember(struct sqlite_queue *q, int64_t job, const struct job_spec *file,
		 struct error *err)
{
	static const char sql[] = "UPDATE job SET size = ?2, mtime_ns = ?3, inode = ?4"
				  " WHERE id = ?1 AND (size, mtime_ns, inode) <> (?2, ?3, ?4)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOB_REMEMBER, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, job);
	db_bind_int(stmt, 2, (int64_t)file->size);
	db_bind_int(stmt, 3, file->mtime_ns);
	db_bind_int(stmt, 4, (int64_t)file->inode);
	return db_run(q, stmt, err);
}

/* -- enqueue -------------------------------------------------------------------------------------- */

static bool is_same_file(const struct job_match *match, const struct job_spec *spec)
{
	return match->size == spec->size && match->mtime_ns == spec->mtime_ns &&
	       match->inode == spec->inode;
}

/* No scan has met its file: see swap. */
static bool is_unseen(const struct job_match *match)
{
	return match->size == 0 && match->mtime_ns == 0 && match->inode == 0;
}

static bool must_wait(const struct job_spec *spec)
{
	return spec->wants_caption && spec->caption == 0;
}

/* Its file changed or came back. @w is changed, and not written. */
static int requeue(struct sqlite_queue *q, const struct job_spec *spec, struct work *w,
		   struct error *err)
{
	if (job_remember(q, w->job, spec, err) < 0)
		return -1;
	if (w->state == JOB_AVAILABLE && !w->has_row)
		return 0;
	w->changed = w->changed || w->state == JOB_COMPLETED || w->state == JOB_ENCODED;
	w->state = JOB_AVAILABLE;
	w->attempts = w->crashes = w->updated_at = 0;
	w->says = true;
	return 0;
}

/* It may have failed for what lay beside its file and is another now: a mask that was half written, say. */
static bool may_succeed_now(const struct work *w, const struct job_match *match,
			    const struct job_spec *spec)
{
	return w->state == JOB_GONE ||
	       (w->state == JOB_QUARANTINED && match->caption != CAPTION_UNSEEN &&
		spec->caption != CAPTION_UNSEEN && spec->caption != match->caption);
}

static int take_file(struct sqlite_queue *q, const struct job_spec *spec,
		     const struct job_match *match, struct work *w, struct enqueue_counts *counts,
		     struct error *err)
{
	bool same = is_same_file(match, spec);

	if (same && w->state == JOB_WAITING && !must_wait(spec)) {
		w->state = JOB_AVAILABLE;
		counts->requeued++;
		return 0;
	}
	if (same && !may_succeed_now(w, match, spec)) {
		counts->known++;
		return 0;
	}
	if (w->state == JOB_ENCODED || w->state == JOB_COMPLETED)
		counts->superseding++;
	else
		counts->requeued++;
	return requeue(q, spec, w, err);
}

static int remember_caption(struct sqlite_queue *q, int64_t job, uint64_t caption,
			    struct error *err)
{
	struct sqlite3_stmt *stmt =
	    db_stmt(q, STMT_JOB_CAPTION, "UPDATE job SET caption = ?2 WHERE id = ?1", err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, job);
	db_bind_int(stmt, 2, (int64_t)caption);
	return db_run(q, stmt, err);
}

/* After its file. What is stored of the job may have another caption than it has now. */
static int take_caption(struct sqlite_queue *q, const struct job_spec *spec,
			const struct job_match *match, struct work *w,
			struct enqueue_counts *counts, struct error *err)
{
	bool changed = match->caption != CAPTION_UNSEEN && match->caption != spec->caption;
	struct live_sample live;

	if ((w->state == JOB_AVAILABLE || w->state == JOB_RETRYABLE) && must_wait(spec))
		w->state = JOB_WAITING;
	counts->waiting += w->state == JOB_WAITING;
	if (spec->caption == CAPTION_UNSEEN)
		return 0;
	if (match->caption != spec->caption && remember_caption(q, w->job, spec->caption, err) < 0)
		return -1;
	if (!changed && !is_unseen(match))
		return 0;
	if (sample_find(q, w->rank, w->job, ANY_VARIANT, &live, err) < 0)
		return -1;
	if (live.id == 0 && !w->spooled)
		return 0;
	return recaption_put(q, w->dataset, w->job, &counts->recaptioned, err);
}

static int enqueue_known(struct sqlite_queue *q, const struct job_spec *spec,
			 const struct job_match *match, struct enqueue_counts *counts,
			 struct error *err)
{
	bool captioned = spec->caption != CAPTION_UNSEEN && match->caption != spec->caption;
	bool unchanged = is_same_file(match, spec) && !captioned;
	enum job_state before;
	struct work w;

	if (unchanged && !is_unseen(match) && !match->gone && match->waiting == must_wait(spec)) {
		counts->known++;
		counts->waiting += match->waiting;
		return 0;
	}
	if (job_read(q, match->id, &w, err) < 0)
		return -1;
	if (w.state == JOB_RUNNING) {
		*(unchanged && !must_wait(spec) ? &counts->known : &counts->busy) += 1;
		return 0;
	}
	before = w.state;
	if (take_file(q, spec, match, &w, counts, err) < 0 ||
	    take_caption(q, spec, match, &w, counts, err) < 0)
		return -1;
	return w.state != before || w.says ? job_write(q, &w, err) : 0;
}

/* A new job. */
static int make_wait(struct sqlite_queue *q, int64_t dataset, const struct job_spec *spec,
		     int64_t job, struct enqueue_counts *counts, struct error *err)
{
	struct work w = {.job = job,
			 .dataset = dataset,
			 .rank = (int64_t)spec->rank,
			 .root = spec->root,
			 .was = JOB_AVAILABLE,
			 .state = JOB_WAITING};

	counts->waiting++;
	return job_write(q, &w, err);
}

static int enqueue_new(struct sqlite_queue *q, int64_t dataset, const struct job_spec *spec,
		       bool key_is_free, int64_t *id, struct enqueue_counts *counts,
		       struct error *err)
{
	const char *key = spec->key;

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
	if (job_insert(q, dataset, spec, key, id, err) < 0)
		return -1;
	counts->added++;
	return must_wait(spec) ? make_wait(q, dataset, spec, *id, counts, err) : 0;
}

/* @ids: of the jobs, in the order of @specs. */
static int enqueue_all(struct sqlite_queue *q, int64_t dataset, const struct job_spec *specs,
		       size_t n, int64_t *ids, struct enqueue_counts *counts, struct error *err)
{
	if (dataset_check(q, dataset, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct job_spec *spec = &specs[i];
		struct job_match match;

		if (job_find(q, dataset, spec->root, spec->path, spec->key, &match, err) < 0)
			return -1;
		ids[i] = match.id;
		if (spec->unsettled) {
			counts->unsettled++;
			continue;
		}
		if (match.id != 0) {
			if (enqueue_known(q, spec, &match, counts, err) < 0)
				return -1;
			continue;
		}
		if (enqueue_new(q, dataset, spec, match.key_holder == 0, &ids[i], counts, err) < 0)
			return -1;
	}
	return todo_fill(q, TODO_BACKLOG, err);
}

int queue_sqlite_enqueue(struct queue *base, int64_t dataset, const struct job_spec *specs,
			 size_t n, struct enqueue_counts *counts, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_free int64_t *ids = xcalloc(n + 1, sizeof(*ids));
	struct enqueue_counts counted = *counts;

	if (db_log_bounded(q, err) < 0 || db_begin(q, err) < 0 ||
	    db_end(q, enqueue_all(q, dataset, specs, n, ids, &counted, err), err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		open_scans_met(&q->scans, dataset, ids[i]);
	*counts = counted;
	return 0;
}
