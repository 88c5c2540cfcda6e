/*
 * A lane takes a batch when it has none, and a further one only when there are more in line than lanes without: so two
 * batches are never one behind the other while a device is idle. Cancelling moves a mark, as in encoder_blocking.c.
 * A lane that is out still collects what its encoder has.
 */
#include "encoder/encoder_many.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/thread.h"

#include <assert.h>
#include <string.h>

enum { LOOK_MS = 100 }; /* a lane that waits for its encoder looks at the line so often */

struct passed {
	struct encode_batch *batch;
	uint64_t number;
	struct error failure; /* of the encoder as a whole */
};

/* First in, first out; as long as max_in_flight. */
struct line {
	struct passed *items;
	size_t n;
};

struct lane {
	struct encoder_many *many;
	struct encoder *encoder;
	struct thread thread;
	/* Written under the lock: */
	size_t inside; /* batches that the encoder has */
	bool out;      /* it has failed as a whole */
};

struct encoder_many {
	struct encoder base;
	struct encoder_caps caps;
	struct lane *lanes;
	size_t n;
	pthread_mutex_t lock;
	pthread_cond_t more, done; /* for lanes; for collect */
	/* Under the lock: */
	struct line waiting, finished;
	size_t in_flight;
	uint64_t submitted, cancelled; /* numbers of batches */
	size_t n_out;		       /* lanes */
	struct error why_out;	       /* of the last one */
	bool ending;
};

static struct encoder_many *many_of(const struct encoder *e)
{
	return (struct encoder_many *)(uintptr_t)e;
}

static void line_push(struct line *l, const struct passed *item)
{
	l->items[l->n++] = *item;
}

static struct passed line_pop(struct line *l)
{
	struct passed first = l->items[0];

	memmove(l->items, l->items + 1, --l->n * sizeof(*l->items));
	return first;
}

/* -- lanes ---------------------------------------------------------------------------------------- */

static void fail_all(struct encode_batch *batch, const struct error *why)
{
	for (size_t i = 0; i < batch->n; i++)
		batch->items[i].error = *why;
}

static void finish(struct encoder_many *m, const struct passed *item)
{
	line_push(&m->finished, item);
	pthread_cond_signal(&m->done);
}

static bool is_over(const struct encoder_many *m)
{
	return m->n_out == m->n;
}

/* What it did not get done may be done by the others. */
static void spare(struct passed *item)
{
	for (size_t i = 0; i < item->batch->n; i++) {
		struct error *why = &item->batch->items[i].error;

		if (why->code != ERR_NONE && why->code != ERR_DATA)
			why->code = ERR_TRANSIENT;
	}
	error_clear(&item->failure);
}

/* @item has failed with the encoder that had it. The last one's failure is that of all that wait. */
static void lane_fails(struct lane *l, struct passed *item)
{
	struct encoder_many *m = l->many;

	m->why_out = item->failure;
	error_wrap(&m->why_out, "%s", encoder_caps(l->encoder)->engine);
	m->n_out += !l->out;
	l->out = true;
	if (!is_over(m)) {
		spare(item);
		return;
	}
	while (m->waiting.n > 0) {
		struct passed next = line_pop(&m->waiting);

		next.failure = item->failure;
		fail_all(next.batch, &next.failure);
		finish(m, &next);
	}
}

/* A batch is back from the lane's encoder. */
static void give_back(struct lane *l, struct passed *item)
{
	l->inside--;
	if (item->failure.code != ERR_NONE)
		lane_fails(l, item);
	finish(l->many, item);
}

/* Whether @l may take what is first in line. Under the lock. */
static bool may_take(const struct lane *l)
{
	const struct encoder_many *m = l->many;
	size_t idle = 0;

	for (size_t i = 0; i < m->n; i++)
		idle += m->lanes[i].inside == 0 && !m->lanes[i].out;
	return m->waiting.n > 0 && !l->out &&
	       (l->inside == 0 ||
		(m->waiting.n > idle && l->inside < encoder_caps(l->encoder)->max_in_flight));
}

