/*
 * Each worker is a small state machine; a message that does not belong to its state is a lie, and a
 * worker that lies is killed. Every worker that owes a message has a deadline; one timer for all of them is set
 * to the earliest, and looks at all when it goes off, so that an image costs no timer of its own.
 */
#include "daemon/decode_pool.h"

#include "base/checked.h"
#include "base/clock.h"
#include "daemon/decode_memory.h"
#include "daemon/decode_process.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum { EARLY_DEATHS_MAX = 8, IMAGES_PER_PROCESS = 10000 };
enum { TIME_LIMIT_MS = 5000, MEGAPIXEL_MS = 100, START_AGAIN_MS = 200 };

#define NO_DEADLINE INT64_MAX /* of workers that owe nothing and need nothing */

enum worker_state {
	WORKER_DOWN,	 /* with a deadline: to be started then */
	WORKER_SPENT,	 /* idle, but to be replaced: its deadline is now */
	WORKER_STARTING, /* START sent, READY expected */
	WORKER_IDLE,
	WORKER_HASHING, /* OPEN sent, HASHED expected */
	WORKER_HASHED,	/* HASHED came, not answered yet */
	WORKER_READING, /* DECODE sent (or OPEN, where that is all), HEADER expected */
	WORKER_WAITING, /* HEADER came, geometry not sent yet */
	WORKER_DRAWING, /* GEOMETRY sent, DONE expected */
};

/* A worker is its image's ticket. */
struct decode_ticket {
	struct decode_pool *pool;
	enum worker_state state;
	struct decode_process process;
	sd_event_source *io;
	size_t images; /* that this process was given */
	void *image;
	const struct decode_handlers *handlers; /* of the image */
	size_t file_bytes;			/* of the image */
	struct image_header header;		/* of the image, once it came */
	uint64_t limit_ms;
	int64_t deadline; /* monotonic, ms */
};

struct decode_pool {
	sd_event *event;
	struct decode_pool_options options;
	char *program;
	size_t n;
	struct decode_ticket *workers;
	sd_event_source *timer;
	int64_t timer_at; /* NO_DEADLINE: off */
	unsigned
	    early_deaths;   /* in a row: processes that had no image yet, or could not be started */
	char last_end[512]; /* how the last process ended */
	char confinement[CONFINEMENT_TEXT_SIZE];
	char warning[CONFINEMENT_TEXT_SIZE + 96];
	bool cancelled;
};

static bool has_image(const struct decode_ticket *w)
{
	return w->state >= WORKER_HASHING;
}

/* -- time ----------------------------------------------------------------------------------------- */

