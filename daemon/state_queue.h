/*
 * The queue of a state folder: STATE/queue.db, or one in PostgreSQL that nodes share. Which one STATE/queue.json says,
 * written once by the daemon that began there:
 *
 *	{"postgres": "service=latentd", "node": "gpu1", "instance": "6f0c..."}
 *
 * The instance tells this folder from any other that is used under the node's name. So whoever has the folder finds the queue. No password stands in it: libpq has a file of its own for those.
 */
#ifndef LATENTD_DAEMON_STATE_QUEUE_H
#define LATENTD_DAEMON_STATE_QUEUE_H

#include "queue/queue.h"

/* There is one; with PostgreSQL whoever opens it finds out. */
bool state_queue_exists(const char *state);

/* What a configuration says of it: ERR_CONFIG as queue_postgres_check(), or where this program lacks libpq. */
int state_queue_check(const char *postgres, struct error *err);

/*
 * From now on the queue of @state is the one at @postgres (NULL: STATE/queue.db), of which this is @node. ERR_CONFIG: the
 * folder is another queue's or another node's.
 */
int state_queue_choose(const char *state, const char *postgres, const char *node,
		       struct error *err);

/* For writing: as queue_sqlite_open() and queue_postgres_open(). */
int state_queue_open(const char *state, struct queue **out, struct error *err);
/* Never writes, never migrates. */
int state_queue_open_readonly(const char *state, struct queue **out, struct error *err);

/* The queue at @postgres, as @node, for a machine that need not have a state folder. */
int state_queue_open_at(const char *postgres, const char *node, bool readonly, struct queue **out,
			struct error *err);

/* For a command that works without a daemon: ERR_CONFIG where nodes share the queue. */
int state_queue_must_be_own(const char *state, struct error *err);

/* This node's name, to be freed; NULL: the queue is not shared. */
char *state_queue_node(const char *state);
/* Likewise, of the instance. */
char *state_queue_instance(const char *state);
/*
 * Where the folder is: the machine since it was booted, and which folder of it. A copy has another place, on the same machine or
 * not; two processes at one place the folder's lock prevents. To be freed.
 */
char *state_queue_place(const char *state);

#endif
