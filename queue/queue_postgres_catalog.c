/*
 * Datasets; samples that die; shards that were lost or are no longer needed.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <string.h>

/* -- datasets ------------------------------------------------------------------------------------- */

int pg_no_dataset(int64_t dataset, struct error *err)
{
	return error_set(err, ERR_BUG, "no dataset has the id %lld", (long long)dataset);
}

int pg_dataset_check(struct postgres_queue *q, int64_t dataset, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, dataset);
	if (pg_read(q, "SELECT 1 FROM latentd.dataset WHERE id = $1::bigint", &args, &result, err) <
	    0)
		return -1;
	return pg_rows(result) == 0 ? pg_no_dataset(dataset, err) : 0;
}

static void put_spec(struct pg_args *args, const struct queue_dataset_spec *spec)
{
	pg_bytes(args, spec->name, strlen(spec->name));
	pg_bytes(args, spec->output, strlen(spec->output));
	pg_text(args, spec->recipe_id);
	pg_bytes(args, spec->recipe_json, strlen(spec->recipe_json));
}

/* *id stays 0 if there is none of this name. */
static int find_dataset(struct postgres_queue *q, const struct queue_dataset_spec *spec,
			int64_t *id, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_bytes(&args, spec->name, strlen(spec->name));
	if (pg_query(q, "SELECT id, recipe_id FROM latentd.dataset WHERE name = $1::bytea", &args,
		     &result, err) < 0)
		return -1;
	if (pg_rows(result) == 0)
		return 0;
	*id = pg_value(result, 0, 0);
	return strcmp(pg_string(result, 0, 1), spec->recipe_id) == 0 ? 0 : QUEUE_OTHER_RECIPE;
}

static int open_dataset(struct postgres_queue *q, const struct queue_dataset_spec *spec,
			int64_t *id, struct error *err)
{
	static const char insert[] =
	    "INSERT INTO latentd.dataset (name, output, recipe_id, recipe_json)"
	    " VALUES ($1::bytea, $2::bytea, $3::text, $4::bytea) RETURNING id";
	static const char move[] = "UPDATE latentd.dataset SET output = $2::bytea"
				   " WHERE id = $1::bigint AND output <> $2::bytea";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	int r;

	if (pg_exec(q, "SELECT pg_advisory_xact_lock(1818326116, 2)", err) < 0)
		return -1;
	r = find_dataset(q, spec, id, err);
	if (r != 0)
		return r;
	if (*id != 0) {
		pg_int(&args, *id);
		pg_bytes(&args, spec->output, strlen(spec->output));
		return pg_run(q, move, &args, err);
	}
	put_spec(&args, spec);
	if (pg_query(q, insert, &args, &result, err) < 0)
		return -1;
	*id = pg_value(result, 0, 0);
	return 0;
}

int queue_postgres_open_dataset(struct queue *base, const struct queue_dataset_spec *spec,
				int64_t *id, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	int64_t found = 0;
	int r;

	if (pg_begin(q, err) < 0)
		return -1;
	r = pg_end(q, open_dataset(q, spec, &found, err), err);
	if (r == 0)
		*id = found;
	return r;
}

/* -- samples that die ----------------------------------------------------------------------------- */

int shards_lock(struct postgres_queue *q, const int64_t *ids, size_t n, struct error *err)
{
	static const char sql[] = "SELECT 1 FROM latentd.shard WHERE id = ANY($1::bigint[])"
				  " ORDER BY id FOR UPDATE";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	if (n == 0)
		return 0;
	pg_ints(&args, ids, n);
	return pg_run(q, sql, &args, err);
}

int samples_kill(struct postgres_queue *q, const struct pg_live *const *lives, size_t n,
		 struct error *err)
{
	static const char sql[] =
	    "WITH killed AS (UPDATE latentd.sample AS s SET dead = true"
	    "  FROM unnest($1::bigint[], $2::bigint[]) AS v(shard, at)"
	    "  WHERE s.shard = v.shard AND s.\"offset\" = v.at AND NOT s.dead RETURNING s.shard)"
	    " UPDATE latentd.shard AS h SET dead = h.dead + k.n"
	    " FROM (SELECT shard, count(*) AS n FROM killed GROUP BY shard) AS k WHERE h.id = "
	    "k.shard";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_ids struct ids shards = {NULL, 0, 0};

	for (size_t i = 0; i < n; i++)
		ids_add(&shards, lives[i]->shard);
	if (n == 0)
		return 0;
	if (shards_lock(q, shards.items, n, err) < 0)
		return -1;
	pg_ints(&args, shards.items, n);
	pg_array(&args, PG_BIGINT);
	for (size_t i = 0; i < n; i++)
		pg_item_int(&args, (int64_t)lives[i]->offset);
	pg_array_end(&args);
	return pg_run(q, sql, &args, err);
}

/* -- damage --------------------------------------------------------------------------------------- */

static int shard_check(struct postgres_queue *q, int64_t shard, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, shard);
	if (pg_query(q, "SELECT 1 FROM latentd.shard WHERE id = $1::bigint", &args, &result, err) <
	    0)
		return -1;
	if (pg_rows(result) == 0)
		return error_set(err, ERR_BUG, "no shard has the id %lld", (long long)shard);
	return 0;
}

