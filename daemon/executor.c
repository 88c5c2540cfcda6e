#include "daemon/executor.h"

#include "base/bounded_queue.h"
#include "base/checked.h"
#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct inbox {
	pthread_mutex_t lock;
	struct task *first, **last;
	int fd; /* eventfd: readable while something is there */
	sd_event_source *source;
};

struct executor {
	struct inbox *inbox;
	struct bounded_queue *tasks;
	struct thread thread;
};

static int on_inbox(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct inbox *inbox = arg;
	struct task *t, *next;
	uint64_t count;

	(void)source;
	(void)events;
	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	pthread_mutex_lock(&inbox->lock);
	t = inbox->first;
	inbox->first = NULL;
	inbox->last = &inbox->first;
	pthread_mutex_unlock(&inbox->lock);
	for (; t; t = next) {
		next = t->next;
		t->done(t);
	}
	return 0;
}

int inbox_open(sd_event *event, struct inbox **out, struct error *err)
{
	struct inbox *inbox = xcalloc(1, sizeof(*inbox));
	int r;

	pthread_mutex_init(&inbox->lock, NULL);
	inbox->last = &inbox->first;
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

	t->next = NULL;
	pthread_mutex_lock(&inbox->lock);
	*inbox->last = t;
	inbox->last = &t->next;
	pthread_mutex_unlock(&inbox->lock);
	/* An eventfd takes this write unless its 64-bit counter is full. */
	while (write(inbox->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
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

static void *executor_run(void *arg)
{
	struct executor *e = arg;
	struct task *t;

	while ((t = bounded_queue_pop(e->tasks))) {
		t->run(t);
		inbox_post(e->inbox, t);
	}
	return NULL;
}

int executor_open(struct inbox *inbox, const char *name, size_t max_tasks, struct executor **out,
		  struct error *err)
{
	struct executor *e = xcalloc(1, sizeof(*e));

	e->inbox = inbox;
	e->tasks = bounded_queue_new(max_tasks, SIZE_MAX);
	if (thread_start(&e->thread, name, executor_run, e, err) < 0) {
		executor_close(e);
		return -1;
	}
	*out = e;
	return 0;
}

void executor_post(struct executor *e, struct task *t)
{
	bool taken = bounded_queue_try_push(e->tasks, t, 0);

	assert(taken);
	(void)taken;
}

void executor_close(struct executor *e)
{
	if (!e)
		return;
	bounded_queue_close(e->tasks);
	thread_join(&e->thread);
	bounded_queue_free(e->tasks);
	free(e);
}
