/*
 * Statements, errors, transactions.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <assert.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* -- errors --------------------------------------------------------------------------------------- */

/*
 * By SQLSTATE. What passes by itself, or when somebody repairs the database, is transient: no image is to blame
 * for it.
 */
static enum error_code code_of(const char *state)
{
	static const struct {
		const char *prefix;
		enum error_code code;
	} codes[] = {
	    {"08", ERR_TRANSIENT},    /* connection */
	    {"40", ERR_TRANSIENT},    /* serialization, deadlock */
	    {"53", ERR_TRANSIENT},    /* disk full, memory, too many connections */
	    {"55P03", ERR_TRANSIENT}, /* a lock */
	    {"57", ERR_TRANSIENT},    /* shut down, cancelled */
	    {"25006", ERR_TRANSIENT}, /* a read-only standby */
	    {"25P03", ERR_TRANSIENT}, /* it stood still in the middle of a transaction */
	    {"58", ERR_TRANSIENT},    /* its system failed */
	    {"3F000", ERR_TRANSIENT}, /* no schema, no table, which were there: a dump is restored */
	    {"42P01", ERR_TRANSIENT}, {"28", ERR_CONFIG}, /* password, role */
	    {"3D", ERR_CONFIG},				  /* no such database */
	    {"42501", ERR_CONFIG},			  /* rights */
	    {"XX001", ERR_IO},				  /* damage */
	    {"XX002", ERR_IO},
	};

	for (size_t i = 0; state && i < ARRAY_SIZE(codes); i++) {
		if (strncmp(state, codes[i].prefix, strlen(codes[i].prefix)) == 0)
			return codes[i].code;
	}
	return ERR_BUG;
}

/* The server's words, or those about the connection. */
static int fail(struct postgres_queue *q, const PGresult *result, struct error *err)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	char line[300];

	if (!state || PQstatus(q->conn) != CONNECTION_OK) {
		pg_one_line(primary ? primary : PQerrorMessage(q->conn), line, sizeof(line));
		pg_disconnect(q);
		return error_set(err, ERR_TRANSIENT, "queue in PostgreSQL: connection lost: %s",
				 line[0] ? line : "it was closed");
	}
	pg_one_line(primary ? primary : "failed", line, sizeof(line));
	if (strcmp(state, "25006") == 0) {
		pg_disconnect(q);
		return error_set(
		    err, ERR_TRANSIENT,
		    "queue in PostgreSQL: the server is a read-only standby (%s): name "
		    "the primary, or all hosts with target_session_attrs=read-write",
		    line);
	}
	if (strcmp(state, "42501") == 0)
		return error_set(
		    err, ERR_CONFIG,
		    "queue in PostgreSQL: role \"%s\" lacks a right: %s (docs/scale.md "
		    "lists what it needs)",
		    PQuser(q->conn), line);
	return error_set(err, code_of(state), "queue in PostgreSQL: %s (SQLSTATE %s)", line, state);
}

/* -- statements ----------------------------------------------------------------------------------- */

void pg_free(PGresult **result)
{
	PQclear(*result);
	*result = NULL;
}

int pg_query(struct postgres_queue *q, const char *sql, const struct pg_args *args, PGresult **out,
	     struct error *err)
{
	const char *values[PG_ARGS_MAX];
	int formats[PG_ARGS_MAX];
	PGresult *result;
	int n = args ? args->count : 0, r = 0;

	assert(q->conn || !q->in_transaction);
	if (pg_connect(q, err) < 0)
		return -1;
	for (int i = 0; i < n; i++) {
		values[i] =
		    args->at[i] == SIZE_MAX ? NULL : (const char *)args->data.data + args->at[i];
		formats[i] = args->sizes[i] > 0;
	}
	result = PQexecParams(q->conn, sql, n, NULL, values, args ? args->sizes : NULL, formats, 1);
	if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
		*out = result;
	else
		r = fail(q, result, err);
	if (r < 0)
		PQclear(result);
	return r;
}

int pg_run(struct postgres_queue *q, const char *sql, const struct pg_args *args, struct error *err)
{
	cleanup_pg_result PGresult *result = NULL;

	return pg_query(q, sql, args, &result, err);
}

int pg_exec(struct postgres_queue *q, const char *sql, struct error *err)
{
	cleanup_pg_result PGresult *result = NULL;

	if (pg_connect(q, err) < 0)
		return -1;
	result = PQexec(q->conn, sql);
	if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
		return 0;
	return fail(q, result, err);
}

