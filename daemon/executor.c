#include "daemon/executor.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* First in, first out. */
struct task_list {
	struct task *first, **last;
};

struct inbox {
	pthread_mutex_t lock;
	struct task_list tasks;
	int fd; /* eventfd: readable while something is there */
	sd_event_source *source;
};

struct executor {
	struct inbox *inbox;
	pthread_mutex_t lock;
	pthread_cond_t not_empty;
	struct task_list posted, called;
	unsigned in_a_row; /* of the posted, while a call waits */
	bool closed;
	struct thread thread;
};

static void list_init(struct task_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_add(struct task_list *list, struct task *t)
{
	t->next = NULL;
	*list->last = t;
	list->last = &t->next;
}

static struct task *list_take(struct task_list *list)
{
	struct task *t = list->first;

	list->first = t->next;
	if (!list->first)
		list_init(list);
	return t;
}

/* False: it is not there. */
static bool list_remove(struct task_list *list, struct task *t)
{
	struct task **at = &list->first;

	while (*at && *at != t)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = t->next;
	if (!*at)
		list->last = at;
	return true;
}

/* -- inbox ---------------------------------------------------------------------------------------- */

static struct task *inbox_take(struct inbox *inbox)
{
	struct task *t;

	pthread_mutex_lock(&inbox->lock);
	t = inbox->tasks.first ? list_take(&inbox->tasks) : NULL;
	pthread_mutex_unlock(&inbox->lock);
	return t;
}

/* As many as were posted until now: what these post waits for the next turn. */
static int on_inbox(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct inbox *inbox = arg;
	struct task *t;
	uint64_t count;

	(void)source;
	(void)events;
	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	while (count-- > 0 && (t = inbox_take(inbox)))
		t->done(t);
	return 0;
}

int inbox_open(sd_event *event, struct inbox **out, struct error *err)
{
	struct inbox *inbox = xcalloc(1, sizeof(*inbox));
	int r;

	pthread_mutex_init(&inbox->lock, NULL);
	list_init(&inbox->tasks);
	inbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = inbox->fd < 0
		? -errno
		: sd_event_add_io(event, &inbox->source, inbox->fd, EPOLLIN, on_inbox, inbox);
	if (r < 0) {
		inbox_close(inbox);
		errno = -r;
		return error_sys(err, "open an inbox");
	}
	*out = inbox;
	return 0;
}

void inbox_post(struct inbox *inbox, struct task *t)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&inbox->lock);
	list_add(&inbox->tasks, t);
	pthread_mutex_unlock(&inbox->lock);
	/* An eventfd takes this write unless its 64-bit counter is full. */
	while (write(inbox->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void inbox_cancel(struct inbox *inbox, struct task *t)
{
	pthread_mutex_lock(&inbox->lock);
	list_remove(&inbox->tasks, t);
	pthread_mutex_unlock(&inbox->lock);
}

void inbox_close(struct inbox *inbox)
{
	if (!inbox)
		return;
	sd_event_source_disable_unref(inbox->source);
	if (inbox->fd >= 0)
		close(inbox->fd);
	pthread_mutex_destroy(&inbox->lock);
	free(inbox);
}

/* -- executor ------------------------------------------------------------------------------------- */

/* What comes next, under the lock; NULL: nothing is there. */
static struct task *next_task(struct executor *e)
{
	if (e->called.first && (!e->posted.first || e->in_a_row == EXECUTOR_PATIENCE)) {
		e->in_a_row = 0;
		return list_take(&e->called);
	}
	if (!e->posted.first)
		return NULL;
	e->in_a_row = e->called.first ? e->in_a_row + 1 : 0;
	return list_take(&e->posted);
}

/* Waits for a task. NULL: closed, and none is left. */
static struct task *wait_for_task(struct executor *e)
{
	struct task *t;

	pthread_mutex_lock(&e->lock);
	while (!(t = next_task(e)) && !e->closed)
		pthread_cond_wait(&e->not_empty, &e->lock);
	pthread_mutex_unlock(&e->lock);
	return t;
}

static void *executor_run(void *arg)
{
	struct executor *e = arg;
	struct task *t;

	thread_short_slices();
	while ((t = wait_for_task(e))) {
		bool told = t->done; /* otherwise its memory is gone when it has run */

		t->run(t);
		if (told)
			inbox_post(e->inbox, t);
	}
	return NULL;
}

int executor_open(struct inbox *inbox, const char *name, struct executor **out, struct error *err)
{
	struct executor *e = xcalloc(1, sizeof(*e));

	e->inbox = inbox;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->not_empty, NULL);
	list_init(&e->posted);
	list_init(&e->called);
	if (thread_start(&e->thread, name, executor_run, e, err) < 0) {
		executor_close(e);
		return -1;
	}
	*out = e;
	return 0;
}

static void add(struct executor *e, struct task_list *list, struct task *t)
{
	pthread_mutex_lock(&e->lock);
	assert(!e->closed);
	list_add(list, t);
	pthread_cond_signal(&e->not_empty);
	pthread_mutex_unlock(&e->lock);
}

void executor_post(struct executor *e, struct task *t)
{
	add(e, &e->posted, t);
}

struct call {
	struct task base;
	struct executor *executor;
	void (*run)(void *arg);
	void *arg;
	pthread_cond_t changed;
	bool over; /* with the executor's lock */
};

static void call_run(struct task *t)
{
	struct call *call = (struct call *)t;
	struct executor *e = call->executor;

	call->run(call->arg);
	pthread_mutex_lock(&e->lock);
	call->over = true;
	pthread_cond_signal(&call->changed);
	pthread_mutex_unlock(&e->lock);
}

static void call_init(struct call *call)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&call->changed, &attr);
	pthread_condattr_destroy(&attr);
}

/* With @until, which is monotonic, a call that has not begun then is taken back. */
static bool call_make(struct call *call, const struct timespec *until)
{
	struct executor *e = call->executor;
	bool taken_back = false;

	call_init(call);
	add(e, &e->called, &call->base);
	pthread_mutex_lock(&e->lock);
	while (!call->over && !taken_back) {
		if (!until)
			pthread_cond_wait(&call->changed, &e->lock);
		else if (pthread_cond_timedwait(&call->changed, &e->lock, until) == ETIMEDOUT) {
			taken_back = !call->over && list_remove(&e->called, &call->base);
			until = NULL;
		}
	}
	pthread_mutex_unlock(&e->lock);
	pthread_cond_destroy(&call->changed);
	return !taken_back;
}

void executor_call(struct executor *e, void (*run)(void *arg), void *arg)
{
	struct call call = {.base = {.run = call_run}, .executor = e, .run = run, .arg = arg};

	call_make(&call, NULL);
}

bool executor_try_call(struct executor *e, void (*run)(void *arg), void *arg, int64_t patience_ms)
{
	struct call call = {.base = {.run = call_run}, .executor = e, .run = run, .arg = arg};
	int64_t until_ms = clock_mono_ms() + patience_ms;
	const struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};

	return call_make(&call, &until);
}

void executor_close(struct executor *e)
{
	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	e->closed = true;
	pthread_cond_signal(&e->not_empty);
	pthread_mutex_unlock(&e->lock);
	thread_join(&e->thread);
	pthread_cond_destroy(&e->not_empty);
	pthread_mutex_destroy(&e->lock);
	free(e);
}
