/*
 * The decoder of any VAE that vae_model.h opens: of an AutoencoderKL (kl_decoder.h), which takes latents as its encoder gives
 * them, or of an AutoencoderTiny (tiny_vae.h), which takes them as a model sees them.
 *
 *	struct vae_decoder *vae = vae_decoder_load(model, &vae_engine_winograd, 0, err);
 *	vae_decoder_decode(vae, latent, height, width, pixels, NULL, err);
 *	vae_decoder_free(vae);
 *
 * Errors are those of the two.
 */
#ifndef LATENTD_VAE_VAE_DECODER_H
#define LATENTD_VAE_VAE_DECODER_H

#include "vae/kl_hooks.h"
#include "vae/vae_model.h"

struct vae_decoder;

/* Whether there is one to load, by the names of the model's tensors. */
bool vae_decoder_exists(const struct vae_model *model);

/* @model may be closed afterwards. @threads: 0: all cores. ERR_CONFIG also where it has no decoder. */
struct vae_decoder *vae_decoder_load(struct vae_model *model, const struct vae_engine_ops *engine,
				     size_t threads, struct error *err);
void vae_decoder_free(struct vae_decoder *vae);

/* As kl_decoder_limit_memory(). */
void vae_decoder_limit_memory(struct vae_decoder *vae, size_t bytes);
/* Bytes that it holds between decodes at most: weights, and copies of them as the limit allows. */
size_t vae_decoder_held(const struct vae_decoder *vae);
/* Bytes of weights, of copies of them as the limit allows, and of the maps that it has now. */
size_t vae_decoder_in_use(const struct vae_decoder *vae);
/* Maps that it keeps for the next decode go back to the system. */
void vae_decoder_rest(struct vae_decoder *vae);

/*
 * @latent: [C][height][width]. @pixels: [H][W][3] around [-1, 1], not clamped. Of @hooks, which may be NULL, an
 * AutoencoderTiny has only the step.
 */
int vae_decoder_decode(struct vae_decoder *vae, const float *latent, size_t height, size_t width,
		       float *pixels, const struct kl_hooks *hooks, struct error *err);

#endif
