/*
 * A few threads that share the parts of one piece of work after another.
 *
 *	thread_pool_open(4, "encode", &pool, err);
 *	thread_pool_run(pool, parts, do_part, arg);     returns when every part is done
 *	thread_pool_close(pool);
 *
 * Parts are handed out one by one in their order, so whoever is held up by another program does fewer
 * of them. Idle threads sleep.
 */
#ifndef LATENTD_BASE_THREAD_POOL_H
#define LATENTD_BASE_THREAD_POOL_H

#include "base/error.h"

#include <stddef.h>

struct thread_pool;

/* @threads: with the one that calls run; at least 1. @name: as for thread_start(). */
int thread_pool_open(size_t threads, const char *name, struct thread_pool **out, struct error *err);
/* NULL is fine. */
void thread_pool_close(struct thread_pool *pool);

size_t thread_pool_size(const struct thread_pool *pool);

/* do_part(arg, part, thread): @thread < size says which of them it is. One run at a time. */
void thread_pool_run(struct thread_pool *pool, size_t parts,
		     void (*do_part)(void *arg, size_t part, size_t thread), void *arg);

#endif