/* Kills the live samples of @shard at @offsets (NULL: all): their jobs, where they are completed, are available. */
static int lose_samples(struct postgres_queue *q, int64_t shard, const uint64_t *offsets, size_t n,
			int64_t now, size_t *requeued, struct error *err)
{
	static const char sql[] =
	    "SELECT job, \"offset\" FROM latentd.sample WHERE shard = $1::bigint AND NOT dead"
	    " AND ($2::bigint[] IS NULL OR \"offset\" = ANY($2))";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	cleanup_ids struct ids ids = {NULL, 0, 0};
	cleanup_pg_jobs struct pg_jobs jobs = {0};
	cleanup_free const struct pg_live **killed = NULL;
	size_t count = 0;

	if (shard_check(q, shard, err) < 0)
		return -1;
	pg_int(&args, shard);
	if (offsets)
		pg_ints(&args, (const int64_t *)offsets, n);
	else
		pg_null(&args);
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	ids_of(&ids, result);
	if (jobs_lock(q, ids.items, ids.count, &jobs, err) < 0)
		return -1;
	killed = xcalloc(ids.count + 1, sizeof(const struct pg_live *));
	for (size_t i = 0; i < ids.count; i++) {
		struct pg_job *job = jobs_find(&jobs, ids.items[i]);
		struct pg_live *live = job ? job->live : NULL;

		while (live && (live->shard != shard ||
				live->offset != (uint64_t)pg_value(result, (int)i, 1)))
			live = live->next;
		if (!live)
			continue;
		live->dead = true;
		killed[count++] = live;
		if (job->state != JOB_COMPLETED)
			continue;
		job_set_state(job, JOB_AVAILABLE);
		job->updated_at = now;
		++*requeued;
	}
	if (samples_kill(q, killed, count, err) < 0)
		return -1;
	return jobs_write(q, &jobs, err);
}

int queue_postgres_drop_samples(struct queue *base, int64_t shard, const uint64_t *offsets,
				size_t n, int64_t now, size_t *requeued, struct error *err)
{
	static const uint64_t none[1];
	struct postgres_queue *q = postgres_queue(base);
	size_t count = 0;
	int r;

	if (pg_begin(q, err) < 0)
		return -1;
	now = pg_time(q, now, now);
	r = lose_samples(q, shard, offsets ? offsets : none, n, now, &count, err);
	r = pg_end(q, r, err);
	if (r == 0)
		*requeued = count;
	return r;
}

static int drop_shard(struct postgres_queue *q, int64_t shard, int64_t now, size_t *requeued,
		      struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	if (lose_samples(q, shard, NULL, 0, now, requeued, err) < 0)
		return -1;
	pg_int(&args, shard);
	if (pg_run(q, "DELETE FROM latentd.sample WHERE shard = $1::bigint", &args, err) < 0)
		return -1;
	return pg_run(q, "DELETE FROM latentd.shard WHERE id = $1::bigint", &args, err);
}

int queue_postgres_drop_shard(struct queue *base, int64_t shard, int64_t now, size_t *requeued,
			      struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	size_t count = 0;
	int r;

	if (pg_begin(q, err) < 0)
		return -1;
	r = pg_end(q, drop_shard(q, shard, pg_time(q, now, now), &count, err), err);
	if (r == 0)
		*requeued = count;
	return r;
}

int queue_postgres_forget_retired(struct queue *base, const int64_t *shards, size_t n,
				  struct error *err)
{
	static const char sql[] =
	    "WITH gone AS MATERIALIZED (SELECT id FROM latentd.retired"
	    "  WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE)"
	    " DELETE FROM latentd.retired AS r USING gone WHERE r.id = gone.id";
	struct postgres_queue *q = postgres_queue(base);
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	pg_ints(&args, shards, n);
	if (pg_begin(q, err) < 0)
		return -1;
	return pg_end(q, pg_run(q, sql, &args, err), err);
}

/* -- what was spent ------------------------------------------------------------------------------- */

static int spend(struct postgres_queue *q, const char *account, int64_t minute, uint64_t requests,
		 uint64_t bytes, struct error *err)
{
	static const char add[] =
	    "INSERT INTO latentd.spent AS s (account, minute, requests, bytes)"
	    " VALUES ($1::bytea, $2::bigint, $3::bigint, $4::bigint) ON CONFLICT (account, minute)"
	    " DO UPDATE SET requests = s.requests + excluded.requests,"
	    " bytes = s.bytes + excluded.bytes";
	/* What another node is at is gone without this one. */
	static const char expire[] =
	    "WITH old AS MATERIALIZED (SELECT account, minute FROM latentd.spent"
	    "  WHERE minute < $1::bigint FOR UPDATE SKIP LOCKED)"
	    " DELETE FROM latentd.spent AS s USING old"
	    " WHERE s.account = old.account AND s.minute = old.minute";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	pg_bytes(&args, account, strlen(account));
	pg_int(&args, minute);
	pg_int(&args, (int64_t)requests);
	pg_int(&args, (int64_t)bytes);
	if (pg_run(q, add, &args, err) < 0)
		return -1;
	pg_args_clear(&args);
	pg_int(&args, minute - QUEUE_SPENT_MINUTES);
	return pg_run(q, expire, &args, err);
}

int queue_postgres_spend(struct queue *base, const char *account, uint64_t requests, uint64_t bytes,
			 int64_t now, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);

	if (pg_begin(q, err) < 0)
		return -1;
	return pg_end(q, spend(q, account, pg_time(q, now, now) / 60000, requests, bytes, err),
		      err);
}

int queue_postgres_spent(struct queue *base, const char *account, queue_spent_fn fn, void *arg,
			 struct error *err)
{
	static const char sql[] = "SELECT minute, requests, bytes FROM latentd.spent"
				  " WHERE account = $1::bytea ORDER BY minute";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_bytes(&args, account, strlen(account));
	if (pg_read(postgres_queue(base), sql, &args, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		struct spent_row row = {.minute = pg_value(result, i, 0),
					.requests = (uint64_t)pg_value(result, i, 1),
					.bytes = (uint64_t)pg_value(result, i, 2)};

		if (fn(arg, &row) != 0)
			break;
	}
	return 0;
}