/* The first in line into the encoder. Under the lock, which it leaves meanwhile. */
static void take(struct lane *l)
{
	struct encoder_many *m = l->many;
	struct passed item = line_pop(&m->waiting);
	int r;

	l->inside++;
	if (item.number < m->cancelled) {
		struct error why = ERROR_INIT;

		error_set(&why, ERR_TRANSIENT, "the encode was cancelled");
		fail_all(item.batch, &why);
		give_back(l, &item);
		return;
	}
	pthread_mutex_unlock(&m->lock);
	item.batch->engine = encoder_caps(l->encoder)->engine;
	r = encoder_submit(l->encoder, item.batch, &item.failure);
	assert(r <= 0);
	pthread_mutex_lock(&m->lock);
	if (r < 0) {
		fail_all(item.batch, &item.failure);
		give_back(l, &item);
		return;
	}
	if (item.number < m->cancelled) /* meanwhile: the encoder did not have it yet */
		encoder_cancel(l->encoder);
}

static void collect(struct lane *l)
{
	struct encoder_many *m = l->many;
	struct passed item = {.batch = NULL};

	pthread_mutex_unlock(&m->lock);
	encoder_collect(l->encoder, LOOK_MS, &item.batch, &item.failure);
	pthread_mutex_lock(&m->lock);
	if (item.batch)
		give_back(l, &item);
}

