/*
 * A worker does what it was asked in order, so the first answer that is owed tells what it is at: that image has the
 * deadline, and is to blame when the process dies. A message that does not answer it is a lie, and a worker that lies is killed.
 */
#include "daemon/decode_pool_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* -- what it is at ------------------------------------------------------------------------------- */

void decode_worker_moves_on(struct decode_worker *w)
{
	struct stage_meter *stages = w->pool->options.stages;

	if (w->stage != STAGE_NONE)
		stage_meter_leave(stages, w->stage);
	w->stage = STAGE_NONE;
	if (w->n_owed > 0)
		w->stage = w->owed[0]->state == TICKET_PLACED ? STAGE_DECODE : STAGE_READ;
	if (w->stage != STAGE_NONE)
		stage_meter_enter(stages, w->stage);
	w->stage_since = clock_mono_ns();
}

/* What it is at is done; @resize_ns: what it says of it, and may lie about. */
static void worker_did(struct decode_worker *w, uint64_t resize_ns)
{
	struct stage_meter *stages = w->pool->options.stages;
	uint64_t took = (uint64_t)(clock_mono_ns() - w->stage_since);

	if (w->stage == STAGE_DECODE) {
		if (resize_ns > took)
			resize_ns = took;
		stage_meter_did(stages, STAGE_RESIZE, 1, resize_ns);
		stage_meter_shift(stages, STAGE_DECODE, STAGE_RESIZE, resize_ns);
		took -= resize_ns;
	}
	stage_meter_did(stages, w->stage, 1, took);
}

/* -- what it is asked ------------------------------------------------------------------------------ */

/* The time for the first answer that is owed begins. */
static void worker_clock(struct decode_worker *w)
{
	if (w->n_owed > 0)
		decode_deadline_set(w, w->owed[0]->limit_ms);
	else
		w->deadline = DECODE_NO_DEADLINE;
}

/* The worker is to answer about @t, in no more than @limit_ms once it is at it. */
static void worker_owes(struct decode_ticket *t, uint64_t limit_ms)
{
	struct decode_worker *w = t->worker;

	t->limit_ms = limit_ms;
	w->owed[w->n_owed++] = t;
	if (w->n_owed > 1)
		return;
	decode_worker_moves_on(w);
	worker_clock(w);
}

static void worker_say(const struct decode_ticket *t, struct decode_message *m, int fd)
{
	struct error err = ERROR_INIT;

	m->berth = (unsigned)(t - t->worker->berths);
	/* A worker that died is noticed by its socket; nothing is lost by not sending to it. */
	decode_message_send(t->worker->process.socket, m, fd, &err);
}

void decode_worker_open(struct decode_worker *w, int fd, void *image,
			const struct decode_handlers *handlers)
{
	struct decode_message m = {.type = DECODE_OPEN};
	struct decode_ticket *t = w->berths;

	while (t->state != TICKET_FREE)
		t++;
	t->state = TICKET_LOOKING;
	t->image = image;
	t->handlers = handlers;
	w->images++;
	worker_owes(t, w->pool->options.time_limit_ms);
	decode_worker_limit(w);
	worker_say(t, &m, fd);
}

void decode_pool_place(struct decode_ticket *t, const struct render_geometry *geometries, size_t n,
		       const struct image_policy *policy)
{
	const struct decode_pool_options *options = &t->worker->pool->options;
	struct decode_message m = {.type = DECODE_GEOMETRY, .draw = {.n = n, .policy = *policy}};
	size_t bytes, megapixels = t->header.width * t->header.height / 1000000;

	assert(t->state == TICKET_SEEN);
	assert(n >= 1 && n <= RENDERS_MAX);
	assert(render_pixel_bytes(geometries, n, &bytes) &&
	       bytes <= t->worker->process.slot_bytes / DECODE_BERTHS);
	memcpy(m.draw.geometries, geometries, n * sizeof(*geometries));
	t->state = TICKET_PLACED;
	t->render_bytes = image_render_bytes(&t->header, policy, geometries, n);
	worker_owes(t, options->time_limit_ms + megapixels * options->megapixel_ms);
	decode_worker_limit(t->worker);
	worker_say(t, &m, -1);
}

bool decode_pool_would_wait(const struct decode_ticket *t)
{
	for (size_t i = 0; i < DECODE_BERTHS; i++) {
		if (t->worker->berths[i].state == TICKET_PLACED)
			return true;
	}
	return false;
}

void decode_pool_skip(struct decode_ticket *t)
{
	struct decode_message m = {.type = DECODE_SKIP};

	assert(t->state == TICKET_SEEN);
	worker_say(t, &m, -1);
	decode_ticket_free(t);
	decode_worker_rest(t->worker);
}

