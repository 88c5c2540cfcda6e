/*
 * diffusers' tiled encode (AutoencoderKL.tiled_encode, `enable_tiling()`), for those who must match latents that
 * were made so: an image that is larger than a tile is encoded in tiles that overlap by a quarter, and their moments
 * are blended. Norms and attention see one tile only, so the result is another than that of the whole image. It is no way to
 * save memory: kl_encoder_limit_memory() does that exactly.
 *
 *	kl_tiles_check(config, err)		whether its tiles fit together
 *	kl_tiles_encode(vae, config->sample_size, pixels, height, width, moments, hooks, err)
 *
 * Where another engine encodes, it is told which tiles there are, and their moments are joined:
 *
 *	n = kl_tiles_list(config, tile, height, width, &list)
 *	kl_tiles_join(config, tile, height, width, moments_of_each, moments)
 */
#ifndef LATENTD_VAE_KL_TILES_H
#define LATENTD_VAE_KL_TILES_H

#include "vae/kl_encoder.h"

/* ERR_CONFIG where tiles of config->sample_size do not cover an image without gaps: diffusers would fail or bend it. */
int kl_tiles_check(const struct vae_config *config, struct error *err);

/*
 * As kl_encoder_encode(), with tiles of @tile pixels, which kl_tiles_check() allows, and sides that are multiples of the
 * VAE's downscale. An image no larger than a tile is encoded whole.
 */
int kl_tiles_encode(struct kl_encoder *vae, size_t tile, const float *pixels, size_t height,
		    size_t width, float *moments, const struct kl_hooks *hooks, struct error *err);

/* Pixels of the image. */
struct kl_tile {
	size_t y, x, height, width;
};

/* The tiles of an image, row by row, in an array to be freed. Sides as above, one of them larger than a tile. */
size_t kl_tiles_list(const struct vae_config *config, size_t tile, size_t height, size_t width,
		     struct kl_tile **list);
/* What kl_tiles_encode() gives, from the moments of each tile in that order. */
void kl_tiles_join(const struct vae_config *config, size_t tile, size_t height, size_t width,
		   const float *const *tiles, float *moments);

#endif
