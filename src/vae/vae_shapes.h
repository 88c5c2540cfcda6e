/*
 * The config of an encoder that has none beside it, told by its tensors' names and shapes: channels, layers, attention,
 * quant_conv, and FLUX.2 by its batch norm. Shapes do not tell norm groups (32 in every published model) nor scaling
 * and shift (of the class's default; nothing is known).
 */
#ifndef LATENTD_VAE_VAE_SHAPES_H
#define LATENTD_VAE_VAE_SHAPES_H

#include "vae/kl_weights.h"
#include "vae/vae_config.h"

/* ERR_CONFIG: no AutoencoderKL has such tensors; the first that does not fit is named. */
int vae_shapes_config(struct kl_weights *weights, struct vae_config *out, struct error *err);

#endif
