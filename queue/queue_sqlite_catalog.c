/*
 * Datasets, and shards that become visible.
 */
#include "queue/queue_sqlite.h"

#include <sqlite3.h>
#include <string.h>

/* -- datasets ------------------------------------------------------------------------------------- */

int dataset_check(struct sqlite_queue *q, int64_t dataset, struct error *err)
{
	struct sqlite3_stmt *stmt =
	    db_stmt(q, STMT_DATASET_KNOWN, "SELECT 1 FROM dataset WHERE id = ?1", err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	r = db_step(q, stmt, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return error_set(err, ERR_BUG, "no dataset has the id %lld", (long long)dataset);
	db_done(stmt);
	return 0;
}

/* *id stays 0 if there is none of this name. */
static int find_dataset(struct sqlite_queue *q, const struct queue_dataset_spec *spec, int64_t *id,
			struct error *err)
{
	static const char sql[] = "SELECT id, recipe_id = ?2 FROM dataset WHERE name = ?1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_DATASET_FIND, sql, err);
	bool same;
	int r;

	if (!stmt)
		return -1;
	db_bind_text(stmt, 1, spec->name);
	db_bind_text(stmt, 2, spec->recipe_id);
	r = db_step(q, stmt, err);
	if (r <= 0)
		return r;
	*id = sqlite3_column_int64(stmt, 0);
	same = sqlite3_column_int(stmt, 1);
	db_done(stmt);
	return same ? 0 : QUEUE_OTHER_RECIPE;
}

static int insert_dataset(struct sqlite_queue *q, const struct queue_dataset_spec *spec,
			  int64_t *id, struct error *err)
{
	static const char sql[] = "INSERT INTO dataset (name, output, recipe_id, recipe_json)"
				  " VALUES (?1, ?2, ?3, ?4)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_DATASET_INSERT, sql, err);

	if (!stmt)
		return -1;
	db_bind_text(stmt, 1, spec->name);
	db_bind_blob(stmt, 2, spec->output, strlen(spec->output));
	db_bind_text(stmt, 3, spec->recipe_id);
	db_bind_text(stmt, 4, spec->recipe_json);
	if (db_run(q, stmt, err) < 0)
		return -1;
	*id = sqlite3_last_insert_rowid(q->db);
	return 0;
}

int queue_sqlite_open_dataset(struct queue *base, const struct queue_dataset_spec *spec,
			      int64_t *id, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	int64_t found = 0;
	int r;

	if (db_begin(q, err) < 0)
		return -1;
	r = find_dataset(q, spec, &found, err);
	if (r == 0 && found == 0)
		r = insert_dataset(q, spec, &found, err);
	r = db_end(q, r, err);
	if (r == 0)
		*id = found;
	return r;
}

/* -- complete ------------------------------------------------------------------------------------- */

static int check_shard_path(struct sqlite_queue *q, const struct shard_row *shard,
			    struct error *err)
{
	static const char sql[] = "SELECT 1 FROM shard WHERE dataset = ?1 AND path = ?2";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SHARD_KNOWN, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, shard->dataset);
	db_bind_text(stmt, 2, shard->path);
	r = db_step(q, stmt, err);
	db_done(stmt);
	return r > 0 ? QUEUE_CONFLICT : r;
}

static int insert_shard(struct sqlite_queue *q, const struct shard_row *shard, int64_t *id,
			struct error *err)
{
	static const char sql[] = "INSERT INTO shard (dataset, path, format, \"group\", bytes,"
				  " samples, sha256, xxh3, sealed_at)"
				  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SHARD_INSERT, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, shard->dataset);
	db_bind_text(stmt, 2, shard->path);
	db_bind_text(stmt, 3, shard->format);
	db_bind_text(stmt, 4, shard->group);
	db_bind_int(stmt, 5, (int64_t)shard->bytes);
	db_bind_int(stmt, 6, (int64_t)shard->samples);
	db_bind_blob(stmt, 7, shard->sha256.bytes, sizeof(shard->sha256.bytes));
	db_bind_blob(stmt, 8, shard->xxh3.bytes, sizeof(shard->xxh3.bytes));
	db_bind_int(stmt, 9, shard->sealed_at);
	if (db_run(q, stmt, err) < 0)
		return -1;
	*id = sqlite3_last_insert_rowid(q->db);
	db_tally(q, shard->dataset, TALLY_SHARDS, 1);
	db_tally(q, shard->dataset, TALLY_SAMPLES, (int64_t)shard->samples);
	db_tally(q, shard->dataset, TALLY_SHARD_BYTES, (int64_t)shard->bytes);
	return 0;
}

static int insert_sample(struct sqlite_queue *q, int64_t shard, int64_t job,
			 const struct sample_row *sample, struct error *err)
{
	static const char sql[] =
	    "INSERT INTO sample (shard, offset, bytes, job, variant, content, latent)"
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (job, variant) DO NOTHING";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SAMPLE_INSERT, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, shard);
	db_bind_int(stmt, 2, (int64_t)sample->offset);
	db_bind_int(stmt, 3, (int64_t)sample->bytes);
	db_bind_int(stmt, 4, job);
	db_bind_int(stmt, 5, sample->variant);
	db_bind_blob(stmt, 6, sample->content.bytes, sizeof(sample->content.bytes));
	db_bind_blob(stmt, 7, sample->latent.bytes, sizeof(sample->latent.bytes));
	if (db_run(q, stmt, err) < 0)
		return -1;
	return sqlite3_changes(q->db) == 1 ? 0 : QUEUE_CONFLICT;
}

