/*
 * What the oneDNN engine computes itself because it is bound by memory and not by arithmetic, on OpenMP and plain loops that the
 * compiler turns into vector instructions. Same definitions as in layers.h. Results do not depend on
 * the number of threads.
 */
#ifndef LATENTD_VAE_FAST_LAYERS_H
#define LATENTD_VAE_FAST_LAYERS_H

#include "vae/norm_stats.h"

#include <stdbool.h>
#include <stddef.h>

/* Doubles of scratch that fast_channel_stats wants. */
size_t fast_channel_stats_scratch(size_t pixels, size_t channels);

/* channel_stats_naive, added to @stats. @channels: at most 65536. */
void fast_channel_stats(struct norm_stats *stats, const float *in, size_t pixels, size_t channels,
			double *scratch, size_t threads);

/* norm_apply_naive. @out may be @in. */
void fast_norm_apply(float *out, const float *in, size_t pixels, size_t channels,
		     const float *scale, const float *shift, bool silu, size_t threads);

/*
 * scores[row][i] becomes exp(scores[row][i] - max of the row); sums[row] their sum. So softmax is
 * scores / sums, and the division can wait until the rows are short.
 */
void fast_softmax_numerators(float *scores, float *sums, size_t rows, size_t columns,
			     size_t threads);

/* x[row][i] /= sums[row] */
void fast_divide_rows(float *x, const float *sums, size_t rows, size_t columns);

#endif
