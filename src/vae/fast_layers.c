/*
 * Statistics are sums of x - pivot and its square per channel, pivot being the channel's first value: so a
 * mean that is large against the deviation costs no digits. Sums run in float over a few pixels, then in
 * double; chunks of a fixed number of pixels are added in order, whichever thread made them.
 *
 * Kernels are functions of their own, compiled for several vector widths; the OpenMP loops around them
 * hand out chunks.
 */
#include "vae/fast_layers.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTOR_CLONES
#endif

enum {
	CHUNK_VALUES = 65536, /* one task of a thread: 256 KiB */
	FLOAT_PIXELS = 32,    /* summed in float before they go to a double */
};

static size_t chunk_pixels(size_t channels)
{
	size_t pixels = CHUNK_VALUES / channels;

	return pixels > FLOAT_PIXELS ? pixels : FLOAT_PIXELS;
}

static size_t chunk_count(size_t pixels, size_t channels)
{
	return (pixels + chunk_pixels(channels) - 1) / chunk_pixels(channels);
}

/*
 * exp to about 1e-7 relative, for x in [-87, 88] (clamped there); NaN stays NaN. x = n ln 2 + r with
 * |r| <= ln 2 / 2; e^r by its Taylor series to r^7 / 7! (the rest is below 6e-9); ln 2 in two parts,
 * the first with so few bits that its products with n are exact (Cody and Waite). Adding 1.5 * 2^23
 * rounds to a whole number, which then lies in the low bits.
 */
static inline float fast_exp(float x)
{
	const float rounder = 12582912.0f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
	float shifted, n, r, e, power;
	uint32_t bits;

	x = x < -87.0f ? -87.0f : x;
	x = x > 88.0f ? 88.0f : x;
	shifted = x * 1.44269504f + rounder;
	n = shifted - rounder;
	r = x - n * ln2_high - n * ln2_low;
	e = 1.0f / 5040;
	e = e * r + 1.0f / 720;
	e = e * r + 1.0f / 120;
	e = e * r + 1.0f / 24;
	e = e * r + 1.0f / 6;
	e = e * r + 0.5f;
	e = e * r + 1.0f;
	e = e * r + 1.0f;
	memcpy(&bits, &shifted, sizeof(bits));
	bits = (bits + 127) << 23;
	memcpy(&power, &bits, sizeof(power));
	return e * power;
}

/* -- norms --------------------------------------------------------------------------------------- */

/* sums[c] and squares[c] of in[p][c] - pivot[c] over @pixels, at most FLOAT_PIXELS. */
VECTOR_CLONES static void add_pixels(float *sums, float *squares, const float *in, size_t pixels,
				     size_t channels, const float *pivot)
{
	memset(sums, 0, channels * sizeof(*sums));
	memset(squares, 0, channels * sizeof(*squares));
	for (size_t p = 0; p < pixels; p++) {
		const float *x = in + p * channels;

#pragma omp simd
		for (size_t c = 0; c < channels; c++) {
			float d = x[c] - pivot[c];

			sums[c] += d;
			squares[c] += d * d;
		}
	}
}

/* The sums of one chunk: @totals is [2][channels]. */
static void chunk_sums(double *totals, const float *in, size_t pixels, size_t channels,
		       const float *pivot, float *work)
{
	memset(totals, 0, 2 * channels * sizeof(*totals));
	for (size_t p = 0; p < pixels; p += FLOAT_PIXELS) {
		size_t n = pixels - p < FLOAT_PIXELS ? pixels - p : FLOAT_PIXELS;

		add_pixels(work, work + channels, in + p * channels, n, channels, pivot);
		for (size_t i = 0; i < 2 * channels; i++)
			totals[i] += (double)work[i];
	}
}