static int complete_job(struct sqlite_queue *q, int64_t job, const struct sample_row *sample,
			int64_t now, struct error *err)
{
	static const char sql[] =
	    "UPDATE job SET state = 4, owner = NULL, due = NULL, content = ?2, reason = NULL,"
	    " message = NULL, updated_at = ?3 WHERE id = ?1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOB_COMPLETE, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, job);
	db_bind_blob(stmt, 2, sample->content.bytes, sizeof(sample->content.bytes));
	db_bind_int(stmt, 3, now);
	return db_run(q, stmt, err);
}

static int complete_sample(struct sqlite_queue *q, int64_t dataset, int64_t shard,
			   const struct sample_row *sample, int64_t now, struct error *err)
{
	enum job_state state = JOB_AVAILABLE;
	struct job_match match;
	int64_t job;
	int r;

	if (job_find(q, dataset, sample->root, sample->path, sample->key, &match, err) < 0)
		return -1;
	job = match.key_holder;
	if (job != 0 ? !match.holder_has_path : match.id != 0)
		return QUEUE_CONFLICT;
	if (job != 0) {
		state = match.holder_state;
	} else {
		struct job_spec spec = {.root = sample->root, .path = sample->path};

		if (job_insert(q, dataset, &spec, sample->key, &job, err) < 0)
			return -1;
	}
	r = insert_sample(q, shard, job, sample, err);
	if (r != 0 || state == JOB_COMPLETED)
		return r;
	db_tally_move(q, dataset, state, JOB_COMPLETED);
	return complete_job(q, job, sample, now, err);
}

static int complete_shard(struct sqlite_queue *q, const struct shard_row *shard,
			  const struct sample_row *samples, size_t n, int64_t now, int64_t *id,
			  struct error *err)
{
	int r;

	if (dataset_check(q, shard->dataset, err) < 0)
		return -1;
	r = check_shard_path(q, shard, err);
	if (r == 0)
		r = insert_shard(q, shard, id, err);
	for (size_t i = 0; i < n && r == 0; i++)
		r = complete_sample(q, shard->dataset, *id, &samples[i], now, err);
	return r;
}

int queue_sqlite_complete(struct queue *base, const struct shard_row *shard,
			  const struct sample_row *samples, size_t n, int64_t now,
			  int64_t *shard_id, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	int64_t id = 0;
	int r;

	if (db_begin(q, err) < 0)
		return -1;
	r = db_end(q, complete_shard(q, shard, samples, n, now, &id, err), err);
	if (r == 0)
		*shard_id = id;
	return r;
}

/* -- shards that are gone ------------------------------------------------------------------------- */

/* One statement about shard ?1, and the time ?2 where it has one. */
static int run_about_shard(struct sqlite_queue *q, int slot, const char *sql, int64_t shard,
			   const int64_t *now, struct error *err)
{
	struct sqlite3_stmt *stmt = db_stmt(q, slot, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, shard);
	if (now)
		db_bind_int(stmt, 2, *now);
	return db_run(q, stmt, err);
}

static int tally_dropped(struct sqlite_queue *q, int64_t shard, int64_t *dataset, struct error *err)
{
	static const char sql[] = "SELECT dataset, samples, bytes FROM shard WHERE id = ?1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SHARD_DROPPED, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, shard);
	r = db_step(q, stmt, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return error_set(err, ERR_BUG, "no shard has the id %lld", (long long)shard);
	*dataset = sqlite3_column_int64(stmt, 0);
	db_tally(q, *dataset, TALLY_SHARDS, -1);
	db_tally(q, *dataset, TALLY_SAMPLES, -sqlite3_column_int64(stmt, 1));
	db_tally(q, *dataset, TALLY_SHARD_BYTES, -sqlite3_column_int64(stmt, 2));
	db_done(stmt);
	return 0;
}

static int drop_shard(struct sqlite_queue *q, int64_t shard, int64_t now, size_t *requeued,
		      struct error *err)
{
	static const char jobs[] = "UPDATE job SET state = 1, attempts = 0, updated_at = ?2"
				   " WHERE state = 4"
				   " AND id IN (SELECT job FROM sample WHERE shard = ?1)";
	int64_t dataset = 0;

	if (tally_dropped(q, shard, &dataset, err) < 0 ||
	    run_about_shard(q, STMT_DROP_JOBS, jobs, shard, &now, err) < 0)
		return -1;
	*requeued = (size_t)sqlite3_changes(q->db);
	db_tally(q, dataset, JOB_COMPLETED, -(int64_t)*requeued);
	db_tally(q, dataset, JOB_AVAILABLE, (int64_t)*requeued);
	if (run_about_shard(q, STMT_DROP_SAMPLES, "DELETE FROM sample WHERE shard = ?1", shard,
			    NULL, err) < 0)
		return -1;
	return run_about_shard(q, STMT_DROP_SHARD, "DELETE FROM shard WHERE id = ?1", shard, NULL,
			       err);
}

int queue_sqlite_drop_shard(struct queue *base, int64_t shard, int64_t now, size_t *requeued,
			    struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t count = 0;

	if (db_begin(q, err) < 0 || db_end(q, drop_shard(q, shard, now, &count, err), err) < 0)
		return -1;
	*requeued = count;
	return 0;
}