static void timer_set(struct decode_pool *pool, int64_t at)
{
	pool->timer_at = at;
	if (at == NO_DEADLINE) {
		sd_event_source_set_enabled(pool->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(pool->timer, (uint64_t)at * 1000);
	sd_event_source_set_enabled(pool->timer, SD_EVENT_ONESHOT);
}

/* The worker owes its next message in @ms. A timer that goes off too early only looks again. */
static void deadline_set(struct decode_ticket *w, uint64_t ms)
{
	w->limit_ms = ms;
	w->deadline = clock_mono_ms() + (int64_t)ms;
	if (w->deadline < w->pool->timer_at)
		timer_set(w->pool, w->deadline);
}

/* -- one worker's life ---------------------------------------------------------------------------- */

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *arg);

static int worker_spawn(struct decode_ticket *w, struct error *err)
{
	const struct decode_pool_options *options = &w->pool->options;
	struct decode_message m = {.type = DECODE_START,
				   .start = {options->mode, options->limits, options->slot_bytes}};
	struct error ended = ERROR_INIT;
	int r;

	assert(w->state == WORKER_DOWN);
	w->images = 0;
	if (decode_process_start(&w->process, w->pool->program, options->slot_bytes, err) < 0)
		return -1;
	w->state = WORKER_STARTING;
	r = sd_event_add_io(w->pool->event, &w->io, w->process.socket, EPOLLIN, on_socket, w);
	if (r < 0) {
		errno = -r;
		return error_sys(err, "watch a worker");
	}
	deadline_set(w, options->time_limit_ms);
	/* One that has ended already says so by its socket. */
	decode_message_send(w->process.socket, &m, w->process.slot_fd, &ended);
	return 0;
}

/* The image, if any, is the caller's business. */
static void worker_stop(struct decode_ticket *w, char how[DECODE_PROCESS_END_SIZE])
{
	w->io = sd_event_source_disable_unref(w->io);
	decode_process_end(&w->process, how);
	w->state = WORKER_DOWN;
	w->deadline = NO_DEADLINE;
}

/* Where a process cannot be had (no memory, too many of them), it may be had a little later. */
static void worker_start_again(struct decode_ticket *w)
{
	struct decode_pool *pool = w->pool;
	struct error failed = ERROR_INIT;
	char how[DECODE_PROCESS_END_SIZE];

	worker_stop(w, how);
	if (pool->cancelled || pool->early_deaths >= EARLY_DEATHS_MAX ||
	    worker_spawn(w, &failed) == 0)
		return;
	worker_stop(w, how);
	snprintf(pool->last_end, sizeof(pool->last_end), "%s", failed.message);
	if (++pool->early_deaths < EARLY_DEATHS_MAX)
		deadline_set(w, START_AGAIN_MS);
}

/*
 * The worker is of no more use: its image fails with @why, or because it died when @why is NULL. A new
 * process takes its place, unless process after process ends before it had an image.
 */
static void worker_lost(struct decode_ticket *w, const struct error *why)
{
	struct decode_pool *pool = w->pool;
	bool had_image = has_image(w), early = w->images == 0;
	struct error died = ERROR_INIT;
	char how[DECODE_PROCESS_END_SIZE];
	void *image = w->image;

	worker_stop(w, how);
	w->image = NULL;
	pool->early_deaths = early ? pool->early_deaths + 1 : 0;
	snprintf(pool->last_end, sizeof(pool->last_end), "%s", why && early ? why->message : how);
	if (had_image) {
		if (!why) {
			error_data(&died, "worker_died", "the decoder died on this file: %s", how);
			why = &died;
		}
		w->handlers->on_failed(image, why);
	}
	worker_start_again(w);
}

/* -- the conversation ----------------------------------------------------------------------------- */

static void worker_say(struct decode_ticket *w, const struct decode_message *m, int fd)
{
	struct error err = ERROR_INIT;

	/* A worker that died is noticed by its socket; nothing is lost by not sending to it. */
	decode_message_send(w->process.socket, m, fd, &err);
}

static void worker_idle(struct decode_ticket *w)
{
	const struct decode_pool_options *options = &w->pool->options;

	w->image = NULL;
	w->deadline = NO_DEADLINE;
	if (w->images > 0)
		w->pool->early_deaths = 0;
	if (w->images < options->images_per_process &&
	    w->process.slot_bytes >= options->slot_bytes) {
		w->state = WORKER_IDLE;
		decode_process_limit(
		    &w->process, decode_memory_reading(&options->limits, w->process.slot_bytes));
	} else {
		w->state = WORKER_SPENT; /* by the timer: the caller may still hold its pixels */
		deadline_set(w, 0);
	}
}

static bool handle_ready(struct decode_ticket *w, const struct confinement *c)
{
	struct decode_pool *pool = w->pool;
	struct error why = ERROR_INIT;

	if (w->state != WORKER_STARTING)
		return false;
	confinement_text(c, pool->confinement);
	if (!(c->seccomp && c->rlimits))
		snprintf(pool->warning, sizeof(pool->warning),
			 "warning: decoders are not confined here (%s): a hostile image may take "
			 "over more than its decoder",
			 pool->confinement);
	if (pool->options.require_confinement && !(c->seccomp && c->rlimits)) {
		error_set(&why, ERR_CONFIG, "the decoder cannot be confined here: %s",
			  pool->confinement);
		worker_lost(w, &why);
	} else {
		worker_idle(w);
	}
	return true;
}

static bool handle_hashed(struct decode_ticket *w, const struct decode_message *m)
{
	const struct decode_pool_options *options = &w->pool->options;
	bool pixels = options->mode == DECODE_MODE_PIXELS;

	if (w->state != WORKER_HASHING || m->hashed.bytes > options->limits.max_file_bytes)
		return false;
	w->file_bytes = m->hashed.bytes;
	if (pixels) {
		w->deadline = NO_DEADLINE; /* the wait for an answer does not count */
		w->state = WORKER_HASHED;
	} else {
		w->state = WORKER_READING;
		deadline_set(w, options->time_limit_ms);
	}
	w->handlers->on_hashed(w->image, &m->hashed.content, m->hashed.bytes, pixels ? w : NULL);
	return true;
}

static bool handle_header(struct decode_ticket *w, const struct image_header *header)
{
	const struct decode_pool_options *options = &w->pool->options;
	void *image = w->image;
	size_t pixels;

	if (w->state != WORKER_READING || header->width > options->limits.max_side ||
	    header->height > options->limits.max_side ||
	    !size_mul(header->width, header->height, &pixels) ||
	    pixels > options->limits.max_pixels ||
	    header->decode_bytes > image_decode_bytes_max(header->width, header->height))
		return false;
	if (options->mode == DECODE_MODE_PIXELS) {
		w->deadline = NO_DEADLINE; /* the wait for memory does not count */
		w->state = WORKER_WAITING;
		w->header = *header;
		w->handlers->on_header(image, header, w);
	} else {
		worker_idle(w);
		w->handlers->on_header(image, header, NULL);
	}
	return true;
}

static bool handle_done(struct decode_ticket *w)
{
	void *image = w->image;

	if (w->state != WORKER_DRAWING)
		return false;
	worker_idle(w);
	w->handlers->on_done(image, w->process.slot);
	return true;
}

static bool handle_failed(struct decode_ticket *w, const struct decode_message *m)
{
	void *image = w->image;

	if (!has_image(w))
		return false;
	/* What took the memory may still have it. */
	if (m->failed.code == ERR_NOMEM)
		w->images = w->pool->options.images_per_process;
	worker_idle(w);
	w->handlers->on_failed(image, &m->failed);
	return true;
}

/* False: the message does not belong here. */
static bool handle_message(struct decode_ticket *w, const struct decode_message *m)
{
	switch (m->type) {
	case DECODE_READY:
		return handle_ready(w, &m->ready);
	case DECODE_HASHED:
		return handle_hashed(w, m);
	case DECODE_HEADER:
		return handle_header(w, &m->header);
	case DECODE_DONE:
		return handle_done(w);
	case DECODE_FAILED:
		return handle_failed(w, m);
	default:
		return false;
	}
}

/* Takes one message, if one is there, or notices that the worker is gone. */
static void worker_hear(struct decode_ticket *w)
{
	struct decode_message m;
	struct error err = ERROR_INIT, lied = ERROR_INIT;
	int passed = -1;
	int r = decode_message_receive(w->process.socket, &m, &passed, &err);

	if (passed >= 0)
		close(passed); /* workers have no descriptors to give */
	if (r < 0 && err.code == ERR_TRANSIENT)
		return;
	if (r == DECODE_CLOSED) {
		worker_lost(w, NULL);
	} else if (r < 0 || !handle_message(w, &m)) {
		error_data(&lied, "worker_died", "the decoder broke the protocol on this file");
		worker_lost(w, &lied);
	}
}

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct decode_ticket *w = arg;

	(void)source;
	(void)fd;
	(void)events;
	worker_hear(w);
	return 0;
}

