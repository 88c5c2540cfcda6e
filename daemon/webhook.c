/*
 * The first message of the queue is the one that is sent. It stays there until it has arrived, so that it is the one that
 * is lost when too many wait; its number tells the thread whether it still is the first.
 */
#include "daemon/webhook.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/thread.h"
#include "encoder/remote_access.h"
#include "net/http_multi.h"
#include "net/retry.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct webhook {
	webhook_line_fn line;
	void *arg;
	struct thread thread;
	struct http_multi *multi; /* from the start of the thread */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	char *url, *secret_file; /* url NULL: nobody is told */
	char *bodies[WEBHOOK_MOST];
	size_t n;
	uint64_t first;	   /* number of bodies[0] */
	uint64_t settings; /* grows when they change: a pause ends */
	uint64_t sent, lost;
	char *why;
	bool ending;
	int64_t end_at; /* monotonic ms */
};

/* A try, of the thread alone. */
struct attempt {
	char *url, *secret_file, *body;
	uint64_t number, settings;
	bool arrived, refused;
	int64_t pause_ms; /* that the server asks for */
	char why[sizeof(((struct error *)NULL)->message)];
};

static void say(struct webhook *w, enum log_event event, const char *what, const char *why)
{
	cleanup_free char *line =
	    xasprintf("webhook: %s%s%s", what, why ? ": " : "", why ? why : "");

	w->line(w->arg, event, line);
}

/* -- the queue, with the lock ------------------------------------------------------------------------ */

static void drop_first(struct webhook *w)
{
	free(w->bodies[0]);
	memmove(w->bodies, w->bodies + 1, --w->n * sizeof(*w->bodies));
	w->first++;
}

static void wait_until(struct webhook *w, int64_t due)
{
	struct timespec until = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};
	uint64_t settings = w->settings;

	while (!w->ending && w->settings == settings && clock_mono_ms() < due)
		pthread_cond_timedwait(&w->changed, &w->lock, &until);
}

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

/* False: nothing comes any more. */
static bool take_first(struct webhook *w, struct attempt *a)
{
	while (!w->ending && (w->n == 0 || !w->url))
		pthread_cond_wait(&w->changed, &w->lock);
	if (w->n == 0 || !w->url || (w->ending && clock_mono_ms() >= w->end_at))
		return false;
	*a = (struct attempt){.url = xstrdup(w->url),
			      .secret_file = copy(w->secret_file),
			      .body = xstrdup(w->bodies[0]),
			      .number = w->first,
			      .settings = w->settings};
	return true;
}

/* -- one try ----------------------------------------------------------------------------------------- */

static bool forget(struct http_exchange *x, const void *data, size_t size)
{
	(void)x;
	(void)data;
	(void)size;
	return true;
}

/* Milliseconds that a request may still take; 0: none. */
static int64_t time_left(struct webhook *w, uint64_t settings)
{
	int64_t left = WEBHOOK_TIMEOUT_MS;

	pthread_mutex_lock(&w->lock);
	if (w->ending)
		left = w->end_at - clock_mono_ms();
	if (w->settings != settings)
		left = 0;
	pthread_mutex_unlock(&w->lock);
	return left > 0 ? left : 0;
}

static void judge(struct attempt *a, const struct http_exchange *x,
		  const struct remote_access *access)
{
	/* One with more to say than anybody reads is an answer all the same. */
	bool answers = x->result == HTTP_REPLY || (x->result == HTTP_TOO_LARGE && x->status > 0);
	enum http_result result = answers ? HTTP_REPLY : x->result;
	enum retry_class class = retry_class_of(result, x->status, x->retry_after_ms);

	a->arrived = class == RETRY_NOT_NEEDED;
	a->refused = class == RETRY_REFUSED || class == RETRY_ELSEWHERE;
	a->pause_ms = x->retry_after_ms;
	if (answers)
		snprintf(a->why, sizeof(a->why), "it answers %ld", x->status);
	else
		snprintf(a->why, sizeof(a->why), "%s", x->why);
	remote_access_mask(access, a->why);
}

static void exchange(struct webhook *w, struct attempt *a, const struct remote_access *access)
{
	const char *const headers[] = {"Content-Type: application/json",
				       "User-Agent: latentd/" LATENTD_VERSION,
				       access->bearer ? access->bearer : "Expect:", NULL};
	struct http_exchange x = {.method = "POST",
				  .url = a->url,
				  .headers = headers,
				  .body = a->body,
				  .body_size = strlen(a->body),
				  .timeout_ms = WEBHOOK_TIMEOUT_MS,
				  .response_max = HTTP_ERROR_BODY,
				  .on_body = forget};
	struct error err = ERROR_INIT;
	bool done = false;

	if (http_multi_start(w->multi, &x, &err) < 0) {
		snprintf(a->why, sizeof(a->why), "%s", err.message);
		return;
	}
	while (!done) {
		int64_t left = time_left(w, a->settings);

		if (left == 0)
			break;
		http_multi_wait(w->multi, (int)left);
		done = http_multi_finished(w->multi) != NULL;
	}
	if (done) {
		judge(a, &x, access);
	} else {
		http_multi_cancel(w->multi, &x);
		snprintf(a->why, sizeof(a->why), "no answer in time");
	}
	http_exchange_release(&x);
}

