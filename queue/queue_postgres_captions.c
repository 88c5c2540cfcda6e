/*
 * Jobs that are to be recaptioned.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"
#include "queue/queue_names.h"

#include <string.h>

static int mark(struct postgres_queue *q, int64_t dataset, const char *const *keys, size_t n,
		struct error *err)
{
	cleanup_ids struct ids ids = {NULL, 0, 0};
	cleanup_pg_jobs struct pg_jobs jobs = {0};

	for (size_t i = 0; i < n; i++) {
		int64_t id;

		if (pg_job_of_key(q, dataset, keys[i], &id, err) < 0)
			return -1;
		if (id != 0)
			ids_add(&ids, id);
	}
	if (jobs_lock(q, ids.items, ids.count, &jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < jobs.count; i++) {
		jobs.items[i].is_changed = !jobs.items[i].recaption;
		jobs.items[i].recaption = true;
	}
	return jobs_write(q, &jobs, err);
}

int queue_postgres_recaption(struct queue *base, int64_t dataset, const char *const *keys, size_t n,
			     struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);

	if (pg_begin(q, err) < 0)
		return -1;
	return pg_end(q, mark(q, dataset, keys, n, err), err);
}

static int unmark(struct postgres_queue *q, const struct recaptioned *done, size_t n,
		  struct error *err)
{
	cleanup_ids struct ids ids = {NULL, 0, 0};
	cleanup_pg_jobs struct pg_jobs jobs = {0};

	for (size_t i = 0; i < n; i++)
		ids_add(&ids, done[i].job);
	if (jobs_lock(q, ids.items, ids.count, &jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct pg_job *job = jobs_find(&jobs, done[i].job);
		uint64_t stamp = !job || job->caption == CAPTION_UNSEEN ? 0 : job->caption;

		if (!job || !job->recaption || stamp != done[i].caption)
			continue;
		job->recaption = false;
		job->is_changed = true;
	}
	return jobs_write(q, &jobs, err);
}

int queue_postgres_recaptioned(struct queue *base, const struct recaptioned *done, size_t n,
			       struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);

	if (pg_begin(q, err) < 0)
		return -1;
	return pg_end(q, unmark(q, done, n, err), err);
}

/* -- listing -------------------------------------------------------------------------------------- */

#define MARKED                                                                                     \
	"SELECT j.id, coalesce(j.caption, 0), j.root, j.path, j.key, j.keeper IS NOT NULL,"        \
	" coalesce(s.shard, 0), coalesce(s.variant, -1), EXISTS (SELECT 1 FROM latentd.sample"     \
	"  AS o WHERE o.job = j.id AND NOT o.dead AND o.shard <> s.shard), s.\"offset\" FROM "

/* $1 dataset; $2, $3: only what follows this job and variant. */
static const char of_dataset[] =
    MARKED "latentd.job AS j LEFT JOIN latentd.sample AS s ON s.job = j.id AND NOT s.dead"
	   " WHERE j.recaption AND j.dataset = $1::bigint AND j.id >= $2::bigint"
	   " AND (j.id, coalesce(s.variant, -1)) > ($2::bigint, $3::bigint)"
	   " ORDER BY j.id, s.variant LIMIT 1000";

/* $1 dataset; $2 shard, $3: only what lies behind this offset. */
static const char of_shard[] =
    MARKED "latentd.sample AS s JOIN latentd.job AS j ON j.id = s.job"
	   " WHERE s.shard = $2::bigint AND NOT s.dead AND j.recaption AND j.dataset = $1::bigint"
	   " AND s.\"offset\" > $3::bigint ORDER BY s.\"offset\" LIMIT 1000";

static int show(const PGresult *r, int i, queue_recaption_fn fn, void *arg)
{
	cleanup_free char *key = pg_key(r, i, 4, 3);
	int64_t variant = pg_value(r, i, 7);
	struct recaption_row row = {.job = pg_value(r, i, 0),
				    .caption = (uint64_t)pg_value(r, i, 1),
				    .root = (uint32_t)pg_value(r, i, 2),
				    .path = pg_string(r, i, 3),
				    .key = key,
				    .spooled = pg_value(r, i, 5),
				    .shard = pg_value(r, i, 6),
				    .variant = variant > 0 ? (uint32_t)variant : 0,
				    .elsewhere = pg_value(r, i, 8)};

	return fn(arg, &row);
}

int queue_postgres_recaptions(struct queue *base, int64_t dataset, int64_t shard,
			      queue_recaption_fn fn, void *arg, struct error *err)
{
	int64_t second = shard, third = -1;
	int rows;

	do {
		cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
		cleanup_pg_result PGresult *result = NULL;

		pg_int(&args, dataset);
		pg_int(&args, second);
		pg_int(&args, third);
		if (pg_read(postgres_queue(base), shard ? of_shard : of_dataset, &args, &result,
			    err) < 0)
			return -1;
		rows = pg_rows(result);
		for (int i = 0; i < rows; i++) {
			if (show(result, i, fn, arg) != 0)
				return 0;
		}
		if (rows > 0) {
			second = shard ? shard : pg_value(result, rows - 1, 0);
			third = pg_value(result, rows - 1, shard ? 9 : 7);
		}
	} while (rows == PG_PAGE);
	return 0;
}
