/*
 * The `fake` encoder: latents that are a function of the content hash alone. It tests everything
 * around the network at full speed, and its results are marked by their engine's name.
 */
#ifndef LATENTD_ENCODER_ENCODER_FAKE_H
#define LATENTD_ENCODER_ENCODER_FAKE_H

#include "encoder/encoder.h"

struct encoder_fake_options {
	size_t latent_channels; /* 0: 4 */
	size_t downscale;	/* 0: 8 */
	size_t max_in_flight;	/* 0: 2 */
	/* For tests: an image for whose hash this is true comes back as ERR_DATA `non_finite`. */
	bool (*poison)(const struct hash128 *content);
};

int encoder_fake_open(const struct encoder_fake_options *options, struct encoder **out,
		      struct error *err);

/*
 * The moments [2C][h][w] that the fake encoder gives for @content; so tests can compute what must
 * be in a shard. Values are finite, in [-4, 4] (mean) and [-20, 2] (logvar).
 */
void encoder_fake_moments(const struct hash128 *content, size_t latent_channels, size_t pixels,
			  float *moments);

#endif
