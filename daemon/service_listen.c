/*
 * Hears when other nodes make images available, so that an idle dataset need not wait until it asks again. A thread
 * waits for that; what it hears goes to the lanes through the inbox. Of what is said before the loop comes to it only
 * the dataset is kept, or that there were several; of what fails, the last.
 */
#include "daemon/service_parts.h"

#include "base/checked.h"
#include "base/thread.h"
#include "queue/queue_nodes.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PAUSE_MS 5000 /* after a connection that was lost or not made */

struct service_listener {
	struct task task;
	struct service *service;
	struct queue_listener *listener;
	struct thread thread;
	int stop_fd; /* readable: it is to end */
	pthread_mutex_t lock;
	/* under the lock: */
	bool posted;	 /* the task; then it also counts: */
	bool heard;	 /* something: */
	int64_t dataset; /* 0: all of them */
	bool pooled;
	struct error err; /* it hears nothing, because of that */
	/* the loop's: */
	char *why; /* as it was told; NULL: it hears */
};

/* -- on the thread ---------------------------------------------------------------------------------- */

/* What queue_listener_wait() has said. */
static void post(struct service_listener *l, int r, int64_t dataset, const struct error *err)
{
	bool first;

	pthread_mutex_lock(&l->lock);
	first = !l->posted;
	if (first)
		l->heard = false;
	l->err = *err;
	l->pooled = r == QUEUE_LISTEN_POOLED;
	if (r == 0) {
		l->dataset = !l->heard || l->dataset == dataset ? dataset : 0;
		l->heard = true;
	}
	l->posted = true;
	pthread_mutex_unlock(&l->lock);
	if (first)
		inbox_post(l->service->inbox, &l->task);
}

/* True: it is to end. */
static bool pauses(const struct service_listener *l)
{
	struct pollfd fd = {.fd = l->stop_fd, .events = POLLIN};
	int n;

	do {
		n = poll(&fd, 1, PAUSE_MS);
	} while (n < 0 && errno == EINTR);
	return n != 0;
}

static void *listen_on(void *arg)
{
	struct service_listener *l = arg;

	for (;;) {
		struct error err = ERROR_INIT;
		int64_t dataset = 0;
		int r = queue_listener_wait(l->listener, l->stop_fd, &dataset, &err);

		if (r != QUEUE_LISTEN_STOPPED)
			post(l, r, dataset, &err);
		if (r > 0 || (r < 0 && pauses(l)))
			return NULL;
	}
}

/* -- on the loop's ---------------------------------------------------------------------------------- */

/* Each cause once, however often it is tried. */
static void tell_failure(struct service_listener *l, const struct error *err)
{
	if (l->why && strcmp(l->why, err->message) == 0)
		return;
	free(l->why);
	l->why = xstrdup(err->message);
	service_log(l->service, LOG_PLAIN_WARNING, NULL,
		    "%s: images that other nodes find are asked for every %lld s (queue.poll)",
		    l->why, (long long)l->service->config->queue.poll / 1000);
}

static void tell_end_of_failure(struct service_listener *l)
{
	if (!l->why)
		return;
	free(l->why);
	l->why = NULL;
	service_log(l->service, LOG_PLAIN_INFO, NULL,
		    "node %s is told again of images that other nodes find",
		    l->service->state_folder.node);
}

static void tell_lanes(const struct service *s, int64_t dataset)
{
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (dataset == 0 || lane_queue_id(s->lanes[i]) == dataset)
			lane_told(s->lanes[i]);
	}
}

static void on_heard(struct task *task)
{
	struct service_listener *l = (struct service_listener *)task;
	struct service *s = l->service;
	struct error err;
	int64_t dataset;
	bool heard, pooled;

	pthread_mutex_lock(&l->lock);
	err = l->err;
	heard = l->heard;
	dataset = l->dataset;
	pooled = l->pooled;
	l->posted = false;
	pthread_mutex_unlock(&l->lock);
	if (err.code != ERR_NONE)
		tell_failure(l, &err);
	else
		tell_end_of_failure(l);
	if (pooled)
		service_log(s, LOG_PLAIN_INFO, NULL,
			    "queue.postgres leads through a pooler: images that other nodes find "
			    "are asked for every %lld s (queue.poll)",
			    (long long)s->config->queue.poll / 1000);
	if (heard)
		tell_lanes(s, dataset);
}

const char *service_listen_why(const struct service *s)
{
	return s->listener ? s->listener->why : NULL;
}

int service_listen_open(struct service *s, struct error *err)
{
	struct queue_listener *listener = queue_listener_new(s->queue);
	struct service_listener *l;

	if (!listener)
		return 0;
	l = s->listener = xcalloc(1, sizeof(*l));
	l->task.done = on_heard;
	l->service = s;
	l->listener = listener;
	pthread_mutex_init(&l->lock, NULL);
	l->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (l->stop_fd < 0)
		return error_sys(err, "open an eventfd");
	return thread_start(&l->thread, "listen", listen_on, l, err);
}

void service_listen_close(struct service *s)
{
	struct service_listener *l = s->listener;

	if (!l)
		return;
	if (l->stop_fd >= 0)
		eventfd_write(l->stop_fd, 1);
	thread_join(&l->thread);
	inbox_cancel(s->inbox, &l->task);
	if (l->stop_fd >= 0)
		close(l->stop_fd);
	pthread_mutex_destroy(&l->lock);
	queue_listener_free(l->listener);
	free(l->why);
	free(l);
	s->listener = NULL;
}
