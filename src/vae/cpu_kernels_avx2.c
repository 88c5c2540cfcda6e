/* cpu_kernels_body.h in vectors of 8: 12 sums of the product, 2 of b and 1 of a fill 15 of 16 registers. */
#include "vae/cpu_kernels.h"

#ifdef __x86_64__

#include <immintrin.h>

#define LANES	      8
#define PANEL_VECTORS 2
#define KERNELS	      cpu_kernels_avx2
#define KERNELS_ISA   "avx2"

typedef __m256 vf;
typedef __m256i vi;

static inline vf v_set1(float x)
{
	return _mm256_set1_ps(x);
}

static inline vf v_load(const float *p)
{
	return _mm256_loadu_ps(p);
}

static inline void v_store(float *p, vf x)
{
	_mm256_storeu_ps(p, x);
}

static inline vf v_fma(vf a, vf b, vf c)
{
	return _mm256_fmadd_ps(a, b, c);
}

static inline vf v_min(vf a, vf b)
{
	return _mm256_min_ps(a, b);
}

static inline vf v_max(vf a, vf b)
{
	return _mm256_max_ps(a, b);
}

/* 2^n, where n lies in the low bits of 1.5 * 2^23 + n */
static inline vf v_power(vf shifted)
{
	vi bits = _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127));

	return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
}

#include "vae/cpu_kernels_body.h"

#endif
