/*
 * Images of the same content within one run: the first that is hashed leads, from then until it is encoded and
 * durable, or has ended otherwise; those that are hashed meanwhile are parked behind it.
 *
 *	if (duplicates_enter(d, w)) ... w leads ... else ... w is parked
 *	parked = duplicates_leave(d, &content, job)     when the one that leads is done with
 */
#ifndef LATENTD_DAEMON_DUPLICATES_H
#define LATENTD_DAEMON_DUPLICATES_H

#include "daemon/work.h"

struct duplicates;

struct duplicates *duplicates_new(void);
/* Nothing may be parked. NULL is fine. */
void duplicates_free(struct duplicates *d);

/* Sets w->leads if it is true; false: @w is parked, and w->first_key is the key of the one that leads. */
bool duplicates_enter(struct duplicates *d, struct work *w);
/* @job does not lead its content any more: what was parked behind it. Empty if it did not lead. */
struct work_list duplicates_leave(struct duplicates *d, const struct hash128 *content, int64_t job);
/* All that is parked; those that lead still do. */
struct work_list duplicates_unpark(struct duplicates *d);
size_t duplicates_parked(const struct duplicates *d);

/* What is stored of @content cannot be copied: it is encoded from now on. */
void duplicates_distrust(struct duplicates *d, const struct hash128 *content);
bool duplicates_distrusted(const struct duplicates *d, const struct hash128 *content);

#endif
