/*
 * AVX2. A weight is split into a signed upper part and 15 lower bits, so that vpmaddwd multiplies
 * two neighbours at a time; the parts' sums are put together at the end. A batch holds, for each
 * pair of pixels and each of four rows, 16 bytes: the reds of both as 16-bit numbers, the greens,
 * the blues, zeros. Two rows fill a register, and a pair's weights are one broadcast.
 *
 * A packed pair: the two upper parts, the two lower parts.
 */
#include "image/resample_kernels.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#define AVX2	  __attribute__((target("avx2")))
#define LOW_BITS  15
#define PAIR_STEP 64 /* bytes of a pair in all lanes */

static uint32_t two(int32_t first, int32_t second)
{
	return (uint32_t)(first & 0xffff) | (uint32_t)second << 16;
}

static void pack(const int32_t *weights, uint32_t *words)
{
	const int32_t low = (1 << LOW_BITS) - 1;

	words[0] = two(weights[0] >> LOW_BITS, weights[1] >> LOW_BITS);
	words[1] = two(weights[0] & low, weights[1] & low);
}

AVX2 static inline __m256i load_two(const uint8_t *first, const uint8_t *second)
{
	__m128i low = _mm_loadu_si128((const __m128i *)first);

	return _mm256_inserti128_si256(_mm256_castsi128_si256(low),
				       _mm_loadu_si128((const __m128i *)second), 1);
}

/* Four pixels of each row, 12 bytes of 16, to two pairs. */
AVX2 static inline void gather_four(const uint8_t *const *rows, size_t offset, uint8_t *out)
{
	const __m256i first =
	    _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 0, -1, 3, -1,
			     1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
	const __m256i second =
	    _mm256_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1, 6, -1, 9,
			     -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
	__m256i front = load_two(rows[0] + offset, rows[1] + offset);
	__m256i back = load_two(rows[2] + offset, rows[3] + offset);

	_mm256_store_si256((__m256i *)out, _mm256_shuffle_epi8(front, first));
	_mm256_store_si256((__m256i *)(out + 32), _mm256_shuffle_epi8(back, first));
	_mm256_store_si256((__m256i *)(out + 64), _mm256_shuffle_epi8(front, second));
	_mm256_store_si256((__m256i *)(out + 96), _mm256_shuffle_epi8(back, second));
}

/* One output in four rows: rows 0 and 1, rows 2 and 3. Before the shift. */
struct four_rows {
	__m256i front, back;
};

AVX2 static inline __m256i join(__m256i high, __m256i low)
{
	return _mm256_add_epi32(_mm256_add_epi32(_mm256_slli_epi32(high, LOW_BITS), low),
				_mm256_set1_epi32(WEIGHT_HALF));
}

AVX2 static inline struct four_rows across_one(const uint8_t *in, const uint32_t *words,
					       size_t groups)
{
	__m256i front_high = _mm256_setzero_si256(), front_low = front_high;
	__m256i back_high = front_high, back_low = front_high;

	for (size_t k = 0; k < groups; k++, in += PAIR_STEP, words += 2) {
		__m256i front = _mm256_load_si256((const __m256i *)in);
		__m256i back = _mm256_load_si256((const __m256i *)(in + 32));
		__m256i high = _mm256_set1_epi32((int32_t)words[0]);
		__m256i low = _mm256_set1_epi32((int32_t)words[1]);

		front_high = _mm256_add_epi32(front_high, _mm256_madd_epi16(front, high));
		front_low = _mm256_add_epi32(front_low, _mm256_madd_epi16(front, low));
		back_high = _mm256_add_epi32(back_high, _mm256_madd_epi16(back, high));
		back_low = _mm256_add_epi32(back_low, _mm256_madd_epi16(back, low));
	}
	return (struct four_rows){join(front_high, front_low), join(back_high, back_low)};
}

/* Sums to samples, saturated; 8 in each half of @a, then those of @b, @c and @d. */
AVX2 static inline __m256i to_samples(__m256i a, __m256i b, __m256i c, __m256i d)
{
	__m256i ab = _mm256_packs_epi32(_mm256_srai_epi32(a, WEIGHT_BITS),
					_mm256_srai_epi32(b, WEIGHT_BITS));
	__m256i cd = _mm256_packs_epi32(_mm256_srai_epi32(c, WEIGHT_BITS),
					_mm256_srai_epi32(d, WEIGHT_BITS));

	return _mm256_packus_epi16(ab, cd);
}

