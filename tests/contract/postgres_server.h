/*
 * The PostgreSQL that tests/tools/with_postgres.sh runs beside a test.
 */
#ifndef LATENTD_TESTS_CONTRACT_POSTGRES_SERVER_H
#define LATENTD_TESTS_CONTRACT_POSTGRES_SERVER_H

#include "queue/queue.h"

/* What libpq connects with; ends the program loudly where it was started without the script. */
const char *postgres_conninfo(void);
/* Runs statements as its superuser; fails the test where they fail. */
void postgres_run(const char *sql);
/* The first column of the first row, to be freed. */
char *postgres_value(const char *sql);
/* So many wait for what the open transaction of postgres_run() has locked; false: fewer do after a long time. */
bool postgres_is_waited_for(int64_t count);
/* No trace of a queue. */
void postgres_empty(void);
/* As node "here", with the caller's clock, on what is there. */
int postgres_open_again(const char *path, struct queue **out, struct error *err);
/* The same, emptied before the first call with a new @path. */
int postgres_open_fresh(const char *path, struct queue **out, struct error *err);

#endif
