/* Parts are joined by their means and squared deviations (Chan, Golub and LeVeque, 1983). */
#include "vae/norm_stats.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

void norm_stats_reset(struct norm_stats *s, size_t channels)
{
	if (channels > s->capacity) {
		s->mean = xrealloc(s->mean, channels, sizeof(*s->mean));
		s->deviation = xrealloc(s->deviation, channels, sizeof(*s->deviation));
		s->capacity = channels;
	}
	s->channels = channels;
	s->pixels = 0;
	memset(s->mean, 0, channels * sizeof(*s->mean));
	memset(s->deviation, 0, channels * sizeof(*s->deviation));
}

void norm_stats_release(struct norm_stats *s)
{
	free(s->mean);
	free(s->deviation);
	*s = (struct norm_stats){0};
}

void norm_stats_add(struct norm_stats *s, size_t pixels, const double *mean,
		    const double *deviation)
{
	double n = (double)pixels, share = n / (s->pixels + n), both = s->pixels * share;

	for (size_t c = 0; c < s->channels; c++) {
		double d = mean[c] - s->mean[c];

		s->mean[c] += d * share;
		s->deviation[c] += deviation[c] + d * d * both;
	}
	s->pixels += n;
}

void norm_stats_scales(const struct norm_stats *s, size_t groups, float eps, const float *weight,
		       const float *bias, float *scale, float *shift)
{
	size_t per_group = s->channels / groups;

	for (size_t first = 0; first < s->channels; first += per_group) {
		double mean = 0, deviation = 0, factor;

		for (size_t c = first; c < first + per_group; c++)
			mean += s->mean[c] / (double)per_group;
		for (size_t c = first; c < first + per_group; c++) {
			double d = s->mean[c] - mean;

			deviation += s->deviation[c] + s->pixels * d * d;
		}
		factor = 1 / sqrt(deviation / (s->pixels * (double)per_group) + (double)eps);
		for (size_t c = first; c < first + per_group; c++) {
			scale[c] = (float)(factor * (double)weight[c]);
			shift[c] = (float)((double)bias[c] - mean * factor * (double)weight[c]);
		}
	}
}
