#include "vae/kl_plan.h"

#include "base/checked.h"

enum {
	ALIGN_FLOATS = 16,	/* a cache line */
	BAND_ROWS = 24,		/* rows of a band are a multiple of this, blocks of an engine */
	BAND_FLOATS = 16 << 20, /* of z at once: 64 MiB, unless one band is more */
	ATTENTION_MAPS = 5,	/* x, normed values, q, k, v */
	MAPS_AT_ONCE = 8,	/* more than there ever are, for overflow */
};

size_t kl_map_floats(size_t height, size_t width, size_t channels)
{
	return (height * width * channels + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static size_t most(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Rows of z that are held at once: a band and the halo around it; all of them without bands. */
static size_t inner_rows(const struct kl_plan *plan, size_t height)
{
	return plan->band == 0 || plan->band + 2 > height ? height : plan->band + 2;
}

static size_t plan_resnet(const struct kl_plan *plan, size_t height, size_t width, size_t in,
			  size_t out)
{
	size_t floats =
	    kl_map_floats(height, width, in) + kl_map_floats(inner_rows(plan, height), width, out);

	return in == out ? floats : floats + kl_map_floats(height, width, out);
}

static size_t plan_down(const struct kl_plan *plan, size_t height, size_t width, size_t channels)
{
	size_t rows = plan->band ? inner_rows(plan, height / 2) : height / 2;

	return kl_map_floats(height, width, channels) + kl_map_floats(rows, width / 2, channels);
}

/* @height, @width: of the image. */
static bool sizes_fit(const struct vae_config *c, enum vae_part part, size_t height, size_t width)
{
	const size_t *widths = vae_config_channels(c, part);
	size_t channels = 2 * c->latent_channels, floats, bytes;

	for (size_t i = 0; i < c->blocks; i++)
		channels = most(channels, widths[i]);
	return size_mul3(height, width, channels, &floats) &&
	       size_mul(floats, MAPS_AT_ONCE * 2 * sizeof(double), &bytes);
}

/* An eighth of the map, but no more than BAND_FLOATS. */
static size_t band_for(size_t height, size_t width, size_t channels)
{
	size_t rows = BAND_FLOATS / (width * channels);

	rows = rows < height / 8 ? rows : height / 8;
	return rows < BAND_ROWS ? BAND_ROWS : rows / BAND_ROWS * BAND_ROWS;
}

size_t kl_plan_up_band(const struct kl_plan *plan, size_t height, size_t width, size_t channels)
{
	return plan->band ? plan->band : band_for(height, width, channels);
}

/* From a map of @height x @width to twice its size. */
static size_t plan_up(const struct kl_plan *plan, size_t height, size_t width, size_t channels)
{
	size_t rows = kl_plan_up_band(plan, 2 * height, 2 * width, channels) + 2;

	return kl_map_floats(height, width, channels) +
	       kl_map_floats(2 * height, 2 * width, channels) +
	       kl_map_floats(rows < 2 * height ? rows : 2 * height, 2 * width, channels);
}

static size_t plan_attention(const struct vae_config *c, size_t height, size_t width,
			     size_t channels)
{
	return c->mid_block_add_attention ? ATTENTION_MAPS * kl_map_floats(height, width, channels)
					  : 0;
}

static void plan_encoder(const struct vae_config *c, struct kl_plan *plan)
{
	size_t height = plan->height, width = plan->width;
	size_t last = c->block_out_channels[c->blocks - 1], in = c->block_out_channels[0];

	for (size_t i = 0; i < c->blocks; i++) {
		size_t out = c->block_out_channels[i];

		plan->floats = most(plan->floats, plan_resnet(plan, height, width, in, out));
		plan->floats = most(plan->floats, plan_resnet(plan, height, width, out, out));
		if (i < c->blocks - 1) {
			plan->floats = most(plan->floats, plan_down(plan, height, width, out));
			height /= 2;
			width /= 2;
		}
		in = out;
	}
	plan->floats = most(plan->floats, plan_attention(c, height, width, last));
	plan->floats =
	    most(plan->floats, kl_map_floats(height, width, last) +
				   2 * kl_map_floats(height, width, 2 * c->latent_channels));
}

static void plan_decoder(const struct vae_config *c, struct kl_plan *plan)
{
	size_t height = plan->height, width = plan->width, last = c->blocks - 1;
	size_t in = c->decoder_channels[last];

	plan->floats = most(kl_map_floats(height, width, c->latent_channels) +
				kl_map_floats(height, width, in),
			    plan_attention(c, height, width, in));
	for (size_t i = 0; i < c->blocks; i++) {
		size_t out = c->decoder_channels[last - i];

		plan->floats = most(plan->floats, plan_resnet(plan, height, width, in, out));
		plan->floats = most(plan->floats, plan_resnet(plan, height, width, out, out));
		if (i < last) {
			plan->floats = most(plan->floats, plan_up(plan, height, width, out));
			height *= 2;
			width *= 2;
		}
		in = out;
	}
	plan->floats = most(plan->floats, kl_map_floats(height, width, in) +
					      kl_map_floats(height, width, c->in_channels));
}

bool kl_plan_make(const struct vae_config *c, enum vae_part part, size_t height, size_t width,
		  bool in_bands, size_t band, struct kl_plan *plan)
{
	size_t scale = part == VAE_ENCODER ? 1 : vae_config_downscale(c), image_height, image_width;

	if (!size_mul(height, scale, &image_height) || !size_mul(width, scale, &image_width) ||
	    !sizes_fit(c, part, image_height, image_width))
		return false;
	*plan = (struct kl_plan){.height = height, .width = width};
	if (in_bands)
		plan->band =
		    band ? band
			 : band_for(image_height, image_width, vae_config_channels(c, part)[0]);
	if (part == VAE_ENCODER)
		plan_encoder(c, plan);
	else
		plan_decoder(c, plan);
	return true;
}
