/*
 * Opening a queue (queue.h), by the backend that keeps it: only who opens one knows which it is.
 */
#ifndef LATENTD_QUEUE_QUEUE_OPEN_H
#define LATENTD_QUEUE_QUEUE_OPEN_H

#include "queue/queue.h"

/*
 * Opens or creates the database at @path, on a local disk, and migrates an older schema. The caller
 * holds the lock that makes this process its only writer. ERR_CONFIG: a newer schema, a network file system.
 */
int queue_sqlite_open(const char *path, struct queue **out, struct error *err);
/*
 * For status while an owner works, or when none does: never writes, never checkpoints. ERR_CONFIG also
 * for an older schema, which only the owner may migrate.
 */
int queue_sqlite_open_readonly(const char *path, struct queue **out, struct error *err);
/* Version of the SQLite library, for `latentctl version`. */
const char *queue_sqlite_version(void);

/*
 * A queue that nodes share, each with its own spool: whatever concerns what a process of this node had touches nothing
 * of the others. queue_rescue() takes the jobs of this node's former owners, and of others those whose lease ended; with
 * INT64_MAX for the time, also what @owner itself has, and nobody is charged for that. queue_requeue_lost() and
 * CONTENT_SPOOLED are about records in this node's spool. Any number of processes may have it open for writing, but one
 * of each node; what they do is as if one came after the other.
 *
 * Errors, beside those of queue.h: ERR_TRANSIENT where the connection is lost or refused, the server stops, is full or is a
 * read-only standby: nothing was changed, the same call may succeed later, and the next call connects anew. Only
 * where the server went away with a COMMIT that it never answered, and could not be asked about it for
 * patience_ms, the message says that the outcome is not known; the same call again does nothing twice: fences,
 * file identities and shard paths see to it. ERR_CONFIG: password, role, database, rights, a newer schema.
 */
struct queue_postgres_options {
	const char
	    *conninfo; /* of libpq: "service=latentd", "host=... dbname=...", "postgresql://..." */
	const char *node; /* this machine and state folder: the same after a restart */
	int patience_ms;
	bool readonly; /* migrates nothing, and changes nothing: ERR_BUG where it is asked to */
	/*
	 * For tests that own the clock. Otherwise the database's clock counts: of the caller's times only the
	 * distance to its `now` does.
	 */
	bool callers_clock;
};

/*
 * ERR_CONFIG where libpq does not understand it, or a password stands in it: configurations are shown, and libpq reads
 * passwords from a file of their own. Repeats nothing of it.
 */
int queue_postgres_check(const char *conninfo, struct error *err);
/* Opens or creates schema `latentd`, and migrates an older one. In library latentd_queue_postgres, where libpq is. */
int queue_postgres_open(const struct queue_postgres_options *options, struct queue **out,
			struct error *err);

/* The same behaviour in plain memory: the model that the contract suite holds SQLite against. */
int queue_memory_open(struct queue **out, struct error *err);

#endif
