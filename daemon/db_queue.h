/*
 * The queue for threads other than the database's: scans, rewrites and indexes run on it unchanged while the
 * database thread owns the only connection that writes.
 *
 *	struct queue *reader = NULL;
 *	queue_sqlite_open_readonly(path, &reader, err)
 *	struct queue *q = db_queue_new(db, reader);
 *	... run_sources_scan(..., q, ...); index_write_all(q, ...); ...
 *	queue_close(q);                                 before db_close()
 *
 * Every operation waits until the database thread has done it; it goes behind what the loop has asked for
 * (claims, outcomes, shards), and so a scan never makes an encoder wait for longer than one of its pages.
 *
 * Listings (datasets, jobs, shards, samples, retired) and counts do not go through that thread: they read from
 * @reader, on the thread that asks, where their callbacks run too. So a callback may take its time, and an index of ten
 * million samples delays nobody. What an operation wrote is seen by every listing after it. Where there is no
 * reader (a queue in memory), they wait for the database thread, and callbacks run on that.
 *
 * Each thread has its own. Scans: one may be open for each dataset, whoever opened it.
 */
#ifndef LATENTD_DAEMON_DB_QUEUE_H
#define LATENTD_DAEMON_DB_QUEUE_H

#include "daemon/db.h"

/* Takes @reader, which shows the same database and is for this one alone; NULL: there is none. */
struct queue *db_queue_new(struct db *db, struct queue *reader);

#endif
