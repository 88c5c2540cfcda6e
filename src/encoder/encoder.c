#include "encoder/encoder.h"

#include "base/checked.h"

#include <assert.h>
#include <math.h>

const struct encoder_caps *encoder_caps(const struct encoder *e)
{
	return e->ops->caps(e);
}

size_t encoder_capacity(struct encoder *e)
{
	return e->ops->capacity(e);
}

static bool can_keep(const struct encoder_caps *caps, enum posterior posterior)
{
	switch (posterior) {
	case POSTERIOR_MEAN:
		return caps->mean;
	case POSTERIOR_MOMENTS:
		return caps->moments;
	case POSTERIOR_DRAW:
		return caps->draw;
	}
	return false;
}

/* What kind of result is wanted, and of what. */
static int check_kind(const struct encoder *e, const struct encode_batch *batch, struct error *err)
{
	const struct encoder_caps *caps = encoder_caps(e);

	if (batch->decode && !caps->decodes)
		return error_set(err, ERR_CONFIG, "encoder %s does not decode", e->ops->name);
	if (batch->decode)
		return 0;
	if (!can_keep(caps, batch->posterior))
		return error_set(err, ERR_CONFIG, "encoder %s cannot give the posterior '%s'",
				 e->ops->name, posterior_name(batch->posterior));
	if (batch->tile > 0 && !caps->tiles)
		return error_set(err, ERR_CONFIG, "encoder %s cannot encode in tiles",
				 e->ops->name);
	return 0;
}

int encoder_submit(struct encoder *e, struct encode_batch *batch, struct error *err)
{
	const struct encoder_caps *caps = encoder_caps(e);

	if (batch->n == 0 || batch->width == 0 || batch->height == 0)
		return error_set(err, ERR_BUG, "an empty batch");
	for (size_t i = 0; i < batch->n; i++) {
		const struct encode_item *item = &batch->items[i];

		if (!item->pixels == !item->values || item->latent.data ||
		    item->error.code != ERR_NONE)
			return error_set(err, ERR_BUG, "item %zu of a batch is not fresh", i);
		if (batch->decode && !item->values)
			return error_set(err, ERR_BUG, "item %zu has no latent to decode", i);
		if (item->values && !batch->decode && !caps->values)
			return error_set(err, ERR_CONFIG, "encoder %s takes only 8-bit pixels",
					 e->ops->name);
	}
	if (batch->width % caps->downscale != 0 || batch->height % caps->downscale != 0)
		return error_set(err, ERR_CONFIG,
				 "%zux%zu pixels: both sides must be multiples of %zu for this VAE",
				 batch->width, batch->height, caps->downscale);
	if (check_kind(e, batch, err) < 0)
		return -1;
	return e->ops->submit(e, batch, err);
}

static bool all_finite(const struct ndarray *latent)
{
	const float *values = latent->data;
	size_t n = ndarray_count(latent);

	for (size_t i = 0; i < n; i++) {
		if (!isfinite(values[i]))
			return false;
	}
	return true;
}

/* Of each item's result. */
static struct ndarray wanted_shape(const struct encoder *e, const struct encode_batch *batch)
{
	const struct encoder_caps *caps = encoder_caps(e);

	if (batch->decode)
		return (struct ndarray){.ndim = 3, .shape = {batch->height, batch->width, 3}};
	return (struct ndarray){
	    .ndim = 3,
	    .shape = {posterior_channels(batch->posterior, caps->latent_channels),
		      batch->height / caps->downscale, batch->width / caps->downscale},
	};
}

/* An item comes back with a finite result of the right shape, or with an error. */
static void check_item(const struct encoder *e, const struct encode_batch *batch,
		       struct encode_item *item)
{
	const struct ndarray want = wanted_shape(e, batch);
	const char *what = batch->decode ? "picture" : "latent";
	const struct ndarray *got = &item->latent;

	if (item->error.code != ERR_NONE) {
		ndarray_release(&item->latent);
	} else if (!got->data || got->dtype != DTYPE_F32 || !ndarray_same_shape(got, &want)) {
		ndarray_release(&item->latent);
		error_set(&item->error, ERR_BUG, "encoder %s gave a %s of the wrong shape",
			  e->ops->name, what);
	} else if (!all_finite(got)) {
		ndarray_release(&item->latent);
		error_data(&item->error, "non_finite", "the %s has values that are not finite",
			   what);
	}
}

int encoder_collect(struct encoder *e, int timeout_ms, struct encode_batch **done,
		    struct error *err)
{
	struct encode_batch *batch = NULL;
	int r = e->ops->collect(e, timeout_ms, &batch, err);

	assert((r <= 0) == (batch != NULL));
	for (size_t i = 0; batch && i < batch->n; i++)
		check_item(e, batch, &batch->items[i]);
	*done = batch;
	return r;
}

void encoder_cancel(struct encoder *e)
{
	e->ops->cancel(e);
}

uint64_t encoder_ticks(const struct encoder *e)
{
	return e->ops->ticks(e);
}

int encoder_pollable(struct encoder *e)
{
	return e->ops->pollable(e);
}

bool encoder_memory(const struct encoder *e, struct encoder_memory *out)
{
	if (!e->ops->memory)
		return false;
	*out = e->ops->memory(e);
	return out->used > 0;
}

void encoder_close(struct encoder *e)
{
	if (e)
		e->ops->close(e);
}

struct encode_batch *encode_batch_new(size_t n)
{
	struct encode_batch *batch = xcalloc(1, sizeof(*batch));

	batch->items = xcalloc(n, sizeof(*batch->items));
	batch->n = n;
	for (size_t i = 0; i < n; i++)
		batch->items[i].latent = (struct ndarray)NDARRAY_INIT;
	return batch;
}

void encode_batch_free(struct encode_batch *batch)
{
	if (!batch)
		return;
	for (size_t i = 0; i < batch->n; i++)
		ndarray_release(&batch->items[i].latent);
	free(batch->items);
	free(batch);
}
