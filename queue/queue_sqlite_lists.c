/*
 * Reading: counts and listings. Each is one statement, so it sees one moment.
 */
#include "queue/queue_sqlite.h"

#include "base/cleanup.h"

#include <sqlite3.h>
#include <string.h>

int queue_sqlite_datasets(struct queue *base, queue_dataset_fn fn, void *arg, struct error *err)
{
	static const char sql[] =
	    "SELECT id, name, output, recipe_id, recipe_json FROM dataset ORDER BY name";
	struct sqlite_queue *q = sqlite_queue(base);
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_DATASET_LIST, sql, err);
	int r, stop = 0;

	if (!stmt)
		return -1;
	while (!stop && (r = db_step(q, stmt, err)) != 0) {
		struct queue_dataset row;

		if (r < 0)
			return -1;
		row = (struct queue_dataset){
		    .id = sqlite3_column_int64(stmt, 0),
		    .name = db_column_copy(stmt, 1),
		    .output = db_column_copy(stmt, 2),
		    .recipe_id = db_column_copy(stmt, 3),
		    .recipe_json = db_column_copy(stmt, 4),
		};
		stop = fn(arg, &row);
		queue_dataset_release(&row);
	}
	db_done(stmt);
	return 0;
}

int queue_sqlite_counts(struct queue *base, int64_t dataset, struct queue_counts *out,
			struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	struct sqlite3_stmt *stmt =
	    db_stmt(q, STMT_COUNTS, "SELECT kind, n FROM tally WHERE dataset = ?1", err);
	uint64_t by[TALLY_KINDS] = {0};
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	while ((r = db_step(q, stmt, err)) > 0) {
		int64_t kind = sqlite3_column_int64(stmt, 0);

		if (kind >= 0 && kind < TALLY_KINDS)
			by[kind] = (uint64_t)sqlite3_column_int64(stmt, 1);
	}
	if (r < 0)
		return -1;
	memcpy(out->jobs, by, sizeof(out->jobs));
	out->shards = by[TALLY_SHARDS];
	out->samples = by[TALLY_SAMPLES];
	out->shard_bytes = by[TALLY_SHARD_BYTES];
	return 0;
}

/* -- jobs ----------------------------------------------------------------------------------------- */

static const char *text_or_empty(struct sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	return text ? text : "";
}

static int show_job(struct sqlite3_stmt *stmt, enum job_state state, queue_job_fn fn, void *arg)
{
	cleanup_free char *key = job_column_key(stmt, 2, 3);
	cleanup_free char *path = db_column_copy(stmt, 3);
	struct job_row row = {
	    .id = sqlite3_column_int64(stmt, 0),
	    .state = state,
	    .root = (uint32_t)sqlite3_column_int64(stmt, 1),
	    .key = key,
	    .path = path,
	    .attempts = (uint32_t)sqlite3_column_int64(stmt, 4),
	    .crashes = (uint32_t)sqlite3_column_int64(stmt, 5),
	    .reason = text_or_empty(stmt, 6),
	    .message = text_or_empty(stmt, 7),
	    .updated_at = sqlite3_column_int64(stmt, 8),
	};

	return fn(arg, &row);
}

#define JOB_COLUMNS "SELECT id, root, key, path, attempts, crashes, reason, message, updated_at "

int queue_sqlite_jobs(struct queue *base, int64_t dataset, enum job_state state, queue_job_fn fn,
		      void *arg, struct error *err)
{
	/* In the order of the table: another index would mean sorting millions of rows. */
	static const char scan[] =
	    JOB_COLUMNS "FROM job NOT INDEXED WHERE state = ?1 AND dataset = ?2 ORDER BY id";
	static const char indexed[] =
	    JOB_COLUMNS "FROM job INDEXED BY job_side"
			" WHERE state = ?1 AND state NOT IN (1, 4) AND dataset = ?2 ORDER BY id";
	struct sqlite_queue *q = sqlite_queue(base);
	struct sqlite3_stmt *stmt;
	int r, stop = 0;

	if (state == JOB_AVAILABLE || state == JOB_COMPLETED)
		stmt = db_stmt(q, STMT_JOBS_SCAN, scan, err);
	else
		stmt = db_stmt(q, STMT_JOBS_INDEXED, indexed, err);
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, state);
	db_bind_int(stmt, 2, dataset);
	while (!stop && (r = db_step(q, stmt, err)) != 0) {
		if (r < 0)
			return -1;
		stop = show_job(stmt, state, fn, arg);
	}
	db_done(stmt);
	return 0;
}

