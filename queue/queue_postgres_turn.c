/*
 * The turn at a dataset's shards is an advisory lock, held by a transaction of a connection of its own, which has no
 * number: it keeps nobody's rows from being vacuumed. It goes when its holder or its connection does.
 *
 * A holder that was cut off does not know that it has lost it. So a swap asks under a second lock whether the first is still held
 * by that connection, and whoever takes the turn waits once for that second lock: no swap of its former holder comes after that.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#define TURN "1818326118, $1::integer"
#define GATE "SELECT pg_advisory_xact_lock(1818326119, $1::integer)"

struct pg_turn {
	struct postgres_queue session; /* of which only the connection counts */
	int64_t dataset, backend;
};

void pg_turn_free(struct postgres_queue *q)
{
	if (!q->turn)
		return;
	pg_disconnect(&q->turn->session);
	free(q->turn->session.conninfo);
	free(q->turn);
	q->turn = NULL;
}

/* Where its connection idles in a transaction, that is meant. */
static int take(struct pg_turn *turn, int64_t *now, struct error *err)
{
	static const char sql[] =
	    "SELECT pg_try_advisory_xact_lock(" TURN "), pg_backend_pid()::bigint,"
	    " (extract(epoch FROM clock_timestamp()) * 1000)::bigint,"
	    " set_config('idle_in_transaction_session_timeout', '0', true)";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, turn->dataset);
	if (pg_exec(&turn->session, "BEGIN ISOLATION LEVEL READ COMMITTED", err) < 0 ||
	    pg_query(&turn->session, sql, &args, &result, err) < 0)
		return -1;
	if (pg_value(result, 0, 0) == 0)
		return QUEUE_TURN_TAKEN;
	turn->backend = pg_value(result, 0, 1);
	*now = pg_value(result, 0, 2);
	return 0;
}

static int pass_gate(struct postgres_queue *q, int64_t dataset, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	pg_int(&args, dataset);
	return pg_run(q, GATE, &args, err);
}

int pg_turn_take(struct queue *base, int64_t dataset, int64_t *now, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	int64_t at = 0;
	int r;

	if (q->turn)
		return error_set(err, ERR_BUG, "this queue has a turn already");
	q->turn = xcalloc(1, sizeof(*q->turn));
	q->turn->session.conninfo = xstrdup(q->conninfo);
	q->turn->dataset = dataset;
	r = take(q->turn, &at, err);
	if (r == 0)
		r = pg_begin(q, err);
	if (r == 0)
		r = pg_end(q, pass_gate(q, dataset, err), err);
	if (r == 0)
		*now = at;
	else
		pg_turn_free(q);
	return r;
}

void pg_turn_end(struct queue *base)
{
	pg_turn_free(postgres_queue(base));
}

int pg_turn_check(struct postgres_queue *q, int64_t dataset, struct error *err)
{
	static const char sql[] =
	    "SELECT 1 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted"
	    " AND database = (SELECT oid FROM pg_catalog.pg_database"
	    "  WHERE datname = pg_catalog.current_database())"
	    " AND classid::bigint = 1818326118 AND objid::bigint = $1::bigint AND objsubid = 2"
	    " AND pid = $2::bigint";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	if (!q->turn || q->turn->dataset != dataset)
		return 0;
	pg_int(&args, dataset);
	pg_int(&args, q->turn->backend);
	if (pass_gate(q, dataset, err) < 0 || pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	if (pg_rows(result) > 0)
		return 0;
	return error_set(err, ERR_TRANSIENT,
			 "queue in PostgreSQL: the connection was lost that showed whose turn it "
			 "is to replace shards, and it may be another's by now: run it again");
}
