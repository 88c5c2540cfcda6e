/*
 * A named thread that handles no signals: those belong to the main thread.
 */
#ifndef LATENTD_BASE_THREAD_H
#define LATENTD_BASE_THREAD_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct thread {
	pthread_t id;
	bool running;
};

#define THREAD_INIT                                                                                \
	{                                                                                          \
		0, false                                                                           \
	}

/* @name: at most 15 bytes, shown by ps and gdb. */
int thread_start(struct thread *t, const char *name, void *(*run)(void *arg), void *arg,
		 struct error *err);
/* Waits for its end. Safe on THREAD_INIT and twice. */
void thread_join(struct thread *t);

/* Cores that the calling thread may run on, at least 1: what a container, a cpuset or taskset leaves of the machine's. */
size_t thread_cores(void);

/*
 * For a thread that does little at a time and that others wait for: once woken, the calling thread gets a core at once, also
 * when ours and other processes compute on all of them. It asks for short time slices, which Linux 6.12 and later grants;
 * what it starts does not inherit that, and niceness stays.
 */
void thread_short_slices(void);

#endif
