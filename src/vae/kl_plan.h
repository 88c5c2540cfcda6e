/*
 * How much memory an image's maps take on their way through the encoder or the decoder, and whether they are ever whole:
 * kl_graph.h says where they go.
 */
#ifndef LATENTD_VAE_KL_PLAN_H
#define LATENTD_VAE_KL_PLAN_H

#include "vae/vae_config.h"

struct kl_plan {
	size_t height, width; /* of what goes in: pixels, or a decoder's latent */
	size_t band;	      /* rows of an inner map that are held at once; 0: whole maps */
	size_t floats;	      /* of all maps that exist at once, at most */
};

/* Room for a map, with which the next one is aligned to a cache line. */
size_t kl_map_floats(size_t height, size_t width, size_t channels);
/*
 * Fills in @plan for what goes into @part, @height x @width: whole maps, or with @in_bands the least memory, in
 * bands of @band rows (0: what suits). False where sizes overflow.
 */
bool kl_plan_make(const struct vae_config *config, enum vae_part part, size_t height, size_t width,
		  bool in_bands, size_t band, struct kl_plan *plan);
/* Rows of an upsampled map, of the size given, that exist at once, but for the one above and the one below. */
size_t kl_plan_up_band(const struct kl_plan *plan, size_t height, size_t width, size_t channels);

#endif
