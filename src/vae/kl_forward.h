/*
 * The graph of an AutoencoderKL encoder, run over the layers of a kl_model. kl_encoder.h is the way in.
 */
#ifndef LATENTD_VAE_KL_FORWARD_H
#define LATENTD_VAE_KL_FORWARD_H

#include "vae/kl_graph.h"

/*
 * @pixels: [height][width][3]. *moments: where in @arena, [h][w][2C], the result is. @arena: plan->floats,
 * aligned to 64 bytes.
 */
int kl_forward(const struct kl_model *model, const struct kl_plan *plan, float *arena,
	       const float *pixels, const struct kl_hooks *hooks, const float **moments,
	       struct error *err);

#endif
