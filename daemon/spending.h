/*
 * What an encoder spends on endpoints: the guard that all its models share, kept in the database, so that neither a
 * restart nor another model begins a new hour. And what a dataset has endpoints encode.
 *
 *	s = spending_new("remote", &config->remote.options)     it may have no limits yet
 *	... encoder_remote_open() with spending_guard(s) ...
 *	spending_load(s, queue, err)                            before it sends anything, or
 *	spending_recall(s, db)                                  it sends nothing until that is done
 *	spending_save(s, db)                                    every now and then
 *	spending_close(s, queue)                                when its encoders are closed
 *
 * A process that is killed forgets what it spent since the last save: SPENDING_SAVE_MS at most. Everything takes NULL,
 * and is of the loop's thread, but for spending_load(), which may be of another.
 */
#ifndef LATENTD_DAEMON_SPENDING_H
#define LATENTD_DAEMON_SPENDING_H

#include "config/remote_options.h"
#include "daemon/db.h"
#include "net/cost_guard.h"

#define SPENDING_SAVE_MS 1000

struct spending;

/* @account: of the rows in the database. The limits of its guard may be changed; there need not be any. */
struct spending *spending_open(const char *account, const struct cost_limits *limits);
/* Of an encoder. */
struct spending *spending_new(const char *account, const struct remote_options *options);
/* Others from now on; what was spent stays. */
void spending_limit(struct spending *s, const struct remote_options *options);
/* Lives until spending_close(). */
struct cost_guard *spending_guard(struct spending *s);
/*
 * Has the database thread do what spending_load() does, unless that was done. The guard is held until it is; where it fails it
 * is tried again with spending_save(). @db NULL: nothing.
 */
void spending_recall(struct spending *s, struct db *db);
/* Its guard is not held. */
bool spending_is_known(const struct spending *s);
/* The same one for another encoder of that account; each has to close it. */
struct spending *spending_share(struct spending *s);
int spending_load(struct spending *s, struct queue *queue, struct error *err);
/* Has the database thread add what is new, unless it did so a moment ago. What fails is tried again next time. */
void spending_save(struct spending *s, struct db *db);
/* Adds what is new through @queue, and waits for that. */
void spending_flush(struct spending *s, struct queue *queue);
/* Has the database thread add the rest, and frees. */
void spending_leave(struct spending *s, struct db *db);
/* The same as spending_flush(), unless @queue is NULL, and frees. */
void spending_close(struct spending *s, struct queue *queue);

#endif
