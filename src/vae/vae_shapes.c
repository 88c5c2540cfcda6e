/*
 * Only what a config needs is looked at; that every tensor has the shape that follows is checked when it is read.
 */
#include "vae/vae_shapes.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { MAX_CHANNELS = 65536, MAX_LAYERS = 64 };

#define QUANT_CONV	"quant_conv.weight"
#define POST_QUANT_CONV "post_quant_conv.weight"
#define BATCH_NORM	"bn.running_mean"

struct shape_reader {
	struct kl_weights *weights;
	struct error *err;
};

static int bad(const struct shape_reader *r, const struct safetensor *t, const char *what)
{
	char shape[96];

	ndarray_shape_text(t->ndim, t->shape, shape, sizeof(shape));
	return error_set(r->err, ERR_CONFIG, "%s: tensor \"%s\" has shape %s: %s",
			 kl_weights_name(r->weights), t->name, shape, what);
}

/* The output channels of a convolution, a multiple of @multiple; 1: it is not there. */
static int read_out(const struct shape_reader *r, const char *name, size_t multiple, size_t *out)
{
	const struct safetensor *t = kl_weights_find(r->weights, name);

	if (!t)
		return 1;
	if (t->ndim == 5)
		return bad(r, t, "this is a video VAE, which is not supported");
	if (t->ndim != 4 || t->shape[0] < 1 || t->shape[0] > MAX_CHANNELS ||
	    t->shape[0] % multiple != 0)
		return bad(r, t, "this is no AutoencoderKL");
	*out = t->shape[0];
	return 0;
}

static int read_needed(const struct shape_reader *r, const char *name, size_t multiple, size_t *out)
{
	int found = read_out(r, name, multiple, out);

	if (found == 1)
		return error_set(r->err, ERR_CONFIG,
				 "%s: this is no AutoencoderKL: tensor \"%s%s\" is missing",
				 kl_weights_name(r->weights), kl_weights_prefix(r->weights), name);
	return found;
}

/* How many residual layers the first block has; all have as many, or reading them will say so. */
static int read_layers(const struct shape_reader *r, struct vae_config *c)
{
	int found = 0;

	for (c->layers_per_block = 0; c->layers_per_block <= MAX_LAYERS; c->layers_per_block++) {
		size_t ignored = 0;
		char name[VAE_NAME_SIZE];

		snprintf(name, sizeof(name), "encoder.down_blocks.0.resnets.%zu.conv1.weight",
			 c->layers_per_block);
		found = read_out(r, name, 1, &ignored);
		if (found != 0)
			break;
	}
	return found < 0 ? -1 : 0;
}

static int read_blocks(const struct shape_reader *r, struct vae_config *c)
{
	size_t groups = c->norm_num_groups;
	int found = read_needed(r, "encoder.down_blocks.0.resnets.0.conv1.weight", groups,
				&c->block_out_channels[0]);

	for (c->blocks = 1; found == 0 && c->blocks < VAE_MAX_BLOCKS; c->blocks++) {
		char name[VAE_NAME_SIZE];

		snprintf(name, sizeof(name), "encoder.down_blocks.%zu.resnets.0.conv1.weight",
			 c->blocks);
		found = read_out(r, name, groups, &c->block_out_channels[c->blocks]);
		if (found != 0)
			break;
	}
	return found < 0 ? -1 : 0;
}

int vae_shapes_config(struct kl_weights *weights, struct vae_config *out, struct error *err)
{
	const struct shape_reader r = {weights, err};
	bool flux2 = kl_weights_has(weights, BATCH_NORM);
	struct vae_config c;
	size_t ignored = 0, moments = 0;

	vae_config_defaults(flux2 ? VAE_CLASS_FLUX2 : VAE_CLASS_KL, &c);
	if (read_needed(&r, "encoder.conv_in.weight", 1, &ignored) < 0 || read_blocks(&r, &c) < 0 ||
	    read_layers(&r, &c) < 0 || read_needed(&r, "encoder.conv_out.weight", 2, &moments) < 0)
		return -1;
	c.latent_channels = moments / 2;
	memcpy(c.decoder_channels, c.block_out_channels, sizeof(c.decoder_channels));
	c.use_quant_conv = kl_weights_find(weights, QUANT_CONV) != NULL;
	c.use_post_quant_conv = kl_weights_find(weights, POST_QUANT_CONV) != NULL;
	c.mid_block_add_attention =
	    kl_weights_find(weights, "encoder.mid_block.attentions.0.to_q.weight") != NULL;
	if (flux2 && c.latent_channels > VAE_MAX_STATISTICS / (c.patch_size * c.patch_size))
		return bad(&r, kl_weights_find(weights, "encoder.conv_out.weight"),
			   "FLUX.2 has 32 latent channels");
	if (flux2)
		c.n_statistics = c.latent_channels * c.patch_size * c.patch_size;
	*out = c;
	return 0;
}
