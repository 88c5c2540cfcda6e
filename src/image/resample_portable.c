/*
 * The definition of every kernel in plain C, for the vectoriser of -O3. Rows are not batched and
 * weights not packed.
 */
#include "image/resample_kernels.h"

/* Sums of a piece of a row stay in the first-level cache while all its input rows go by. */
#define BLOCK 1024

static void pack(const int32_t *weights, uint32_t *words)
{
	words[0] = (uint32_t)weights[0];
}

static uint8_t to_sample(uint32_t sum)
{
	int32_t value = (int32_t)sum >> WEIGHT_BITS;

	return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void across(const struct axis *a, const uint8_t *const *rows, uint8_t *batch,
		   uint8_t *const *outs)
{
	uint8_t *out = outs[0];

	(void)batch;
	for (size_t x = 0; x < a->count; x++, out += 3) {
		const uint8_t *p = rows[0] + a->taps[x].first * 3;
		const uint32_t *w = a->words + x * a->stride;
		uint32_t r = WEIGHT_HALF, g = WEIGHT_HALF, b = WEIGHT_HALF;

		for (size_t k = 0; k < a->taps[x].count; k++, p += 3) {
			r += p[0] * w[k];
			g += p[1] * w[k];
			b += p[2] * w[k];
		}
		out[0] = to_sample(r);
		out[1] = to_sample(g);
		out[2] = to_sample(b);
	}
}

static void down_block(const uint8_t *const *rows, size_t offset, const uint32_t *words,
		       size_t count, size_t n, uint8_t *out)
{
	uint32_t sums[BLOCK];

	for (size_t i = 0; i < n; i++)
		sums[i] = WEIGHT_HALF;
	for (size_t k = 0; k < count; k++) {
		const uint8_t *in = rows[k] + offset;
		uint32_t weight = words[k];

		for (size_t i = 0; i < n; i++)
			sums[i] += in[i] * weight;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = to_sample(sums[i]);
}

static void down(const uint8_t *const *rows, const uint32_t *words, size_t groups, size_t n,
		 uint8_t *out)
{
	for (size_t x = 0; x < n; x += BLOCK)
		down_block(rows, x, words, groups, n - x < BLOCK ? n - x : BLOCK, out + x);
}

void area_across_from(const struct axis *a, size_t first, const uint8_t *row, float *out)
{
	for (size_t x = first; x < a->count; x++) {
		const uint8_t *p = row + a->taps[x].first * 3;
		const float *w = a->weights + x * a->stride;
		float r = 0.0f, g = 0.0f, b = 0.0f;

		for (size_t k = 0; k < a->taps[x].count; k++, p += 3) {
			r += (float)p[0] * w[k];
			g += (float)p[1] * w[k];
			b += (float)p[2] * w[k];
		}
		out[x * 3] = r;
		out[x * 3 + 1] = g;
		out[x * 3 + 2] = b;
	}
}

size_t axis_outputs_before(const struct axis *a, size_t inputs)
{
	size_t n = a->count;

	while (n > 0 && a->taps[n - 1].first + a->taps[n - 1].count > inputs)
		n--;
	return n;
}

static void area_across(const struct axis *a, const uint8_t *row, size_t width, float *out)
{
	(void)width;
	area_across_from(a, 0, row, out);
}

static void area_down_block(const float *const *rows, size_t offset, const float *weights,
			    size_t count, size_t n, uint8_t *out)
{
	float sums[BLOCK] = {0.0f};

	for (size_t k = 0; k < count; k++) {
		const float *in = rows[k] + offset;
		float weight = weights[k];

		for (size_t i = 0; i < n; i++)
			sums[i] += in[i] * weight;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = area_sample(sums[i]);
}

static void area_down(const float *const *rows, const float *weights, size_t count, size_t n,
		      uint8_t *out)
{
	for (size_t x = 0; x < n; x += BLOCK)
		area_down_block(rows, x, weights, count, n - x < BLOCK ? n - x : BLOCK, out + x);
}

/* OpenCV's sum is an int, and overflows as one: a mean of over 8 million samples. */
static void area_mean_block(const float *const *rows, size_t offset, size_t count, size_t samples,
			    size_t n, uint8_t *out)
{
	uint32_t sums[BLOCK] = {0};
	float scale = 1.0f / (float)samples;

	for (size_t k = 0; k < count; k++) {
		const float *in = rows[k] + offset;

		for (size_t i = 0; i < n; i++)
			sums[i] += (uint32_t)(int32_t)in[i];
	}
	if (samples == 4 && count == 2)
		for (size_t i = 0; i < n; i++)
			out[i] = (uint8_t)((sums[i] + 2) >> 2);
	else
		for (size_t i = 0; i < n; i++)
			out[i] = area_sample((float)(int32_t)sums[i] * scale);
}

static void area_mean(const float *const *rows, size_t count, size_t samples, size_t n,
		      uint8_t *out)
{
	for (size_t x = 0; x < n; x += BLOCK)
		area_mean_block(rows, x, count, samples, n - x < BLOCK ? n - x : BLOCK, out + x);
}

static const struct area_kernels area = {area_across, area_down, area_mean};

const struct resample_kernels resample_portable = {
    .isa = "portable",
    .lanes = 1,
    .group = 1,
    .words = 1,
    .pixel_bytes = 0,
    .pack = pack,
    .across = across,
    .down = down,
    .area = &area,
};
