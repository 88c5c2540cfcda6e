/*
 * AVX-512 with VNNI. A weight is three signed digits to the base 256, so that vpdpbusd multiplies
 * four neighbours at a time with one digit each; the digits' sums are put together at the end. A
 * batch holds, for each four pixels and each of four rows, 16 bytes: four reds, four greens, four
 * blues, zeros. Four rows fill a register, and the digits of four weights are one broadcast.
 *
 * Packed four weights: their lowest digits, the middle ones, the highest ones. INTER_AREA runs on
 * AVX2: its loops wait for memory.
 */
#include "image/resample_kernels.h"

#ifdef __x86_64__

#include <immintrin.h>

#define AVX512	  __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define FOUR_STEP 64 /* bytes of four pixels in all lanes */

static void pack(const int32_t *weights, uint32_t *words)
{
	words[0] = words[1] = words[2] = 0;
	for (size_t i = 0; i < 4; i++) {
		int32_t low = (int8_t)weights[i], rest = (weights[i] - low) / 256;
		int32_t middle = (int8_t)rest, high = (rest - middle) / 256;

		words[0] |= (uint32_t)(low & 0xff) << 8 * i;
		words[1] |= (uint32_t)(middle & 0xff) << 8 * i;
		words[2] |= (uint32_t)(high & 0xff) << 8 * i;
	}
}

AVX512 static inline __m256i load_two(const uint8_t *first, const uint8_t *second)
{
	__m128i low = _mm_loadu_si128((const __m128i *)first);

	return _mm256_inserti128_si256(_mm256_castsi128_si256(low),
				       _mm_loadu_si128((const __m128i *)second), 1);
}

/* Four pixels of each row, 12 bytes of 16. */
AVX512 static inline void gather_four(const uint8_t *const *rows, size_t offset, uint8_t *out)
{
	const __m512i order = _mm512_broadcast_i32x4(
	    _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
	__m256i front = load_two(rows[0] + offset, rows[1] + offset);
	__m256i back = load_two(rows[2] + offset, rows[3] + offset);
	__m512i pixels = _mm512_inserti64x4(_mm512_castsi256_si512(front), back, 1);

	_mm512_store_si512(out, _mm512_shuffle_epi8(pixels, order));
}

AVX512 static inline __m512i join(__m512i low, __m512i middle, __m512i high)
{
	__m512i upper = _mm512_slli_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, 8), middle), 8);

	return _mm512_add_epi32(_mm512_add_epi32(upper, low), _mm512_set1_epi32(WEIGHT_HALF));
}

AVX512 static inline __m512i across_one(const uint8_t *in, const uint32_t *words, size_t groups)
{
	__m512i low = _mm512_setzero_si512(), middle = low, high = low;

	for (size_t k = 0; k < groups; k++, in += FOUR_STEP, words += 3) {
		__m512i pixels = _mm512_load_si512(in);

		low = _mm512_dpbusd_epi32(low, pixels, _mm512_set1_epi32((int32_t)words[0]));
		middle = _mm512_dpbusd_epi32(middle, pixels, _mm512_set1_epi32((int32_t)words[1]));
		high = _mm512_dpbusd_epi32(high, pixels, _mm512_set1_epi32((int32_t)words[2]));
	}
	return join(low, middle, high);
}

/* Sums to samples, saturated; in each quarter 4 of @a, then those of @b, @c and @d. */
AVX512 static inline __m512i to_samples(__m512i a, __m512i b, __m512i c, __m512i d)
{
	__m512i ab = _mm512_packs_epi32(_mm512_srai_epi32(a, WEIGHT_BITS),
					_mm512_srai_epi32(b, WEIGHT_BITS));
	__m512i cd = _mm512_packs_epi32(_mm512_srai_epi32(c, WEIGHT_BITS),
					_mm512_srai_epi32(d, WEIGHT_BITS));

	return _mm512_packus_epi16(ab, cd);
}

