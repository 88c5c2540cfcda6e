/*
 * Batches are numbered as they are submitted, and cancel only moves a mark: what has a smaller
 * number is cancelled. So cancel needs no lock, and what is submitted after it is computed.
 */
#include "encoder/encoder_blocking.h"

#include <assert.h>

void encoder_blocking_init(struct encoder_blocking *e, const struct encoder_ops *ops,
			   const struct encoder_caps *caps, encoder_moments_fn moments)
{
	assert(caps->max_in_flight > 0 && caps->max_in_flight <= ENCODER_BLOCKING_MAX);
	*e = (struct encoder_blocking){
	    .base = {.ops = ops},
	    .caps = *caps,
	    .moments = moments,
	    .scratch = NDARRAY_INIT,
	};
	atomic_init(&e->submitted, 0);
	atomic_init(&e->cancelled, 0);
	atomic_init(&e->ticks, 0);
}

void encoder_blocking_release(struct encoder_blocking *e)
{
	assert(e->collected == atomic_load(&e->submitted));
	ndarray_release(&e->scratch);
}

/* Whether the oldest batch in line, which is the one that collect computes, is cancelled. */
static bool is_cancelled(const struct encoder_blocking *e)
{
	return e->collected < atomic_load(&e->cancelled);
}

bool encoder_blocking_step(void *arg)
{
	struct encoder_blocking *e = arg;

	atomic_fetch_add(&e->ticks, 1);
	return !is_cancelled(e);
}

const struct encoder_caps *encoder_blocking_caps(const struct encoder *e)
{
	return &((const struct encoder_blocking *)e)->caps;
}

size_t encoder_blocking_capacity(struct encoder *base)
{
	struct encoder_blocking *e = (struct encoder_blocking *)base;

	return e->caps.max_in_flight - (size_t)(atomic_load(&e->submitted) - e->collected);
}

int encoder_blocking_submit(struct encoder *base, struct encode_batch *batch, struct error *err)
{
	struct encoder_blocking *e = (struct encoder_blocking *)base;
	uint64_t number = atomic_load(&e->submitted);

	(void)err;
	if (encoder_blocking_capacity(base) == 0)
		return ENCODER_FULL;
	e->line[number % ENCODER_BLOCKING_MAX] = batch;
	atomic_store(&e->submitted, number + 1);
	return 0;
}

/* Room for the moments of an item of @batch in the scratch. */
static int reserve_moments(struct encoder_blocking *e, const struct encode_batch *batch,
			   struct error *err)
{
	size_t shape[3] = {2 * e->caps.latent_channels, batch->height / e->caps.downscale,
			   batch->width / e->caps.downscale};
	size_t bytes = 0;

	if (ndarray_bytes(DTYPE_F32, 3, shape, &bytes) && bytes <= e->scratch.bytes)
		return 0;
	ndarray_release(&e->scratch);
	return ndarray_alloc(&e->scratch, DTYPE_F32, 3, shape, err);
}

static int encode_item(struct encoder_blocking *e, const struct encode_batch *batch,
		       struct encode_item *item, struct error *err)
{
	size_t channels = e->caps.latent_channels;
	size_t shape[3] = {posterior_channels(batch->posterior, channels),
			   batch->height / e->caps.downscale, batch->width / e->caps.downscale};
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	float *moments;

	if (reserve_moments(e, batch, err) < 0 ||
	    ndarray_alloc(&latent, DTYPE_F32, 3, shape, err) < 0)
		return -1;
	moments = e->scratch.data;
	if (e->moments(e, batch, item, moments, err) < 0)
		return -1;
	posterior_apply(batch->posterior, moments, channels, shape[1] * shape[2], &item->content,
			batch->seed, latent.data);
	item->latent = latent;
	latent = (struct ndarray)NDARRAY_INIT;
	return 0;
}

static int decode_item(struct encoder_blocking *e, const struct encode_batch *batch,
		       struct encode_item *item, struct error *err)
{
	const size_t shape[3] = {batch->height, batch->width, 3};
	cleanup_ndarray struct ndarray picture = NDARRAY_INIT;

	if (ndarray_alloc(&picture, DTYPE_F32, 3, shape, err) < 0 ||
	    e->picture(e, batch, item, picture.data, err) < 0)
		return -1;
	item->latent = picture;
	picture = (struct ndarray)NDARRAY_INIT;
	return 0;
}

int encoder_blocking_collect(struct encoder *base, int timeout_ms, struct encode_batch **done,
			     struct error *err)
{
	struct encoder_blocking *e = (struct encoder_blocking *)base;
	uint64_t number = e->collected;
	struct error whole = ERROR_INIT;
	struct encode_batch *batch;
	int (*compute)(struct encoder_blocking *, const struct encode_batch *, struct encode_item *,
		       struct error *);

	(void)timeout_ms;
	if (number == atomic_load(&e->submitted))
		return ENCODER_NOTHING;
	batch = e->line[number % ENCODER_BLOCKING_MAX];
	compute = batch->decode ? decode_item : encode_item;
	for (size_t i = 0; i < batch->n; i++) {
		struct encode_item *item = &batch->items[i];

		if (whole.code != ERR_NONE)
			item->error = whole;
		else if (is_cancelled(e))
			error_set(&item->error, ERR_TRANSIENT, "the encode was cancelled");
		else if (compute(e, batch, item, &item->error) < 0 &&
			 item->error.code != ERR_DATA &&
			 !(item->error.code == ERR_TRANSIENT && is_cancelled(e)))
			whole = item->error;
		atomic_fetch_add(&e->ticks, 1);
	}
	e->collected++;
	*done = batch;
	if (whole.code == ERR_NONE)
		return 0;
	*err = whole;
	return -1;
}

void encoder_blocking_cancel(struct encoder *base)
{
	struct encoder_blocking *e = (struct encoder_blocking *)base;
	uint_fast64_t mark = atomic_load(&e->submitted), old = atomic_load(&e->cancelled);

	while (old < mark && !atomic_compare_exchange_weak(&e->cancelled, &old, mark))
		continue;
}

uint64_t encoder_blocking_ticks(const struct encoder *e)
{
	return atomic_load(&((const struct encoder_blocking *)e)->ticks);
}

int encoder_blocking_pollable(struct encoder *e)
{
	(void)e;
	return -1;
}
