/*
 * Reading: counts, datasets, jobs, shards and samples. Pages are fetched whole before callbacks run: no statement
 * is open and no snapshot held while they take their time.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <string.h>

int queue_postgres_counts(struct queue *base, int64_t dataset, struct queue_counts *out,
			  struct error *err)
{
	static const char sql[] = "SELECT kind, sum(n)::bigint FROM latentd.tally"
				  " WHERE dataset = $1::bigint GROUP BY kind UNION ALL"
				  " SELECT -1, max(id) FROM latentd.shard"
				  " WHERE dataset = $1::bigint";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	uint64_t by[PG_TALLY_KINDS] = {0};
	int64_t last_shard = 0;

	pg_int(&args, dataset);
	if (pg_read(postgres_queue(base), sql, &args, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		int64_t kind = pg_value(result, i, 0);

		if (kind >= 0 && kind < PG_TALLY_KINDS)
			by[kind] = (uint64_t)pg_value(result, i, 1);
		if (kind == -1)
			last_shard = pg_value(result, i, 1);
	}
	memcpy(out->jobs, by, sizeof(out->jobs));
	out->shards = by[PG_TALLY_SHARDS];
	out->samples = by[PG_TALLY_SAMPLES];
	out->shard_bytes = by[PG_TALLY_SHARD_BYTES];
	out->recaptions = by[PG_TALLY_RECAPTIONS];
	out->last_shard = last_shard;
	return 0;
}

/* They are few. */
int queue_postgres_datasets(struct queue *base, queue_dataset_fn fn, void *arg, struct error *err)
{
	static const char sql[] = "SELECT id, name, output, recipe_id, recipe_json"
				  " FROM latentd.dataset ORDER BY name";
	cleanup_pg_result PGresult *result = NULL;

	if (pg_read(postgres_queue(base), sql, NULL, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		struct queue_dataset row = {.id = pg_value(result, i, 0),
					    .name = (char *)pg_string(result, i, 1),
					    .output = (char *)pg_string(result, i, 2),
					    .recipe_id = (char *)pg_string(result, i, 3),
					    .recipe_json = (char *)pg_string(result, i, 4)};

		if (fn(arg, &row) != 0)
			break;
	}
	return 0;
}

/* -- jobs ----------------------------------------------------------------------------------------- */

/* A completed job is as old as the youngest shard that it is in. */
#define JOB_COLUMNS                                                                                \
	"SELECT id, state, root, path, key, attempts, crashes, reason, message, size, mtime_ns,"   \
	" CASE WHEN state = 5 THEN due END, CASE WHEN state <> 4 THEN updated_at ELSE"             \
	"  (SELECT max(h.visible_at) FROM latentd.sample AS s JOIN latentd.shard AS h"             \
	"    ON h.id = s.shard WHERE s.job = j.id AND NOT s.dead) END,"                            \
	" CASE WHEN state = 3 THEN content END FROM latentd.job AS j"

static int show_job(const PGresult *r, int i, queue_job_fn fn, void *arg)
{
	cleanup_free char *key = pg_key(r, i, 4, 3);
	struct job_row row = {
	    .id = pg_value(r, i, 0),
	    .state = (enum job_state)pg_value(r, i, 1),
	    .root = (uint32_t)pg_value(r, i, 2),
	    .path = pg_string(r, i, 3),
	    .key = key,
	    .attempts = (uint32_t)pg_value(r, i, 5),
	    .crashes = (uint32_t)pg_value(r, i, 6),
	    .reason = pg_string(r, i, 7),
	    .message = pg_string(r, i, 8),
	    .size = (uint64_t)pg_value(r, i, 9),
	    .mtime_ns = pg_value(r, i, 10),
	    .not_before = pg_value(r, i, 11),
	    .updated_at = pg_value(r, i, 12),
	    .has_content = !pg_is_null(r, i, 13),
	    .content = pg_hash_of(r, i, 13),
	};

	return fn(arg, &row);
}

static int list_one(struct postgres_queue *q, const struct job_filter *which, queue_job_fn fn,
		    void *arg, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	int64_t id;

	if (pg_job_of_key(q, which->dataset, which->key, &id, err) < 0)
		return -1;
	pg_int(&args, id);
	if (pg_read(q, JOB_COLUMNS " WHERE id = $1::bigint", &args, &result, err) < 0)
		return -1;
	if (pg_rows(result) > 0)
		show_job(result, 0, fn, arg);
	return 0;
}

int queue_postgres_jobs(struct queue *base, const struct job_filter *which, queue_job_fn fn,
			void *arg, struct error *err)
{
	static const char sql[] =
	    JOB_COLUMNS " WHERE dataset = $1::bigint AND state = $2::smallint AND id > $3::bigint"
			" AND ($4::text IS NULL OR reason = $4)"
			" AND ($6::bytea IS NULL OR keeper ="
			"  (SELECT id FROM latentd.node WHERE name = $6::bytea))"
			" ORDER BY id LIMIT $5::bigint";
	struct postgres_queue *q = postgres_queue(base);
	size_t left = which->limit > 0 ? which->limit : SIZE_MAX;
	int64_t after = which->after;
	int rows = PG_PAGE;

	if (which->key)
		return list_one(q, which, fn, arg, err);
	while (rows == PG_PAGE && left > 0) {
		cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
		cleanup_pg_result PGresult *result = NULL;

		pg_int(&args, which->dataset);
		pg_int(&args, which->state);
		pg_int(&args, after);
		pg_text(&args, which->reason);
		pg_int(&args, left < PG_PAGE ? (int64_t)left : PG_PAGE);
		if (which->here)
			pg_bytes(&args, q->node, strlen(q->node));
		else
			pg_null(&args);
		if (pg_read(q, sql, &args, &result, err) < 0)
			return -1;
		rows = pg_rows(result);
		for (int i = 0; i < rows; i++) {
			if (show_job(result, i, fn, arg) != 0)
				return 0;
		}
		if (rows > 0)
			after = pg_value(result, rows - 1, 0);
		left -= (size_t)rows;
	}
	return 0;
}

int queue_postgres_reasons(struct queue *base, int64_t dataset, enum job_state state,
			   queue_reason_fn fn, void *arg, struct error *err)
{
	static const char sql[] =
	    "SELECT coalesce(reason, ''), count(*) FROM latentd.job WHERE dataset = $1::bigint"
	    " AND state = $2::smallint GROUP BY 1 ORDER BY 1";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, dataset);
	pg_int(&args, state);
	if (pg_read(postgres_queue(base), sql, &args, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		struct reason_row row = {pg_string(result, i, 0), (uint64_t)pg_value(result, i, 1)};

		if (fn(arg, &row) != 0)
			break;
	}
	return 0;
}

/* -- the catalog ---------------------------------------------------------------------------------- */

static int show_shard(const PGresult *r, int i, queue_shard_fn fn, void *arg)
{
	struct shard_row row = {
	    .id = pg_value(r, i, 0),
	    .path = pg_string(r, i, 1),
	    .format = pg_string(r, i, 2),
	    .group = pg_string(r, i, 3),
	    .bytes = (uint64_t)pg_value(r, i, 4),
	    .samples = (uint64_t)pg_value(r, i, 5),
	    .xxh3 = pg_hash_of(r, i, 7),
	    .sealed_at = pg_value(r, i, 8),
	    .dead = (uint64_t)pg_value(r, i, 9),
	    .dataset = pg_value(r, i, 10),
	};

	if (pg_size(r, i, 6) == sizeof(row.sha256.bytes))
		memcpy(row.sha256.bytes, pg_string(r, i, 6), sizeof(row.sha256.bytes));
	return fn(arg, &row);
}

int queue_postgres_shards(struct queue *base, int64_t dataset, queue_shard_fn fn, void *arg,
			  struct error *err)
{
	static const char sql[] =
	    "SELECT id, path, format, grp, bytes, samples, sha256, xxh3, sealed_at, dead,"
	    " dataset FROM latentd.shard WHERE dataset = $1::bigint AND path > $2::bytea"
	    " ORDER BY path LIMIT 1000";
	cleanup_free char *after = xstrdup("");
	int rows;

	do {
		cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
		cleanup_pg_result PGresult *result = NULL;

		pg_int(&args, dataset);
		pg_bytes(&args, after, strlen(after));
		if (pg_read(postgres_queue(base), sql, &args, &result, err) < 0)
			return -1;
		rows = pg_rows(result);
		for (int i = 0; i < rows; i++) {
			if (show_shard(result, i, fn, arg) != 0)
				return 0;
		}
		if (rows > 0) {
			free(after);
			after = xstrdup(pg_string(result, rows - 1, 1));
		}
	} while (rows == PG_PAGE);
	return 0;
}

static int show_sample(const PGresult *r, int i, queue_sample_fn fn, void *arg)
{
	cleanup_free char *key = pg_key(r, i, 2, 1);
	struct sample_row row = {
	    .root = (uint32_t)pg_value(r, i, 0),
	    .path = pg_string(r, i, 1),
	    .key = key,
	    .variant = (uint32_t)pg_value(r, i, 3),
	    .content = pg_hash_of(r, i, 4),
	    .latent = pg_hash_of(r, i, 5),
	    .offset = (uint64_t)pg_value(r, i, 6),
	    .bytes = (uint64_t)pg_value(r, i, 7),
	    .dead = pg_value(r, i, 8),
	    .job = pg_value(r, i, 9),
	};

	return fn(arg, &row);
}

int queue_postgres_samples(struct queue *base, int64_t shard, queue_sample_fn fn, void *arg,
			   struct error *err)
{
	static const char sql[] =
	    "SELECT j.root, j.path, j.key, s.variant, s.content, s.latent, s.\"offset\", s.bytes,"
	    " s.dead, s.job FROM latentd.sample AS s JOIN latentd.job AS j ON j.id = s.job"
	    " WHERE s.shard = $1::bigint AND s.\"offset\" > $2::bigint ORDER BY s.\"offset\""
	    " LIMIT 1000";
	int64_t after = -1;
	int rows;

	do {
		cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
		cleanup_pg_result PGresult *result = NULL;

		pg_int(&args, shard);
		pg_int(&args, after);
		if (pg_read(postgres_queue(base), sql, &args, &result, err) < 0)
			return -1;
		rows = pg_rows(result);
		for (int i = 0; i < rows; i++) {
			if (show_sample(result, i, fn, arg) != 0)
				return 0;
		}
		if (rows > 0)
			after = pg_value(result, rows - 1, 6);
	} while (rows == PG_PAGE);
	return 0;
}

int queue_postgres_retired(struct queue *base, int64_t dataset, queue_retired_fn fn, void *arg,
			   struct error *err)
{
	static const char sql[] = "SELECT id, dataset, path, retired_at FROM latentd.retired"
				  " WHERE dataset = $1::bigint ORDER BY id";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, dataset);
	if (pg_read(postgres_queue(base), sql, &args, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		struct retired_row row = {.id = pg_value(result, i, 0),
					  .dataset = pg_value(result, i, 1),
					  .path = pg_string(result, i, 2),
					  .retired_at = pg_value(result, i, 3)};

		if (fn(arg, &row) != 0)
			break;
	}
	return 0;
}
