/*
 * Nodes. Everything that a node says, and all that it is told, is one transaction of a few statements, every third of
 * its timeout; a duty is a row with a time, so that nothing depends on a session.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

static int postgres_cluster(struct queue *base, char id[QUEUE_CLUSTER_SIZE], struct error *err)
{
	cleanup_pg_result PGresult *result = NULL;

	if (pg_read(postgres_queue(base), "SELECT cluster::text FROM latentd.schema_version", NULL,
		    &result, err) < 0)
		return -1;
	snprintf(id, QUEUE_CLUSTER_SIZE, "%s", pg_rows(result) > 0 ? pg_string(result, 0, 0) : "");
	return 0;
}

/* -- signs of life -------------------------------------------------------------------------------- */

/* Who has the name; *taken: it is alive, and not this process. The row stays locked. */
static int look_at_holder(struct postgres_queue *q, const struct node_beat *beat,
			  struct node_pulse *pulse, bool *taken, struct error *err)
{
	/* A place that is empty was written by an older program. */
	static const char sql[] =
	    "SELECT n.host, n.instance IS NOT DISTINCT FROM $3::bytea, n.place IN ('', "
	    "$4::bytea), " PG_NODE_IS_ALIVE ", n.beat_at, n.timeout_ms, n.tableoid::bigint FROM "
	    "latentd.node AS n WHERE n.id = $2::bigint"
	    " AND n.name = $5::bytea FOR UPDATE";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, q->now);
	pg_int(&args, q->node_id);
	pg_bytes(&args, beat->instance, strlen(beat->instance));
	pg_bytes(&args, beat->place, strlen(beat->place));
	pg_bytes(&args, q->node, strlen(q->node));
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	if (pg_rows(result) == 0) { /* the next one finds or adds it */
		pg_forget_numbers(q);
		return error_set(err, ERR_TRANSIENT,
				 "queue in PostgreSQL: this node's row was removed");
	}
	snprintf(pulse->holder, sizeof(pulse->holder), "%s", pg_string(result, 0, 0));
	pulse->is_copy = pg_value(result, 0, 1) != 0;
	pulse->beat_at = pg_value(result, 0, 4);
	pulse->silent_ms = q->now - pulse->beat_at;
	pulse->patience_ms = pg_value(result, 0, 5) - pulse->silent_ms;
	q->tables = pg_value(result, 0, 6);
	*taken = pg_value(result, 0, 3) != 0 && !(pulse->is_copy && pg_value(result, 0, 2) != 0);
	return 0;
}

static int say(struct postgres_queue *q, const struct node_beat *beat, struct node_pulse *pulse,
	       struct error *err)
{
	static const char sql[] =
	    "UPDATE latentd.node AS n SET instance = $3::bytea, host = $4::bytea,"
	    " version = $5::bytea, timeout_ms = $6::bigint, encoded = $7::bigint,"
	    " rate_milli = $8::bigint, left_in_order = $9::bigint <> 0, place = $10::bytea,"
	    " beat_at = $1::bigint WHERE n.id = $2::bigint RETURNING n.drains";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	bool taken = false;

	if (look_at_holder(q, beat, pulse, &taken, err) < 0)
		return -1;
	if (taken)
		return QUEUE_NODE_TAKEN;
	pg_int(&args, q->now);
	pg_int(&args, q->node_id);
	pg_bytes(&args, beat->instance, strlen(beat->instance));
	pg_bytes(&args, beat->host, strlen(beat->host));
	pg_bytes(&args, beat->version, strlen(beat->version));
	pg_int(&args, beat->timeout_ms);
	pg_int(&args, (int64_t)beat->encoded);
	pg_int(&args, (int64_t)(beat->rate * 1000));
	pg_int(&args, beat->leaves);
	pg_bytes(&args, beat->place, strlen(beat->place));
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	pulse->drains = pg_value(result, 0, 0) != 0;
	pulse->now = q->now;
	return 0;
}

static void put_datasets(struct pg_args *args, const struct node_beat *beat)
{
	pg_array(args, PG_BIGINT);
	for (size_t i = 0; i < beat->n_datasets; i++)
		pg_item_int(args, beat->datasets[i].dataset);
	pg_array_end(args);
}

static void put_scanned(struct pg_args *args, const struct node_beat *beat)
{
	pg_array(args, PG_BIGINT);
	for (size_t i = 0; i < beat->n_datasets; i++)
		pg_item_int(args, beat->datasets[i].scanned);
	pg_array_end(args);
}

/* What is passed on ends at once: the holder has it again with its next sign of life if nobody took it. */
static void put_until(struct pg_args *args, const struct node_beat *beat, int64_t now)
{
	pg_array(args, PG_BIGINT);
	for (size_t i = 0; i < beat->n_datasets; i++)
		pg_item_int(args, now + (beat->datasets[i].passes ? 0 : beat->timeout_ms));
	pg_array_end(args);
}

/*
 * Takes duties that are nobody's or whose holder is silent, and keeps its own, in one statement. Rows are locked in order of dataset, so that two nodes do not wait in a circle.
 */
