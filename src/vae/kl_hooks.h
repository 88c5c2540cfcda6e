/*
 * How a run through an encoder or a decoder is watched and ended.
 */
#ifndef LATENTD_VAE_KL_HOOKS_H
#define LATENTD_VAE_KL_HOOKS_H

#include "vae/vae_engine.h"

/*
 * Called after each stage with its output, for tests: @name as in diffusers ("encoder.conv_in",
 * "encoder.down_blocks.0.resnets.1", "decoder.mid_block.attentions.0", ...); @map is NHWC.
 * SiLU is fused into the norm before it: the last norm is seen behind its SiLU, "encoder.conv_act".
 */
typedef void (*kl_tap_fn)(void *arg, const char *name, const float *map, size_t height,
			  size_t width, size_t channels);

enum kl_layer { KL_LAYER_3X3, KL_LAYER_STRIDE_2, KL_LAYER_1X1, KL_LAYER_ATTENTION };

struct kl_hooks {
	kl_tap_fn tap; /* NULL: none */
	void *tap_arg;
	/*
	 * NULL, or called after each layer, or part of one: what kind it was, the operations of its definition
	 * (a multiplication and an addition are two), and how long it took with norms and sums.
	 */
	void (*layer)(void *arg, enum kl_layer kind, double flop, double seconds);
	void *layer_arg;
	struct vae_step step;
};

#endif