/* The secret is read each time: it may be another one by now. */
static void try(struct webhook *w, struct attempt *a)
{
	struct remote_access access = {.url = NULL};
	struct error err = ERROR_INIT;

	if (remote_access_init(&access, a->url, a->secret_file, &err) < 0) {
		snprintf(a->why, sizeof(a->why), "%s", err.message);
		return;
	}
	exchange(w, a, &access);
	remote_access_release(&access);
}

/* -- what comes of it -------------------------------------------------------------------------------- */

/* With the lock. True: it was news that messages do not arrive, or that they do again. */
static bool note(struct webhook *w, const struct attempt *a)
{
	bool was_wrong = w->why != NULL, first = w->n > 0 && w->first == a->number;

	if (first && (a->arrived || a->refused))
		drop_first(w);
	w->sent += a->arrived;
	w->lost += a->refused && first;
	free(w->why);
	w->why = a->arrived ? NULL : xstrdup(a->why);
	return was_wrong != !a->arrived;
}

static void report(struct webhook *w, const struct attempt *a, bool news)
{
	if (a->refused)
		say(w, LOG_PLAIN_WARNING, "a message is refused and lost", a->why);
	else if (news && a->arrived)
		say(w, LOG_PLAIN_INFO, "messages arrive again", NULL);
	else if (news)
		say(w, LOG_PLAIN_WARNING, "messages do not arrive, and are sent again", a->why);
}

static void *run(void *arg)
{
	struct webhook *w = arg;
	struct retry_random random = {(uint64_t)clock_mono_ns()};
	struct attempt a;
	size_t tries = 0;

	pthread_mutex_lock(&w->lock);
	while (take_first(w, &a)) {
		bool news;

		pthread_mutex_unlock(&w->lock);
		try(w, &a);
		pthread_mutex_lock(&w->lock);
		news = w->settings == a.settings && note(w, &a);
		pthread_mutex_unlock(&w->lock);
		report(w, &a, news);
		tries = a.arrived || a.refused ? 0 : tries + 1;
		pthread_mutex_lock(&w->lock);
		if (tries > 0 && w->ending)
			w->end_at = 0; /* once more was enough */
		else if (tries > 0 && w->settings == a.settings) {
			int64_t pause = retry_pause_ms(tries, &random);

			wait_until(w, clock_mono_ms() + (a.pause_ms > pause ? a.pause_ms : pause));
		}
		free(a.url);
		free(a.secret_file);
		free(a.body);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* -- from outside ------------------------------------------------------------------------------------ */

struct webhook *webhook_new(webhook_line_fn line, void *arg)
{
	struct webhook *w = xcalloc(1, sizeof(*w));
	pthread_condattr_t attributes;

	w->line = line;
	w->arg = arg;
	w->thread = (struct thread)THREAD_INIT;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&w->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	return w;
}

static int start(struct webhook *w, struct error *err)
{
	const struct http_multi_options options = {.connect_ms = WEBHOOK_TIMEOUT_MS};

	if (w->thread.running)
		return 0;
	if (!w->multi && http_multi_open(&options, &w->multi, err) < 0)
		return -1;
	return thread_start(&w->thread, "webhook", run, w, err);
}

int webhook_set(struct webhook *w, const struct webhook_options *o, struct error *err)
{
	if (o->url && start(w, err) < 0)
		return -1;
	pthread_mutex_lock(&w->lock);
	free(w->url);
	free(w->secret_file);
	w->url = copy(o->url);
	w->secret_file = copy(o->secret_file);
	w->settings++;
	while (!w->url && w->n > 0)
		drop_first(w);
	free(w->why);
	w->why = NULL;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (w->multi)
		http_multi_wake(w->multi);
	return 0;
}

void webhook_post(struct webhook *w, char *body)
{
	bool full;

	pthread_mutex_lock(&w->lock);
	full = w->n == WEBHOOK_MOST;
	if (full) {
		drop_first(w);
		w->lost++;
	}
	w->bodies[w->n++] = body;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

/* "https://host:port" */
static char *server_of(const char *url)
{
	const char *host = strstr(url, "://") + 3;

	return xasprintf("%.*s", (int)((size_t)(host - url) + strcspn(host, "/")), url);
}

void webhook_view(struct webhook *w, struct webhook_view *view)
{
	pthread_mutex_lock(&w->lock);
	*view = (struct webhook_view){.server = w->url ? server_of(w->url) : NULL,
				      .waiting = w->n,
				      .sent = w->sent,
				      .lost = w->lost,
				      .why = copy(w->why)};
	pthread_mutex_unlock(&w->lock);
}

void webhook_close(struct webhook *w, int64_t within_ms)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	w->end_at = clock_mono_ms() + within_ms;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (w->multi)
		http_multi_wake(w->multi);
	thread_join(&w->thread);
	if (w->n > 0)
		say(w, LOG_PLAIN_WARNING, "messages are lost that did not arrive before the end",
		    w->why);
	while (w->n > 0)
		drop_first(w);
	http_multi_close(w->multi);
	free(w->url);
	free(w->secret_file);
	free(w->why);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