static void *lane_run(void *arg)
{
	struct lane *l = arg;
	struct encoder_many *m = l->many;

	pthread_mutex_lock(&m->lock);
	while (!m->ending) {
		if (may_take(l))
			take(l);
		else if (l->inside > 0)
			collect(l);
		else
			pthread_cond_wait(&m->more, &m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

/* -- the encoder ---------------------------------------------------------------------------------- */

static const struct encoder_caps *many_caps(const struct encoder *e)
{
	return &many_of(e)->caps;
}

static size_t many_capacity(struct encoder *e)
{
	struct encoder_many *m = many_of(e);
	size_t room;

	pthread_mutex_lock(&m->lock);
	room = is_over(m) ? 0 : m->caps.max_in_flight - m->in_flight;
	pthread_mutex_unlock(&m->lock);
	return room;
}

static int many_submit(struct encoder *e, struct encode_batch *batch, struct error *err)
{
	struct encoder_many *m = many_of(e);
	struct passed item = {.batch = batch};
	int r = ENCODER_FULL;

	(void)err;
	pthread_mutex_lock(&m->lock);
	if (!is_over(m) && m->in_flight < m->caps.max_in_flight) {
		item.number = m->submitted++;
		m->in_flight++;
		line_push(&m->waiting, &item);
		pthread_cond_broadcast(&m->more);
		r = 0;
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

/*
 * Until something is finished, or @until (monotonic ms; below zero: as long as it takes). Who asks again and again for an
 * encoder to take something waits here too. Under the lock.
 */
static void wait_for_one(struct encoder_many *m, int64_t until)
{
	const struct timespec t = {until / 1000, until % 1000 * 1000000};

	while (m->finished.n == 0 && (m->in_flight > 0 || (until >= 0 && is_over(m)))) {
		if (until < 0)
			pthread_cond_wait(&m->done, &m->lock);
		else if (pthread_cond_timedwait(&m->done, &m->lock, &t) != 0)
			return;
	}
}

static int many_collect(struct encoder *e, int timeout_ms, struct encode_batch **done,
			struct error *err)
{
	struct encoder_many *m = many_of(e);
	struct passed item = {.batch = NULL};

	pthread_mutex_lock(&m->lock);
	wait_for_one(m, timeout_ms < 0 ? -1 : clock_mono_ms() + timeout_ms);
	if (m->finished.n > 0) {
		item = line_pop(&m->finished);
		m->in_flight--;
	}
	pthread_mutex_unlock(&m->lock);
	if (!item.batch)
		return ENCODER_NOTHING;
	*done = item.batch;
	if (item.failure.code == ERR_NONE)
		return 0;
	*err = item.failure;
	return -1;
}

static void many_cancel(struct encoder *e)
{
	struct encoder_many *m = many_of(e);

	pthread_mutex_lock(&m->lock);
	m->cancelled = m->submitted;
	for (size_t i = 0; i < m->n; i++)
		encoder_cancel(m->lanes[i].encoder);
	pthread_cond_broadcast(&m->more);
	pthread_mutex_unlock(&m->lock);
}

static uint64_t many_ticks(const struct encoder *e)
{
	const struct encoder_many *m = many_of(e);
	uint64_t sum = 0;

	for (size_t i = 0; i < m->n; i++)
		sum += encoder_ticks(m->lanes[i].encoder);
	return sum;
}

static struct encoder_memory many_memory(const struct encoder *e)
{
	const struct encoder_many *m = many_of(e);
	struct encoder_memory sum = {0, 0}, one = {0, 0};
	bool limited = true;

	for (size_t i = 0; i < m->n; i++) {
		if (!encoder_memory(m->lanes[i].encoder, &one))
			continue;
		sum.used += one.used;
		sum.limit += one.limit;
		limited = limited && one.limit > 0;
	}
	if (!limited)
		sum.limit = 0;
	return sum;
}

static int many_pollable(struct encoder *e)
{
	(void)e;
	return -1;
}

static void many_close(struct encoder *e)
{
	struct encoder_many *m = many_of(e);

	assert(m->in_flight == 0);
	pthread_mutex_lock(&m->lock);
	m->ending = true;
	pthread_cond_broadcast(&m->more);
	pthread_mutex_unlock(&m->lock);
	for (size_t i = 0; i < m->n; i++) {
		thread_join(&m->lanes[i].thread);
		encoder_close(m->lanes[i].encoder);
	}
	pthread_cond_destroy(&m->more);
	pthread_cond_destroy(&m->done);
	pthread_mutex_destroy(&m->lock);
	free(m->waiting.items);
	free(m->finished.items);
	free(m->lanes);
	free(m);
}

static const struct encoder_ops encoder_many_ops = {
    .name = "many",
    .caps = many_caps,
    .capacity = many_capacity,
    .submit = many_submit,
    .collect = many_collect,
    .cancel = many_cancel,
    .ticks = many_ticks,
    .pollable = many_pollable,
    .memory = many_memory,
    .close = many_close,
};

/* One more for each than it computes: it is there when the encoder has room. */
static void add_lane(struct encoder_many *m, struct encoder *encoder)
{
	const struct encoder_caps *caps = encoder_caps(encoder);

	m->lanes[m->n] = (struct lane){.many = m, .encoder = encoder, .thread = THREAD_INIT};
	if (m->n++ == 0)
		m->caps = *caps;
	else
		m->caps.max_in_flight += caps->max_in_flight;
	m->caps.max_in_flight++;
}

int encoder_many_open(struct encoder *const *encoders, size_t n, struct encoder **out,
		      struct error *err)
{
	struct encoder_many *m = xcalloc(1, sizeof(*m));
	pthread_condattr_t monotonic;

	assert(n > 0);
	m->base.ops = &encoder_many_ops;
	m->lanes = xcalloc(n, sizeof(*m->lanes));
	for (size_t i = 0; i < n; i++)
		add_lane(m, encoders[i]);
	m->waiting.items = xcalloc(m->caps.max_in_flight, sizeof(*m->waiting.items));
	m->finished.items = xcalloc(m->caps.max_in_flight, sizeof(*m->finished.items));
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&m->more, NULL);
	pthread_cond_init(&m->done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	for (size_t i = 0; i < n; i++) {
		if (thread_start(&m->lanes[i].thread, "encode-lane", lane_run, &m->lanes[i], err) <
		    0) {
			many_close(&m->base);
			return -1;
		}
	}
	*out = &m->base;
	return 0;
}

const struct encoder *encoder_many_first(const struct encoder *e)
{
	return e->ops == &encoder_many_ops ? many_of(e)->lanes[0].encoder : NULL;
}

size_t encoder_many_left_out(const struct encoder *e, struct error *why)
{
	struct encoder_many *m = many_of(e);
	size_t n;

	if (e->ops != &encoder_many_ops)
		return 0;
	pthread_mutex_lock(&m->lock);
	n = m->n_out;
	if (n > 0)
		*why = m->why_out;
	pthread_mutex_unlock(&m->lock);
	return n;
}
