/*
 * The encoder's operations: they hand over and take back under one lock. Batches are numbered as they are submitted, and
 * cancel moves a mark, as in encoder_blocking.c.
 */
#include "encoder/encoder_remote.h"

#include "base/checked.h"
#include "base/clock.h"
#include "encoder/remote_parts.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	REQUESTS = 256,
	BEST_BATCH = 4, /* as the processor's: beside one batches are of the least that any likes */
	FAKE_DOWNSCALE = 8,
};

static const char *const state_names[] = {
    [ENCODER_REMOTE_UNKNOWN] = "unknown",	  [ENCODER_REMOTE_OK] = "ok",
    [ENCODER_REMOTE_BACKING_OFF] = "backing off", [ENCODER_REMOTE_FAILING] = "failing",
    [ENCODER_REMOTE_WARMING] = "warming",	  [ENCODER_REMOTE_STOPPED] = "stopped",
};

const char *encoder_remote_state_name(enum encoder_remote_state state)
{
	return state_names[state];
}

/* ---- the driver's side ------------------------------------------------------------------------------------------ */

static const struct encoder_caps *remote_caps(const struct encoder *base)
{
	return &((const struct encoder_remote *)base)->caps;
}

/* Under the lock. */
static size_t capacity(const struct encoder_remote *r, int64_t now)
{
	if (cost_guard_wait_ms(r->options.guard, now) > 0)
		return 0;
	if (r->shown.works)
		return r->images < r->caps.max_images ? r->caps.max_in_flight - r->inside : 0;
	return r->inside == 0 && now >= r->shown.try_at;
}

static size_t remote_capacity(struct encoder *base)
{
	struct encoder_remote *r = (struct encoder_remote *)base;
	size_t n;

	pthread_mutex_lock(&r->lock);
	n = capacity(r, clock_mono_ms());
	pthread_mutex_unlock(&r->lock);
	return n;
}

static int remote_submit(struct encoder *base, struct encode_batch *batch, struct error *err)
{
	struct encoder_remote *r = (struct encoder_remote *)base;
	struct remote_batch *b = NULL, **end;
	bool full;

	(void)err;
	pthread_mutex_lock(&r->lock);
	full = capacity(r, clock_mono_ms()) == 0;
	if (!full) {
		b = xcalloc(1, sizeof(*b));
		b->batch = batch;
		b->number = atomic_fetch_add(&r->submitted, 1);
		for (end = &r->arrived; *end; end = &(*end)->next)
			continue;
		*end = b;
		r->inside++;
		r->images += batch->n;
	}
	pthread_mutex_unlock(&r->lock);
	if (full)
		return ENCODER_FULL;
	http_multi_wake(r->multi);
	return 0;
}

/* Waits until something has changed, or @end. */
static void wait_until(struct encoder_remote *r, int64_t end)
{
	struct timespec at = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};

	if (end == INT64_MAX)
		pthread_cond_wait(&r->changed, &r->lock);
	else
		pthread_cond_timedwait(&r->changed, &r->lock, &at);
}

/* Under the lock: the oldest finished batch, NULL if there is none. */
static struct encode_batch *take_finished(struct encoder_remote *r)
{
	struct encode_batch *batch = r->finished[0];
	uint64_t count = 0;

	if (r->n_finished == 0)
		return NULL;
	r->n_finished--;
	memmove(r->finished, r->finished + 1, r->n_finished * sizeof(struct encode_batch *));
	r->inside--;
	r->images -= batch->n;
	if (r->n_finished == 0) {
		while (read(r->readable, &count, sizeof(count)) < 0 && errno == EINTR)
			continue;
	}
	return batch;
}

static int remote_collect(struct encoder *base, int timeout_ms, struct encode_batch **done,
			  struct error *err)
{
	struct encoder_remote *r = (struct encoder_remote *)base;
	int64_t now = clock_mono_ms(), end = timeout_ms < 0 ? INT64_MAX : now + timeout_ms;
	struct encode_batch *batch;

	(void)err;
	pthread_mutex_lock(&r->lock);
	while (!(batch = take_finished(r)) && now < end) {
		int64_t until = end;

		if (r->inside == 0) {
			int64_t guard = cost_guard_wait_ms(r->options.guard, now);
			int64_t again = guard > 0 ? now + guard : r->shown.try_at;

			if (capacity(r, now) > 0 || (again == INT64_MAX && end == INT64_MAX))
				break;
			until = again > now && again < end ? again : end;
		}
		wait_until(r, until);
		now = clock_mono_ms();
	}
	pthread_mutex_unlock(&r->lock);
	if (!batch)
		return ENCODER_NOTHING;
	*done = batch;
	return 0;
}

