/*
 * Nodes that do not return.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <string.h>

/* Its number. The row stays locked: it cannot come back in between. */
static int find_dead(struct postgres_queue *q, const char *node, int64_t *id, struct error *err)
{
	static const char sql[] = "SELECT n.id, " PG_NODE_IS_ALIVE " FROM latentd.node AS n"
				  " WHERE n.name = $2::bytea AND n.instance IS NOT NULL FOR UPDATE";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, q->now);
	pg_bytes(&args, node, strlen(node));
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	if (pg_rows(result) == 0)
		return pg_no_such_node(node, err);
	if (pg_value(result, 0, 1) != 0)
		return error_set(err, ERR_CONFIG, "node %s is alive: stop it first", node);
	*id = pg_value(result, 0, 0);
	return 0;
}

struct leaving { /* nodes that are forgotten; their rows are locked */
	struct ids nodes;
	size_t *requeued; /* of each */
};

static void leaving_release(struct leaving *l)
{
	ids_release(&l->nodes);
	free(l->requeued);
}

/*
 * A job whose record is lost is as it was before it was encoded; one that was being encoded (@ran) is given back. One whose
 * file has changed since may be another node's by now, which goes on with it.
 */
static void give_back(struct pg_job *job, int64_t node, bool ran, int64_t now, size_t *count)
{
	if (job->keeper == node) {
		job->keeper = 0;
		job->has_content = false;
	}
	job->is_changed = true;
	if (!ran && job->state != JOB_ENCODED)
		return;
	if (job->state == JOB_RUNNING)
		job->attempts--;
	job_set_state(job, JOB_AVAILABLE);
	job->updated_at = now;
	++*count;
}

/* Jobs that they may have, without a lock. */
static int find_left(struct postgres_queue *q, const struct pg_args *nodes, struct ids *ids,
		     struct error *err)
{
	static const char sql[] =
	    "SELECT id FROM latentd.job WHERE keeper = ANY($1::bigint[]) UNION"
	    " SELECT j.id FROM latentd.owner AS o JOIN latentd.job AS j"
	    "  ON j.owner = o.id AND j.state = 2 WHERE o.node = ANY($1::bigint[])";
	cleanup_pg_result PGresult *result = NULL;

	if (pg_query(q, sql, nodes, &result, err) < 0)
		return -1;
	ids_of(ids, result);
	return 0;
}

static size_t place_of(const struct ids *ids, int64_t id)
{
	size_t at = 0;

	while (at < ids->count && ids->items[at] != id)
		at++;
	return at;
}

/* Of the jobs @jobs, which are locked, those that nodes have. */
static int give_back_all(struct postgres_queue *q, struct leaving *l, const struct ids *jobs,
			 struct pg_jobs *locked, struct error *err)
{
	static const char sql[] =
	    "SELECT j.id, CASE WHEN j.keeper = ANY($1::bigint[]) THEN j.keeper ELSE o.node END,"
	    " coalesce(j.state = 2 AND o.node = ANY($1::bigint[]), false)"
	    " FROM latentd.job AS j LEFT JOIN latentd.owner AS o ON o.id = j.owner"
	    " WHERE j.id = ANY($2::bigint[]) AND (j.keeper = ANY($1::bigint[])"
	    "  OR (j.state = 2 AND o.node = ANY($1::bigint[])))";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_ints(&args, l->nodes.items, l->nodes.count);
	pg_ints(&args, jobs->items, jobs->count);
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		struct pg_job *job = jobs_find(locked, pg_value(result, i, 0));
		int64_t node = pg_value(result, i, 1);
		size_t at = place_of(&l->nodes, node);

		if (job && at < l->nodes.count)
			give_back(job, node, pg_value(result, i, 2) != 0, q->now, &l->requeued[at]);
	}
	return jobs_write(q, locked, err);
}

/* All of their jobs at once: those of one after those of another would be locked in no order. */
static int forget(struct postgres_queue *q, struct leaving *l, struct error *err)
{
	static const char leave[] =
	    "UPDATE latentd.node SET instance = NULL WHERE id = ANY($1::bigint[])";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_ids struct ids ids = {NULL, 0, 0};
	cleanup_pg_jobs struct pg_jobs jobs = {0};

	l->requeued = xcalloc(l->nodes.count + 1, sizeof(*l->requeued));
	if (l->nodes.count == 0)
		return 0;
	if (pg_number(q, err) < 0)
		return -1;
	pg_ints(&args, l->nodes.items, l->nodes.count);
	if (find_left(q, &args, &ids, err) < 0 ||
	    jobs_lock_alone(q, ids.items, ids.count, &jobs, err) < 0 ||
	    (jobs.count > 0 && give_back_all(q, l, &ids, &jobs, err) < 0))
		return -1;
	return pg_run(q, leave, &args, err);
}

static int forget_one(struct postgres_queue *q, const char *node, size_t *count, struct error *err)
{
	static const char sql[] = "UPDATE latentd.node SET drains = false WHERE id = $1::bigint";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_with(leaving_release) struct leaving leaving = {.requeued = NULL};
	int64_t id = 0;

	if (find_dead(q, node, &id, err) < 0)
		return -1;
	pg_int(&args, id);
	ids_add(&leaving.nodes, id);
	if (pg_run(q, sql, &args, err) < 0 || forget(q, &leaving, err) < 0)
		return -1;
	*count = leaving.requeued[0];
	return 0;
}

int queue_postgres_forget(struct queue *base, const char *node, size_t *requeued, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	size_t count = 0;
	int r;

	if (pg_begin(q, err) < 0)
		return -1;
	r = pg_end(q, forget_one(q, node, &count, err), err);
	if (r == 0)
		*requeued = count;
	return r;
}

static int forget_silent(struct postgres_queue *q, int64_t silent_ms, queue_forgotten_fn fn,
			 void *arg, struct error *err)
{
	static const char sql[] =
	    "SELECT n.id, n.name FROM latentd.node AS n WHERE n.instance IS NOT NULL"
	    " AND n.id <> $2::bigint AND NOT " PG_NODE_IS_ALIVE
	    " AND n.beat_at + $3::bigint < $1::bigint"
	    " ORDER BY n.id FOR UPDATE";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	cleanup_with(leaving_release) struct leaving leaving = {.requeued = NULL};

	if (q->node_id == 0 && node_number(q, &q->node_id, err) < 0)
		return -1;
	pg_int(&args, q->now);
	pg_int(&args, q->node_id);
	pg_int(&args, silent_ms);
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	ids_of(&leaving.nodes, result);
	if (forget(q, &leaving, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++)
		fn(arg, pg_string(result, i, 1), leaving.requeued[i]);
	return 0;
}

int queue_postgres_forget_silent(struct queue *base, int64_t silent_ms, queue_forgotten_fn fn,
				 void *arg, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);

	if (pg_begin_look(q, err) < 0)
		return -1;
	return pg_end(q, forget_silent(q, silent_ms, fn, arg, err), err);
}
