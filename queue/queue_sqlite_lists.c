/*
 * Reading: counts, datasets and the catalog.
 */
#include "queue/queue_sqlite_batch.h"

#include "base/checked.h"

#include <sqlite3.h>
#include <string.h>

int queue_sqlite_counts(struct queue *base, int64_t dataset, struct queue_counts *out,
			struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	/* The last shard by its id, whatever index there is for datasets. */
	static const char sql[] =
	    "SELECT kind, n FROM tally WHERE dataset = ?1 UNION ALL SELECT * FROM"
	    " (SELECT -1, id FROM shard WHERE +dataset = ?1 ORDER BY id DESC LIMIT 1)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_COUNTS, sql, err);
	int64_t last_shard = 0;
	uint64_t by[TALLY_KINDS] = {0};
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	while ((r = db_step(q, stmt, err)) > 0) {
		int64_t kind = sqlite3_column_int64(stmt, 0);

		if (kind >= 0 && kind < TALLY_KINDS)
			by[kind] = (uint64_t)sqlite3_column_int64(stmt, 1);
		if (kind == -1)
			last_shard = sqlite3_column_int64(stmt, 1);
	}
	if (r < 0)
		return -1;
	memcpy(out->jobs, by, sizeof(out->jobs));
	out->shards = by[TALLY_SHARDS];
	out->samples = by[TALLY_SAMPLES];
	out->shard_bytes = by[TALLY_SHARD_BYTES];
	out->recaptions = by[TALLY_RECAPTIONS];
	out->last_shard = last_shard;
	return 0;
}

/* -- datasets ------------------------------------------------------------------------------------- */

static void read_dataset(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	row->dataset = (struct queue_dataset){
	    .id = sqlite3_column_int64(stmt, 0),
	    .name = batch_keep(b, db_column_copy(stmt, 1)),
	    .output = batch_keep(b, db_column_copy(stmt, 2)),
	    .recipe_id = batch_keep(b, db_column_copy(stmt, 3)),
	    .recipe_json = batch_keep(b, db_column_copy(stmt, 4)),
	};
}

int queue_sqlite_datasets(struct queue *base, queue_dataset_fn fn, void *arg, struct error *err)
{
	static const char sql[] = "SELECT id, name, output, recipe_id, recipe_json FROM dataset"
				  " WHERE name > ?1 ORDER BY name LIMIT 1000";
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_batch struct batch *b = batch_new();
	cleanup_free char *after = xstrdup("");

	do {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_DATASET_LIST, sql, err);

		if (!stmt)
			return -1;
		db_bind_text(stmt, 1, after);
		if (batch_read(q, stmt, read_dataset, b, err) < 0)
			return -1;
		db_bind_text(stmt, 1, NULL);
		for (size_t i = 0; i < b->count; i++) {
			if (fn(arg, &b->rows[i].dataset) != 0)
				return 0;
		}
		if (b->count > 0) {
			free(after);
			after = xstrdup(b->rows[b->count - 1].dataset.name);
		}
	} while (b->count == BATCH);
	return 0;
}

/* -- shards and samples --------------------------------------------------------------------------- */

static void read_shard(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	row->shard = (struct shard_row){
	    .id = sqlite3_column_int64(stmt, 0),
	    .path = batch_keep(b, db_column_copy(stmt, 1)),
	    .format = batch_keep(b, db_column_copy(stmt, 2)),
	    .group = batch_keep(b, db_column_copy(stmt, 3)),
	    .bytes = (uint64_t)sqlite3_column_int64(stmt, 4),
	    .samples = (uint64_t)sqlite3_column_int64(stmt, 5),
	    .sealed_at = sqlite3_column_int64(stmt, 8),
	    .dead = (uint64_t)sqlite3_column_int64(stmt, 9),
	    .dataset = sqlite3_column_int64(stmt, 10),
	};
	batch_bytes(stmt, 6, row->shard.sha256.bytes, sizeof(row->shard.sha256.bytes));
	batch_bytes(stmt, 7, row->shard.xxh3.bytes, sizeof(row->shard.xxh3.bytes));
}