static void remote_cancel(struct encoder *base)
{
	struct encoder_remote *r = (struct encoder_remote *)base;
	uint_fast64_t mark = atomic_load(&r->submitted), old = atomic_load(&r->cancelled);

	while (old < mark && !atomic_compare_exchange_weak(&r->cancelled, &old, mark))
		continue;
	http_multi_wake(r->multi);
}

static uint64_t remote_ticks(const struct encoder *base)
{
	return atomic_load(&((const struct encoder_remote *)base)->ticks);
}

static int remote_pollable(struct encoder *base)
{
	return ((struct encoder_remote *)base)->readable;
}

/* ---- open and close --------------------------------------------------------------------------------------------- */

static void flight_free(struct remote_flight *f)
{
	buffer_release(&f->url);
	free(f);
}

static void remote_free(struct encoder_remote *r)
{
	http_multi_close(r->multi);
	for (struct remote_flight *f = r->spare, *next; f; f = next) {
		next = f->next;
		flight_free(f);
	}
	for (size_t i = 0; i < r->n_servers; i++) {
		remote_access_release(&r->servers[i].access);
		if (r->servers[i].question) /* for whom no image has waited */
			flight_free(r->servers[i].question);
	}
	for (size_t i = 0; i < r->n_gone; i++)
		remote_access_release(&r->gone[i]);
	remote_list_release(&r->wanted);
	if (r->readable >= 0)
		close(r->readable);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->changed);
	free(r->shown.endpoints);
	free(r->servers);
	free(r->gone);
	free(r->set);
	free(r->which);
	free(r->items);
	free(r->finished);
	free(r->engine);
	free(r->name);
	free(r);
}

static void remote_close(struct encoder *base)
{
	struct encoder_remote *r = (struct encoder_remote *)base;

	assert(r->inside == 0);
	atomic_store(&r->closing, true);
	http_multi_wake(r->multi);
	thread_join(&r->loop);
	remote_work_close(r);
	remote_free(r);
}

static const struct encoder_ops remote_ops = {
    .name = "remote",
    .caps = remote_caps,
    .capacity = remote_capacity,
    .submit = remote_submit,
    .collect = remote_collect,
    .cancel = remote_cancel,
    .ticks = remote_ticks,
    .pollable = remote_pollable,
    .close = remote_close,
};

/* As many as fill the requests, and some whose bodies are made meanwhile; each may be of a size of its own. */
static size_t most_inside(const struct encoder_remote *r, size_t requests)
{
	return requests + 2 * r->caps.best_batch;
}

static void set_caps(struct encoder_remote *r, const struct encoder_remote_options *o,
		     size_t requests)
{
	static const char *const bodies[] = {
	    [ENCODER_REMOTE_PNG] = "png",
	    [ENCODER_REMOTE_FLOAT16] = "float16",
	    [ENCODER_REMOTE_FLOAT32] = "float32",
	    [ENCODER_REMOTE_UINT8] = "uint8",
	};

	r->engine = xasprintf("remote/%s %s", o->declared ? "foreign" : "latentd", bodies[o->send]);
	r->caps = (struct encoder_caps){
	    .latent_channels = o->vae.latent_channels,
	    .downscale = o->fake ? FAKE_DOWNSCALE : vae_config_downscale(&o->vae),
	    .best_batch = requests < 2 * BEST_BATCH ? 1 + requests / 4 : BEST_BATCH,
	    .mean = !o->declared,
	    .moments = !o->declared,
	    .draw = true,
	    .engine = r->engine,
	};
	r->caps.max_images = r->caps.max_in_flight = most_inside(r, requests);
}

static int check_options(const struct encoder_remote_options *o, struct error *err)
{
	if (o->vae.latent_channels == 0 || (!o->fake && o->vae.blocks == 0))
		return error_set(err, ERR_BUG, "a remote encoder without a VAE");
	return 0;
}

static void init_lock(struct encoder_remote *r)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&r->changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

static int open_connections(struct encoder_remote *r, const struct encoder_remote_options *o,
			    struct error *err)
{
	struct remote_proxy proxy = {.url = NULL};
	struct http_multi_options http = {.connect_ms = o->connect_ms, .ca_file = o->ca_file};
	int result;

