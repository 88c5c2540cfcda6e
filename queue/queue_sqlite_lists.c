/*
 * Reading: counts and listings. Rows are copied out in batches, and no statement is open while callbacks
 * run: a reader that takes its time would otherwise keep every checkpoint from finishing.
 */
#include "queue/queue_sqlite.h"

#include "base/checked.h"

#include <sqlite3.h>
#include <string.h>

#define BATCH 1000
/* Ids that one statement walks over where it may find nothing in them. */
#define WINDOW 20000

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

/* -- batches -------------------------------------------------------------------------------------- */

union row {
	struct queue_dataset dataset;
	struct job_row job;
	struct shard_row shard;
	struct sample_row sample;
	struct retired_row retired;
};

/* Rows with the strings they point to. */
struct batch {
	union row rows[BATCH];
	size_t count;
	char **strings;
	size_t string_count, string_capacity;
};

static struct batch *batch_new(void)
{
	return xcalloc(1, sizeof(struct batch));
}

static void batch_clear(struct batch *b)
{
	for (size_t i = 0; i < b->string_count; i++)
		free(b->strings[i]);
	b->string_count = 0;
	b->count = 0;
}

static void batch_free(struct batch **b)
{
	batch_clear(*b);
	free((*b)->strings);
	free(*b);
}

static char *keep(struct batch *b, char *string)
{
	ARRAY_GROW(b->strings, b->string_count, b->string_capacity);
	return b->strings[b->string_count++] = string;
}

static void column_bytes(struct sqlite3_stmt *stmt, int column, uint8_t *out, size_t size)
{
	size_t have;
	const char *data = db_column(stmt, column, &have);

	memset(out, 0, size);
	if (have == size)
		memcpy(out, data, size);
}

typedef void (*read_row_fn)(struct sqlite3_stmt *stmt, struct batch *b, union row *row);

static int read_batch(struct sqlite_queue *q, struct sqlite3_stmt *stmt, read_row_fn read,
		      struct batch *b, struct error *err)
{
	int r;

	batch_clear(b);
	while (b->count < BATCH && (r = db_step(q, stmt, err)) != 0) {
		if (r < 0)
			return -1;
		read(stmt, b, &b->rows[b->count]);
		b->count++;
	}
	db_done(stmt);
	return 0;
}

/* -- datasets ------------------------------------------------------------------------------------- */

static void read_dataset(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	row->dataset = (struct queue_dataset){
	    .id = sqlite3_column_int64(stmt, 0),
	    .name = keep(b, db_column_copy(stmt, 1)),
	    .output = keep(b, db_column_copy(stmt, 2)),
	    .recipe_id = keep(b, db_column_copy(stmt, 3)),
	    .recipe_json = keep(b, db_column_copy(stmt, 4)),
	};
}

int queue_sqlite_datasets(struct queue *base, queue_dataset_fn fn, void *arg, struct error *err)
{
	static const char sql[] = "SELECT id, name, output, recipe_id, recipe_json FROM dataset"
				  " WHERE name > ?1 ORDER BY name LIMIT 1000";
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_with(batch_free) struct batch *b = batch_new();
	cleanup_free char *after = xstrdup("");

	do {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_DATASET_LIST, sql, err);

		if (!stmt)
			return -1;
		db_bind_text(stmt, 1, after);
		if (read_batch(q, stmt, read_dataset, b, err) < 0)
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

/* -- jobs ----------------------------------------------------------------------------------------- */

#define JOB_COLUMNS                                                                                \
	"SELECT job.id, job.root, job.key, job.path, ifnull(attempts, 0), ifnull(crashes, 0),"     \
	" reason, message, "

/* Of a completed job, whose columns of `work` are all NULL. */
#define VISIBLE_AT                                                                                 \
	"(SELECT max(visible_at) FROM sample CROSS JOIN shard ON shard.id = sample.shard"          \
	"  WHERE sample.rank = job.rank AND sample.job = job.id AND sample.dead = 0)"

static void read_job(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	row->job = (struct job_row){
	    .id = sqlite3_column_int64(stmt, 0),
	    .root = (uint32_t)sqlite3_column_int64(stmt, 1),
	    .key = keep(b, job_column_key(stmt, 2, 3)),
	    .path = keep(b, db_column_copy(stmt, 3)),
	    .attempts = (uint32_t)sqlite3_column_int64(stmt, 4),
	    .crashes = (uint32_t)sqlite3_column_int64(stmt, 5),
	    .reason = keep(b, db_column_copy(stmt, 6)),
	    .message = keep(b, db_column_copy(stmt, 7)),
	    .updated_at = sqlite3_column_int64(stmt, 8),
	};
}

/* States with a row in `work`: by its index. */
static struct sqlite3_stmt *jobs_indexed(struct sqlite_queue *q, enum job_state state,
					 struct error *err)
{
	static const char sql[] =
	    JOB_COLUMNS "updated_at FROM work INDEXED BY work_state"
			" CROSS JOIN job ON job.id = work.job"
			" WHERE work.state = ?1 AND work.dataset = ?2 AND work.job > ?3"
			" AND work.job <= ?4 ORDER BY work.job LIMIT 1000";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOBS_INDEXED, sql, err);

	if (stmt)
		db_bind_int(stmt, 1, state);
	return stmt;
}

