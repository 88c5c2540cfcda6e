/*
 * Jobs as rows: locked, read, changed in memory, written.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"
#include "queue/queue_names.h"

#include <string.h>

/* -- ids ------------------------------------------------------------------------------------------ */

void ids_add(struct ids *ids, int64_t id)
{
	ARRAY_GROW(ids->items, ids->count, ids->capacity);
	ids->items[ids->count++] = id;
}

void ids_release(struct ids *ids)
{
	free(ids->items);
}

void ids_of(struct ids *ids, const PGresult *result)
{
	for (int i = 0; i < pg_rows(result); i++)
		ids_add(ids, pg_value(result, i, 0));
}

/* -- names ---------------------------------------------------------------------------------------- */

char *pg_key(const PGresult *result, int row, int key_column, int path_column)
{
	const char *path = pg_string(result, row, path_column);

	if (!pg_is_null(result, row, key_column))
		return xstrdup(pg_string(result, row, key_column));
	return xasprintf("%.*s", (int)name_stem_size(path, pg_size(result, row, path_column)),
			 path);
}

int names_lock(struct postgres_queue *q, int64_t dataset, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	pg_int(&args, dataset);
	return pg_run(q, "SELECT pg_advisory_xact_lock(1818326117, $1::integer)", &args, err);
}

int names_find(struct postgres_queue *q, int64_t dataset, const int64_t *prints, size_t n,
	       PGresult **out, struct error *err)
{
/*
 * One look into the index for each print. OFFSET 0 keeps the planner from joining in another way: it would plan by
 * statistics that are those of an empty table while a million jobs are added, and weigh each print by itself in ANY().
 */
#define NAMED(print)                                                                               \
	"SELECT j.* FROM unnest($2::bigint[]) AS v(print) CROSS JOIN LATERAL"                      \
	" (SELECT id, path, key, root, state, size, mtime_ns, inode, caption"                      \
	"  FROM latentd.job WHERE dataset = $1 AND " print " = v.print OFFSET 0) AS j"
	static const char sql[] = NAMED("path_print") " UNION ALL " NAMED("key_print");
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	pg_int(&args, dataset);
	pg_ints(&args, prints, n);
	return pg_query(q, sql, &args, out, err);
}

int pg_job_of_key(struct postgres_queue *q, int64_t dataset, const char *key, int64_t *id,
		  struct error *err)
{
	int64_t print = name_print(dataset, key, strlen(key));
	cleanup_pg_result PGresult *result = NULL;

	if (names_find(q, dataset, &print, 1, &result, err) < 0)
		return -1;
	*id = 0;
	for (int i = 0; i < pg_rows(result); i++) {
		cleanup_free char *name = pg_key(result, i, 2, 1);

		if (strcmp(name, key) == 0)
			*id = pg_value(result, i, 0);
	}
	return 0;
}

/* -- reading -------------------------------------------------------------------------------------- */

void pg_jobs_release(struct pg_jobs *jobs)
{
	for (size_t i = 0; i < jobs->count; i++) {
		free(jobs->items[i].key);
		free(jobs->items[i].path);
		free(jobs->items[i].reason);
		free(jobs->items[i].message);
	}
	free(jobs->items);
	free(jobs->lives);
}

static char *copy_or_null(const PGresult *result, int row, int column)
{
	return pg_is_null(result, row, column) ? NULL : xstrdup(pg_string(result, row, column));
}

static void read_job(const PGresult *r, int row, struct pg_job *out)
{
	*out = (struct pg_job){
	    .id = pg_value(r, row, 0),
	    .dataset = pg_value(r, row, 1),
	    .rank = pg_value(r, row, 2),
	    .root = (uint32_t)pg_value(r, row, 3),
	    .size = (uint64_t)pg_value(r, row, 4),
	    .mtime_ns = pg_value(r, row, 5),
	    .inode = (uint64_t)pg_value(r, row, 6),
	    .caption = pg_is_null(r, row, 7) ? CAPTION_UNSEEN : (uint64_t)pg_value(r, row, 7),
	    .state = (enum job_state)pg_value(r, row, 8),
	    .attempts = pg_value(r, row, 9),
	    .crashes = pg_value(r, row, 10),
	    .fence = pg_value(r, row, 11),
	    .due = pg_value(r, row, 12),
	    .updated_at = pg_value(r, row, 13),
	    .owner = pg_value(r, row, 14),
	    .keeper = pg_value(r, row, 15),
	    .changed = pg_value(r, row, 16),
	    .recaption = pg_value(r, row, 17),
	    .has_content = !pg_is_null(r, row, 18),
	    .content = pg_hash_of(r, row, 18),
	    .has_dropped = !pg_is_null(r, row, 19),
	    .dropped = pg_hash_of(r, row, 19),
	    .path = xstrdup(pg_string(r, row, 20)),
	    .key = pg_key(r, row, 21, 20),
	    .reason = copy_or_null(r, row, 22),
	    .message = copy_or_null(r, row, 23),
	};
}

