/*
 * AutoencoderTiny, the TAESD family: a small encoder and decoder for the latents of a large VAE, for previews or as a model
 * of its own. Its latents are those that a diffusion model sees, scaled and shifted.
 *
 *	struct tiny_vae *vae = tiny_vae_load("taesd.safetensors", VAE_DECODER, &vae_engine_winograd, 0, err);
 *	tiny_vae_decode(vae, latent, height, width, pixels, err);
 *	tiny_vae_free(vae);
 *
 * A path is a .safetensors file or a diffusers folder (diffusion_pytorch_model.safetensors in it), with both parts or one,
 * under diffusers' names ("encoder.layers.0.weight") or the original ones ("0.weight", "encoder.0.weight"): TAESD, TAESDXL,
 * TAESD3, TAEF1; TAEF2 with its pool branch; TAESANA's encoder, 1/32. The networks are read off their tensors' names.
 */
#ifndef LATENTD_VAE_TINY_VAE_H
#define LATENTD_VAE_TINY_VAE_H

#include "base/hash.h"
#include "vae/vae_config.h"
#include "vae/vae_engine.h"

struct tiny_vae;

/*
 * ERR_CONFIG: not such a file, without that part, a tensor is missing, of another shape, or without a place in the network.
 */
struct tiny_vae *tiny_vae_load(const char *path, enum vae_part part,
			       const struct vae_engine_ops *engine, size_t threads,
			       struct error *err);
struct tiny_weights;

/* The same of weights that are open and may be closed afterwards. */
struct tiny_vae *tiny_vae_load_weights(struct tiny_weights *weights, enum vae_part part,
				       const struct vae_engine_ops *engine, size_t threads,
				       struct error *err);
void tiny_vae_free(struct tiny_vae *vae);

size_t tiny_vae_latent_channels(const struct tiny_vae *vae);
/* Pixels per latent along one axis: 8 or 32. An encoder rounds up: 9 pixels are 2 latents. */
size_t tiny_vae_downscale(const struct tiny_vae *vae);
/* As kl_encoder_weights_hash(), over the part's tensors by their diffusers names. */
const struct sha256 *tiny_vae_weights_hash(const struct tiny_vae *vae);
/* Bytes of activations, beside what goes in and out; @height, @width: of what goes in. SIZE_MAX where that overflows. */
size_t tiny_vae_memory(const struct tiny_vae *vae, size_t height, size_t width);

/*
 * All that it holds, weights included, is to stay below @bytes, copies of weights for the sake of speed at most a quarter of
 * that: what takes more is ERR_DATA `too_large`.
 */
void tiny_vae_limit_memory(struct tiny_vae *vae, size_t bytes);

/* Bytes of weights, and of copies of them as the limit allows; and what maps take goes back to the system. */
size_t tiny_vae_held(const struct tiny_vae *vae);
/* With the maps that it has now. */
size_t tiny_vae_in_use(const struct tiny_vae *vae);
void tiny_vae_rest(struct tiny_vae *vae);

/*
 * @pixels: [height][width][3] in [-1, 1]. @latent: [C][h][w]. @step: NULL, or how it is watched. ERR_NOMEM, ERR_DATA
 * `too_small`, `too_large`, `non_finite`; ERR_TRANSIENT when @step ended it.
 */
int tiny_vae_encode(struct tiny_vae *vae, const float *pixels, size_t height, size_t width,
		    float *latent, const struct vae_step *step, struct error *err);
/* @latent: [C][height][width]. @pixels: [H][W][3] around [-1, 1], not clamped. Errors as above. */
int tiny_vae_decode(struct tiny_vae *vae, const float *latent, size_t height, size_t width,
		    float *pixels, const struct vae_step *step, struct error *err);

#endif
