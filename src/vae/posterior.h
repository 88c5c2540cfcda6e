/*
 * From the moments of a posterior to what is kept of it: diffusers DiagonalGaussianDistribution.
 *	mean      the first C channels (`mode()`)
 *	moments   mean and logvar as they are, 2C channels
 *	draw      mean + exp(0.5 * clamp(logvar, -30, 20)) * noise, noise from a seed of our own:
 *	          the same seed and content give the same draw on every machine and in any order
 */
#ifndef LATENTD_VAE_POSTERIOR_H
#define LATENTD_VAE_POSTERIOR_H

#include "base/hash.h"

#include <stddef.h>
#include <stdint.h>

enum posterior { POSTERIOR_MEAN, POSTERIOR_MOMENTS, POSTERIOR_DRAW };

/* A posterior by its name, -1 if there is none; and the name. */
int posterior_parse(const char *name);
const char *posterior_name(enum posterior posterior);

/* Channels kept of C latent channels: C, or 2C for moments. */
size_t posterior_channels(enum posterior posterior, size_t latent_channels);

/*
 * @out: [posterior_channels][pixels]; @moments: [2C][pixels]. @content and @seed decide a draw and are
 * ignored otherwise.
 */
void posterior_apply(enum posterior posterior, const float *moments, size_t latent_channels,
		     size_t pixels, const struct hash128 *content, uint64_t seed, float *out);

#endif