static int by_job(const void *key, const void *item)
{
	int64_t id = *(const int64_t *)key, other = ((const struct pg_job *)item)->id;

	return (id > other) - (id < other);
}

struct pg_job *jobs_find(const struct pg_jobs *jobs, int64_t id)
{
	if (jobs->count == 0)
		return NULL;
	return bsearch(&id, jobs->items, jobs->count, sizeof(*jobs->items), by_job);
}

/* Rows come by job and falling variant, so that each is put in front of its job's. */
static int read_lives(struct postgres_queue *q, struct pg_jobs *jobs, const struct pg_args *ids,
		      struct error *err)
{
	static const char sql[] =
	    "SELECT job, shard, variant, \"offset\", content, latent FROM latentd.sample"
	    " WHERE job = ANY($1::bigint[]) AND NOT dead ORDER BY job, variant DESC";
	cleanup_pg_result PGresult *result = NULL;

	if (pg_query(q, sql, ids, &result, err) < 0)
		return -1;
	jobs->live_count = (size_t)pg_rows(result);
	jobs->lives = xcalloc(jobs->live_count + 1, sizeof(*jobs->lives));
	for (int i = 0; i < pg_rows(result); i++) {
		struct pg_live *live = &jobs->lives[i];
		struct pg_job *job;

		*live = (struct pg_live){
		    .job = pg_value(result, i, 0),
		    .shard = pg_value(result, i, 1),
		    .variant = (uint32_t)pg_value(result, i, 2),
		    .offset = (uint64_t)pg_value(result, i, 3),
		    .content = pg_hash_of(result, i, 4),
		    .latent = pg_hash_of(result, i, 5),
		};
		job = jobs_find(jobs, live->job);
		if (!job)
			continue;
		live->next = job->live;
		job->live = live;
	}
	return 0;
}

int jobs_lock_alone(struct postgres_queue *q, const int64_t *ids, size_t n, struct pg_jobs *out,
		    struct error *err)
{
	static const char sql[] =
	    "SELECT id, dataset, rank, root, size, mtime_ns, inode, caption, state, attempts,"
	    " crashes, fence, due, updated_at, owner, keeper, changed, recaption, content, dropped,"
	    " path, key, reason, message"
	    " FROM latentd.job WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	if (n == 0)
		return 0;
	pg_ints(&args, ids, n);
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	out->count = out->capacity = (size_t)pg_rows(result);
	out->items = xcalloc(out->count + 1, sizeof(*out->items));
	for (int i = 0; i < pg_rows(result); i++)
		read_job(result, i, &out->items[i]);
	return 0;
}

int jobs_lock(struct postgres_queue *q, const int64_t *ids, size_t n, struct pg_jobs *out,
	      struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	if (n == 0)
		return 0;
	if (jobs_lock_alone(q, ids, n, out, err) < 0)
		return -1;
	pg_ints(&args, ids, n);
	return read_lives(q, out, &args, err);
}

/* -- changing ------------------------------------------------------------------------------------- */

struct pg_live *job_live(const struct pg_job *job)
{
	struct pg_live *live = job->live;

	while (live && live->dead)
		live = live->next;
	return live;
}

void job_set_state(struct pg_job *job, enum job_state state)
{
	job->state = state;
	job->due = 0;
	job->owner = 0;
	job->has_dropped = false;
	job->is_changed = true;
}

void job_says(struct pg_job *job, const char *reason, const char *message)
{
	free(job->reason);
	free(job->message);
	job->reason = reason ? xstrdup(reason) : NULL;
	job->message = message ? xstrdup(message) : NULL;
	job->is_changed = true;
}

void job_complete(struct pg_job *job)
{
	job_set_state(job, JOB_COMPLETED);
	job_says(job, NULL, NULL);
	job->attempts = job->crashes = 0;
	job->keeper = 0;
	job->has_content = job->changed = false;
}

bool job_was_seen(const struct pg_job *job)
{
	return job->size != 0 || job->mtime_ns != 0 || job->inode != 0;
}

/* -- writing -------------------------------------------------------------------------------------- */