/* Four pixels of four bytes in each quarter: 12 bytes to each row, and 4 of garbage. */
AVX512 static inline void put_pixels(__m512i samples, uint8_t *const *rows, size_t offset)
{
	const __m512i close_up = _mm512_broadcast_i32x4(
	    _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));

	samples = _mm512_shuffle_epi8(samples, close_up);
	_mm_storeu_si128((__m128i *)(rows[0] + offset), _mm512_castsi512_si128(samples));
	_mm_storeu_si128((__m128i *)(rows[1] + offset), _mm512_extracti32x4_epi32(samples, 1));
	_mm_storeu_si128((__m128i *)(rows[2] + offset), _mm512_extracti32x4_epi32(samples, 2));
	_mm_storeu_si128((__m128i *)(rows[3] + offset), _mm512_extracti32x4_epi32(samples, 3));
}

AVX512 static void across(const struct axis *a, const uint8_t *const *rows, uint8_t *batch,
			  uint8_t *const *out)
{
	size_t gathered = 0;

	for (size_t x = 0; x < a->count; x += OUTPUT_GROUP) {
		__m512i sum[OUTPUT_GROUP];

		for (size_t i = 0; i < OUTPUT_GROUP; i++) {
			const struct tap *tap = &a->taps[x + i];

			for (; gathered < tap->first + tap->count; gathered++)
				gather_four(rows, gathered * 12, batch + gathered * FOUR_STEP);
			sum[i] = across_one(batch + tap->first * FOUR_STEP,
					    a->words + (x + i) * a->stride, tap->count);
		}
		put_pixels(to_samples(sum[0], sum[1], sum[2], sum[3]), out, x * 3);
	}
}

/* Sums of 64 neighbours, each register four times 4: 0-3, 16-19, 32-35, 48-51; 4-7, ... */
struct columns {
	__m512i low[4], middle[4], high[4];
};

AVX512 static inline void add_fours(struct columns *c, size_t i, __m512i fours,
				    const uint32_t *words)
{
	c->low[i] = _mm512_dpbusd_epi32(c->low[i], fours, _mm512_set1_epi32((int32_t)words[0]));
	c->middle[i] =
	    _mm512_dpbusd_epi32(c->middle[i], fours, _mm512_set1_epi32((int32_t)words[1]));
	c->high[i] = _mm512_dpbusd_epi32(c->high[i], fours, _mm512_set1_epi32((int32_t)words[2]));
}

AVX512 static inline __m512i down_64(const uint8_t *const *rows, size_t x, const uint32_t *words,
				     size_t groups)
{
	struct columns c;

	for (size_t i = 0; i < 4; i++)
		c.low[i] = c.middle[i] = c.high[i] = _mm512_setzero_si512();
	for (size_t k = 0; k < groups; k++, rows += 4, words += 3) {
		__m512i r0 = _mm512_loadu_si512(rows[0] + x), r1 = _mm512_loadu_si512(rows[1] + x);
		__m512i r2 = _mm512_loadu_si512(rows[2] + x), r3 = _mm512_loadu_si512(rows[3] + x);
		__m512i near01 = _mm512_unpacklo_epi8(r0, r1), far01 = _mm512_unpackhi_epi8(r0, r1);
		__m512i near23 = _mm512_unpacklo_epi8(r2, r3), far23 = _mm512_unpackhi_epi8(r2, r3);

		add_fours(&c, 0, _mm512_unpacklo_epi16(near01, near23), words);
		add_fours(&c, 1, _mm512_unpackhi_epi16(near01, near23), words);
		add_fours(&c, 2, _mm512_unpacklo_epi16(far01, far23), words);
		add_fours(&c, 3, _mm512_unpackhi_epi16(far01, far23), words);
	}
	return to_samples(
	    join(c.low[0], c.middle[0], c.high[0]), join(c.low[1], c.middle[1], c.high[1]),
	    join(c.low[2], c.middle[2], c.high[2]), join(c.low[3], c.middle[3], c.high[3]));
}

AVX512 static void down(const uint8_t *const *rows, const uint32_t *words, size_t groups, size_t n,
			uint8_t *out)
{
	size_t x = 0;

	for (; x + 64 <= n; x += 64)
		_mm512_storeu_si512(out + x, down_64(rows, x, words, groups));
	if (x < n)
		_mm512_mask_storeu_epi8(out + x, (1ull << (n - x)) - 1,
					down_64(rows, x, words, groups));
}

const struct resample_kernels resample_avx512 = {
    .isa = "avx512",
    .lanes = 4,
    .group = 4,
    .words = 3,
    .pixel_bytes = 4,
    .pack = pack,
    .across = across,
    .down = down,
    .area = &resample_area_avx2,
};

#endif
