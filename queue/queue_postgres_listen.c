/*
 * Telling other nodes that jobs are available, and hearing of it. Whoever listens has a connection of his own, made
 * without ever waiting longer than for @stop_fd, because a thread that is to end must end.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <errno.h>
#include <libpq-fe.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#define CHANNEL	    "latentd"
#define PATIENCE_MS 10000 /* with one answer of the server */
#define SILENT	    (-2)  /* nothing came for so long */

int pg_tell(struct postgres_queue *q, int64_t dataset, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;

	pg_int(&args, dataset);
	return pg_run(q, "SELECT pg_notify('" CHANNEL "', $1::text)", &args, err);
}

/* -- waiting -------------------------------------------------------------------------------------- */

struct postgres_listener {
	struct queue_listener base;
	char *conninfo;
	PGconn *conn;
};

/* The server's words, which end the connection. */
static int lose(struct postgres_listener *l, struct error *err)
{
	char line[300];

	pg_one_line(PQerrorMessage(l->conn), line, sizeof(line));
	PQfinish(l->conn);
	l->conn = NULL;
	return error_set(err, ERR_TRANSIENT, "listen to PostgreSQL: %s",
			 line[0] ? line : "it does not answer");
}

/* Until the server says something, or (@events: POLLOUT) hears. QUEUE_LISTEN_STOPPED, or SILENT without @err. */
static int wait_for_server(struct postgres_listener *l, short events, int stop_fd, int timeout_ms,
			   struct error *err)
{
	struct pollfd fds[] = {{.fd = stop_fd, .events = POLLIN},
			       {.fd = PQsocket(l->conn), .events = events}};
	int n;

	/* libpq itself gives up a server that it does not understand. */
	if (fds[1].fd < 0)
		return lose(l, err);
	do {
		n = poll(fds, ARRAY_SIZE(fds), timeout_ms);
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return SILENT;
	if (n < 0)
		return lose(l, err);
	return fds[0].revents ? QUEUE_LISTEN_STOPPED : 0;
}

/* The answer to one statement. @args: as text. */
static int ask(struct postgres_listener *l, const char *sql, const struct pg_args *args,
	       int stop_fd, PGresult **out, struct error *err)
{
	const char *values[PG_ARGS_MAX];
	PGresult *result, *next;
	int r;

	for (int i = 0; i < args->count; i++)
		values[i] = (const char *)args->data.data + args->at[i];
	if (!PQsendQueryParams(l->conn, sql, args->count, NULL, values, NULL, NULL, 0))
		return lose(l, err);
	while (PQisBusy(l->conn)) {
		r = wait_for_server(l, POLLIN, stop_fd, PATIENCE_MS, err);
		if (r != 0)
			return r == SILENT ? lose(l, err) : r;
		if (!PQconsumeInput(l->conn))
			return lose(l, err);
	}
	result = PQgetResult(l->conn);
	while ((next = PQgetResult(l->conn)))
		PQclear(next);
	if (PQresultStatus(result) == PGRES_TUPLES_OK ||
	    PQresultStatus(result) == PGRES_COMMAND_OK) {
		*out = result;
		return 0;
	}
	PQclear(result);
	return lose(l, err);
}

/* -- the connection ------------------------------------------------------------------------------- */

static void disconnect(struct postgres_listener *l)
{
	PQfinish(l->conn);
	l->conn = NULL;
}

/* As libpq understands connect_timeout; -1: for ever. */
static int patience_ms(const PGconn *conn)
{
	cleanup_free char *value = pg_option(conn, "connect_timeout");
	long s = value ? strtol(value, NULL, 10) : 0;

	if (s <= 0 || s > INT_MAX / 1000)
		return -1;
	return (int)(s < 2 ? 2 : s) * 1000;
}

/* SILENT: the host that PQhost() names; the connection is there still. */
static int connect_by(struct postgres_listener *l, const struct pg_params *params, int stop_fd,
		      struct error *err)
{
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;
	int r, timeout_ms;

