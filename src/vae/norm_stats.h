/*
 * What GroupNorm must know of a map: of each channel the mean and the sum of squared deviations from
 * it. Whoever writes a map gathers them block by block, so that no pass over the map is needed.
 *
 *	struct norm_stats stats = {0};
 *	norm_stats_reset(&stats, channels);
 *	norm_stats_add(&stats, pixels, mean, deviation);      for each block, always in the same order
 *	norm_stats_scales(&stats, groups, eps, weight, bias, scale, shift);
 *	norm_stats_release(&stats);
 */
#ifndef LATENTD_VAE_NORM_STATS_H
#define LATENTD_VAE_NORM_STATS_H

#include <stddef.h>

struct norm_stats {
	size_t channels, capacity;
	double pixels;
	double *mean, *deviation; /* [channels] */
};

/* No pixels yet. */
void norm_stats_reset(struct norm_stats *s, size_t channels);
void norm_stats_release(struct norm_stats *s);
/* @mean, @deviation: [channels], of @pixels more. */
void norm_stats_add(struct norm_stats *s, size_t pixels, const double *mean,
		    const double *deviation);
/* GroupNorm is x * scale[c] + shift[c]. */
void norm_stats_scales(const struct norm_stats *s, size_t groups, float eps, const float *weight,
		       const float *bias, float *scale, float *shift);

#endif
