/*
 * The layers of one part of an AutoencoderTiny, read off the names of its tensors. A network is a sequence of modules:
 *
 *	t  tanh(x / 3) * 3		c  3x3 convolution	b  block: relu(conv(relu(conv(relu(conv(x))))) + x)
 *	d  3x3, stride 2, no bias	D  the same with bias	   behind x += pool(x), where it has that branch
 *	n  3x3, no bias			r  relu			u  twice the size, nearest neighbours
 */
#ifndef LATENTD_VAE_TINY_MODEL_H
#define LATENTD_VAE_TINY_MODEL_H

#include "vae/tiny_weights.h"
#include "vae/vae_engine.h"

enum { TINY_WIDTH = 64, TINY_POOL_WIDTH = 256, TINY_CONVS = 3 };

struct tiny_network {
	enum vae_part part;
	const char *modules;
	size_t downscale; /* pixels per latent along one axis */
};

struct tiny_module {
	char kind;
	struct vae_conv *convs[TINY_CONVS];  /* one, or a block's three */
	struct vae_conv *pool_in, *pool_out; /* NULL: the block has no such branch */
	float *norm_weight, *norm_bias;	     /* of the pool */
};

struct tiny_model {
	const struct tiny_network *network;
	struct vae_engine *engine; /* owned */
	struct tiny_module *modules;
	size_t n_modules, latent_channels;
	struct sha256 hash;
};

/* Which network @part is, and how many channels its latent has. ERR_CONFIG: none that is known. */
int tiny_network_find(const struct tiny_weights *weights, enum vae_part part,
		      const struct tiny_network **network, size_t *channels, struct error *err);

/* Reads every layer; @model must be zeroed, and on failure may be released. ERR_CONFIG as tiny_vae.h says. */
int tiny_model_load(struct tiny_model *model, struct tiny_weights *weights, enum vae_part part,
		    const struct vae_engine_ops *engine, size_t threads, struct error *err);
void tiny_model_release(struct tiny_model *model);

#endif
