/*
 * Coarser latents on purpose: they are smaller once compressed, and to every reader still ordinary floats.
 *
 *	bf16	7 bits of mantissa, to nearest, ties to even: every value is a bfloat16. SNR about 55 dB
 *	6bit	6 bits likewise, 49 dB
 *	step	multiples of a power of two, between a 128th and a 64th of the channel's standard deviation: at least 47 dB
 *
 * Figures of normally distributed values (reference/storage-formats.md 5.2); the smallest noise that diffusion models are
 * trained to remove is 30 dB.
 */
#ifndef LATENTD_VAE_ROUNDING_H
#define LATENTD_VAE_ROUNDING_H

#include <stddef.h>

enum rounding { ROUNDING_NONE, ROUNDING_BF16, ROUNDING_6BIT, ROUNDING_STEP };

/* "none", "bf16", "6bit", "step"; and back: -1 where it is none of them. */
const char *rounding_name(enum rounding r);
int rounding_parse(const char *name);

/* @values: [channels][n]. */
void rounding_apply(enum rounding r, float *values, size_t channels, size_t n);

/*
 * 10 log10 of the variance of @exact about each channel's mean, over the mean squared difference; [channels][n].
 * Infinite where there is no difference, NaN where there is no variance either.
 */
double rounding_snr_db(const float *exact, const float *rounded, size_t channels, size_t n);

#endif
