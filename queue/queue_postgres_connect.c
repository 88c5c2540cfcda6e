/*
 * The connection: how it is made, and what refuses it.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"
#include "queue/queue_open.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

/* Tried twice, with and without TLS, libpq says the same twice. */
void pg_one_line(const char *message, char *out, size_t size)
{
	static const char *const prefixes[] = {"ERROR:  ", "FATAL:  "};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		if (strncmp(message, prefixes[i], strlen(prefixes[i])) == 0)
			message += strlen(prefixes[i]);
	}
	out[0] = '\0';
	while (*message) {
		size_t length;
		cleanup_free char *line = NULL;

		message += strspn(message, "\t");
		length = strcspn(message, "\n");
		line = xasprintf("%.*s", (int)length, message);
		message += length + (message[length] == '\n');
		if (!strstr(out, line) && n < size)
			n += (size_t)snprintf(out + n, size - n, "%s%s", n > 0 ? "; " : "", line);
	}
}

void pg_disconnect(struct postgres_queue *q)
{
	PQfinish(q->conn);
	q->conn = NULL;
}

/* libpq keeps the SQLSTATE of a refused connection to itself; its words are all there is. */
static enum error_code code_of_refusal(const char *words)
{
	static const char *const lasting[] = {"authentication failed",
					      "no password supplied",
					      "pg_hba.conf",
					      "role \"",
					      "database \"",
					      "definition of service",
					      "service file",
					      "invalid connection option",
					      "missing \"=\"",
					      "could not translate",
					      "invalid sslmode",
					      "invalid port number",
					      "permission denied for database",
					      "does not support SSL",
					      "root certificate file"};
	/* A machine without its network has no resolver either. */
	static const char *const passing[] = {"Temporary failure in name resolution",
					      "too many connections",
					      "not currently accepting connections"};

	for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
		if (strstr(words, passing[i]))
			return ERR_TRANSIENT;
	}
	for (size_t i = 0; i < ARRAY_SIZE(lasting); i++) {
		if (strstr(words, lasting[i]))
			return ERR_CONFIG;
	}
	return ERR_TRANSIENT;
}

/* libpq names the first byte that it did not expect. */
static bool is_no_postgres(const char *words)
{
	return strstr(words, "invalid response to SSL negotiation") ||
	       strstr(words, "expected authentication request from server");
}

/* What libpq says of text that it does not understand repeats some of it: perhaps of a password. */
int queue_postgres_check(const char *conninfo, struct error *err)
{
	PQconninfoOption *options;
	bool bare = !strchr(conninfo, '=') && !strstr(conninfo, "://"), password = false;
	char *message = NULL;

	options = PQconninfoParse(conninfo, &message);
	PQfreemem(message);
	if (!options || bare) {
		PQconninfoFree(options);
		return error_set(err, ERR_CONFIG,
				 "queue.postgres is not understood by libpq: write it as "
				 "\"service=latentd\" or \"host=db dbname=latentd user=latentd\"");
	}
	for (const PQconninfoOption *o = options; o->keyword; o++)
		password = password || (o->val && (strcmp(o->keyword, "password") == 0 ||
						   strcmp(o->keyword, "sslpassword") == 0));
	PQconninfoFree(options);
	if (!password)
		return 0;
	return error_set(err, ERR_CONFIG,
			 "queue.postgres has a password in it: leave it out, and write it into "
			 "~/.pgpass or the file that passfile= names");
}

static void ignore_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

void pg_hush(PGconn *conn)
{
	PQsetNoticeProcessor(conn, ignore_notice, NULL);
}

bool pg_patience(const PGconn *conn, struct pg_args *args)
{
	static const char *const names[] = {"keepalives_idle", "keepalives_interval",
					    "keepalives_count", "tcp_user_timeout"};
	PQconninfoOption *options = PQconninfo((PGconn *)conn);

	if (!options)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		for (const PQconninfoOption *o = options; o->keyword; o++) {
			if (strcmp(o->keyword, names[i]) == 0)
				pg_text(args, o->val ? o->val : "0");
		}
	}
	PQconninfoFree(options);
	return true;
}

void pg_forget_numbers(struct postgres_queue *q)
{
	q->node_id = 0;
	free(q->owner);
	q->owner = NULL;
}

void pg_note_timeline(struct postgres_queue *q, const char *timeline)
{
	if (strcmp(q->timeline, timeline) != 0) /* it may lack the last rows */
		pg_forget_numbers(q);
	snprintf(q->timeline, sizeof(q->timeline), "%s", timeline);
}

/* What both ends must know: which timeline the server is on, and how patient the client is. */
static int greet(struct postgres_queue *q, struct error *err)
{
	static const char sql[] = "SELECT " PG_TIMELINE ", " PG_PATIENCE;
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	if (!pg_patience(q->conn, &args))
		return error_set(err, ERR_NOMEM, "queue in PostgreSQL: out of memory");
	if (pg_query(q, sql, &args, &result, err) < 0)
		return -1;
	pg_note_timeline(q, pg_string(result, 0, 0));
	return 0;
}

struct pg_params pg_params_of(const char *conninfo)
{
	/*
	 * Defaults first, which what the user wrote overrides. A server that is silent for a minute, because the
	 * network or its machine is gone, is a lost connection: the kernel's own defaults are hours.
	 */
	return (struct pg_params){.names = {"connect_timeout", "keepalives_idle",
					    "keepalives_interval", "keepalives_count",
					    "tcp_user_timeout", "application_name", "dbname"},
				  .values = {"10", "30", "10", "3", "60000", "latentd", conninfo}};
}

void pg_params_add(struct pg_params *params, const char *name, const char *value)
{
	size_t n = 0;

	while (params->names[n])
		n++;
	assert(n + 1 < ARRAY_SIZE(params->names));
	params->names[n] = name;
	params->values[n] = value;
}

int pg_connect(struct postgres_queue *q, struct error *err)
{
	struct pg_params params = pg_params_of(q->conninfo);
	char line[300];

	if (q->conn)
		return 0;
	q->conn = PQconnectdbParams(params.names, params.values, 1);
	if (!q->conn)
		return error_set(err, ERR_NOMEM, "queue in PostgreSQL: out of memory");
	if (PQstatus(q->conn) != CONNECTION_OK) {
		pg_one_line(PQerrorMessage(q->conn), line, sizeof(line));
		pg_disconnect(q);
		return error_set(err, code_of_refusal(line), "queue in PostgreSQL: %s%s", line,
				 is_no_postgres(line) ? " (what answers there is no PostgreSQL)"
						      : "");
	}
	pg_hush(q->conn);
	if (PQserverVersion(q->conn) < 130000) {
		int version = PQserverVersion(q->conn);

		pg_disconnect(q);
		return error_set(
		    err, ERR_CONFIG,
		    "queue in PostgreSQL: the server is version %d, 13 or newer is needed",
		    version / 10000);
	}
	if (greet(q, err) == 0 && (!q->is_open || q->readonly || pg_check_home(q, err) == 0))
		return 0;
	/* Whoever asks next would not know which timeline it is on. */
	pg_disconnect(q);
	return -1;
}
