/*
 * Claims and leases.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

/* -- who claims ----------------------------------------------------------------------------------- */

static int find_or_add(struct postgres_queue *q, const char *find, const char *add,
		       const struct pg_args *args, int64_t *id, struct error *err)
{
	cleanup_pg_result PGresult *found = NULL;
	cleanup_pg_result PGresult *added = NULL;
	cleanup_pg_result PGresult *after = NULL;

	if (pg_query(q, find, args, &found, err) < 0)
		return -1;
	if (pg_rows(found) == 0 && pg_query(q, add, args, &added, err) < 0)
		return -1;
	if (pg_rows(found) == 0 && pg_query(q, find, args, &after, err) < 0)
		return -1;
	*id = pg_value(pg_rows(found) > 0 ? found : after, 0, 0);
	return 0;
}

int node_number(struct postgres_queue *q, int64_t *id, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	pg_bytes(&args, q->node, strlen(q->node));
	return find_or_add(q, "SELECT id FROM latentd.node WHERE name = $1::bytea",
			   "INSERT INTO latentd.node (name) VALUES ($1::bytea)"
			   " ON CONFLICT DO NOTHING",
			   &args, id, err);
}

static int owner_number(struct postgres_queue *q, const char *owner, int64_t node, int64_t *id,
			struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	pg_bytes(&args, owner, strlen(owner));
	pg_int(&args, node);
	return find_or_add(q,
			   "SELECT id FROM latentd.owner WHERE name = $1::bytea"
			   " AND node = $2::bigint",
			   "INSERT INTO latentd.owner (name, node) VALUES ($1::bytea, $2)"
			   " ON CONFLICT DO NOTHING",
			   &args, id, err);
}

/* In a transaction of their own, so that what is remembered is there. */
static int remember_owner(struct postgres_queue *q, const char *owner, struct error *err)
{
	int64_t node = 0, id = 0;
	int r;

	if (q->owner && strcmp(q->owner, owner) == 0)
		return 0;
	if (pg_begin(q, err) < 0)
		return -1;
	r = node_number(q, &node, err);
	if (r == 0)
		r = owner_number(q, owner, node, &id, err);
	if (pg_end(q, r, err) < 0)
		return -1;
	free(q->owner);
	q->owner = xstrdup(owner);
	q->owner_id = id;
	q->node_id = node;
	return 0;
}

/* -- claim ---------------------------------------------------------------------------------------- */

/*
 * $1 dataset or 0, $2 limit, $3 now, $4 roots or NULL. Rows that another claim has locked are passed over. Of the
 * two places where jobs are, each gives as many as are wanted; those that are not chosen are unlocked with
 * the end of the transaction.
 *
 * A database that lost its last commits (a standby that lagged, a dump) gives their numbers again: a fence ends in chance, so that no
 * outcome of a claim that was lost fits another.
 */
#define OF_ROOTS "($4::bigint[] IS NULL OR root = ANY($4::bigint[]))"
#define FROM_EACH(where)                                                                           \
	"(SELECT j.id, j.rank FROM latentd.dataset AS d CROSS JOIN LATERAL"                        \
	" (SELECT id, rank FROM latentd.job WHERE dataset = d.id AND " where " AND " OF_ROOTS      \
	"  ORDER BY rank, id LIMIT $2::bigint FOR UPDATE SKIP LOCKED) AS j"                        \
	" WHERE $1::bigint = 0 OR d.id = $1::bigint)"