int queue_sqlite_shards(struct queue *base, int64_t dataset, queue_shard_fn fn, void *arg,
			struct error *err)
{
	static const char sql[] =
	    "SELECT id, path, format, \"group\", bytes, samples, sha256, xxh3, sealed_at, dead,"
	    " dataset FROM shard WHERE dataset = ?1 AND path > ?2 ORDER BY path LIMIT 1000";
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_batch struct batch *b = batch_new();
	cleanup_free char *after = xstrdup("");

	do {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_SHARDS, sql, err);

		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, dataset);
		db_bind_text(stmt, 2, after);
		if (batch_read(q, stmt, read_shard, b, err) < 0)
			return -1;
		db_bind_text(stmt, 2, NULL);
		for (size_t i = 0; i < b->count; i++) {
			if (fn(arg, &b->rows[i].shard) != 0)
				return 0;
		}
		if (b->count > 0) {
			free(after);
			after = xstrdup(b->rows[b->count - 1].shard.path);
		}
	} while (b->count == BATCH);
	return 0;
}

static void read_sample(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	row->sample = (struct sample_row){
	    .key = batch_keep(b, job_column_key(stmt, 0, 2)),
	    .root = (uint32_t)sqlite3_column_int64(stmt, 1),
	    .path = batch_keep(b, db_column_copy(stmt, 2)),
	    .variant = (uint32_t)sqlite3_column_int64(stmt, 3),
	    .offset = (uint64_t)sqlite3_column_int64(stmt, 6),
	    .bytes = (uint64_t)sqlite3_column_int64(stmt, 7),
	    .dead = sqlite3_column_int64(stmt, 8) != 0,
	    .job = sqlite3_column_int64(stmt, 9),
	};
	batch_bytes(stmt, 4, row->sample.content.bytes, sizeof(row->sample.content.bytes));
	batch_bytes(stmt, 5, row->sample.latent.bytes, sizeof(row->sample.latent.bytes));
}

int queue_sqlite_samples(struct queue *base, int64_t shard, queue_sample_fn fn, void *arg,
			 struct error *err)
{
	static const char sql[] =
	    "SELECT job.key, job.root, job.path, sample.variant, sample.content, sample.latent,"
	    " sample.offset, sample.bytes, sample.dead, sample.job"
	    " FROM shard CROSS JOIN sample CROSS JOIN job ON job.id = sample.job"
	    " WHERE shard.id = ?1 AND sample.id >= shard.first + ?2"
	    " AND sample.id < shard.first + shard.samples ORDER BY sample.id LIMIT 1000";
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_batch struct batch *b = batch_new();
	int64_t seen = 0;

	do {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_SAMPLES, sql, err);

		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, shard);
		db_bind_int(stmt, 2, seen);
		if (batch_read(q, stmt, read_sample, b, err) < 0)
			return -1;
		for (size_t i = 0; i < b->count; i++) {
			if (fn(arg, &b->rows[i].sample) != 0)
				return 0;
		}
		seen += BATCH;
	} while (b->count == BATCH);
	return 0;
}

/* -- retired shards ------------------------------------------------------------------------------- */

static void read_retired(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	row->retired = (struct retired_row){
	    .id = sqlite3_column_int64(stmt, 0),
	    .dataset = sqlite3_column_int64(stmt, 1),
	    .path = batch_keep(b, db_column_copy(stmt, 2)),
	    .retired_at = sqlite3_column_int64(stmt, 3),
	};
}

int queue_sqlite_retired(struct queue *base, int64_t dataset, queue_retired_fn fn, void *arg,
			 struct error *err)
{
	static const char sql[] = "SELECT id, dataset, path, retired_at FROM retired"
				  " WHERE dataset = ?1 AND id > ?2 ORDER BY id LIMIT 1000";
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_batch struct batch *b = batch_new();
	int64_t after = 0;

	do {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_RETIRED, sql, err);

		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, dataset);
		db_bind_int(stmt, 2, after);
		if (batch_read(q, stmt, read_retired, b, err) < 0)
			return -1;
		for (size_t i = 0; i < b->count; i++) {
			if (fn(arg, &b->rows[i].retired) != 0)
				return 0;
		}
		if (b->count > 0)
			after = b->rows[b->count - 1].retired.id;
	} while (b->count == BATCH);
	return 0;
}
