/*
 * Work that may block, away from the loop: a thread that runs tasks in order and gives each back to
 * the loop when it is done. All state changes happen on the loop thread; a task is its input and output.
 *
 *	struct my_task { struct task base; ... };
 *	t->base.run = ...    on the executor's thread
 *	t->base.done = ...   on the loop's thread, afterwards; frees the task. NULL: run does, and nobody is told
 *	executor_post(executor, &t->base);
 *
 * A thread that may wait can have something run there too: executor_call(). What is posted goes first, because
 * the loop's work depends on it; but of EXECUTOR_PATIENCE tasks in a row the next is a call, so that both go on.
 */
#ifndef LATENTD_DAEMON_EXECUTOR_H
#define LATENTD_DAEMON_EXECUTOR_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
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
/* Takes back what was posted and has not been brought yet; does nothing otherwise. On the loop's thread. */
void inbox_cancel(struct inbox *inbox, struct task *t);
/* NULL is fine. Nothing may be posted any more. */
void inbox_close(struct inbox *inbox);

struct executor;

#define EXECUTOR_PATIENCE 8

/* @name: of the thread, at most 15 bytes. */
int executor_open(struct inbox *inbox, const char *name, struct executor **out, struct error *err);
void executor_post(struct executor *e, struct task *t);
/* Any thread but the executor's: runs @run(@arg) there and waits until it has returned. */
void executor_call(struct executor *e, void (*run)(void *arg), void *arg);
/* The same where it begins within @patience_ms. False: it did not, and does not any more. */
bool executor_try_call(struct executor *e, void (*run)(void *arg), void *arg, int64_t patience_ms);
/*
 * Waits until every task has run; their `done` still comes through the inbox. Nothing may be posted or called
 * any more. NULL is fine.
 */
void executor_close(struct executor *e);

#endif