/* The two states that nearly all jobs are in: in the order of the table. */
static struct sqlite3_stmt *jobs_scanned(struct sqlite_queue *q, enum job_state state,
					 struct error *err)
{
	static const char sql[] = JOB_COLUMNS
	    "ifnull(updated_at, ifnull(" VISIBLE_AT ", 0))"
	    " FROM job LEFT JOIN work ON work.job = job.id"
	    " WHERE job.id > ?3 AND job.id <= ?4 AND job.dataset = ?2"
	    " AND ?1 = ifnull(work.state, iif(EXISTS (SELECT 1 FROM sample"
	    "  WHERE sample.rank = job.rank AND sample.job = job.id AND dead = 0), 4, 1))"
	    " ORDER BY job.id LIMIT 1000";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_JOBS_SCAN, sql, err);

	if (stmt)
		db_bind_int(stmt, 1, state);
	return stmt;
}

int queue_sqlite_jobs(struct queue *base, int64_t dataset, enum job_state state, queue_job_fn fn,
		      void *arg, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_with(batch_free) struct batch *b = batch_new();
	bool scanned = state == JOB_AVAILABLE || state == JOB_COMPLETED;
	int64_t after = 0, last = 0;

	if (db_value(q, "SELECT max(id) FROM job", &last, err) < 0)
		return -1;
	while (after < last) {
		struct sqlite3_stmt *stmt =
		    scanned ? jobs_scanned(q, state, err) : jobs_indexed(q, state, err);
		int64_t upto = scanned && last - after > WINDOW ? after + WINDOW : last;

		if (!stmt)
			return -1;
		db_bind_int(stmt, 2, dataset);
		db_bind_int(stmt, 3, after);
		db_bind_int(stmt, 4, upto);
		if (read_batch(q, stmt, read_job, b, err) < 0)
			return -1;
		for (size_t i = 0; i < b->count; i++) {
			b->rows[i].job.state = state;
			if (fn(arg, &b->rows[i].job) != 0)
				return 0;
		}
		after = b->count == BATCH ? b->rows[BATCH - 1].job.id : upto;
	}
	return 0;
}

/* -- shards and samples --------------------------------------------------------------------------- */

static void read_shard(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	row->shard = (struct shard_row){
	    .id = sqlite3_column_int64(stmt, 0),
	    .path = keep(b, db_column_copy(stmt, 1)),
	    .format = keep(b, db_column_copy(stmt, 2)),
	    .group = keep(b, db_column_copy(stmt, 3)),
	    .bytes = (uint64_t)sqlite3_column_int64(stmt, 4),
	    .samples = (uint64_t)sqlite3_column_int64(stmt, 5),
	    .sealed_at = sqlite3_column_int64(stmt, 8),
	    .dead = (uint64_t)sqlite3_column_int64(stmt, 9),
	    .dataset = sqlite3_column_int64(stmt, 10),
	};
	column_bytes(stmt, 6, row->shard.sha256.bytes, sizeof(row->shard.sha256.bytes));
	column_bytes(stmt, 7, row->shard.xxh3.bytes, sizeof(row->shard.xxh3.bytes));
}

int queue_sqlite_shards(struct queue *base, int64_t dataset, queue_shard_fn fn, void *arg,
			struct error *err)
{
	static const char sql[] =
	    "SELECT id, path, format, \"group\", bytes, samples, sha256, xxh3, sealed_at, dead,"
	    " dataset FROM shard WHERE dataset = ?1 AND path > ?2 ORDER BY path LIMIT 1000";
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_with(batch_free) struct batch *b = batch_new();
	cleanup_free char *after = xstrdup("");

	do {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_SHARDS, sql, err);

		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, dataset);
		db_bind_text(stmt, 2, after);
		if (read_batch(q, stmt, read_shard, b, err) < 0)
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
	    .key = keep(b, job_column_key(stmt, 0, 2)),
	    .root = (uint32_t)sqlite3_column_int64(stmt, 1),
	    .path = keep(b, db_column_copy(stmt, 2)),
	    .variant = (uint32_t)sqlite3_column_int64(stmt, 3),
	    .offset = (uint64_t)sqlite3_column_int64(stmt, 6),
	    .bytes = (uint64_t)sqlite3_column_int64(stmt, 7),
	    .dead = sqlite3_column_int64(stmt, 8) != 0,
	    .job = sqlite3_column_int64(stmt, 9),
	};
	column_bytes(stmt, 4, row->sample.content.bytes, sizeof(row->sample.content.bytes));
	column_bytes(stmt, 5, row->sample.latent.bytes, sizeof(row->sample.latent.bytes));
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
	cleanup_with(batch_free) struct batch *b = batch_new();
	int64_t seen = 0;

	do {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_SAMPLES, sql, err);

		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, shard);
		db_bind_int(stmt, 2, seen);
		if (read_batch(q, stmt, read_sample, b, err) < 0)
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
	    .path = keep(b, db_column_copy(stmt, 2)),
	    .retired_at = sqlite3_column_int64(stmt, 3),
	};
}

int queue_sqlite_retired(struct queue *base, int64_t dataset, queue_retired_fn fn, void *arg,
			 struct error *err)
{
	static const char sql[] = "SELECT id, dataset, path, retired_at FROM retired"
				  " WHERE dataset = ?1 AND id > ?2 ORDER BY id LIMIT 1000";
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_with(batch_free) struct batch *b = batch_new();
	int64_t after = 0;

	do {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_RETIRED, sql, err);

		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, dataset);
		db_bind_int(stmt, 2, after);
		if (read_batch(q, stmt, read_retired, b, err) < 0)
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