/* -- shards and samples --------------------------------------------------------------------------- */

static void column_bytes(struct sqlite3_stmt *stmt, int column, uint8_t *out, size_t size)
{
	size_t have;
	const char *data = db_column(stmt, column, &have);

	memset(out, 0, size);
	if (have == size)
		memcpy(out, data, size);
}

int queue_sqlite_shards(struct queue *base, int64_t dataset, queue_shard_fn fn, void *arg,
			struct error *err)
{
	static const char sql[] = "SELECT id, path, format, \"group\", bytes, samples, sha256,"
				  " xxh3, sealed_at FROM shard WHERE dataset = ?1 ORDER BY path";
	struct sqlite_queue *q = sqlite_queue(base);
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SHARDS, sql, err);
	int r, stop = 0;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	while (!stop && (r = db_step(q, stmt, err)) != 0) {
		struct shard_row row;

		if (r < 0)
			return -1;
		row = (struct shard_row){
		    .id = sqlite3_column_int64(stmt, 0),
		    .dataset = dataset,
		    .path = text_or_empty(stmt, 1),
		    .format = text_or_empty(stmt, 2),
		    .group = text_or_empty(stmt, 3),
		    .bytes = (uint64_t)sqlite3_column_int64(stmt, 4),
		    .samples = (uint64_t)sqlite3_column_int64(stmt, 5),
		    .sealed_at = sqlite3_column_int64(stmt, 8),
		};
		column_bytes(stmt, 6, row.sha256.bytes, sizeof(row.sha256.bytes));
		column_bytes(stmt, 7, row.xxh3.bytes, sizeof(row.xxh3.bytes));
		stop = fn(arg, &row);
	}
	db_done(stmt);
	return 0;
}

static int show_sample(struct sqlite3_stmt *stmt, queue_sample_fn fn, void *arg)
{
	cleanup_free char *key = job_column_key(stmt, 0, 2);
	cleanup_free char *path = db_column_copy(stmt, 2);
	struct sample_row row = {
	    .root = (uint32_t)sqlite3_column_int64(stmt, 1),
	    .path = path,
	    .key = key,
	    .variant = (uint32_t)sqlite3_column_int64(stmt, 3),
	    .offset = (uint64_t)sqlite3_column_int64(stmt, 6),
	    .bytes = (uint64_t)sqlite3_column_int64(stmt, 7),
	};

	column_bytes(stmt, 4, row.content.bytes, sizeof(row.content.bytes));
	column_bytes(stmt, 5, row.latent.bytes, sizeof(row.latent.bytes));
	return fn(arg, &row);
}

int queue_sqlite_samples(struct queue *base, int64_t shard, queue_sample_fn fn, void *arg,
			 struct error *err)
{
	static const char sql[] =
	    "SELECT job.key, job.root, job.path, sample.variant, sample.content, sample.latent,"
	    " sample.offset, sample.bytes"
	    " FROM sample CROSS JOIN job ON job.id = sample.job"
	    " WHERE sample.shard = ?1 ORDER BY sample.offset";
	struct sqlite_queue *q = sqlite_queue(base);
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SAMPLES, sql, err);
	int r, stop = 0;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, shard);
	while (!stop && (r = db_step(q, stmt, err)) != 0) {
		if (r < 0)
			return -1;
		stop = show_sample(stmt, fn, arg);
	}
	db_done(stmt);
	return 0;
}
