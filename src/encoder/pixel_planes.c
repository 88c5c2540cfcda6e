/*
 * Sixteen pixels at a time where there is AVX2: three loads, nine shuffles that pick each channel's bytes, then a division for
 * eight values. Dividing costs less than a table here, and has the same roundings.
 */
#include "encoder/pixel_planes.h"

#include "base/cpu_isa.h"
#include "base/half.h"

#include <assert.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* Values of one plane; by what follows, from and to are counted in values. */
static void put_value(void *out, size_t at, enum dtype dtype, enum pixel_range range, uint8_t x)
{
	float unit = (float)x / 255.0f;
	float value = range == PIXEL_SIGNED ? 2.0f * unit - 1.0f : unit;

	if (dtype == DTYPE_U8)
		((uint8_t *)out)[at] = x;
	else if (dtype == DTYPE_F16)
		((uint16_t *)out)[at] = half_from_float(value);
	else
		((float *)out)[at] = value;
}

static void planes_from(size_t first, void *out, enum dtype dtype, enum pixel_range range,
			const uint8_t *pixels, size_t n)
{
	for (size_t i = first; i < n; i++) {
		for (size_t c = 0; c < 3; c++)
			put_value(out, c * n + i, dtype, range, pixels[3 * i + c]);
	}
}

void pixel_planes_plain(void *out, enum dtype dtype, enum pixel_range range, const uint8_t *pixels,
			size_t n)
{
	assert(dtype == DTYPE_F16 || dtype == DTYPE_F32 || dtype == DTYPE_U8);
	planes_from(0, out, dtype, range, pixels, n);
}

#ifdef __x86_64__
/* Which byte of load l is value i of channel c: byte 3 * i + c - 16 * l, where it lies in there. */
static const int8_t picks[3][3][16] = {
#define NO -1
    {{0, 3, 6, 9, 12, 15, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, NO, 2, 5, 8, 11, 14, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 1, 4, 7, 10, 13}},
    {{1, 4, 7, 10, 13, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, 0, 3, 6, 9, 12, 15, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 2, 5, 8, 11, 14}},
    {{2, 5, 8, 11, 14, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, 1, 4, 7, 10, 13, NO, NO, NO, NO, NO, NO},
     {NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 0, 3, 6, 9, 12, 15}},
#undef NO
};

__attribute__((target("avx2,f16c"))) static void put_sixteen(void *out, size_t at, enum dtype dtype,
							     bool is_signed, __m128i bytes)
{
	const __m256 whole = _mm256_set1_ps(255.0f), two = _mm256_set1_ps(2.0f),
		     one = _mm256_set1_ps(1.0f);

	if (dtype == DTYPE_U8) {
		_mm_storeu_si128((__m128i *)((uint8_t *)out + at), bytes);
		return;
	}
	for (size_t half = 0; half < 2; half++, at += 8, bytes = _mm_srli_si128(bytes, 8)) {
		__m256 x = _mm256_div_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), whole);

		if (is_signed)
			x = _mm256_sub_ps(_mm256_mul_ps(two, x), one);
		if (dtype == DTYPE_F32)
			_mm256_storeu_ps((float *)out + at, x);
		else
			_mm_storeu_si128((__m128i *)((uint16_t *)out + at),
					 _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
	}
}

/* As many pixels as fill whole vectors, which it returns. */
__attribute__((target("avx2,f16c"))) static size_t planes_by_vectors(void *out, enum dtype dtype,
								     enum pixel_range range,
								     const uint8_t *pixels,
								     size_t n)
{
	size_t done = 0;

	for (; n - done >= 16; done += 16, pixels += 48) {
		__m128i loads[3];

		for (size_t l = 0; l < 3; l++)
			loads[l] = _mm_loadu_si128((const __m128i *)(pixels + 16 * l));
		for (size_t c = 0; c < 3; c++) {
			__m128i bytes = _mm_setzero_si128();

			for (size_t l = 0; l < 3; l++)
				bytes = _mm_or_si128(
				    bytes,
				    _mm_shuffle_epi8(
					loads[l], _mm_loadu_si128((const __m128i *)picks[c][l])));
			put_sixteen(out, c * n + done, dtype, range == PIXEL_SIGNED, bytes);
		}
	}
	return done;
}

static size_t fast_part(void *out, enum dtype dtype, enum pixel_range range, const uint8_t *pixels,
			size_t n)
{
	/* Every processor with AVX2 has F16C; clang 14 cannot ask for the latter. */
	return cpu_features() & CPU_AVX2 ? planes_by_vectors(out, dtype, range, pixels, n) : 0;
}
#else
static size_t fast_part(void *out, enum dtype dtype, enum pixel_range range, const uint8_t *pixels,
			size_t n)
{
	(void)out, (void)dtype, (void)range, (void)pixels, (void)n;
	return 0;
}
#endif

void pixel_planes(void *out, enum dtype dtype, enum pixel_range range, const uint8_t *pixels,
		  size_t n)
{
	assert(dtype == DTYPE_F16 || dtype == DTYPE_F32 || dtype == DTYPE_U8);
	planes_from(fast_part(out, dtype, range, pixels, n), out, dtype, range, pixels, n);
}