VECTOR_CLONES static void scale_pixels(float *out, const float *in, size_t pixels, size_t channels,
				       const float *scale, const float *shift)
{
	for (size_t p = 0; p < pixels; p++) {
#pragma omp simd
		for (size_t c = 0; c < channels; c++)
			out[p * channels + c] = in[p * channels + c] * scale[c] + shift[c];
	}
}

VECTOR_CLONES static void scale_silu_pixels(float *out, const float *in, size_t pixels,
					    size_t channels, const float *scale, const float *shift)
{
	for (size_t p = 0; p < pixels; p++) {
#pragma omp simd
		for (size_t c = 0; c < channels; c++) {
			float y = in[p * channels + c] * scale[c] + shift[c];

			out[p * channels + c] = y / (1.0f + fast_exp(-y));
		}
	}
}

size_t fast_channel_stats_scratch(size_t pixels, size_t channels)
{
	/* per chunk: two doubles a channel, and two floats to sum in */
	return chunk_count(pixels, channels) * 3 * channels;
}

/* Mean and deviation of a chunk in place of its sums. */
static void chunk_stats(double *totals, size_t pixels, size_t channels, const float *pivot)
{
	double n = (double)pixels;

	for (size_t c = 0; c < channels; c++) {
		double sum = totals[c];

		totals[c] = (double)pivot[c] + sum / n;
		totals[channels + c] -= sum * sum / n;
	}
}

void fast_channel_stats(struct norm_stats *stats, const float *in, size_t pixels, size_t channels,
			double *scratch, size_t threads)
{
	size_t chunks = chunk_count(pixels, channels), step = chunk_pixels(channels);
	size_t last = pixels - (chunks - 1) * step;
	double *totals = scratch;
	float *work = (float *)(scratch + chunks * 2 * channels);

#pragma omp parallel for num_threads((int)threads) schedule(static)
	for (size_t i = 0; i < chunks; i++) {
		size_t n = i == chunks - 1 ? last : step;

		chunk_sums(totals + i * 2 * channels, in + i * step * channels, n, channels, in,
			   work + i * 2 * channels);
		chunk_stats(totals + i * 2 * channels, n, channels, in);
	}
	for (size_t i = 0; i < chunks; i++)
		norm_stats_add(stats, i == chunks - 1 ? last : step, totals + i * 2 * channels,
			       totals + (i * 2 + 1) * channels);
}

void fast_norm_apply(float *out, const float *in, size_t pixels, size_t channels,
		     const float *scale, const float *shift, bool silu, size_t threads)
{
	size_t chunks = chunk_count(pixels, channels), step = chunk_pixels(channels);
	size_t last = pixels - (chunks - 1) * step;

#pragma omp parallel for num_threads((int)threads) schedule(static)
	for (size_t i = 0; i < chunks; i++) {
		size_t at = i * step * channels, n = i == chunks - 1 ? last : step;

		if (silu)
			scale_silu_pixels(out + at, in + at, n, channels, scale, shift);
		else
			scale_pixels(out + at, in + at, n, channels, scale, shift);
	}
}

/* -- softmax ------------------------------------------------------------------------------------- */

VECTOR_CLONES static float softmax_row(float *row, size_t n)
{
	float highest = row[0], sum = 0;

#pragma omp simd reduction(max : highest)
	for (size_t i = 0; i < n; i++)
		highest = row[i] > highest ? row[i] : highest;
#pragma omp simd reduction(+ : sum)
	for (size_t i = 0; i < n; i++) {
		row[i] = fast_exp(row[i] - highest);
		sum += row[i];
	}
	return sum;
}

void fast_softmax_numerators(float *scores, float *sums, size_t rows, size_t columns,
			     size_t threads)
{
#pragma omp parallel for num_threads((int)threads) schedule(static)
	for (size_t r = 0; r < rows; r++)
		sums[r] = softmax_row(scores + r * columns, columns);
}

void fast_divide_rows(float *x, const float *sums, size_t rows, size_t columns)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t i = 0; i < columns; i++)
			x[r * columns + i] /= sums[r];
}
