/*
 * Mean and logvar number i are the two ends of a hash of (content, i), mapped to their ranges. The step is that of
 * splitmix64: good enough that every channel looks like noise, and the same everywhere.
 */
#include "encoder/encoder_fake.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "encoder/encoder_blocking.h"

struct encoder_fake {
	struct encoder_blocking blocking;
	bool (*poison)(const struct hash128 *content);
};

#define SPLITMIX_STEP 0x9e3779b97f4a7c15u

static uint64_t splitmix64(uint64_t x)
{
	x += SPLITMIX_STEP;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* The 24 lowest bits of @bits as a number in [0, 1). */
static float unit(uint64_t bits)
{
	return (float)(int32_t)(bits & 0xffffff) * 0x1p-24f;
}

void encoder_fake_moments(const struct hash128 *content, size_t latent_channels, size_t pixels,
			  float *moments)
{
	uint64_t first = get_u64le(content->bytes), second = get_u64le(content->bytes + 8);
	uint64_t seed = splitmix64(first) ^ second;
	size_t half = latent_channels * pixels;

	for (size_t i = 0; i < half; i++) {
		uint64_t bits = splitmix64(seed + i * SPLITMIX_STEP);

		moments[i] = unit(bits >> 40) * 8.0f - 4.0f;
		moments[half + i] = unit(bits) * 22.0f - 20.0f;
	}
}

static int encoder_fake_encode(struct encoder_blocking *base, const struct encode_batch *batch,
			       const struct encode_item *item, float *moments, struct error *err)
{
	struct encoder_fake *e = (struct encoder_fake *)base;
	size_t downscale = base->caps.downscale;

	if (e->poison && e->poison(&item->content))
		return error_data(err, "non_finite", "the fake encoder was told to fail");
	encoder_fake_moments(&item->content, base->caps.latent_channels,
			     batch->height / downscale * (batch->width / downscale), moments);
	return 0;
}

static void encoder_fake_close(struct encoder *base)
{
	struct encoder_fake *e = (struct encoder_fake *)base;

	encoder_blocking_release(&e->blocking);
	free(e);
}

static const struct encoder_ops encoder_fake_ops = {
    .name = "fake",
    .caps = encoder_blocking_caps,
    .capacity = encoder_blocking_capacity,
    .submit = encoder_blocking_submit,
    .collect = encoder_blocking_collect,
    .cancel = encoder_blocking_cancel,
    .ticks = encoder_blocking_ticks,
    .pollable = encoder_blocking_pollable,
    .close = encoder_fake_close,
};

int encoder_fake_open(const struct encoder_fake_options *options, struct encoder **out,
		      struct error *err)
{
	const struct encoder_caps caps = {
	    .latent_channels = options->latent_channels ? options->latent_channels : 4,
	    .downscale = options->downscale ? options->downscale : 8,
	    .best_batch = 8,
	    .max_in_flight = options->max_in_flight ? options->max_in_flight : 2,
	    .mean = true,
	    .moments = true,
	    .draw = true,
	    .values = true,
	    .engine = "fake",
	};
	struct encoder_fake *e;

	if (caps.max_in_flight > ENCODER_BLOCKING_MAX)
		return error_set(err, ERR_BUG, "the fake encoder holds at most %d batches",
				 ENCODER_BLOCKING_MAX);
	e = xcalloc(1, sizeof(*e));
	encoder_blocking_init(&e->blocking, &encoder_fake_ops, &caps, encoder_fake_encode);
	e->poison = options->poison;
	*out = &e->blocking.base;
	return 0;
}
