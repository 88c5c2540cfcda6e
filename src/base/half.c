/*
 * The portable code says what the values are. Packing converts every latent, so arrays of floats have a second way, by
 * F16C, with the same results.
 */
#include "base/half.h"

#include "base/cpu_isa.h"

#include <stdbool.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

static uint32_t float_bits(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static float bits_float(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

uint16_t half_from_float(float f)
{
	uint32_t bits = float_bits(f);
	uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
	uint32_t mantissa, half, rest, halfway, shift;

	if (magnitude > 0x7f800000u) /* NaN: quiet, payload's top bits kept */
		return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x1ffu));
	if (magnitude >= 0x477ff000u) /* 65520 and more round to infinity */
		return (uint16_t)(sign | 0x7c00u);
	if (magnitude < 0x33000000u) /* below half of the smallest subnormal */
		return (uint16_t)sign;
	if (magnitude >= 0x38800000u) { /* normal: rebias the exponent, 13 bits go */
		half = (magnitude - 0x38000000u) >> 13;
		rest = magnitude & 0x1fffu;
		halfway = 0x1000u;
	} else { /* subnormal: the mantissa with its hidden bit, shifted into place */
		shift = 126u - (magnitude >> 23);
		mantissa = (magnitude & 0x7fffffu) | 0x800000u;
		half = mantissa >> shift;
		rest = mantissa & ((1u << shift) - 1);
		halfway = 1u << (shift - 1);
	}
	if (rest > halfway || (rest == halfway && (half & 1u)))
		half++;
	return (uint16_t)(sign | half);
}

float half_to_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
	uint32_t exponent = h >> 10 & 31u, mantissa = h & 0x3ffu;

	if (exponent == 31)
		return bits_float(sign | 0x7f800000u | mantissa << 13);
	if (exponent > 0)
		return bits_float(sign | (exponent + 112) << 23 | mantissa << 13);
	/* zero or subnormal: mantissa * 2^-24, exact in float */
	return bits_float(sign | float_bits((float)mantissa * 0x1p-24f));
}

uint16_t bfloat16_from_float(float f)
{
	uint32_t bits = float_bits(f);

	if ((bits & 0x7fffffffu) > 0x7f800000u) /* NaN: quiet, payload's top bits kept */
		return (uint16_t)(bits >> 16 | 0x40u);
	return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float bfloat16_to_float(uint16_t b)
{
	return bits_float((uint32_t)b << 16);
}

#ifdef __x86_64__
static bool has_f16c(void)
{
	/* Every processor with AVX2 has F16C; clang 14 cannot ask for the latter. */
	return (cpu_features() & CPU_AVX2) != 0;
}

/* As many as fill whole vectors, which it returns. */
__attribute__((target("avx,f16c"))) static size_t from_vectors(uint16_t *out, const float *in,
							       size_t n, size_t *not_finite)
{
	const __m128i exponent = _mm_set1_epi16(0x7c00);
	size_t done = 0, bytes = 0;

	for (; n - done >= 8; done += 8) {
		__m128i halves =
		    _mm256_cvtps_ph(_mm256_loadu_ps(in + done), _MM_FROUND_TO_NEAREST_INT);
		__m128i bad = _mm_cmpeq_epi16(_mm_and_si128(halves, exponent), exponent);

		_mm_storeu_si128((__m128i *)(out + done), halves);
		bytes += (size_t)__builtin_popcount((unsigned)_mm_movemask_epi8(bad));
	}
	*not_finite = bytes / 2;
	return done;
}
#else
static bool has_f16c(void)
{
	return false;
}

static size_t from_vectors(uint16_t *out, const float *in, size_t n, size_t *not_finite)
{
	(void)out, (void)in, (void)n, (void)not_finite;
	return 0;
}
#endif

size_t half_from_floats(uint16_t *out, const float *in, size_t n)
{
	size_t not_finite = 0;
	size_t i = has_f16c() ? from_vectors(out, in, n, &not_finite) : 0;

	for (; i < n; i++) {
		out[i] = half_from_float(in[i]);
		not_finite += (out[i] & 0x7c00u) == 0x7c00u;
	}
	return not_finite;
}

size_t bfloat16_from_floats(uint16_t *out, const float *in, size_t n)
{
	size_t not_finite = 0;

	for (size_t i = 0; i < n; i++) {
		out[i] = bfloat16_from_float(in[i]);
		not_finite += (out[i] & 0x7f80u) == 0x7f80u;
	}
	return not_finite;
}

void half_to_floats(float *out, const uint16_t *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = half_to_float(in[i]);
}

void bfloat16_to_floats(float *out, const uint16_t *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = bfloat16_to_float(in[i]);
}