	if (remote_proxy_init(&proxy, o->proxy, o->proxy_auth_file, err) < 0)
		return -1;
	http.proxy = proxy.url;
	http.proxy_user = proxy.user;
	http.proxy_password = proxy.password;
	result = http_multi_open(&http, &r->multi, err);
	remote_proxy_release(&proxy);
	return result;
}

static int start(struct encoder_remote *r, const struct encoder_remote_options *o,
		 struct error *err)
{
	struct remote_list list;

	if (remote_list_init(r, o->endpoints, o->n_endpoints, &list, err) < 0)
		return -1;
	r->max_requests = o->max_requests ? o->max_requests : REQUESTS;
	set_caps(r, o, remote_list_requests(&list, r->max_requests));
	remote_list_use(r, &list);
	r->finished = xcalloc(most_inside(r, r->max_requests), sizeof(struct encode_batch *));
	r->readable = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->readable < 0)
		return error_sys(err, "a descriptor for the remote encoder");
	if (open_connections(r, o, err) < 0 || remote_work_open(r, err) < 0)
		return -1;
	return thread_start(&r->loop, "remote", remote_loop_run, r, err);
}

int encoder_remote_open(const struct encoder_remote_options *options, struct encoder **out,
			struct error *err)
{
	struct encoder_remote *r;

	if (check_options(options, err) < 0)
		return -1;
	r = xcalloc(1, sizeof(*r));
	r->base.ops = &remote_ops;
	r->options = *options;
	r->options.endpoints = NULL;
	r->name = xstrdup(options->name ? options->name : "the model");
	r->readable = -1;
	r->shown.works = true;
	r->shown.try_at = INT64_MAX;
	r->random.state = (uint64_t)clock_mono_ns();
	init_lock(r);
	if (start(r, options, err) < 0) {
		remote_work_close(r);
		remote_free(r);
		return -1;
	}
	*out = &r->base;
	return 0;
}

int encoder_remote_change(struct encoder *e, const struct encoder_remote_endpoint *endpoints,
			  size_t n, struct error *err)
{
	struct encoder_remote *r = (struct encoder_remote *)e;
	struct remote_list next, unused;
	size_t most;

	assert(e->ops == &remote_ops);
	if (remote_list_init(r, endpoints, n, &next, err) < 0)
		return -1;
	most = most_inside(r, remote_list_requests(&next, r->max_requests));
	pthread_mutex_lock(&r->lock);
	unused = r->wanted;
	r->wanted = next;
	r->caps.max_images = r->caps.max_in_flight = most;
	pthread_cond_broadcast(&r->changed); /* there may be capacity */
	pthread_mutex_unlock(&r->lock);
	remote_list_release(&unused);
	http_multi_wake(r->multi);
	return 0;
}

/* ---- status ----------------------------------------------------------------------------------------------------- */

bool encoder_remote_view(const struct encoder *e, struct encoder_remote_view *view)
{
	struct encoder_remote *r = (struct encoder_remote *)(uintptr_t)e;
	int64_t now = clock_mono_ms(), guard;
	struct cost_sums sums;

	if (e->ops != &remote_ops)
		return false;
	guard = cost_guard_wait_ms(r->options.guard, now);
	sums = cost_guard_sums(r->options.guard, now);
	pthread_mutex_lock(&r->lock);
	*view = (struct encoder_remote_view){
	    .n_endpoints = r->n_servers,
	    .max_requests = r->max_requests,
	    .images = r->images,
	    .usable = guard == 0 && (r->shown.works || now >= r->shown.try_at),
	    .guarded = guard > 0,
	    .guard_ms = guard,
	    .requests_last_hour = sums.requests,
	    .bytes_last_day = sums.bytes,
	};
	pthread_mutex_unlock(&r->lock);
	return true;
}

bool encoder_remote_endpoint_view(const struct encoder *e, size_t index,
				  struct encoder_remote_endpoint_view *view)
{
	struct encoder_remote *r = (struct encoder_remote *)(uintptr_t)e;
	int64_t now = clock_mono_ms();
	bool there;

	assert(e->ops == &remote_ops);
	pthread_mutex_lock(&r->lock);
	there = index < r->n_servers;
	if (there)
		*view = r->shown.endpoints[index];
	pthread_mutex_unlock(&r->lock);
	if (!there)
		return false;
	view->state_ms = now - view->state_ms;
	view->wait_ms = view->wait_ms != INT64_MAX && view->wait_ms > now ? view->wait_ms - now : 0;
	return true;
}
