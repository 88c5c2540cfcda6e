#include "daemon/encode_driver.h"

#include "base/bounded_queue.h"
#include "base/checked.h"
#include "base/thread.h"

#include <assert.h>

struct encode_driver {
	struct inbox *inbox;
	struct encoder *encoder;
	encode_driver_fn on_batch;
	void *arg;
	size_t limit, in_flight; /* of the loop's thread */
	struct bounded_queue *batches;
	struct thread thread;
};

/* A batch on its way back. */
struct returned {
	struct task base;
	struct encode_driver *driver;
	struct encode_batch *batch;
	struct error failure;
};

static void returned_done(struct task *t)
{
	struct returned *r = (struct returned *)t;
	struct encode_driver *d = r->driver;

	d->in_flight--;
	d->on_batch(d->arg, r->batch, &r->failure);
	free(r);
}

static void give_back(struct encode_driver *d, struct encode_batch *batch,
		      const struct error *failure)
{
	struct returned *r = xcalloc(1, sizeof(*r));

	r->base.done = returned_done;
	r->driver = d;
	r->batch = batch;
	r->failure = *failure;
	inbox_post(d->inbox, &r->base);
}

/* Gives the encoder what it takes; *held is a batch that it refused for now. */
static void fill_encoder(struct encode_driver *d, struct encode_batch **held, size_t *inside)
{
	for (;;) {
		struct error err = ERROR_INIT;
		int r;

		if (!*held)
			*held = *inside > 0 ? bounded_queue_try_pop(d->batches)
					    : bounded_queue_pop(d->batches);
		if (!*held)
			return;
		r = encoder_submit(d->encoder, *held, &err);
		if (r == ENCODER_FULL)
			return;
		if (r < 0)
			give_back(d, *held, &err);
		else
			++*inside;
		*held = NULL;
		if (*inside > 0 && encoder_capacity(d->encoder) == 0)
			return;
	}
}

static void *driver_run(void *arg)
{
	struct encode_driver *d = arg;
	struct encode_batch *held = NULL;
	size_t inside = 0;

	for (;;) {
		struct encode_batch *batch = NULL;
		struct error err = ERROR_INIT;
		int r;

		fill_encoder(d, &held, &inside);
		if (inside == 0)
			return NULL; /* the queue is closed and empty */
		r = encoder_collect(d->encoder, 100, &batch, &err);
		if (r == ENCODER_NOTHING)
			continue;
		inside--;
		give_back(d, batch, &err);
	}
}

int encode_driver_open(struct inbox *inbox, struct encoder *encoder, encode_driver_fn on_batch,
		       void *arg, struct encode_driver **out, struct error *err)
{
	struct encode_driver *d = xcalloc(1, sizeof(*d));

	d->inbox = inbox;
	d->encoder = encoder;
	d->on_batch = on_batch;
	d->arg = arg;
	d->limit = encoder_caps(encoder)->max_in_flight + 1;
	d->batches = bounded_queue_new(d->limit, SIZE_MAX);
	if (thread_start(&d->thread, "encode", driver_run, d, err) < 0) {
		encode_driver_close(d);
		return -1;
	}
	*out = d;
	return 0;
}

size_t encode_driver_room(const struct encode_driver *d)
{
	return d->limit - d->in_flight;
}

size_t encode_driver_in_flight(const struct encode_driver *d)
{
	return d->in_flight;
}

void encode_driver_submit(struct encode_driver *d, struct encode_batch *batch)
{
	bool taken = bounded_queue_try_push(d->batches, batch, 0);

	assert(taken);
	(void)taken;
	d->in_flight++;
}

void encode_driver_cancel(struct encode_driver *d)
{
	if (d)
		encoder_cancel(d->encoder);
}

void encode_driver_close(struct encode_driver *d)
{
	if (!d)
		return;
	bounded_queue_close(d->batches);
	thread_join(&d->thread);
	bounded_queue_free(d->batches);
	free(d);
}
