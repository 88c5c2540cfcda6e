/*
 * The encoder of diffusers' AutoencoderKL: pixels in [-1, 1] to the moments of the posterior.
 *
 *	struct kl_encoder *vae = kl_encoder_load("models/sd-vae-ft-mse", &vae_engine_onednn, 0, err);
 *	kl_encoder_encode(vae, pixels, height, width, moments, NULL, err);
 *	kl_encoder_free(vae);
 *
 * The path is anything that vae_model.h names (F32, F16 or BF16; only the encoder's tensors are read). Everything is
 * computed in float32, or as the engine's precision says.
 *
 * Errors of load: ERR_CONFIG for what is not a model, a missing or truncated file, tensors missing,
 * of a shape that the config does not give, or without a place in it (the first one is named). Of encode: ERR_NOMEM,
 * ERR_DATA `too_small` for an image that has no latent, ERR_DATA `non_finite` when a moment is NaN or
 * infinite, ERR_TRANSIENT when a hook ended it.
 */
#ifndef LATENTD_VAE_KL_ENCODER_H
#define LATENTD_VAE_KL_ENCODER_H

#include "base/hash.h"
#include "base/ndarray.h"
#include "vae/kl_hooks.h"
#include "vae/vae_model.h"

struct kl_encoder;

struct kl_encoder *kl_encoder_load(const char *path, const struct vae_engine_ops *engine,
				   size_t threads, struct error *err);
/* The same from a model that is open and whose config may have been completed; @model may be closed afterwards. */
struct kl_encoder *kl_encoder_load_model(struct vae_model *model,
					 const struct vae_engine_ops *engine, size_t threads,
					 struct error *err);
void kl_encoder_free(struct kl_encoder *vae);

const struct vae_config *kl_encoder_config(const struct kl_encoder *vae);
/*
 * SHA-256 over the encoder's tensors in canonical form: sorted by canonical (diffusers) name, each as
 * "name\0", dimensions as u64, then its values as float32 little-endian. So every naming and every file
 * layout of the same values is the same VAE.
 */
const struct sha256 *kl_encoder_weights_hash(const struct kl_encoder *vae);

/* Latent size for pixels: each axis halved, rounding down, blocks - 1 times. */
void kl_encoder_latent_size(const struct kl_encoder *vae, size_t height, size_t width,
			    size_t *latent_height, size_t *latent_width);
/*
 * Bytes of activations that an encode of this size holds at its peak, beside weights, pixels and
 * moments: maps and the engine's scratch. SIZE_MAX where that overflows. What one encode took is kept
 * for the next.
 */
size_t kl_encoder_memory(const struct kl_encoder *vae, size_t height, size_t width);
/*
 * All that the encoder holds, weights included, is to stay below @bytes: copies of weights that only make
 * it faster get a quarter of that at most. From now on an encode whose whole maps take more is computed
 * in bands of rows: with the same result up to rounding, in about half of the memory, and up to a quarter
 * slower. Where that is still more: ERR_DATA `too_large`.
 */
void kl_encoder_limit_memory(struct kl_encoder *vae, size_t bytes);
/* Maps that it keeps for the next encode go back to the system. */
size_t kl_encoder_in_use(const struct kl_encoder *vae);
void kl_encoder_rest(struct kl_encoder *vae);
/* For tests: every encode in bands of @rows; 0: as the limit demands. */
void kl_encoder_use_bands(struct kl_encoder *vae, size_t rows);

/*
 * Encodes one image. @pixels: [height][width][3] in [-1, 1]. @moments: [2C][h][w] (mean, then logvar
 * before any clamp), CHW as PyTorch has it. @hooks may be NULL.
 */
int kl_encoder_encode(struct kl_encoder *vae, const float *pixels, size_t height, size_t width,
		      float *moments, const struct kl_hooks *hooks, struct error *err);

#endif
