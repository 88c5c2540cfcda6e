/*
 * The decoder of diffusers' AutoencoderKL: a latent as the encoder gives it, not scaled, to pixels around [-1, 1].
 *
 *	struct kl_decoder *vae = kl_decoder_load("models/sd-vae-ft-mse", &vae_engine_winograd, 0, err);
 *	kl_decoder_decode(vae, latent, height, width, pixels, NULL, err);
 *	kl_decoder_free(vae);
 *
 * Only the decoder's tensors are read. What kl_encoder.h says of engines, memory, bands, hooks and errors is true here
 * too; ERR_CONFIG of load also where the file has an encoder only.
 */
#ifndef LATENTD_VAE_KL_DECODER_H
#define LATENTD_VAE_KL_DECODER_H

#include "base/hash.h"
#include "vae/kl_hooks.h"
#include "vae/vae_model.h"

struct kl_decoder;

struct kl_decoder *kl_decoder_load(const char *path, const struct vae_engine_ops *engine,
				   size_t threads, struct error *err);
/* The same from a model that is open; @model may be closed afterwards. */
struct kl_decoder *kl_decoder_load_model(struct vae_model *model,
					 const struct vae_engine_ops *engine, size_t threads,
					 struct error *err);
void kl_decoder_free(struct kl_decoder *vae);

const struct vae_config *kl_decoder_config(const struct kl_decoder *vae);
/* As kl_encoder_weights_hash(), over the decoder's tensors and post_quant_conv. */
const struct sha256 *kl_decoder_weights_hash(const struct kl_decoder *vae);

/* Bytes, as kl_encoder_memory(); @height, @width: of the latent. */
size_t kl_decoder_memory(const struct kl_decoder *vae, size_t height, size_t width);
/*
 * As kl_encoder_limit_memory(): bands of rows where whole maps would take more. They take about three quarters, for the
 * last block begins with a map of twice the channels.
 */
void kl_decoder_limit_memory(struct kl_decoder *vae, size_t bytes);
/* Bytes of weights, and of copies of them as the limit allows: what it holds between decodes beside its maps. */
size_t kl_decoder_held(const struct kl_decoder *vae);
/* Maps that it keeps for the next decode go back to the system. */
size_t kl_decoder_in_use(const struct kl_decoder *vae);
void kl_decoder_rest(struct kl_decoder *vae);
/* For tests: every decode in bands of @rows; 0: as the limit demands. */
void kl_decoder_use_bands(struct kl_decoder *vae, size_t rows);

/*
 * Decodes one latent. @latent: [C][height][width]. @pixels: [H][W][3], H and W height and width times
 * vae_config_downscale(); not clamped. @hooks may be NULL. ERR_DATA `non_finite` where a pixel is NaN or infinite.
 */
int kl_decoder_decode(struct kl_decoder *vae, const float *latent, size_t height, size_t width,
		      float *pixels, const struct kl_hooks *hooks, struct error *err);

#endif
