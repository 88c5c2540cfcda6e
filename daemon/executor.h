/*
 * Work that may block, away from the loop: a thread that runs tasks in order and gives each back to
 * the loop when it is done. All state changes happen on the loop thread; a task is its input and output.
 *
 *	struct my_task { struct task base; ... };
 *	t->base.run = ...    on the executor's thread
 *	t->base.done = ...   on the loop's thread, afterwards; frees the task
 *	executor_post(executor, &t->base);
 */
#ifndef LATENTD_DAEMON_EXECUTOR_H
#define LATENTD_DAEMON_EXECUTOR_H

#include "base/error.h"

#include <stddef.h>
#include <systemd/sd-event.h>

struct task {
	void (*run)(struct task *t);
	void (*done)(struct task *t);
	struct task *next;
};

/* Where finished work waits for the loop; any thread may post to it. */
struct inbox;

int inbox_open(sd_event *event, struct inbox **out, struct error *err);
/* Calls t->done on the loop's thread, soon. */
void inbox_post(struct inbox *inbox, struct task *t);
/* NULL is fine. Nothing may be posted any more. */
void inbox_close(struct inbox *inbox);

struct executor;

/* @name: of the thread, at most 15 bytes. @max_tasks: more than ever wait at once. */
int executor_open(struct inbox *inbox, const char *name, size_t max_tasks, struct executor **out,
		  struct error *err);
void executor_post(struct executor *e, struct task *t);
/* Waits until every task has run; their `done` still comes through the inbox. NULL is fine. */
void executor_close(struct executor *e);

#endif
