/*
 * A walk over the layers of each part in their order, which adds up both.
 */
#include "vae/vae_cost.h"

enum { TINY_BLOCKS = 4 };

struct cost {
	size_t parameters;
	double macs;
	double pixels; /* of the map that the walk is at */
};

/* A convolution whose output has the map's pixels. */
static void conv(struct cost *cost, size_t in, size_t out, size_t kernel)
{
	size_t weights = in * out * kernel * kernel;

	cost->parameters += weights + out;
	cost->macs += (double)weights * cost->pixels;
}

static void norm(struct cost *cost, size_t channels)
{
	cost->parameters += 2 * channels;
}

static void resnet(struct cost *cost, size_t in, size_t out)
{
	norm(cost, in);
	conv(cost, in, out, 3);
	norm(cost, out);
	conv(cost, out, out, 3);
	if (in != out)
		conv(cost, in, out, 1);
}

static void attention(struct cost *cost, size_t channels)
{
	norm(cost, channels);
	for (int i = 0; i < 4; i++)
		conv(cost, channels, channels, 1);
	cost->macs += 2 * cost->pixels * cost->pixels * (double)channels;
}

static void middle(struct cost *cost, const struct vae_config *c, size_t channels)
{
	resnet(cost, channels, channels);
	if (c->mid_block_add_attention)
		attention(cost, channels);
	resnet(cost, channels, channels);
}

/* TAESD begins at the image's size, TAESANA with two layers that halve it. */
static struct cost walk_tiny(const struct vae_config *c, double pixels)
{
	const size_t *widths = c->block_out_channels;
	size_t width = widths[c->blocks - 1];
	struct cost cost = {.pixels = pixels};

	if (c->blocks == TINY_BLOCKS) {
		conv(&cost, c->in_channels, width, 3);
	} else {
		cost.pixels /= 4;
		conv(&cost, c->in_channels, widths[0], 3);
		cost.pixels /= 4;
		conv(&cost, widths[0], width, 3);
	}
	for (size_t stage = 0; stage < TINY_BLOCKS; stage++) {
		if (stage > 0) {
			cost.pixels /= 4;
			conv(&cost, width, width, 3);
			cost.parameters -= width; /* no bias */
		}
		for (size_t i = 0; i < (stage ? 9 : 3); i++)
			conv(&cost, width, width, 3);
	}
	conv(&cost, width, c->latent_channels, 3);
	return cost;
}

static struct cost walk(const struct vae_config *c, size_t height, size_t width)
{
	struct cost cost = {.pixels = (double)height * (double)width};
	size_t last = c->block_out_channels[c->blocks - 1], moments = 2 * c->latent_channels;

	if (c->class == VAE_CLASS_TINY)
		return walk_tiny(c, cost.pixels);
	conv(&cost, c->in_channels, c->block_out_channels[0], 3);
	for (size_t i = 0; i < c->blocks; i++) {
		size_t in = c->block_out_channels[i ? i - 1 : 0], out = c->block_out_channels[i];

		for (size_t j = 0; j < c->layers_per_block; j++)
			resnet(&cost, j ? out : in, out);
		if (i == c->blocks - 1)
			break;
		height /= 2;
		width /= 2;
		cost.pixels = (double)height * (double)width;
		conv(&cost, out, out, 3);
	}
	middle(&cost, c, last);
	norm(&cost, last);
	conv(&cost, last, moments, 3);
	if (c->use_quant_conv)
		conv(&cost, moments, moments, 1);
	return cost;
}

static struct cost walk_decoder(const struct vae_config *c, size_t height, size_t width)
{
	struct cost cost = {.pixels = (double)height * (double)width};
	size_t last = c->blocks - 1, in = c->decoder_channels[last];

	if (c->use_post_quant_conv)
		conv(&cost, c->latent_channels, c->latent_channels, 1);
	conv(&cost, c->latent_channels, in, 3);
	middle(&cost, c, in);
	for (size_t i = 0; i < c->blocks; i++) {
		size_t out = c->decoder_channels[last - i];

		for (size_t j = 0; j < c->layers_per_block + 1; j++)
			resnet(&cost, j ? out : in, out);
		in = out;
		if (i == last)
			break;
		cost.pixels *= 4;
		conv(&cost, out, out, 3);
	}
	norm(&cost, in);
	conv(&cost, in, c->in_channels, 3);
	return cost;
}

size_t vae_cost_parameters(const struct vae_config *config, enum vae_part part)
{
	return (part == VAE_ENCODER ? walk : walk_decoder)(config, 0, 0).parameters;
}

double vae_cost_flop(const struct vae_config *config, enum vae_part part, size_t height,
		     size_t width)
{
	return 2 * (part == VAE_ENCODER ? walk : walk_decoder)(config, height, width).macs;
}
