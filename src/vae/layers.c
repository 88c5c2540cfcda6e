#include "vae/layers.h"

#include <math.h>

size_t conv_out_size(const struct conv_shape *s, size_t size)
{
	size_t padded = size + s->pad_before + s->pad_after;

	return padded < s->kernel ? 0 : (padded - s->kernel) / s->stride + 1;
}

/* The sum over one window, whose corner (y, x) counts from the first padding row and column. */
static double conv_window(const float *in, size_t height, size_t width, const struct conv_shape *s,
			  const float *weight, size_t y, size_t x)
{
	size_t taps = s->kernel * s->kernel;
	double sum = 0;

	for (size_t ky = 0; ky < s->kernel; ky++) {
		for (size_t kx = 0; kx < s->kernel; kx++) {
			size_t row = y + ky - s->pad_before, column = x + kx - s->pad_before;
			const float *w = weight + ky * s->kernel + kx, *pixel;

			/* "row -1" is a huge number: both borders in one comparison */
			if (row >= height || column >= width)
				continue;
			pixel = in + (row * width + column) * s->in;
			for (size_t i = 0; i < s->in; i++)
				sum += (double)pixel[i] * (double)w[i * taps];
		}
	}
	return sum;
}

void conv2d_naive(float *out, const float *in, size_t height, size_t width,
		  const struct conv_shape *s, const float *weight, const float *bias)
{
	size_t out_height = conv_out_size(s, height), out_width = conv_out_size(s, width);
	size_t filter = s->in * s->kernel * s->kernel;

	for (size_t y = 0; y < out_height; y++) {
		for (size_t x = 0; x < out_width; x++) {
			for (size_t o = 0; o < s->out; o++)
				*out++ =
				    (float)((double)bias[o] +
					    conv_window(in, height, width, s, weight + o * filter,
							y * s->stride, x * s->stride));
		}
	}
}

void group_norm_naive(float *out, const float *in, size_t pixels, size_t channels, size_t groups,
		      float eps, const float *weight, const float *bias, int silu)
{
	size_t per_group = channels / groups;
	double n = (double)(pixels * per_group);

	for (size_t g = 0; g < groups; g++) {
		size_t first = g * per_group, last = first + per_group;
		double mean = 0, variance = 0;

		for (size_t p = 0; p < pixels; p++)
			for (size_t c = first; c < last; c++)
				mean += (double)in[p * channels + c] / n;
		for (size_t p = 0; p < pixels; p++) {
			for (size_t c = first; c < last; c++) {
				double d = (double)in[p * channels + c] - mean;

				variance += d * d / n;
			}
		}
		for (size_t p = 0; p < pixels; p++) {
			for (size_t c = first; c < last; c++) {
				double d = (double)in[p * channels + c] - mean;
				double y = d / sqrt(variance + (double)eps) * (double)weight[c] +
					   (double)bias[c];

				out[p * channels + c] = (float)(silu ? y / (1 + exp(-y)) : y);
			}
		}
	}
}

void channel_stats_naive(double *mean, double *deviation, const float *in, size_t pixels,
			 size_t channels)
{
	for (size_t c = 0; c < channels; c++) {
		mean[c] = deviation[c] = 0;
		for (size_t p = 0; p < pixels; p++)
			mean[c] += (double)in[p * channels + c] / (double)pixels;
		for (size_t p = 0; p < pixels; p++) {
			double d = (double)in[p * channels + c] - mean[c];

			deviation[c] += d * d;
		}
	}
}

void norm_apply_naive(float *x, size_t pixels, size_t channels, const float *scale,
		      const float *shift, int silu)
{
	for (size_t i = 0; i < pixels * channels; i++) {
		double y = (double)x[i] * (double)scale[i % channels] + (double)shift[i % channels];

		x[i] = (float)(silu ? y / (1 + exp(-y)) : y);
	}
}

void linear_naive(float *out, const float *in, size_t rows, size_t k, size_t n, const float *weight,
		  const float *bias)
{
	for (size_t r = 0; r < rows; r++) {
		for (size_t o = 0; o < n; o++) {
			double sum = (double)bias[o];

			for (size_t i = 0; i < k; i++)
				sum += (double)in[r * k + i] * (double)weight[o * k + i];
			out[r * n + o] = (float)sum;
		}
	}
}

static double dot(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

void attention_naive(float *out, const float *q, const float *k, const float *v, size_t tokens,
		     size_t c, float *scores)
{
	for (size_t t = 0; t < tokens; t++) {
		double total = 0, highest = -INFINITY;

		for (size_t s = 0; s < tokens; s++) {
			scores[s] = (float)(dot(q + t * c, k + s * c, c) / sqrt((double)c));
			highest = fmax(highest, (double)scores[s]);
		}
		for (size_t s = 0; s < tokens; s++) {
			scores[s] = (float)exp((double)scores[s] - highest);
			total += (double)scores[s];
		}
		for (size_t i = 0; i < c; i++) {
			double sum = 0;

			for (size_t s = 0; s < tokens; s++)
				sum += (double)scores[s] * (double)v[s * c + i];
			out[t * c + i] = (float)(sum / total);
		}
	}
}