/* Starts what is to be started. What arrived in time is heard first: it may be this process that was late to its loop. */
static void worker_check_time(struct decode_ticket *w, int64_t now)
{
	struct error why = ERROR_INIT;

	if (w->deadline > now)
		return;
	if (w->state == WORKER_SPENT || w->state == WORKER_DOWN) {
		worker_start_again(w);
		return;
	}
	worker_hear(w);
	if (w->deadline > now)
		return;
	error_data(&why, "timeout", "not decoded after %llu ms", (unsigned long long)w->limit_ms);
	worker_lost(w, &why);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct decode_pool *pool = arg;
	int64_t now = clock_mono_ms(), next = NO_DEADLINE;

	(void)source;
	(void)usec;
	for (size_t i = 0; i < pool->n; i++)
		worker_check_time(&pool->workers[i], now);
	for (size_t i = 0; i < pool->n; i++) {
		if (pool->workers[i].deadline < next)
			next = pool->workers[i].deadline;
	}
	timer_set(pool, next);
	return 0;
}

/* -- the pool ------------------------------------------------------------------------------------- */

static struct decode_pool *pool_new(sd_event *event, const struct decode_pool_options *options)
{
	struct decode_pool *pool = xcalloc(1, sizeof(*pool));

	pool->event = event;
	pool->options = *options;
	pool->options.time_limit_ms = options->time_limit_ms ?: TIME_LIMIT_MS;
	pool->options.megapixel_ms = options->megapixel_ms ?: MEGAPIXEL_MS;
	pool->options.images_per_process = options->images_per_process ?: IMAGES_PER_PROCESS;
	pool->program = options->program ? xstrdup(options->program) : NULL;
	pool->timer_at = NO_DEADLINE;
	pool->n = options->workers;
	pool->workers = xcalloc(pool->n, sizeof(*pool->workers));
	for (size_t i = 0; i < pool->n; i++)
		pool->workers[i] = (struct decode_ticket){
		    .pool = pool, .process = DECODE_PROCESS_NONE, .deadline = NO_DEADLINE};
	return pool;
}

