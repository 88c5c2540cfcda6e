#include "daemon/api_events.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/clock.h"

#include "daemon/api_log.h"
#include "daemon/api_routes.h"
#include "daemon/status_json.h"

#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { EVERY_MS = 1000 };

struct api_events {
	struct status_board *board;
	struct event_log *log;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* on the monotonic clock */
	size_t listeners;
	bool ending;
};

struct listener {
	struct api_events *events;
	int64_t due;   /* the next event, monotonic ms */
	int64_t after; /* lines of the log up to this one have been sent */
	struct buffer event;
	size_t sent; /* of it */
};

struct api_events *api_events_new(struct status_board *board, struct event_log *log)
{
	struct api_events *e = xcalloc(1, sizeof(*e));
	pthread_condattr_t attributes;

	e->board = board;
	e->log = log;
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&e->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	return e;
}

void api_events_end(struct api_events *e)
{
	pthread_mutex_lock(&e->lock);
	e->ending = true;
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
}

void api_events_free(struct api_events *e)
{
	if (!e)
		return;
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

/* False: it ends. */
static bool wait_until_due(struct listener *l)
{
	struct api_events *e = l->events;
	struct timespec until = {.tv_sec = l->due / 1000, .tv_nsec = l->due % 1000 * 1000000};
	bool ending;

	pthread_mutex_lock(&e->lock);
	while (!e->ending && clock_mono_ms() < l->due)
		pthread_cond_timedwait(&e->changed, &e->lock, &until);
	ending = e->ending;
	pthread_mutex_unlock(&e->lock);
	l->due = clock_mono_ms() + EVERY_MS;
	return !ending;
}

static void make_event(struct listener *l)
{
	const struct service_status *s = status_board_get(l->events->board);
	bool healthy = false;
	const struct event_filter filter = {
	    .after = l->after, .level = LOG_LEVEL_DEBUG, .limit = API_EVENTS_LINES};
	json_t *root = json_object();
	char *text;

	buffer_reset(&l->event);
	l->sent = 0;
	json_object_set_new(root, "health",
			    status_json_health(s, status_board_age_ms(l->events->board), &healthy));
	json_object_set_new(root, "status", s ? status_json(s) : json_null());
	if (s)
		json_object_set_new(root, "log", api_log_lines(l->events->log, &filter, &l->after));
	text = json_dumps(root, JSON_COMPACT);
	/* JSON has no newline of its own, which would end the event. */
	if (s && text)
		buffer_appendf(&l->event, "data: %s\n\n", text);
	else
		buffer_append_string(&l->event, ": starting\n\n");
	free(text);
	json_decref(root);
	service_status_unref(s);
}

static ssize_t read_events(void *arg, uint64_t position, char *out, size_t max)
{
	struct listener *l = arg;
	size_t n;

	(void)position;
	if (l->sent == l->event.size) {
		if (!wait_until_due(l))
			return MHD_CONTENT_READER_END_OF_STREAM;
		make_event(l);
	}
	n = l->event.size - l->sent < max ? l->event.size - l->sent : max;
	memcpy(out, l->event.data + l->sent, n);
	l->sent += n;
	return (ssize_t)n;
}

static void listener_gone(void *arg)
{
	struct listener *l = arg;

	pthread_mutex_lock(&l->events->lock);
	l->events->listeners--;
	pthread_mutex_unlock(&l->events->lock);
	buffer_release(&l->event);
	free(l);
}

static bool take_place(struct api_events *e)
{
	bool room;

	pthread_mutex_lock(&e->lock);
	room = e->listeners < API_EVENTS_MAX;
	e->listeners += room;
	pthread_mutex_unlock(&e->lock);
	return room;
}

struct MHD_Response *api_events_response(struct api_events *e)
{
	struct MHD_Response *response;
	struct listener *l;

	if (!take_place(e))
		return NULL;
	l = xcalloc(1, sizeof(*l));
	l->events = e;
	l->after = EVENT_LOG_NEWEST;
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_events, l,
						     listener_gone);
	if (!response) {
		listener_gone(l);
		return NULL;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, API_EVENTS_TYPE);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	return response;
}
