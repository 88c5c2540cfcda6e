/*
 * Private to src/source: files of URLs in a folder of limited size, for the next time that they are wanted.
 *
 *	remote_cache_open(folder, bytes_max, &cache, err)
 *	fd = remote_cache_get(cache, url)           a copy in memory, at 0; -1: it is not there
 *	remote_cache_put(cache, url, fd)            what @fd has, wherever it is positioned
 *	remote_cache_drop(cache, url)               it has changed
 *	remote_cache_close(cache)
 *
 * Those that were not used for longest make room, so that there is never more than bytes_max by what is known; several processes
 * may share a folder, each of which looks at all of it whenever it has added a twentieth of that. A file appears whole or not at all, and without fsync:
 * one that is damaged is noticed by its hash, and removed. What cannot be kept is not kept. Any thread.
 */
#ifndef LATENTD_SOURCE_REMOTE_CACHE_H
#define LATENTD_SOURCE_REMOTE_CACHE_H

#include "base/error.h"

#include <stdint.h>

struct remote_cache;

/* ERR_CONFIG: the folder cannot be made or written, or its file system knows no files without names. */
int remote_cache_open(const char *folder, uint64_t bytes_max, struct remote_cache **out,
		      struct error *err);
/* NULL is fine, for all of them. */
void remote_cache_close(struct remote_cache *c);
int remote_cache_get(struct remote_cache *c, const char *url);
void remote_cache_put(struct remote_cache *c, const char *url, int fd);
void remote_cache_drop(struct remote_cache *c, const char *url);

#endif
