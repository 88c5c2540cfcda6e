/*
 * What an encoder or a decoder costs, from its config alone: a convolution's multiplications and additions, the
 * attention's two products; norms and activations are left out (under 1 %). Of an AutoencoderTiny only the
 * encoder is known, without TAEF2's pools.
 */
#ifndef LATENTD_VAE_VAE_COST_H
#define LATENTD_VAE_VAE_COST_H

#include "vae/vae_config.h"

/* Weights and biases of the part, with quant_conv or post_quant_conv. */
size_t vae_cost_parameters(const struct vae_config *config, enum vae_part part);
/*
 * Floating-point operations for what goes in, pixels or a latent, of that size; a multiplication with its addition
 * counts two.
 */
double vae_cost_flop(const struct vae_config *config, enum vae_part part, size_t height,
		     size_t width);

#endif