	l->conn = PQconnectStartParams(params->names, params->values, 1);
	if (!l->conn)
		return error_set(err, ERR_NOMEM, "listen to PostgreSQL: out of memory");
	pg_hush(l->conn);
	if (PQstatus(l->conn) == CONNECTION_BAD)
		return lose(l, err);
	timeout_ms = patience_ms(l->conn);
	while (next != PGRES_POLLING_OK) {
		if (next == PGRES_POLLING_FAILED)
			return lose(l, err);
		r = wait_for_server(l, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, stop_fd,
				    timeout_ms, err);
		if (r != 0)
			return r;
		next = PQconnectPoll(l->conn);
	}
	return 0;
}

static int say_silent(struct postgres_listener *l, struct error *err)
{
	const char *host = PQhost(l->conn), *address = PQhostaddr(l->conn);

	error_clear(err);
	error_set(err, ERR_TRANSIENT, "listen to PostgreSQL: %s%s%s, port %s, does not answer",
		  host ? host : "", address && *address ? " at " : "", address ? address : "",
		  PQport(l->conn));
	disconnect(l);
	return -1;
}

/* Each place alone, after one of them was silent: libpq would begin with that again. @err: of that. */
static int connect_to_each(struct postgres_listener *l, const struct pg_places *places, int stop_fd,
			   struct error *err)
{
	int r = -1;

	for (size_t i = 0; i < places->count && places->count > 1 && r < 0; i++) {
		const struct pg_place *place = &places->items[i];
		struct pg_params params = pg_params_of(l->conninfo);

		pg_params_add(&params, "host", place->host);
		pg_params_add(&params, "hostaddr", place->address);
		pg_params_add(&params, "port", place->port);
		error_clear(err);
		r = connect_by(l, &params, stop_fd, err);
		if (r == SILENT)
			r = say_silent(l, err);
	}
	return r;
}

static int begin_connection(struct postgres_listener *l, int stop_fd, struct error *err)
{
	struct pg_params params = pg_params_of(l->conninfo);
	cleanup_with(pg_places_release) struct pg_places places = {NULL, 0, 0};
	int r = connect_by(l, &params, stop_fd, err);

	if (r != SILENT)
		return r;
	pg_places_of(l->conn, &places);
	say_silent(l, err);
	return connect_to_each(l, &places, stop_fd, err);
}

/* A pooler invents the number that a client would cancel with. Behind it a LISTEN would be somebody else's. */
static int check_direct(struct postgres_listener *l, int stop_fd, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	int r;

	if (!pg_patience(l->conn, &args))
		return error_set(err, ERR_NOMEM, "listen to PostgreSQL: out of memory");
	r = ask(l, "SELECT pg_backend_pid(), " PG_PATIENCE, &args, stop_fd, &result, err);
	if (r != 0)
		return r;
	return strtol(PQgetvalue(result, 0, 0), NULL, 10) == PQbackendPID(l->conn)
		   ? 0
		   : QUEUE_LISTEN_POOLED;
}

static int connect_to_listen(struct postgres_listener *l, int stop_fd, struct error *err)
{
	const struct pg_args none = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;
	int r = begin_connection(l, stop_fd, err);

	if (r == 0)
		r = check_direct(l, stop_fd, err);
	if (r == 0)
		r = ask(l, "LISTEN " CHANNEL, &none, stop_fd, &result, err);
	if (r != 0)
		disconnect(l);
	return r;
}

/* -- hearing -------------------------------------------------------------------------------------- */

/* Whether anything was said, and of which dataset; 0: of several. */
static bool heard(struct postgres_listener *l, int64_t *dataset)
{
	PGnotify *notice;
	bool any = false;

	while ((notice = PQnotifies(l->conn))) {
		int64_t of = strtoll(notice->extra, NULL, 10);

		*dataset = any && *dataset != of ? 0 : of;
		any = true;
		PQfreemem(notice);
	}
	return any;
}

static int listener_wait(struct queue_listener *base, int stop_fd, int64_t *dataset,
			 struct error *err)
{
	struct postgres_listener *l = (struct postgres_listener *)base;
	int r;

	if (!l->conn) {
		r = connect_to_listen(l, stop_fd, err);
		if (r == 0)
			*dataset = 0; /* whatever was said before */
		return r;
	}
	while (!heard(l, dataset)) {
		r = wait_for_server(l, POLLIN, stop_fd, -1, err);
		if (r != 0)
			return r;
		if (!PQconsumeInput(l->conn))
			return lose(l, err);
	}
	return 0;
}

static void listener_free(struct queue_listener *base)
{
	struct postgres_listener *l = (struct postgres_listener *)base;

	disconnect(l);
	free(l->conninfo);
	free(l);
}

struct queue_listener *pg_listener_new(struct queue *base)
{
	static const struct queue_listener_ops ops = {.wait = listener_wait, .free = listener_free};
	struct postgres_listener *l = xcalloc(1, sizeof(*l));

	l->base.ops = &ops;
	l->conninfo = xstrdup(postgres_queue(base)->conninfo);
	return &l->base;
}