#define TAKE_CHOSEN                                                                                \
	" chosen AS MATERIALIZED (SELECT id FROM (SELECT * FROM ready UNION ALL SELECT * FROM "    \
	"due)"                                                                                     \
	"  AS a ORDER BY rank, id LIMIT $2::bigint),"                                              \
	" fenced AS MATERIALIZED (SELECT id, (nextval('latentd.fence') << 24)"                     \
	"  + floor(random() * 16777216)::bigint AS fence FROM chosen)"                             \
	" UPDATE latentd.job AS j SET state = 2, attempts = attempts + 1, fence = f.fence,"        \
	" owner = $5::bigint, due = $6::bigint, updated_at = $3::bigint FROM fenced AS f"          \
	" WHERE j.id = f.id"                                                                       \
	" RETURNING j.id, j.dataset, j.fence, j.attempts, j.crashes, j.root, j.size, j.rank,"      \
	" CASE WHEN j.keeper IS NOT NULL THEN j.content WHEN j.changed THEN"                       \
	"  (SELECT s.content FROM latentd.sample AS s WHERE s.job = j.id AND NOT s.dead"           \
	"   ORDER BY s.variant LIMIT 1) END, j.path, j.key, pg_current_xact_id()::text"

static const char take_jobs[] = "WITH ready AS MATERIALIZED " FROM_EACH(
    "state = 1 AND crashes < 3") ","
				 " due AS MATERIALIZED " FROM_EACH(
				     "state = 5 AND crashes < 3 AND due <= $3::bigint") "," TAKE_CHOSEN;

static const char take_suspect[] = "WITH ready AS MATERIALIZED " FROM_EACH(
    "crashes >= 3 AND state IN (1, 5)"
    " AND (state = 1 OR due <= $3::bigint)") ","
					     " due AS MATERIALIZED (SELECT * FROM ready WHERE "
					     "false)," TAKE_CHOSEN;

static void put_roots(struct pg_args *args, const struct queue_claim *claim)
{
	if (!claim->roots) {
		pg_null(args);
		return;
	}
	pg_array(args, PG_BIGINT);
	for (size_t i = 0; i < claim->n_roots; i++)
		pg_item_int(args, claim->roots[i]);
	pg_array_end(args);
}

static struct job read_claimed(const PGresult *r, int row)
{
	struct job job = {
	    .id = pg_value(r, row, 0),
	    .dataset = pg_value(r, row, 1),
	    .fence = (uint64_t)pg_value(r, row, 2),
	    .attempts = (uint32_t)pg_value(r, row, 3),
	    .crashes = (uint32_t)pg_value(r, row, 4),
	    .root = (uint32_t)pg_value(r, row, 5),
	    .size = (uint64_t)pg_value(r, row, 6),
	    .rank = (uint64_t)pg_value(r, row, 7),
	    .has_content = !pg_is_null(r, row, 8),
	    .content = pg_hash_of(r, row, 8),
	    .path = xstrdup(pg_string(r, row, 9)),
	    .key = pg_key(r, row, 10, 9),
	};

	return job;
}

static int by_rank(const void *left, const void *right)
{
	const struct job *a = left, *b = right;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

/* QUEUE_LATER or QUEUE_EMPTY of what such a claim would get if it were not too early. */
static int anything_later(struct postgres_queue *q, const struct queue_claim *claim, int64_t now,
			  struct error *err)
{
	static const char sql[] =
	    "SELECT EXISTS (SELECT 1 FROM latentd.job WHERE state = 5"
	    " AND ($1::bigint = 0 OR dataset = $1::bigint) AND due > $3::bigint"
	    " AND (crashes >= 3) = ($2::bigint <> 0) AND " OF_ROOTS ")";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, claim->dataset);
	pg_int(&args, claim->suspects);
	pg_int(&args, now);
	put_roots(&args, claim);
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	return pg_value(result, 0, 0) ? QUEUE_LATER : QUEUE_EMPTY;
}

static int take(struct postgres_queue *q, const struct queue_claim *claim, PGresult **taken,
		struct error *err)
{
	int64_t now = pg_time(q, claim->now, claim->now);
	size_t limit = claim->suspects ? 1 : claim->limit;
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	pg_int(&args, claim->dataset);
	pg_int(&args, limit < INT64_MAX ? (int64_t)limit : INT64_MAX);
	pg_int(&args, now);
	put_roots(&args, claim);
	pg_int(&args, q->owner_id);
	pg_int(&args, pg_time(q, claim->lease_until, claim->now));
	if (pg_query(q, claim->suspects ? take_suspect : take_jobs, &args, taken, err) < 0)
		return -1;
	if (pg_rows(*taken) == 0)
		return anything_later(q, claim, now, err);
	snprintf(q->xid, sizeof(q->xid), "%s", pg_string(*taken, 0, 11));
	return 0;
}

