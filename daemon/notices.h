/*
 * What is worth a message to people who do not look: found in the pictures that the loop makes.
 *
 *	n = notices_new()
 *	notices_look(n, &config->webhook, picture, clock_mono_ms(), on_notice, arg)    with each picture
 *	notices_free(n)
 *
 *	drained     a dataset has nothing left to do, and something was done since that was told last
 *	failed      images of a dataset were given up since that was told last
 *	stalled     a dataset has something to do or is blocked, and nothing got done for `stalled_after`; once, until it goes on
 *	disk_low    a disk has less than `disk_low` until nothing new is begun; once, until it has a quarter more again
 *
 * Of one event about one dataset or disk no two messages come in less than `interval`; what happens meanwhile is in the next.
 */
#ifndef LATENTD_DAEMON_NOTICES_H
#define LATENTD_DAEMON_NOTICES_H

#include "config/webhook_options.h"
#include "daemon/service_status.h"

struct notices;

struct notices *notices_new(void);
/* NULL is fine. */
void notices_free(struct notices *n);
/* @body: JSON, as docs/operations.md has it; the callee's, to be freed. */
typedef void (*notice_fn)(void *arg, char *body);
/* @now: monotonic ms. */
void notices_look(struct notices *n, const struct webhook_options *options,
		  const struct service_status *s, int64_t now, notice_fn fn, void *arg);

#endif