int decode_pool_open(sd_event *event, const struct decode_pool_options *options,
		     struct decode_pool **out, struct error *err)
{
	struct decode_pool *pool;
	int r;

	assert(options->workers > 0 &&
	       (options->slot_bytes > 0) == (options->mode == DECODE_MODE_PIXELS));
	pool = pool_new(event, options);
	r = sd_event_add_time(event, &pool->timer, CLOCK_MONOTONIC, UINT64_MAX, 1, on_timer, pool);
	if (r < 0) {
		decode_pool_close(pool);
		return error_set(err, ERR_IO, "cannot set a timer: %s", strerror(-r));
	}
	for (size_t i = 0; i < pool->n; i++) {
		if (worker_spawn(&pool->workers[i], err) < 0) {
			decode_pool_close(pool);
			return -1;
		}
	}
	*out = pool;
	return 0;
}

void decode_pool_close(struct decode_pool *pool)
{
	char how[DECODE_PROCESS_END_SIZE];

	if (!pool)
		return;
	for (size_t i = 0; i < pool->n; i++)
		worker_stop(&pool->workers[i], how);
	sd_event_source_disable_unref(pool->timer);
	free(pool->workers);
	free(pool->program);
	free(pool);
}

static size_t count_states(const struct decode_pool *pool, enum worker_state first,
			   enum worker_state last)
{
	size_t n = 0;

	for (size_t i = 0; i < pool->n; i++)
		n += pool->workers[i].state >= first && pool->workers[i].state <= last;
	return n;
}

size_t decode_pool_workers(const struct decode_pool *pool)
{
	return pool->n;
}

size_t decode_pool_idle(const struct decode_pool *pool)
{
	return count_states(pool, WORKER_IDLE, WORKER_IDLE);
}

size_t decode_pool_busy(const struct decode_pool *pool)
{
	return count_states(pool, WORKER_HASHING, WORKER_DRAWING);
}

static void worker_cancel(struct decode_ticket *w)
{
	struct error stopped = ERROR_INIT;

	error_set(&stopped, ERR_TRANSIENT, "stopped");
	worker_lost(w, &stopped);
}

void decode_pool_cancel_some(struct decode_pool *pool,
			     bool (*which)(const void *image, const void *arg), const void *arg)
{
	for (size_t i = 0; i < pool->n; i++) {
		struct decode_ticket *w = &pool->workers[i];

		if (has_image(w) && w->handlers == &pool->options.handlers && which(w->image, arg))
			worker_cancel(w);
	}
}