/* One column of those that are changed. */
#define COLUMN(jobs, args, what, put)                                                              \
	do {                                                                                       \
		pg_array(args, what);                                                              \
		for (size_t i_ = 0; i_ < (jobs)->count; i_++) {                                    \
			const struct pg_job *j = &(jobs)->items[i_];                               \
			if (j->is_changed)                                                         \
				put;                                                               \
		}                                                                                  \
		pg_array_end(args);                                                                \
	} while (0)

static void item_or_null(struct pg_args *a, int64_t value, bool there)
{
	if (there)
		pg_item_int(a, value);
	else
		pg_item_null(a);
}

static void put_columns(const struct pg_jobs *jobs, struct pg_args *a)
{
	COLUMN(jobs, a, PG_BIGINT, pg_item_int(a, j->id));
	COLUMN(jobs, a, PG_BIGINT, pg_item_int(a, (int64_t)j->size));
	COLUMN(jobs, a, PG_BIGINT, pg_item_int(a, j->mtime_ns));
	COLUMN(jobs, a, PG_BIGINT, pg_item_int(a, (int64_t)j->inode));
	COLUMN(jobs, a, PG_BIGINT,
	       item_or_null(a, (int64_t)j->caption, j->caption != CAPTION_UNSEEN));
	COLUMN(jobs, a, PG_BIGINT, pg_item_int(a, j->state));
	COLUMN(jobs, a, PG_BIGINT, pg_item_int(a, j->attempts));
	COLUMN(jobs, a, PG_BIGINT, pg_item_int(a, j->crashes));
	COLUMN(jobs, a, PG_BIGINT, item_or_null(a, j->due, j->due != 0));
	COLUMN(jobs, a, PG_BIGINT, pg_item_int(a, j->updated_at));
	COLUMN(jobs, a, PG_BIGINT, item_or_null(a, j->owner, j->owner != 0));
	COLUMN(jobs, a, PG_BIGINT, item_or_null(a, j->keeper, j->keeper != 0));
	COLUMN(jobs, a, PG_BIGINT, pg_item_int(a, j->changed));
	COLUMN(jobs, a, PG_BIGINT, pg_item_int(a, j->recaption));
	COLUMN(jobs, a, PG_UUID, pg_item_hash(a, j->has_content ? &j->content : NULL));
	COLUMN(jobs, a, PG_UUID, pg_item_hash(a, j->has_dropped ? &j->dropped : NULL));
	COLUMN(jobs, a, PG_BYTEA, pg_item_bytes(a, j->reason, j->reason ? strlen(j->reason) : 0));
	COLUMN(jobs, a, PG_BYTEA,
	       pg_item_bytes(a, j->message, j->message ? strlen(j->message) : 0));
}

/* Each dataset once, as long as its jobs come together; the server leaves out what was said already. */
static int tell_available(struct postgres_queue *q, const struct pg_jobs *jobs, struct error *err)
{
	int64_t told = 0;

	for (size_t i = 0; i < jobs->count; i++) {
		const struct pg_job *job = &jobs->items[i];

		if (!job->is_changed || job->state != JOB_AVAILABLE || job->dataset == told)
			continue;
		told = job->dataset;
		if (pg_tell(q, told, err) < 0)
			return -1;
	}
	return 0;
}

int jobs_write(struct postgres_queue *q, const struct pg_jobs *jobs, struct error *err)
{
	static const char sql[] =
	    "UPDATE latentd.job AS j SET size = v.size, mtime_ns = v.mtime_ns, inode = v.inode,"
	    " caption = v.caption, state = v.state, attempts = v.attempts, crashes = v.crashes,"
	    " due = v.due, updated_at = v.updated_at, owner = v.owner, keeper = v.keeper,"
	    " changed = v.changed <> 0, recaption = v.recaption <> 0, content = v.content,"
	    " dropped = v.dropped, reason = convert_from(v.reason, 'SQL_ASCII'),"
	    " message = v.message"
	    " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],"
	    " $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],"
	    " $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::uuid[],"
	    " $16::uuid[], $17::bytea[], $18::bytea[])"
	    " AS v(id, size, mtime_ns, inode, caption, state, attempts, crashes, due, updated_at,"
	    " owner, keeper, changed, recaption, content, dropped, reason, message)"
	    " WHERE j.id = v.id";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	bool any = false;

	for (size_t i = 0; i < jobs->count; i++)
		any = any || jobs->items[i].is_changed;
	if (!any)
		return 0;
	put_columns(jobs, &args);
	return pg_run(q, sql, &args, err) < 0 ? -1 : tell_available(q, jobs, err);
}
