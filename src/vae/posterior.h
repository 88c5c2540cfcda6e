/*
 * From the moments of a posterior to what is kept of it: diffusers DiagonalGaussianDistribution.
 *	mean      the first C channels (`mode()`)
 *	moments   mean and logvar as they are, 2C channels
 *	draw      mean + exp(0.5 * clamp(logvar, -30, 20)) * noise, noise from a seed of our own:
 *	          the same seed and content give the same draw on every machine and in any order
 *
 * The noise of a draw, so that anybody can make it again. Integers are little-endian:
 *	d = SHA-256("latentd draw 1\0" + seed as u64 + the 16 bytes of the content hash)
 *	key = d[0..8) as 2 u32; stream = d[8..16) as 2 u32
 *	for pair p = 0, 1, ...: b = Philox4x32-10(counter {p low, p high, stream[0], stream[1]}, key)
 *		u = ((b1 * 2^32 + b0) >> 11) + 1,  v = (b3 * 2^32 + b2) >> 11
 *		r = sqrt(-2 ln(u / 2^53)),  noise[2p] = r cos(2 pi v / 2^53),  noise[2p+1] = r sin(...)
 * in double; element i of the latent [C][h][w] takes noise[i]; the sum is rounded to float once.
 * Libraries differ in the last bit of ln and cos, so equal means equal to within a rounding.
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