static int take_duties(struct postgres_queue *q, const struct node_beat *beat, struct error *err)
{
	static const char take[] =
	    "INSERT INTO latentd.duty AS d (dataset, node, until, scanned)"
	    " SELECT v.dataset, $2::bigint, v.until, v.scanned <> 0"
	    " FROM unnest($3::bigint[], $4::bigint[], $5::bigint[])"
	    " AS v(dataset, until, scanned) ORDER BY 1"
	    " ON CONFLICT (dataset) DO UPDATE SET node = excluded.node, until = excluded.until,"
	    " scanned = excluded.scanned"
	    " WHERE d.node = excluded.node OR d.until < $1::bigint";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	pg_int(&args, q->now);
	pg_int(&args, q->node_id);
	put_datasets(&args, beat);
	put_until(&args, beat, q->now);
	put_scanned(&args, beat);
	return pg_run(q, take, &args, err);
}

static int read_duties(struct postgres_queue *q, const struct node_beat *beat, PGresult **out,
		       struct error *err)
{
	static const char look[] = "SELECT dataset, node, scanned FROM latentd.duty"
				   " WHERE dataset = ANY($1::bigint[]) AND until >= $2::bigint";
	cleanup_pg_args struct pg_args which = PG_ARGS_INIT;

	put_datasets(&which, beat);
	pg_int(&which, q->now);
	return pg_query(q, look, &which, out, err);
}

/* One that was forgotten is another sum than one that is dead: it may have sealed when it had been looked for already. */
static int read_deaths(struct postgres_queue *q, struct node_pulse *pulse, struct error *err)
{
	static const char sql[] =
	    "SELECT coalesce(sum(n.beat_at + (n.instance IS NULL)::int), 0)::bigint,"
	    " coalesce(sum(n.beat_at + 1) FILTER (WHERE n.instance IS NULL), 0)::bigint"
	    " FROM latentd.node AS n WHERE n.beat_at > 0"
	    " AND (n.instance IS NULL OR NOT (n.left_in_order OR " PG_NODE_IS_ALIVE "))";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, q->now);
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	pulse->deaths = pg_value(result, 0, 0);
	pulse->forgotten = pg_value(result, 0, 1);
	return 0;
}

static int do_duties(struct postgres_queue *q, const struct node_beat *beat,
		     struct node_pulse *pulse, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	bool mine = false;

	static const char resign[] =
	    "WITH mine AS MATERIALIZED (SELECT dataset FROM latentd.duty WHERE node = $1::bigint"
	    "  ORDER BY dataset FOR UPDATE)"
	    " UPDATE latentd.duty AS d SET until = 0 FROM mine WHERE d.dataset = mine.dataset";

	if (beat->leaves || pulse->drains) {
		pg_int(&args, q->node_id);
		if (pg_run(q, resign, &args, err) < 0)
			return -1;
	}
	if (beat->leaves || beat->n_datasets == 0)
		return 0;
	if (!pulse->drains && take_duties(q, beat, err) < 0)
		return -1;
	if (read_duties(q, beat, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		for (size_t k = 0; k < beat->n_datasets; k++) {
			struct node_dataset *d = &beat->datasets[k];

			if (d->dataset != pg_value(result, i, 0))
				continue;
			d->mine = pg_value(result, i, 1) == q->node_id;
			d->known = pg_value(result, i, 2) != 0;
			mine = mine || d->mine;
		}
	}
	return mine ? read_deaths(q, pulse, err) : 0;
}

static int beat_once(struct postgres_queue *q, const struct node_beat *beat,
		     struct node_pulse *pulse, struct error *err)
{
	int r = q->node_id != 0 ? 0 : node_number(q, &q->node_id, err);

	if (r == 0)
		r = say(q, beat, pulse, err);
	pulse->deaths = pulse->forgotten = 0;
	return r == 0 ? do_duties(q, beat, pulse, err) : r;
}

/* Beats come every third of the timeout: longer than half of it, and the database may have been away for everybody. */
static void note_beat(struct postgres_queue *q, int64_t timeout_ms)
{
	memcpy(q->beat_timeline, q->timeline, sizeof(q->beat_timeline));
	q->beat_tables = q->tables;
	if (q->beat_at == 0 || q->now - q->beat_at > timeout_ms / 2)
		q->watches = q->now;
	q->beat_at = q->now;
	q->timeout_ms = timeout_ms;
}

/* Other tables of the same names, or what this node said last was never said: a dump is restored, or a backup. */
static bool is_set_back(const struct postgres_queue *q, const struct node_pulse *pulse)
{
	return q->beat_at != 0 && (q->tables != q->beat_tables || pulse->beat_at < q->beat_at);
}

static int postgres_beat(struct queue *base, const struct node_beat *beat, struct node_pulse *pulse,
			 struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	int r;

	if (pg_begin(q, err) < 0)
		return -1;
	r = pg_end(q, beat_once(q, beat, pulse, err), err);
	pulse->failed_over =
	    r == 0 && q->beat_timeline[0] != '\0' && strcmp(q->beat_timeline, q->timeline) != 0;
	pulse->set_back = r == 0 && !pulse->failed_over && is_set_back(q, pulse);
	if (pulse->set_back)
		pg_forget_numbers(q);
	if (r == 0)
		note_beat(q, beat->timeout_ms);
	return r;
}

/* -- sources -------------------------------------------------------------------------------------- */

static int find_root(struct postgres_queue *q, int64_t dataset, const char *path, uint32_t *number,
		     struct error *err)
{
	static const char add[] =
	    "INSERT INTO latentd.source (dataset, path, number)"
	    " SELECT $1::bigint, $2::bytea, coalesce(max(number) + 1, 0) FROM latentd.source"
	    " WHERE dataset = $1::bigint ON CONFLICT (dataset, path) DO NOTHING";
	static const char find[] = "SELECT number FROM latentd.source WHERE dataset = $1::bigint"
				   " AND path = $2::bytea";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	if (names_lock(q, dataset, err) < 0)
		return -1;
	pg_int(&args, dataset);
	pg_bytes(&args, path, strlen(path));
	if (pg_run(q, add, &args, err) < 0 || pg_query(q, find, &args, &result, err) < 0)
		return -1;
	*number = (uint32_t)pg_value(result, 0, 0);
	return 0;
}

static int postgres_root(struct queue *base, int64_t dataset, const char *path, uint32_t *number,
			 struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);

	if (pg_begin(q, err) < 0)
		return -1;
	return pg_end(q, find_root(q, dataset, path, number, err), err);
}