int pg_read(struct postgres_queue *q, const char *sql, const struct pg_args *args, PGresult **out,
	    struct error *err)
{
	bool connected = q->conn != NULL;

	if (pg_query(q, sql, args, out, err) == 0)
		return 0;
	if (!connected || q->conn || q->in_transaction)
		return -1;
	error_clear(err);
	return pg_query(q, sql, args, out, err);
}

int pg_copy(struct postgres_queue *q, const char *sql, const struct buffer *rows, struct error *err)
{
	cleanup_pg_result PGresult *result = NULL;
	cleanup_pg_result PGresult *started = NULL;

	started = PQexec(q->conn, sql);
	if (PQresultStatus(started) != PGRES_COPY_IN)
		return fail(q, started, err);
	for (size_t at = 0, n; at < rows->size; at += n) {
		n = rows->size - at < 1 << 20 ? rows->size - at : 1 << 20;
		if (PQputCopyData(q->conn, (const char *)rows->data + at, (int)n) != 1)
			return fail(q, NULL, err);
	}
	if (PQputCopyEnd(q->conn, NULL) != 1)
		return fail(q, NULL, err);
	result = PQgetResult(q->conn);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return fail(q, result, err);
	PQclear(PQgetResult(q->conn)); /* the NULL that ends it */
	return 0;
}

int pg_rows(const PGresult *result)
{
	return PQntuples(result);
}

bool pg_is_null(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column);
}

int64_t pg_value(const PGresult *result, int row, int column)
{
	const uint8_t *bytes = (const uint8_t *)PQgetvalue(result, row, column);
	int size = PQgetlength(result, row, column);
	uint64_t value = 0;

	if (PQgetisnull(result, row, column))
		return 0;
	assert(size == 1 || size == 2 || size == 4 || size == 8);
	/* Sign bits first; a bool has none. */
	if (size > 1 && bytes[0] & 0x80)
		value = UINT64_MAX;
	for (int i = 0; i < size; i++)
		value = value << 8 | bytes[i];
	return (int64_t)value;
}

const char *pg_string(const PGresult *result, int row, int column)
{
	return PQgetvalue(result, row, column);
}

size_t pg_size(const PGresult *result, int row, int column)
{
	return (size_t)PQgetlength(result, row, column);
}

struct hash128 pg_hash_of(const PGresult *result, int row, int column)
{
	struct hash128 hash = {{0}};

	if (pg_size(result, row, column) == sizeof(hash.bytes))
		memcpy(hash.bytes, PQgetvalue(result, row, column), sizeof(hash.bytes));
	return hash;
}

/* -- transactions --------------------------------------------------------------------------------- */

/* Where the connection is lost, so is the transaction. */
static void abandon(struct postgres_queue *q)
{
	struct error ignored = ERROR_INIT;

	q->in_transaction = false;
	if (q->conn)
		pg_exec(q, "ROLLBACK", &ignored);
}

/* What is read behind a lock must be what its last holder wrote, whatever the database's default is. */
static int begin(struct postgres_queue *q, bool numbered, struct error *err)
{
	/*
	 * Of a node that stands still in the middle, others must not wait for the locks. Statements over a thousand rows
	 * look expensive enough to be compiled, which takes ten times as long as running them.
	 */
#define BEGIN_WITH(number)                                                                         \
	"BEGIN ISOLATION LEVEL READ COMMITTED;"                                                    \
	"SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, " number ", " PG_TIMELINE  \
	","                                                                                        \
	" set_config('idle_in_transaction_session_timeout', '30000', true),"                       \
	" set_config('jit', 'off', true)"
#define NUMBER "CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_current_xact_id()::text END"
	cleanup_pg_result PGresult *result = NULL;
	int r;

	if (pg_connect(q, err) < 0)
		return -1;
	result = PQexec(q->conn, numbered ? BEGIN_WITH(NUMBER) : BEGIN_WITH("''"));
	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		r = fail(q, result, err);
		abandon(q); /* BEGIN itself may have gone well */
		return r;
	}
	q->now = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	snprintf(q->xid, sizeof(q->xid), "%s", PQgetvalue(result, 0, 1));
	pg_note_timeline(q, PQgetvalue(result, 0, 2));
	q->in_transaction = true;
	return 0;
}

/* A connection that the server closed while nobody used it is noticed here, and made again. */
static int connect_and_begin(struct postgres_queue *q, bool numbered, struct error *err)
{
	bool connected = q->conn != NULL;

	if (q->readonly)
		return error_set(err, ERR_BUG, "queue in PostgreSQL: it is open for reading only");
	if (begin(q, numbered, err) == 0)
		return 0;
	if (!connected || q->conn)
		return -1;
	error_clear(err);
	return begin(q, numbered, err);
}

