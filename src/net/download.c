/*
 * The pool's thread owns everything but the list of what was started: it takes that over, sends what may be sent, and looks at
 * what has ended.
 */
#include "net/download_parts.h"
#include "net/http_url.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"

#include <inttypes.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum {
	STALL_MS = 30000,
	TIMEOUT_MS = 600000,
	TURN_MS = 200, /* at most, while something is under way */
	VALUE_SIZE = 1024,
};

const char *download_url(const struct download_task *t)
{
	return t->url ? t->url : t->encoded ? t->encoded : t->d->url;
}

/* -- how a download ends --------------------------------------------------------------------------- */

static void count(struct download_pool *p, const struct download *d)
{
	size_t bytes = 0;
	struct error ignored = ERROR_INIT;

	if (d->fd >= 0)
		fd_size(d->fd, &bytes, &ignored);
	pthread_mutex_lock(&p->lock);
	p->counts.files += d->err.code == ERR_NONE && !d->check && !d->unchanged;
	p->counts.unchanged += d->unchanged;
	p->counts.bytes += bytes + d->text_body.size;
	p->counts.failed += d->err.code == ERR_DATA;
	p->counts.put_off += d->err.code == ERR_TRANSIENT;
	pthread_mutex_unlock(&p->lock);
}

static char *header_of(const struct http_exchange *x, const char *name)
{
	char value[VALUE_SIZE];

	return http_exchange_header(x, name, value, sizeof(value)) && value[0] ? xstrdup(value)
									       : NULL;
}

/* d->err says how. */
void download_end(struct download_pool *p, struct download_task *t)
{
	struct download *d = t->d;

	d->status = t->x.status;
	d->etag_now = header_of(&t->x, "etag");
	d->modified_now = header_of(&t->x, "last-modified");
	d->type = header_of(&t->x, "content-type");
	d->text_body = t->x.reply;
	t->x.reply = (struct buffer)BUFFER_INIT;
	if (d->err.code == ERR_NONE && !d->text && !d->check && !d->unchanged)
		d->fd = TAKE_FD(t->fd);
	if (t->fd >= 0)
		close(t->fd);
	http_exchange_release(&t->x);
	buffer_release(&t->header_text);
	free(t->encoded);
	free(t->url);
	free(t);
	d->task = NULL;
	count(p, d);
	d->done(d);
}

/* Its server cannot be asked now. */
void download_put_off(struct download_pool *p, struct download_task *t, int64_t ms, const char *why)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (ms < DOWNLOAD_PUT_OFF_MS)
		ms = DOWNLOAD_PUT_OFF_MS;
	t->d->retry_ms = ms + (int64_t)((double)DOWNLOAD_PUT_OFF_MS * retry_random(&p->random));
	error_set(&t->d->err, ERR_TRANSIENT, "%s: %s", text_quote(download_url(t), quoted), why);
	download_end(p, t);
}