void decode_pool_cancel_for(struct decode_pool *pool, const struct decode_handlers *whose)
{
	for (size_t i = 0; i < pool->n; i++) {
		struct decode_ticket *w = &pool->workers[i];

		if (has_image(w) && w->handlers == whose)
			worker_cancel(w);
	}
}

void decode_pool_cancel(struct decode_pool *pool)
{
	pool->cancelled = true;
	for (size_t i = 0; i < pool->n; i++) {
		if (has_image(&pool->workers[i]))
			worker_cancel(&pool->workers[i]);
	}
}

void decode_pool_reserve(struct decode_pool *pool, size_t slot_bytes)
{
	if (slot_bytes <= pool->options.slot_bytes)
		return;
	pool->options.slot_bytes = slot_bytes;
	for (size_t i = 0; i < pool->n; i++) {
		if (pool->workers[i].state == WORKER_IDLE)
			worker_idle(&pool->workers[i]);
	}
}

const char *decode_pool_last_end(const struct decode_pool *pool)
{
	return pool->last_end;
}

const char *decode_pool_confinement(const struct decode_pool *pool)
{
	return pool->confinement;
}

const char *decode_pool_warning(const struct decode_pool *pool)
{
	return pool->warning[0] ? pool->warning : NULL;
}

bool decode_pool_dead(const struct decode_pool *pool)
{
	size_t lost = 0;

	for (size_t i = 0; i < pool->n; i++)
		lost += pool->workers[i].state == WORKER_DOWN &&
			pool->workers[i].deadline == NO_DEADLINE;
	return !pool->cancelled && lost == pool->n;
}

void decode_pool_revive(struct decode_pool *pool)
{
	if (!decode_pool_dead(pool))
		return;
	pool->early_deaths = 0;
	for (size_t i = 0; i < pool->n; i++)
		deadline_set(&pool->workers[i], 0);
}

void decode_pool_start(struct decode_pool *pool, int fd, void *image)
{
	decode_pool_start_for(pool, fd, image, &pool->options.handlers);
}

void decode_pool_start_for(struct decode_pool *pool, int fd, void *image,
			   const struct decode_handlers *handlers)
{
	struct decode_message m = {.type = DECODE_OPEN};
	struct decode_ticket *w = pool->workers;

	assert(decode_pool_idle(pool) > 0);
	while (w->state != WORKER_IDLE)
		w++;
	w->state = pool->options.mode == DECODE_MODE_HEADERS ? WORKER_READING : WORKER_HASHING;
	w->images++;
	w->image = image;
	w->handlers = handlers;
	deadline_set(w, pool->options.time_limit_ms);
	worker_say(w, &m, fd);
}

void decode_pool_decode(struct decode_ticket *w)
{
	const struct decode_message m = {.type = DECODE_DECODE};

	assert(w->state == WORKER_HASHED);
	w->state = WORKER_READING;
	deadline_set(w, w->pool->options.time_limit_ms);
	worker_say(w, &m, -1);
}

void decode_pool_place(struct decode_ticket *w, const struct render_geometry *geometry,
		       const struct image_policy *policy)
{
	const struct decode_pool_options *options = &w->pool->options;
	struct decode_message m = {.type = DECODE_GEOMETRY, .draw = {*geometry, *policy}};
	size_t bytes, megapixels = w->header.width * w->header.height / 1000000;

	assert(w->state == WORKER_WAITING);
	assert(size_mul3(geometry->width, geometry->height, 3, &bytes) &&
	       bytes <= w->process.slot_bytes);
	w->state = WORKER_DRAWING;
	decode_process_limit(
	    &w->process, decode_memory_drawing(w->process.slot_bytes, w->file_bytes,
					       image_render_bytes(&w->header, policy, geometry)));
	deadline_set(w, options->time_limit_ms + megapixels * options->megapixel_ms);
	worker_say(w, &m, -1);
}

void decode_pool_skip(struct decode_ticket *w)
{
	const struct decode_message m = {.type = DECODE_SKIP};

	assert(w->state == WORKER_HASHED || w->state == WORKER_WAITING);
	worker_say(w, &m, -1);
	worker_idle(w);
}