int queue_postgres_claim(struct queue *base, const struct queue_claim *claim, struct job *jobs,
			 size_t *n, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	cleanup_pg_result PGresult *taken = NULL;
	int r;

	if (remember_owner(q, claim->owner, err) < 0 || pg_begin_look(q, err) < 0)
		return -1;
	r = pg_end(q, take(q, claim, &taken, err), err);
	pg_fold(q);
	if (r != 0)
		return r;
	*n = (size_t)pg_rows(taken);
	for (size_t i = 0; i < *n; i++)
		jobs[i] = read_claimed(taken, (int)i);
	qsort(jobs, *n, sizeof(*jobs), by_rank);
	return 0;
}

/* -- leases --------------------------------------------------------------------------------------- */

static int extend(struct postgres_queue *q, int64_t lease_until, struct error *err)
{
	static const char sql[] =
	    "WITH held AS MATERIALIZED (SELECT id FROM latentd.job"
	    "  WHERE state = 2 AND owner = $1::bigint ORDER BY id FOR UPDATE),"
	    " renewed AS (UPDATE latentd.job AS j SET due = $2::bigint FROM held"
	    "  WHERE j.id = held.id RETURNING 1)"
	    " SELECT CASE WHEN count(*) > 0 THEN pg_current_xact_id()::text END FROM renewed";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, q->owner_id);
	pg_int(&args, pg_time(q, lease_until, clock_steady_wall_ms()));
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	snprintf(q->xid, sizeof(q->xid), "%s", pg_string(result, 0, 0));
	return 0;
}

int queue_postgres_extend(struct queue *base, const char *owner, int64_t lease_until,
			  struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);

	if (remember_owner(q, owner, err) < 0 || pg_begin_look(q, err) < 0)
		return -1;
	return pg_end(q, extend(q, lease_until, err), err);
}

/* Since when this node would have heard of others. One that gives no signs of life itself takes theirs as they are. */
static int64_t watches_since(const struct postgres_queue *q)
{
	if (q->beat_at == 0)
		return 0;
	return q->now - q->beat_at > q->timeout_ms / 2 ? q->now : q->watches;
}

/*
 * What this node's former selves had, with INT64_MAX what @owner itself has too, and whatever has a lease that ended
 * or is of a node that is silent: its owner is dead, or it will find that it lost the job. While the database was away everybody was silent: only silence that
 * this node could hear counts. Locked at once, so that what another node rescues, and claims anew, in the meantime is not among them.
 */
static int collect_abandoned(struct postgres_queue *q, int64_t dataset, const char *owner,
			     int64_t now, struct ids *ids, struct error *err)
{
	static const char sql[] =
	    "SELECT j.id FROM latentd.job AS j LEFT JOIN latentd.owner AS o ON o.id = j.owner"
	    " LEFT JOIN latentd.node AS n ON n.id = o.node"
	    " WHERE j.state = 2 AND j.dataset = $1::bigint AND (j.due < $2::bigint"
	    "  OR n.instance IS NOT NULL AND n.id <> $3::bigint"
	    "   AND (n.left_in_order OR greatest(n.beat_at, $6::bigint) + n.timeout_ms < "
	    "$2::bigint)"
	    "  OR o.node = $3::bigint AND (o.name <> $4::bytea OR $5::bigint <> 0))"
	    " ORDER BY j.id FOR UPDATE OF j";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, dataset);
	pg_int(&args, pg_time(q, now, now));
	pg_int(&args, q->node_id);
	pg_bytes(&args, owner, strlen(owner));
	pg_int(&args, now == INT64_MAX);
	pg_int(&args, watches_since(q));
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	ids_of(ids, result);
	return 0;
}

