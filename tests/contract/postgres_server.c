#include "tests/contract/postgres_server.h"

#include "base/checked.h"
#include "queue/queue_open.h"
#include "tests/testing.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

const char *postgres_conninfo(void)
{
	const char *conninfo = getenv("LATENTD_TEST_POSTGRES");

	if (!conninfo) {
		fprintf(stderr, "run it by tests/tools/with_postgres.sh\n");
		exit(1);
	}
	return conninfo;
}

static PGconn *kept; /* of the superuser; ends with the program */

char *postgres_value(const char *sql)
{
	PGresult *result;
	char *value = NULL;

	if (!kept || PQstatus(kept) != CONNECTION_OK) {
		PQfinish(kept);
		kept = PQconnectdb(postgres_conninfo());
	}
	result = PQexec(kept, sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(kept));
	if (PQntuples(result) > 0)
		value = xstrdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

void postgres_run(const char *sql)
{
	free(postgres_value(sql));
}

bool postgres_is_waited_for(int64_t count)
{
	bool waits = false;

	for (int i = 0; i < 3000 && !waits; i++) {
		cleanup_free char *n =
		    postgres_value("SELECT count(*) FROM pg_locks WHERE NOT granted");

		waits = strtol(n, NULL, 10) >= count;
		postgres_run("SELECT pg_sleep(0.01)");
	}
	return waits;
}

void postgres_empty(void)
{
	postgres_run("SET client_min_messages = error; DROP SCHEMA IF EXISTS latentd CASCADE");
}

int postgres_open_again(const char *path, struct queue **out, struct error *err)
{
	struct queue_postgres_options options = {.conninfo = postgres_conninfo(),
						 .node = "here",
						 .patience_ms = 60000,
						 .callers_clock = true};

	(void)path;
	return queue_postgres_open(&options, out, err);
}

/* Tables are emptied, not made anew, which is faster. */
int postgres_open_fresh(const char *path, struct queue **out, struct error *err)
{
	static char last[300];
	int r;

	if (strcmp(last, path) == 0)
		return postgres_open_again(path, out, err);
	r = postgres_open_again(path, out, err);
	if (r < 0)
		return r;
	postgres_run(
	    "TRUNCATE latentd.dataset, latentd.node, latentd.owner, latentd.job, latentd.shard,"
	    " latentd.sample, latentd.retired, latentd.spent, latentd.history, latentd.tally,"
	    " latentd.duty, latentd.source"
	    " RESTART IDENTITY;"
	    " ALTER SEQUENCE latentd.fence RESTART");
	snprintf(last, sizeof(last), "%s", path);
	return 0;
}