void download_end_bad(struct download_pool *p, struct download_task *t, const char *reason,
		      const char *fmt, ...)
{
	char quoted[TEXT_QUOTE_SIZE], what[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (t->url) /* it was redirected */
		error_data(&t->d->err, reason, "%s: %s", text_quote(t->url, quoted), what);
	else
		error_data(&t->d->err, reason, "%s", what);
	download_end(p, t);
}

/* A name server that fails has no answer for any name. */
void download_give_up(struct download_pool *p, struct download_task *t, int64_t ms, const char *why)
{
	const struct download_host *h = t->host;

	if (h->nameless && p->names > h->names_before)
		download_end_bad(p, t, "no_such_host",
				 "the name of its server has no address, while servers of other "
				 "names answered");
	else
		download_put_off(p, t, ms, why);
}

/* -- sending --------------------------------------------------------------------------------------- */

static bool on_body(struct http_exchange *x, const void *data, size_t size)
{
	struct download_task *t = x->owner;

	t->seen = t->d->check || (t->d->size > 0 && x->status == 200);
	if (t->seen)
		return false;
	if (t->fd < 0)
		t->fd = memfd_create("latentd-download", MFD_CLOEXEC);
	if (t->fd < 0) {
		error_sys(&t->sink, "a file for a download");
		return false;
	}
	return fd_write_all(t->fd, data, size, &t->sink) == 0;
}

/* The lines of @text as a list, to be freed; it becomes several strings. */
static const char **lines_of(struct buffer *text)
{
	size_t n = 0, i = 0;
	const char **lines;

	for (size_t k = 0; k < text->size; k++)
		n += text->data[k] == '\n';
	lines = xcalloc(n + 1, sizeof(*lines));
	for (char *at = (char *)text->data, *stop; at && (stop = strchr(at, '\n')); at = stop + 1) {
		*stop = '\0';
		lines[i++] = at;
	}
	return lines;
}

/* Of one that is signed also the URL. */
static int make_headers(struct download_task *t, struct error *err)
{
	struct download *d = t->d;
	char *url = NULL;

	buffer_reset(&t->header_text);
	if (d->sign && d->sign(d, &url, &t->header_text, err) < 0)
		return -1;
	if (d->sign) {
		free(t->encoded);
		t->encoded = url;
	}
	if (d->etag)
		buffer_appendf(&t->header_text, "If-None-Match: %s\n", d->etag);
	if (d->modified)
		buffer_appendf(&t->header_text, "If-Modified-Since: %s\n", d->modified);
	if (d->size > 0)
		buffer_appendf(&t->header_text, "Range: bytes=%" PRIu64 "-%" PRIu64 "\n", d->offset,
			       d->offset + d->size - 1);
	if (d->match)
		buffer_appendf(&t->header_text, "If-Match: %s\n", d->match);
	return 0;
}

static void fly(struct download_pool *p, struct download_task *t)
{
	t->prev = NULL;
	t->next = p->flying;
	if (t->next)
		t->next->prev = t;
	p->flying = t;
	p->n_flying++;
}

void download_land(struct download_pool *p, struct download_task *t)
{
	if (t->next)
		t->next->prev = t->prev;
	if (t->prev)
		t->prev->next = t->next;
	else
		p->flying = t->next;
	p->n_flying--;
}

void download_asked(struct download_pool *p, struct download_task *t, int64_t now,
		    enum endpoint_outcome outcome)
{
	endpoint_done(&t->host->endpoint, &t->ticket, now, outcome, t->x.retry_after_ms,
		      &p->random);
	host_pass_give(t->host->pass, now);
}

static size_t response_max(const struct download_pool *p, const struct download *d)
{
	if (d->check)
		return SIZE_MAX;
	return d->size > 0 ? d->size : p->options.bytes_max;
}

static void send_one(struct download_pool *p, struct download_task *t, int64_t now)
{
	cleanup_free const char **lines = NULL;

	if (make_headers(t, &t->d->err) < 0) {
		host_pass_give(t->host->pass, now);
		t->d->retry_ms = DOWNLOAD_PUT_OFF_MS;
		download_end(p, t);
		return;
	}
	lines = lines_of(&t->header_text);
	http_exchange_release(&t->x);
	t->seen = false;
	t->x = (struct http_exchange){.method = "GET",
				      .url = download_url(t),
				      .headers = lines,
				      .timeout_ms = p->options.timeout_ms,
				      .stall_ms = p->options.stall_ms,
				      .response_max = response_max(p, t->d),
				      .only_public = p->options.only_public,
				      .on_body = t->d->text ? NULL : on_body,
				      .owner = t};
	endpoint_start(&t->host->endpoint, now, 0, &t->ticket);
	fly(p, t);
	if (http_multi_start(p->multi, &t->x, &t->d->err) < 0) {
		download_land(p, t);
		download_asked(p, t, now, ENDPOINT_UNASKED);
		download_end(p, t);
	}
}

/* -- a server's turn ------------------------------------------------------------------------------- */

/* NULL, or why nothing should wait for it now; *ms is for how long. */
static const char *is_down(const struct download_pool *p, const struct download_host *h,
			   int64_t now, int64_t *ms)
{
	const struct endpoint *e = &h->endpoint;

	*ms = e->not_before > now ? e->not_before - now : 0;
	if (e->phase == ENDPOINT_OPEN && (*ms > 0 || e->probing))
		return "its server cannot be reached";
	if (*ms > p->options.patience_ms)
		return "its server asks for a pause";
	return NULL;
}

static void turn(struct download_pool *p, struct download_host *h, int64_t now)
{
	struct download_waiter *w;
	int64_t ms = 0;
	const char *why = is_down(p, h, now, &ms);
	bool silent = h->endpoint.in_flight > 0 && now - h->endpoint.heard > p->options.patience_ms;

	while (!why && p->n_flying < p->options.connections && (w = download_host_pop(h, now))) {
		send_one(p, (struct download_task *)w, now);
		why = is_down(p, h, now, &ms);
	}
	while (why && (w = download_host_drop(h)))
		download_give_up(p, (struct download_task *)w, ms, why);
	while (silent && h->first &&
	       now - ((struct download_task *)h->first)->since > p->options.patience_ms)
		download_put_off(p, (struct download_task *)download_host_drop(h), 0,
				 "its server does not answer for now");
}

static void turn_all(struct download_pool *p)
{
	int64_t now = clock_mono_ms();

	for (struct download_host *h = download_hosts_waiting(p->hosts), *next; h; h = next) {
		next = h->next_waiting;
		turn(p, h, now);
	}
}

/* Into the line of its server. */
void download_queue_up(struct download_pool *p, struct download_task *t, int64_t now)
{
	cleanup_free char *origin = NULL;

	if (t->d->sign && !t->encoded && make_headers(t, &t->d->err) < 0) {
		t->d->retry_ms = DOWNLOAD_PUT_OFF_MS;
		download_end(p, t);
		return;
	}
	origin = http_url_origin(download_url(t));
	if (!origin) {
		download_end_bad(p, t, "bad_url", "not a URL of http or https");
		return;
	}
	if (!t->encoded)
		t->encoded = http_url_encode(t->d->url);
	t->host = download_hosts_get(
	    p->hosts, origin, t->d->sign ? p->options.connections : p->options.per_host, now);
	t->answers = t->host->answers;
	t->since = now;
	t->tries = 0;
	download_host_push(p->hosts, t->host, &t->waiter);
}

/* -- the thread ------------------------------------------------------------------------------------ */

/* False: the pool is closed. */
static bool take_started(struct download_pool *p)
{
	struct download_waiter *w, *next;
	int64_t now = clock_mono_ms();
	bool closing;

	pthread_mutex_lock(&p->lock);
	w = p->started;
	p->started = NULL;
	p->last = &p->started;
	closing = p->closing;
	pthread_mutex_unlock(&p->lock);
	for (; w; w = next) {
		next = w->next;
		download_queue_up(p, (struct download_task *)w, now);
	}
	return !closing;
}

static void end_all(struct download_pool *p)
{
	while (p->flying) {
		struct download_task *t = p->flying;

		download_land(p, t);
		http_multi_cancel(p->multi, &t->x);
		download_asked(p, t, clock_mono_ms(), ENDPOINT_UNASKED);
		download_put_off(p, t, 0, "stopped");
	}
	for (struct download_host *h; (h = download_hosts_waiting(p->hosts));)
		download_put_off(p, (struct download_task *)download_host_drop(h), 0, "stopped");
}

/* How long nothing happens by itself; -1: forever. */
static int patience(const struct download_pool *p)
{
	int64_t now = clock_mono_ms(), next = INT64_MAX;

	for (struct download_host *h = download_hosts_waiting(p->hosts); h; h = h->next_waiting) {
		int64_t at = download_host_next(h, now);

		next = at < next ? at : next;
	}
	if (next <= now && p->n_flying < p->options.connections)
		return 0;
	if (next > now && next - now < TURN_MS)
		return (int)(next - now);
	return p->n_flying > 0 || download_hosts_waiting(p->hosts) ? TURN_MS : -1;
}

static void *pool_run(void *arg)
{
	struct download_pool *p = arg;
	struct http_exchange *x;

	thread_short_slices();
	while (take_started(p)) {
		if (p->options.stop && p->options.stop(p->options.stop_arg))
			end_all(p);
		turn_all(p);
		http_multi_wait(p->multi, patience(p));
		while ((x = http_multi_finished(p->multi)))
			download_judge(p, x->owner);
	}
	end_all(p);
	return NULL;
}

/* -- from outside ---------------------------------------------------------------------------------- */

static void wake(void *pool)
{
	http_multi_wake(((struct download_pool *)pool)->multi);
}

int download_pool_open(const struct download_options *options, struct download_pool **out,
		       struct error *err)
{
	struct http_multi_options multi = {.connect_ms = options->connect_ms};
	struct download_pool *p = xcalloc(1, sizeof(*p));
	const struct host_pass_options each = {
	    .interval_ms = options->rate > 0 ? 1000 / options->rate : 0, .wake = wake, .arg = p};

	p->options = *options;
	p->ca_file = options->ca_file ? xstrdup(options->ca_file) : NULL;
	multi.ca_file = p->options.ca_file = p->ca_file;
	if (p->options.stall_ms <= 0)
		p->options.stall_ms = STALL_MS;
	if (p->options.patience_ms <= 0)
		p->options.patience_ms = DOWNLOAD_PATIENCE_MS;
	if (p->options.timeout_ms <= 0)
		p->options.timeout_ms = TIMEOUT_MS;
	p->random.state = (uint64_t)clock_mono_ns();
	p->last = &p->started;
	pthread_mutex_init(&p->lock, NULL);
	p->hosts = download_hosts_new(&each);
	if (http_multi_open(&multi, &p->multi, err) < 0 ||
	    thread_start(&p->thread, "download", pool_run, p, err) < 0) {
		download_pool_close(p);
		return -1;
	}
	*out = p;
	return 0;
}

void download_pool_close(struct download_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->closing = true;
	pthread_mutex_unlock(&p->lock);
	if (p->thread.running)
		http_multi_wake(p->multi);
	thread_join(&p->thread);
	download_hosts_free(p->hosts); /* first: others may wake it until then */
	http_multi_close(p->multi);
	pthread_mutex_destroy(&p->lock);
	free(p->ca_file);
	free(p);
}

void download_start(struct download_pool *p, struct download *d)
{
	struct download_task *t = xcalloc(1, sizeof(*t));

	t->d = d;
	t->fd = d->fd = -1;
	d->task = t;
	pthread_mutex_lock(&p->lock);
	*p->last = &t->waiter;
	p->last = &t->waiter.next;
	pthread_mutex_unlock(&p->lock);
	http_multi_wake(p->multi);
}

static void wait_done(struct download *d)
{
	sem_post(d->owner);
}

int download_wait(struct download_pool *p, struct download *d, struct error *err)
{
	sem_t over;

	sem_init(&over, 0, 0);
	d->owner = &over;
	d->done = wait_done;
	download_start(p, d);
	while (sem_wait(&over) < 0)
		;
	sem_destroy(&over);
	if (d->err.code == ERR_NONE)
		return 0;
	*err = d->err;
	return -1;
}

void download_pool_counts(struct download_pool *p, struct download_counts *out)
{
	pthread_mutex_lock(&p->lock);
	*out = p->counts;
	pthread_mutex_unlock(&p->lock);
}

void download_release(struct download *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	buffer_release(&d->text_body);
	free(TAKE(d->etag_now));
	free(TAKE(d->modified_now));
	free(TAKE(d->type));
}