/* -- what it answers ------------------------------------------------------------------------------- */

/* It has done the first thing that it owed. */
static void worker_answered(struct decode_worker *w, uint64_t resize_ns)
{
	w->pool->early_deaths = 0;
	worker_did(w, resize_ns);
	w->n_owed--;
	memmove(w->owed, w->owed + 1, w->n_owed * sizeof(w->owed[0]));
	decode_worker_moves_on(w);
	worker_clock(w);
}

/* The same, and that was the end of @t, of which a copy is returned. */
static struct decode_ticket worker_ended(struct decode_worker *w, struct decode_ticket *t,
					 uint64_t resize_ns)
{
	struct decode_ticket ended = *t;

	worker_answered(w, resize_ns);
	decode_ticket_free(t);
	w->looked = NULL;
	decode_worker_rest(w);
	return ended;
}

static bool handle_ready(struct decode_worker *w, const struct confinement *c)
{
	struct decode_pool *pool = w->pool;
	struct error why = ERROR_INIT;

	if (w->state == WORKER_SPENT) /* it leaves, and did not know yet */
		return true;
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
		decode_worker_lost(w, NULL, &why);
	} else {
		w->deadline = DECODE_NO_DEADLINE;
		decode_worker_rest(w);
	}
	return true;
}

static bool handle_hashed(struct decode_ticket *t, const struct decode_message *m)
{
	const struct decode_pool_options *options = &t->worker->pool->options;

	if (t->state != TICKET_LOOKING || t->hashed || options->mode == DECODE_MODE_HEADERS ||
	    m->hashed.bytes > options->limits.max_file_bytes)
		return false;
	t->hashed = true;
	t->file_bytes = m->hashed.bytes;
	worker_clock(t->worker);
	t->handlers->on_hashed(t->image, &m->hashed.content, m->hashed.bytes);
	return true;
}

static bool handle_header(struct decode_ticket *t, const struct image_header *header)
{
	const struct decode_pool_options *options = &t->worker->pool->options;
	struct decode_ticket ended;
	size_t pixels;

	if (t->state != TICKET_LOOKING || t->hashed != (options->mode != DECODE_MODE_HEADERS) ||
	    header->width > options->limits.max_side || header->height > options->limits.max_side ||
	    !size_mul(header->width, header->height, &pixels) ||
	    pixels > options->limits.max_pixels ||
	    header->decode_bytes > image_decode_bytes_max(header->width, header->height))
		return false;
	if (options->mode == DECODE_MODE_PIXELS) {
		worker_answered(t->worker, 0);
		t->state = TICKET_SEEN;
		t->header = *header;
		t->worker->looked = t;
		t->handlers->on_header(t->image, header, t);
	} else {
		ended = worker_ended(t->worker, t, 0);
		ended.handlers->on_header(ended.image, header, NULL);
	}
	return true;
}

static bool handle_done(struct decode_ticket *t, uint64_t resize_ns)
{
	struct decode_worker *w = t->worker;
	const uint8_t *slot =
	    w->process.slot + (size_t)(t - w->berths) * (w->process.slot_bytes / DECODE_BERTHS);
	struct decode_ticket ended;

	if (t->state != TICKET_PLACED)
		return false;
	ended = worker_ended(w, t, resize_ns);
	ended.handlers->on_done(ended.image, slot);
	return true;
}

static bool handle_failed(struct decode_ticket *t, const struct error *why)
{
	struct decode_worker *w = t->worker;
	struct decode_ticket ended;

	if (why->code == ERR_NOMEM) {
		decode_worker_lost(w, t, why); /* what took the memory may still have it */
	} else {
		ended = worker_ended(w, t, 0);
		ended.handlers->on_failed(ended.image, why);
	}
	return true;
}

/* False: the message does not belong here. */
static bool handle_message(struct decode_worker *w, const struct decode_message *m)
{
	if (m->type == DECODE_READY)
		return handle_ready(w, &m->ready);
	if (w->n_owed == 0)
		return false;
	switch (m->type) {
	case DECODE_HASHED:
		return handle_hashed(w->owed[0], m);
	case DECODE_HEADER:
		return handle_header(w->owed[0], &m->header);
	case DECODE_DONE:
		return handle_done(w->owed[0], m->done.resize_ns);
	case DECODE_FAILED:
		return handle_failed(w->owed[0], &m->failed);
	default:
		return false;
	}
}

void decode_worker_hear(struct decode_worker *w)
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
		decode_worker_lost(w, decode_worker_blames(w), NULL);
	} else if (r < 0 || !handle_message(w, &m)) {
		error_data(&lied, "worker_died", "the decoder broke the protocol on this file");
		decode_worker_lost(w, decode_worker_blames(w), &lied);
	}
}