/* Four pixels of four bytes in each half: 12 bytes to each row, and 4 of garbage. */
AVX2 static inline void put_pixels(__m256i samples, uint8_t *first, uint8_t *second)
{
	const __m256i close_up =
	    _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, 0, 1, 2, 4, 5,
			     6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);

	samples = _mm256_shuffle_epi8(samples, close_up);
	_mm_storeu_si128((__m128i *)first, _mm256_castsi256_si128(samples));
	_mm_storeu_si128((__m128i *)second, _mm256_extracti128_si256(samples, 1));
}

AVX2 static void across(const struct axis *a, const uint8_t *const *rows, uint8_t *batch,
			uint8_t *const *out)
{
	size_t gathered = 0;

	for (size_t x = 0; x < a->count; x += OUTPUT_GROUP) {
		struct four_rows sum[OUTPUT_GROUP];

		for (size_t i = 0; i < OUTPUT_GROUP; i++) {
			const struct tap *tap = &a->taps[x + i];

			for (; gathered < tap->first + tap->count; gathered += 2)
				gather_four(rows, gathered * 6, batch + gathered * PAIR_STEP);
			sum[i] = across_one(batch + tap->first * PAIR_STEP,
					    a->words + (x + i) * a->stride, tap->count);
		}
		put_pixels(to_samples(sum[0].front, sum[1].front, sum[2].front, sum[3].front),
			   out[0] + x * 3, out[1] + x * 3);
		put_pixels(to_samples(sum[0].back, sum[1].back, sum[2].back, sum[3].back),
			   out[2] + x * 3, out[3] + x * 3);
	}
}

/* Sums of 32 neighbours, each register two times 4: 0-3 and 16-19, 4-7 and 20-23, ... */
struct columns {
	__m256i high[4], low[4];
};

AVX2 static inline void add_pairs(struct columns *c, size_t i, __m256i pairs, __m256i high,
				  __m256i low)
{
	c->high[i] = _mm256_add_epi32(c->high[i], _mm256_madd_epi16(pairs, high));
	c->low[i] = _mm256_add_epi32(c->low[i], _mm256_madd_epi16(pairs, low));
}

AVX2 static inline __m256i down_32(const uint8_t *const *rows, size_t x, const uint32_t *words,
				   size_t groups)
{
	const __m256i zero = _mm256_setzero_si256();
	struct columns c = {{zero, zero, zero, zero}, {zero, zero, zero, zero}};

	for (size_t k = 0; k < groups; k++) {
		__m256i a = _mm256_loadu_si256((const __m256i *)(rows[2 * k] + x));
		__m256i b = _mm256_loadu_si256((const __m256i *)(rows[2 * k + 1] + x));
		__m256i high = _mm256_set1_epi32((int32_t)words[2 * k]);
		__m256i low = _mm256_set1_epi32((int32_t)words[2 * k + 1]);
		__m256i near = _mm256_unpacklo_epi8(a, b), far = _mm256_unpackhi_epi8(a, b);

		add_pairs(&c, 0, _mm256_unpacklo_epi8(near, zero), high, low);
		add_pairs(&c, 1, _mm256_unpackhi_epi8(near, zero), high, low);
		add_pairs(&c, 2, _mm256_unpacklo_epi8(far, zero), high, low);
		add_pairs(&c, 3, _mm256_unpackhi_epi8(far, zero), high, low);
	}
	return to_samples(join(c.high[0], c.low[0]), join(c.high[1], c.low[1]),
			  join(c.high[2], c.low[2]), join(c.high[3], c.low[3]));
}

/* @n of 32 bytes, for the end of a row that has no slack. */
AVX2 static inline void put_some(__m256i samples, size_t n, uint8_t *out)
{
	uint8_t all[32];

	_mm256_storeu_si256((__m256i *)all, samples);
	memcpy(out, all, n);
}