/* -- for people ----------------------------------------------------------------------------------- */

static int postgres_list(struct queue *base, queue_node_fn fn, void *arg, struct error *err)
{
	static const char sql[] =
	    "WITH t AS MATERIALIZED"
	    " (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now)"
	    " SELECT n.name, n.host, n.version, NOT n.left_in_order AND n.beat_at + n.timeout_ms >="
	    " t.now, n.left_in_order, n.drains, t.now - n.beat_at, n.encoded, n.rate_milli,"
	    " (SELECT count(*) FROM latentd.job AS j JOIN latentd.owner AS o ON o.id = j.owner"
	    "  WHERE j.state = 2 AND o.node = n.id),"
	    " (SELECT count(*) FROM latentd.job AS j WHERE j.keeper = n.id AND j.state = 3),"
	    " (SELECT string_agg(d.name, ', '::bytea ORDER BY d.name) FROM latentd.duty AS y"
	    "  JOIN latentd.dataset AS d ON d.id = y.dataset"
	    /* until when it counts, at its last sign of life, which is then where it is passed on */
	    "  WHERE y.node = n.id AND y.until >= least(t.now, n.beat_at)"
	    "  AND n.beat_at + n.timeout_ms >= t.now)"
	    " FROM latentd.node AS n CROSS JOIN t WHERE n.instance IS NOT NULL ORDER BY n.name";
	cleanup_pg_result PGresult *r = NULL;

	if (pg_read(postgres_queue(base), sql, NULL, &r, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(r); i++) {
		const struct node_row row = {.name = pg_string(r, i, 0),
					     .host = pg_string(r, i, 1),
					     .version = pg_string(r, i, 2),
					     .alive = pg_value(r, i, 3) != 0,
					     .left = pg_value(r, i, 4) != 0,
					     .drains = pg_value(r, i, 5) != 0,
					     .silent_ms = pg_value(r, i, 6),
					     .encoded = (uint64_t)pg_value(r, i, 7),
					     .rate = (double)pg_value(r, i, 8) / 1000,
					     .running = (uint64_t)pg_value(r, i, 9),
					     .spooled = (uint64_t)pg_value(r, i, 10),
					     .duties = pg_string(r, i, 11)};

		if (fn(arg, &row) != 0)
			break;
	}
	return 0;
}

int pg_no_such_node(const char *node, struct error *err)
{
	return error_set(err, ERR_CONFIG, "there is no node %s: `latentctl nodes` lists them",
			 node);
}

static int give_order(struct postgres_queue *q, const char *node, bool drains, struct error *err)
{
	static const char sql[] = "UPDATE latentd.node SET drains = $2::bigint <> 0"
				  " WHERE name = $1::bytea AND instance IS NOT NULL RETURNING id";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_bytes(&args, node, strlen(node));
	pg_int(&args, drains);
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	return pg_rows(result) > 0 ? 0 : pg_no_such_node(node, err);
}

static int postgres_order(struct queue *base, const char *node, bool drains, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);

	if (pg_begin(q, err) < 0)
		return -1;
	return pg_end(q, give_order(q, node, drains, err), err);
}

const struct queue_nodes_ops queue_postgres_nodes = {.cluster = postgres_cluster,
						     .beat = postgres_beat,
						     .root = postgres_root,
						     .list = postgres_list,
						     .order = postgres_order,
						     .forget = queue_postgres_forget,
						     .forget_silent = queue_postgres_forget_silent,
						     .listener = pg_listener_new,
						     .take_turn = pg_turn_take,
						     .end_turn = pg_turn_end};
