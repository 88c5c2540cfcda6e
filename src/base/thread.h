/*
 * A named thread that handles no signals: those belong to the main thread.
 */
#ifndef LATENTD_BASE_THREAD_H
#define LATENTD_BASE_THREAD_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>

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

#endif