AVX2 static void down(const uint8_t *const *rows, const uint32_t *words, size_t groups, size_t n,
		      uint8_t *out)
{
	size_t x = 0;

	for (; x + 32 <= n; x += 32)
		_mm256_storeu_si256((__m256i *)(out + x), down_32(rows, x, words, groups));
	if (x < n)
		put_some(down_32(rows, x, words, groups), n - x, out + x);
}

AVX2 static inline __m128 load_pixel(const uint8_t *p)
{
	int32_t pixel;

	memcpy(&pixel, p, sizeof(pixel));
	return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(pixel)));
}

/* Channels side by side, the fourth of no use: each pixel is read with the byte behind it. */
AVX2 static void area_across(const struct axis *a, const uint8_t *row, size_t width, float *out)
{
	size_t inner = axis_outputs_before(a, width - 1);

	for (size_t x = 0; x < inner; x++) {
		const uint8_t *p = row + a->taps[x].first * 3;
		const float *w = a->weights + x * a->stride;
		__m128 sum = _mm_setzero_ps();

		for (size_t k = 0; k < a->taps[x].count; k++, p += 3)
			sum = _mm_add_ps(sum, _mm_mul_ps(load_pixel(p), _mm_broadcast_ss(w + k)));
		_mm_storeu_ps(out + x * 3, sum);
	}
	area_across_from(a, inner, row, out);
}

/* Integers that fit a byte; they are clipped while they are packed. */
AVX2 static inline __m256i four_to_samples(const __m256i v[4])
{
	const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
	__m256i packed =
	    _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));

	return _mm256_permutevar8x32_epi32(packed, order);
}

AVX2 static inline __m256i area_down_32(const float *const *rows, size_t x, const float *weights,
					size_t count)
{
	__m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
			  _mm256_setzero_ps()};
	__m256i rounded[4];

	for (size_t k = 0; k < count; k++) {
		__m256 weight = _mm256_broadcast_ss(weights + k);

		for (size_t i = 0; i < 4; i++) {
			__m256 in = _mm256_loadu_ps(rows[k] + x + i * 8);

			sums[i] = _mm256_add_ps(sums[i], _mm256_mul_ps(in, weight));
		}
	}
	for (size_t i = 0; i < 4; i++)
		rounded[i] = _mm256_cvtps_epi32(sums[i]);
	return four_to_samples(rounded);
}

AVX2 static void area_down(const float *const *rows, const float *weights, size_t count, size_t n,
			   uint8_t *out)
{
	size_t x = 0;

	for (; x + 32 <= n; x += 32)
		_mm256_storeu_si256((__m256i *)(out + x), area_down_32(rows, x, weights, count));
	if (x < n)
		put_some(area_down_32(rows, x, weights, count), n - x, out + x);
}

AVX2 static inline __m256i area_mean_32(const float *const *rows, size_t x, size_t count,
					size_t samples)
{
	const __m256 scale = _mm256_set1_ps(1.0f / (float)samples);
	__m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
			   _mm256_setzero_si256()};

	for (size_t k = 0; k < count; k++) {
		for (size_t i = 0; i < 4; i++) {
			__m256 in = _mm256_loadu_ps(rows[k] + x + i * 8);

			sums[i] = _mm256_add_epi32(sums[i], _mm256_cvttps_epi32(in));
		}
	}
	for (size_t i = 0; i < 4; i++) {
		if (samples == 4 && count == 2)
			sums[i] =
			    _mm256_srli_epi32(_mm256_add_epi32(sums[i], _mm256_set1_epi32(2)), 2);
		else
			sums[i] =
			    _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums[i]), scale));
	}
	return four_to_samples(sums);
}

AVX2 static void area_mean(const float *const *rows, size_t count, size_t samples, size_t n,
			   uint8_t *out)
{
	size_t x = 0;

	for (; x + 32 <= n; x += 32)
		_mm256_storeu_si256((__m256i *)(out + x), area_mean_32(rows, x, count, samples));
	if (x < n)
		put_some(area_mean_32(rows, x, count, samples), n - x, out + x);
}

const struct area_kernels resample_area_avx2 = {area_across, area_down, area_mean};

const struct resample_kernels resample_avx2 = {
    .isa = "avx2",
    .lanes = 4,
    .group = 2,
    .words = 2,
    .pixel_bytes = 8,
    .pack = pack,
    .across = across,
    .down = down,
    .area = &resample_area_avx2,
};

#endif
