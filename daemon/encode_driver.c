/*
 * Batches are numbered as they are submitted, and cancel moves a mark: what was submitted before is cancelled in the
 * encoder, also what gets there only later.
 */
#include "daemon/encode_driver.h"

#include "base/bounded_queue.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/thread.h"
#include "encoder/encoder_remote.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

enum { PACE_WEIGHT = 4 }; /* of all before against the last batch, roughly */

struct encode_driver {
	struct inbox *inbox;
	struct encoder *encoder;
	encode_driver_fn on_batch;
	void *arg;
	struct encode_device own; /* of the loop's thread */
	struct encode_device *device;
	bool rests;
	bool remote;	    /* it computes on endpoints */
	uint64_t submitted; /* of the loop's thread, and below */
	int64_t back_at, pace;
	atomic_uint_fast64_t cancelled;
	atomic_bool shut; /* the encoder has nothing to compute with */
	atomic_bool ending;
	struct task wake; /* posted while `waking` */
	atomic_bool waking;
	struct bounded_queue *batches;
	struct thread thread;
};

/* What the driver's thread has taken from the queue. */
struct driving {
	struct encode_batch *held; /* the encoder has no room for it yet */
	uint64_t taken;		   /* batches so far, @held included */
	size_t inside;		   /* batches that the encoder has */
};

/* A batch on its way back. */
struct returned {
	struct task base;
	struct encode_driver *driver;
	struct encode_batch *batch;
	struct error failure;
};

/* What a batch took that was encoded: those that fail at once, or are cancelled, say nothing of the next. */
static void measure(struct encode_driver *d, const struct returned *r)
{
	int64_t now = clock_mono_ns(), took;

	if (r->failure.code == ERR_NONE && r->batch->items[0].error.code == ERR_NONE) {
		took = now - (r->batch->given_at > d->back_at ? r->batch->given_at : d->back_at);
		d->pace = d->pace == 0 ? took : d->pace + (took - d->pace) / PACE_WEIGHT;
		d->pace = d->pace > 0 ? d->pace : 1;
	}
	d->back_at = now;
}

/* One that waits while others are encoded is beside what the encoder takes. */
void encode_device_init(struct encode_device *device, const struct encoder *encoder)
{
	const struct encoder_caps *caps = encoder_caps(encoder);

	device->limit = caps->max_in_flight + 1;
	device->max_images = caps->max_images > 0 ? caps->max_images + caps->best_batch : 0;
}

static size_t device_room(const struct encode_device *device)
{
	if (device->max_images > 0 && device->images >= device->max_images)
		return 0;
	return device->in_flight < device->limit ? device->limit - device->in_flight : 0;
}

uint64_t encode_device_busy_ns(const struct encode_device *device, int64_t now)
{
	return device->busy_ns + (device->in_flight > 0 ? (uint64_t)(now - device->busy_since) : 0);
}

/* A batch of @images goes in (1) or out (-1). */
static void device_count(struct encode_device *device, int batches, size_t images)
{
	int64_t now = clock_mono_ns();

	if (device->in_flight > 0)
		device->busy_ns += (uint64_t)(now - device->busy_since);
	device->busy_since = now;
	device->in_flight += (size_t)batches;
	device->images += (size_t)batches * images;
}

