/*
 * Pictures that were made a moment ago, by name: those that were asked for last, of so many bytes in all, names and
 * PICTURE_CACHE_EACH counted. One thread at a time.
 */
#ifndef LATENTD_DAEMON_PICTURE_CACHE_H
#define LATENTD_DAEMON_PICTURE_CACHE_H

#include "base/buffer.h"

#include <stdbool.h>

/* What each takes besides its name and its data. */
#define PICTURE_CACHE_EACH ((size_t)64)

struct picture_cache;

struct picture_cache *picture_cache_new(size_t bytes);
/* NULL is fine. */
void picture_cache_free(struct picture_cache *c);
/* Appends it to @out. False: it is not there. */
bool picture_cache_get(struct picture_cache *c, const char *name, struct buffer *out);
/* In the place of one of this name. One that is larger than all may be is not kept. */
void picture_cache_put(struct picture_cache *c, const char *name, const void *data, size_t size);

#endif
