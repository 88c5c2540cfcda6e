/*
 * The layers of an AutoencoderKL's encoder or decoder, named as diffusers names its modules. Built from a config
 * and weights; kl_forward.c and kl_backward.c run them.
 */
#ifndef LATENTD_VAE_KL_MODEL_H
#define LATENTD_VAE_KL_MODEL_H

#include "vae/kl_weights.h"
#include "vae/vae_config.h"
#include "vae/vae_engine.h"

struct kl_norm {
	size_t channels;
	float *weight, *bias; /* [channels] */
};

struct kl_resnet {
	struct kl_norm norm1, norm2;
	struct vae_conv *conv1, *conv2; /* 3x3 */
	struct vae_conv *shortcut;	/* 1x1; NULL where in = out */
};

struct kl_attention {
	struct kl_norm norm;
	struct vae_conv *q, *k, *v, *out; /* linear */
};

struct kl_block {
	struct kl_resnet *resnets;
	size_t n_resnets; /* layers_per_block; in a decoder one more */
	/* 3x3: with stride 2, or in a decoder behind a map of twice the size; NULL in the last block */
	struct vae_conv *resample;
};

struct kl_model {
	enum vae_part part;
	struct vae_config config;
	struct vae_engine *engine; /* owned */
	struct vae_conv *conv_in;
	struct kl_block blocks[VAE_MAX_BLOCKS]; /* in the order in which they are run */
	struct kl_resnet mid[2];
	struct kl_attention attention; /* if config.mid_block_add_attention */
	struct kl_norm norm_out;
	struct vae_conv *conv_out;
	/* The encoder's last layer, quant_conv, or the decoder's first, post_quant_conv; NULL where the config has none. */
	struct vae_conv *quant_conv;
};

/*
 * Opens an engine and loads every layer of @part; @model must be zeroed. On failure it may be released. ERR_CONFIG
 * also where the file has no decoder at all.
 */
int kl_model_load(struct kl_model *model, enum vae_part part, const struct vae_config *config,
		  const struct vae_engine_ops *ops, size_t threads, struct kl_weights *weights,
		  struct error *err);
void kl_model_release(struct kl_model *model);

#endif
