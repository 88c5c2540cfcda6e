/*
 * The encoder of any VAE that vae_model.h opens: an AutoencoderKL (kl_encoder.h) or an AutoencoderTiny (tiny_vae.h).
 *
 *	struct vae_encoder *vae = vae_encoder_load(model, &vae_engine_onednn, 0, err);
 *	vae_encoder_encode(vae, 0, pixels, height, width, moments, NULL, err);
 *	vae_encoder_free(vae);
 *
 * Errors are those of the two.
 */
#ifndef LATENTD_VAE_VAE_ENCODER_H
#define LATENTD_VAE_VAE_ENCODER_H

#include "base/hash.h"
#include "vae/kl_hooks.h"
#include "vae/vae_model.h"

struct vae_encoder;

/* @model may be closed afterwards. @threads: 0: all cores. */
struct vae_encoder *vae_encoder_load(struct vae_model *model, const struct vae_engine_ops *engine,
				     size_t threads, struct error *err);
void vae_encoder_free(struct vae_encoder *vae);

const struct vae_config *vae_encoder_config(const struct vae_encoder *vae);
/* kl_encoder_weights_hash(), tiny_vae_weights_hash(). */
const struct sha256 *vae_encoder_weights_hash(const struct vae_encoder *vae);

/* kl_encoder_memory(), kl_encoder_limit_memory(), and those of tiny_vae.h. */
size_t vae_encoder_memory(const struct vae_encoder *vae, size_t height, size_t width);
void vae_encoder_limit_memory(struct vae_encoder *vae, size_t bytes);

/* Bytes of weights, of copies of them as the limit allows, and of the maps that it has now. */
size_t vae_encoder_in_use(const struct vae_encoder *vae);
/* Maps that it keeps for the next encode go back to the system. */
void vae_encoder_rest(struct vae_encoder *vae);

/*
 * Encodes one image, [height][width][3] in [-1, 1]; of an AutoencoderTiny with sides that are multiples of its downscale.
 * @moments: [2C][h][w], mean, then logvar; where the VAE is deterministic (vae_config.h) only the first half is written.
 * @tile: pixels of diffusers' tiles (kl_tiles.h), 0: whole; only of an AutoencoderKL. Of @hooks, which may be NULL, an
 * AutoencoderTiny has only the step.
 */
int vae_encoder_encode(struct vae_encoder *vae, size_t tile, const float *pixels, size_t height,
		       size_t width, float *moments, const struct kl_hooks *hooks,
		       struct error *err);

#endif
