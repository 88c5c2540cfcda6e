/*
 * The encoder's tensors in a diffusers folder, by canonical name and expected shape. What was read is
 * remembered, so that the hash of the weights covers exactly what the encoder computes with.
 *
 *	struct kl_weights *w = kl_weights_open(folder, err);
 *	kl_weights_read(w, "encoder.conv_in.weight", 4, shape, &values, err) ...     every tensor, once
 *	kl_weights_hash(w, &hash, err);
 *	kl_weights_close(w);
 */
#ifndef LATENTD_VAE_KL_WEIGHTS_H
#define LATENTD_VAE_KL_WEIGHTS_H

#include "base/error.h"
#include "base/hash.h"

#include <stddef.h>

struct kl_weights;

/* diffusion_pytorch_model.safetensors of @folder, or its .fp16 sibling. ERR_CONFIG. */
struct kl_weights *kl_weights_open(const char *folder, struct error *err);
void kl_weights_close(struct kl_weights *weights);

/*
 * Values of the tensor @name, to be freed. Older names of attention layers are understood, and
 * trailing dimensions of 1 beyond @ndim. ERR_CONFIG: missing, or of another shape.
 */
int kl_weights_read(struct kl_weights *weights, const char *name, size_t ndim, const size_t *shape,
		    float **out, struct error *err);

/* As kl_encoder_weights_hash() says, over what was read so far; reads it again. */
int kl_weights_hash(struct kl_weights *weights, struct sha256 *out, struct error *err);

#endif
