/*
 * Datasets; shards and samples as they are found in the catalog.
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

static int move_dataset(struct sqlite_queue *q, int64_t id, const char *output, struct error *err)
{
	static const char sql[] = "UPDATE dataset SET output = ?2 WHERE id = ?1 AND output <> ?2";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_DATASET_MOVE, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, id);
	db_bind_blob(stmt, 2, output, strlen(output));
	return db_run(q, stmt, err);
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
	if (r == 0)
		r = found == 0 ? insert_dataset(q, spec, &found, err)
			       : move_dataset(q, found, spec->output, err);
	r = db_end(q, r, err);
	if (r == 0)
		*id = found;
	return r;
}

/* -- shards and samples --------------------------------------------------------------------------- */

int shard_find(struct sqlite_queue *q, int64_t shard, struct shard_place *out, struct error *err)
{
	static const char sql[] =
	    "SELECT dataset, first, samples, dead, bytes FROM shard WHERE id = ?1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SHARD_READ, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, shard);
	r = db_step(q, stmt, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return error_set(err, ERR_BUG, "no shard has the id %lld", (long long)shard);
	*out = (struct shard_place){
	    .id = shard,
	    .dataset = sqlite3_column_int64(stmt, 0),
	    .first = sqlite3_column_int64(stmt, 1),
	    .samples = sqlite3_column_int64(stmt, 2),
	    .dead = sqlite3_column_int64(stmt, 3),
	    .bytes = sqlite3_column_int64(stmt, 4),
	};
	db_done(stmt);
	return 0;
}

static void column_hash(struct sqlite3_stmt *stmt, int column, struct hash128 *out)
{
	size_t size;
	const char *data = db_column(stmt, column, &size);

	memset(out, 0, sizeof(*out));
	if (size == sizeof(out->bytes))
		memcpy(out->bytes, data, size);
}

int sample_find(struct sqlite_queue *q, int64_t rank, int64_t job, int64_t variant,
		struct live_sample *out, struct error *err)
{
	static const char sql[] =
	    "SELECT id, shard, content, latent FROM sample INDEXED BY sample_live"
	    " WHERE dead = 0 AND rank = ?1 AND job = ?2 AND variant BETWEEN ?3 AND ?4"
	    " ORDER BY variant LIMIT 1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SAMPLE_LIVE, sql, err);
	int r;

	if (!stmt)
		return -1;
	*out = (struct live_sample){0};
	db_bind_int(stmt, 1, rank);
	db_bind_int(stmt, 2, job);
	db_bind_int(stmt, 3, variant == ANY_VARIANT ? 0 : variant);
	db_bind_int(stmt, 4, variant);
	r = db_step(q, stmt, err);
	if (r <= 0)
		return r;
	out->id = sqlite3_column_int64(stmt, 0);
	out->shard = sqlite3_column_int64(stmt, 1);
	column_hash(stmt, 2, &out->content);
	column_hash(stmt, 3, &out->latent);
	db_done(stmt);
	return 0;
}

int sample_kill(struct sqlite_queue *q, int64_t dataset, const struct live_sample *sample,
		struct error *err)
{
	struct sqlite3_stmt *stmt =
	    db_stmt(q, STMT_SAMPLE_KILL, "UPDATE sample SET dead = 1 WHERE id = ?1", err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, sample->id);
	if (db_run(q, stmt, err) < 0 || content_forget(q, sample->id, sample->id + 1, err) < 0)
		return -1;
	stmt = db_stmt(q, STMT_SHARD_DEAD, "UPDATE shard SET dead = dead + 1 WHERE id = ?1", err);
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, sample->shard);
	db_tally(q, dataset, TALLY_SAMPLES, -1);
	return db_run(q, stmt, err);
}