static void returned_done(struct task *t)
{
	struct returned *r = (struct returned *)t;
	struct encode_driver *d = r->driver;

	measure(d, r);
	device_count(&d->own, -1, r->batch->n);
	if (d->device)
		device_count(d->device, -1, r->batch->n);
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

/* The batch in now->held goes into the encoder, or back. False: it stays, the encoder is full. */
static bool submit_held(struct encode_driver *d, struct driving *now)
{
	struct error err = ERROR_INIT;
	int r = encoder_submit(d->encoder, now->held, &err);

	if (r == ENCODER_FULL)
		return false;
	if (r < 0) {
		for (size_t i = 0; i < now->held->n; i++)
			now->held->items[i].error = err;
		give_back(d, TAKE(now->held), &err);
		return true;
	}
	now->held = NULL;
	now->inside++;
	/* Cancelled while it waited for the encoder. */
	if (now->taken <= atomic_load(&d->cancelled))
		encoder_cancel(d->encoder);
	return true;
}

static void woken(struct task *t)
{
	struct encode_driver *d =
	    (struct encode_driver *)((char *)t - offsetof(struct encode_driver, wake));

	atomic_store(&d->waking, false);
}

/* A turn of the loop, in which batches are offered again. */
static void wake_loop(struct encode_driver *d)
{
	if (!atomic_exchange(&d->waking, true))
		inbox_post(d->inbox, &d->wake);
}

/* The batch that waits for the encoder goes back unfinished, and those behind it: others may have them. */
static void give_back_waiting(struct encode_driver *d, struct driving *now)
{
	const struct error none = ERROR_INIT;

	while (now->held || (now->held = bounded_queue_try_pop(d->batches))) {
		for (size_t i = 0; i < now->held->n; i++)
			error_set(&now->held->items[i].error, ERR_TRANSIENT,
				  "the encoder has nothing to compute with");
		give_back(d, TAKE(now->held), &none);
	}
}

/* Until an encoder that is empty and takes nothing takes something again. */
static void wait_while_shut(struct encode_driver *d, struct driving *now)
{
	atomic_store(&d->shut, true);
	while (!atomic_load(&d->ending) && encoder_capacity(d->encoder) == 0) {
		struct encode_batch *none = NULL;
		struct error err = ERROR_INIT;

		give_back_waiting(d, now);
		encoder_collect(d->encoder, 100, &none, &err);
	}
	give_back_waiting(d, now);
	if (atomic_load(&d->ending))
		return;
	atomic_store(&d->shut, false);
	wake_loop(d);
}

/* Gives the encoder what it takes; waits for a batch only while the encoder has none. */
static void fill_encoder(struct encode_driver *d, struct driving *now)
{
	do {
		if (!now->held) {
			now->held = now->inside > 0 ? bounded_queue_try_pop(d->batches)
						    : bounded_queue_pop(d->batches);
			if (!now->held)
				return;
			now->taken++;
		}
	} while (submit_held(d, now) && (now->inside == 0 || encoder_capacity(d->encoder) > 0));
}

static void *driver_run(void *arg)
{
	struct encode_driver *d = arg;
	struct driving now = {.held = NULL};

	for (;;) {
		struct encode_batch *batch = NULL;
		struct error err = ERROR_INIT;
		int r;

		fill_encoder(d, &now);
		if (now.inside == 0 && !now.held)
			return NULL; /* the queue is closed and empty */
		if (now.inside == 0) {
			wait_while_shut(d, &now);
			continue;
		}
		r = encoder_collect(d->encoder, 100, &batch, &err);
		if (r == ENCODER_NOTHING)
			continue;
		now.inside--;
		give_back(d, batch, &err);
	}
}

int encode_driver_open(struct inbox *inbox, struct encoder *encoder, encode_driver_fn on_batch,
		       void *arg, struct encode_driver **out, struct error *err)
{
	struct encode_driver *d = xcalloc(1, sizeof(*d));
	struct encoder_remote_view view;

	d->inbox = inbox;
	d->encoder = encoder;
	d->remote = encoder_remote_view(encoder, &view);
	d->on_batch = on_batch;
	d->arg = arg;
	atomic_init(&d->cancelled, 0);
	atomic_init(&d->shut, false);
	atomic_init(&d->ending, false);
	atomic_init(&d->waking, false);
	d->wake.done = woken;
	encode_device_init(&d->own, encoder);
	d->batches = bounded_queue_new(d->own.limit, SIZE_MAX);
	if (thread_start(&d->thread, "encode", driver_run, d, err) < 0) {
		encode_driver_close(d);
		return -1;
	}
	*out = d;
	return 0;
}

void encode_driver_share(struct encode_driver *d, struct encode_device *device)
{
	d->device = device;
}

void encode_driver_resized(struct encode_driver *d)
{
	encode_device_init(&d->own, d->encoder);
	bounded_queue_grow(d->batches, d->own.limit);
	if (d->device)
		encode_device_init(d->device, d->encoder);
}

size_t encode_driver_room(const struct encode_driver *d)
{
	size_t room = encode_driver_is_shut(d) ? 0 : device_room(&d->own), shared = room;

	if (d->device)
		shared = device_room(d->device);
	return shared < room ? shared : room;
}

bool encode_driver_is_shut(const struct encode_driver *d)
{
	return d->rests || atomic_load(&d->shut);
}

void encode_driver_rest(struct encode_driver *d, bool rests)
{
	d->rests = rests;
}

bool encode_driver_can(const struct encode_driver *d, unsigned needs)
{
	const struct encoder_caps *caps = encoder_caps(d->encoder);

	return (!(needs & ENCODE_TILES) || caps->tiles) &&
	       (!(needs & ENCODE_VALUES) || caps->values) &&
	       (!(needs & ENCODE_DECODE) || caps->decodes) &&
	       (!(needs & ENCODE_HERE) || !d->remote);
}

int64_t encode_driver_pace(const struct encode_driver *d)
{
	return d->pace;
}

size_t encode_driver_in_flight(const struct encode_driver *d)
{
	return d->own.in_flight;
}

void encode_driver_submit(struct encode_driver *d, struct encode_batch *batch)
{
	size_t n = batch->n;
	bool taken;

	d->submitted++;
	batch->given_at = clock_mono_ns();
	batch->engine = encoder_caps(d->encoder)->engine;
	batch->sent = d->remote;
	taken = bounded_queue_try_push(d->batches, batch, 0);
	assert(taken);
	(void)taken;
	device_count(&d->own, 1, n);
	if (d->device)
		device_count(d->device, 1, n);
}

void encode_driver_cancel(struct encode_driver *d)
{
	if (!d)
		return;
	atomic_store(&d->cancelled, d->submitted);
	encoder_cancel(d->encoder);
}

void encode_driver_close(struct encode_driver *d)
{
	if (!d)
		return;
	encode_driver_cancel(d);
	atomic_store(&d->ending, true);
	bounded_queue_close(d->batches);
	thread_join(&d->thread);
	inbox_cancel(d->inbox, &d->wake);
	bounded_queue_free(d->batches);
	free(d);
}
