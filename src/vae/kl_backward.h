/*
 * The graph of an AutoencoderKL decoder, run over the layers of a kl_model. kl_decoder.h is the way in.
 */
#ifndef LATENTD_VAE_KL_BACKWARD_H
#define LATENTD_VAE_KL_BACKWARD_H

#include "vae/kl_graph.h"

/*
 * @latent: [h][w][C], not scaled. *pixels: where in @arena, [H][W][3], the result is. @arena: plan->floats,
 * aligned to 64 bytes.
 */
int kl_backward(const struct kl_model *model, const struct kl_plan *plan, float *arena,
		const float *latent, const struct kl_hooks *hooks, const float **pixels,
		struct error *err);

#endif