/*
 * A pooler leads on to another server without losing this connection. What the caller has looked up before, as its number,
 * may be another's on that.
 */
static int begin_anew(struct postgres_queue *q, bool numbered, struct error *err)
{
	char before[sizeof(q->timeline)];

	memcpy(before, q->timeline, sizeof(before));
	if (connect_and_begin(q, numbered, err) < 0)
		return -1;
	if (strcmp(before, q->timeline) == 0)
		return 0;
	abandon(q);
	return error_set(err, ERR_TRANSIENT,
			 "queue in PostgreSQL: the server has failed over to a standby");
}

int pg_begin(struct postgres_queue *q, struct error *err)
{
	return begin_anew(q, true, err);
}

int pg_begin_look(struct postgres_queue *q, struct error *err)
{
	return begin_anew(q, false, err);
}

int pg_number(struct postgres_queue *q, struct error *err)
{
	cleanup_pg_result PGresult *result = NULL;

	if (q->xid[0] != '\0')
		return 0;
	if (pg_query(q, "SELECT " NUMBER, NULL, &result, err) < 0)
		return -1;
	snprintf(q->xid, sizeof(q->xid), "%s", pg_string(result, 0, 0));
	return 0;
}

int64_t pg_time(const struct postgres_queue *q, int64_t time, int64_t now)
{
	return q->callers_clock ? time : q->now + (time - now);
}

static void pause_ms(int ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

enum fate { FATE_UNKNOWN, FATE_COMMITTED, FATE_ABORTED };

/* What became of transaction @xid, by a fresh connection. */
static enum fate ask_fate(struct postgres_queue *q, const char *xid, const char *timeline)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	struct error ignored = ERROR_INIT;
	const char *status;

	pg_text(&args, xid);
	if (pg_query(q, "SELECT pg_xact_status($1::xid8)", &args, &result, &ignored) < 0)
		return FATE_UNKNOWN;
	/* After a failover to a standby the number may be another transaction's. */
	if (strcmp(q->timeline, timeline) != 0)
		return FATE_UNKNOWN;
	status = pg_string(result, 0, 0);
	if (strcmp(status, "committed") == 0)
		return FATE_COMMITTED;
	return strcmp(status, "aborted") == 0 ? FATE_ABORTED : FATE_UNKNOWN;
}

/* 0: it was committed after all. */
static int resolve(struct postgres_queue *q, struct error *err)
{
	int64_t until = clock_mono_ms() + q->patience_ms;
	struct error lost = *err;
	char timeline[sizeof(q->timeline)];
	int wait = 10;

	memcpy(timeline, q->timeline, sizeof(timeline));
	do {
		switch (ask_fate(q, q->xid, timeline)) {
		case FATE_COMMITTED:
			error_clear(err);
			return 0;
		case FATE_ABORTED:
			return error_wrap(err, "nothing was changed");
		case FATE_UNKNOWN:
			break;
		}
		pause_ms(wait);
		wait = wait < 1000 ? wait * 2 : 1000;
	} while (clock_mono_ms() < until);
	error_clear(err);
	return error_set(
	    err, ERR_TRANSIENT,
	    "%s; whether transaction %s was committed is not known: the same call again "
	    "does nothing twice",
	    lost.message, q->xid);
}

static int commit(struct postgres_queue *q, struct error *err)
{
	q->in_transaction = false;
	if (pg_exec(q, "COMMIT", err) == 0)
		return 0;
	/* The server's own refusal is an answer. */
	if (q->conn || q->xid[0] == '\0')
		return -1;
	return resolve(q, err);
}

int pg_end(struct postgres_queue *q, int r, struct error *err)
{
	if (r == 0)
		return commit(q, err);
	abandon(q);
	return r;
}

#define FOLD_EVERY 256

void pg_fold(struct postgres_queue *q)
{
	static const char sql[] =
	    "WITH mine AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(1818326116, 1) AS ours),"
	    " gone AS (DELETE FROM latentd.tally WHERE (SELECT ours FROM mine)"
	    "  RETURNING dataset, kind, n)"
	    " INSERT INTO latentd.tally (dataset, kind, n)"
	    " SELECT dataset, kind, sum(n) FROM gone GROUP BY 1, 2";
	struct error ignored = ERROR_INIT;

	if (++q->unfolded % FOLD_EVERY == 0)
		pg_run(q, sql, NULL, &ignored);
}