static void rescue_one(struct pg_job *job, bool crashed, int64_t now, size_t *count)
{
	job_set_state(job, JOB_AVAILABLE);
	job->updated_at = now;
	if (crashed) {
		job->attempts--;
		if (++job->crashes >= QUEUE_BLAMED_CRASHES) {
			cleanup_free char *message =
			    xasprintf("its owner died %u times, at last while it ran alone",
				      (unsigned)job->crashes);

			job_set_state(job, JOB_QUARANTINED);
			job_says(job, "crash", message);
			return;
		}
	}
	++*count;
}

static int rescue_jobs(struct postgres_queue *q, int64_t dataset, const char *owner, int64_t now,
		       size_t *count, struct error *err)
{
	cleanup_ids struct ids ids = {NULL, 0, 0};
	cleanup_pg_jobs struct pg_jobs jobs = {0};

	if (collect_abandoned(q, dataset, owner, now, &ids, err) < 0)
		return -1;
	if (ids.count == 0)
		return 0;
	if (pg_number(q, err) < 0 || jobs_lock_alone(q, ids.items, ids.count, &jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < jobs.count; i++) {
		struct pg_job *job = &jobs.items[i];

		bool mine = job->owner == q->owner_id;

		/* What it could not give back while the database was away. */
		if (mine && now == INT64_MAX)
			job->attempts--;
		rescue_one(job, !mine, pg_time(q, now, now), count);
	}
	return jobs_write(q, &jobs, err);
}

int queue_postgres_rescue(struct queue *base, int64_t dataset, const char *owner, int64_t now,
			  size_t *rescued, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	size_t count = 0;
	int r;

	if (remember_owner(q, owner, err) < 0 || pg_begin_look(q, err) < 0)
		return -1;
	r = pg_end(q, rescue_jobs(q, dataset, owner, now, &count, err), err);
	if (r == 0)
		*rescued = count;
	return r;
}

/* -- lost records --------------------------------------------------------------------------------- */

static int compare_ids(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

	return (a > b) - (a < b);
}

static int collect_lost(struct postgres_queue *q, int64_t dataset, const int64_t *spooled, size_t n,
			struct ids *ids, struct error *err)
{
	static const char sql[] = "SELECT id FROM latentd.job WHERE keeper = $1::bigint"
				  " AND dataset = $2::bigint ORDER BY id";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, q->node_id);
	pg_int(&args, dataset);
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		int64_t id = pg_value(result, i, 0);

		if (n == 0 || !bsearch(&id, spooled, n, sizeof(*spooled), compare_ids))
			ids_add(ids, id);
	}
	return 0;
}

static int requeue_lost(struct postgres_queue *q, int64_t dataset, const int64_t *spooled, size_t n,
			int64_t now, size_t *count, struct error *err)
{
	cleanup_ids struct ids ids = {NULL, 0, 0};
	cleanup_pg_jobs struct pg_jobs jobs = {0};

	if (node_number(q, &q->node_id, err) < 0 ||
	    collect_lost(q, dataset, spooled, n, &ids, err) < 0 ||
	    jobs_lock_alone(q, ids.items, ids.count, &jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < jobs.count; i++) {
		struct pg_job *job = &jobs.items[i];

		if (job->keeper != q->node_id)
			continue;
		job->keeper = 0;
		job->has_content = false;
		job->is_changed = true;
		if (job->state != JOB_ENCODED)
			continue;
		job_set_state(job, JOB_AVAILABLE);
		job->updated_at = now;
		++*count;
	}
	return jobs_write(q, &jobs, err);
}

int queue_postgres_requeue_lost(struct queue *base, int64_t dataset, const int64_t *spooled,
				size_t n, int64_t now, size_t *requeued, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	size_t count = 0;
	int r;

	if (pg_begin(q, err) < 0)
		return -1;
	now = pg_time(q, now, now);
	r = pg_end(q, requeue_lost(q, dataset, spooled, n, now, &count, err), err);
	if (r == 0)
		*requeued = count;
	return r;
}
