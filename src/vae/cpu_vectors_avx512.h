/* The vector operations of cpu_kernels_body.h in AVX-512, for both of its tables. */
#include <immintrin.h>

#define LANES	      16
#define PANEL_VECTORS 4

typedef __m512 vf;
typedef __m512i vi;

static inline vf v_set1(float x)
{
	return _mm512_set1_ps(x);
}

static inline vf v_load(const float *p)
{
	return _mm512_loadu_ps(p);
}

static inline void v_store(float *p, vf x)
{
	_mm512_storeu_ps(p, x);
}

static inline vf v_fma(vf a, vf b, vf c)
{
	return _mm512_fmadd_ps(a, b, c);
}

static inline vf v_min(vf a, vf b)
{
	return _mm512_min_ps(a, b);
}

static inline vf v_max(vf a, vf b)
{
	return _mm512_max_ps(a, b);
}

/* 2^n, where n lies in the low bits of 1.5 * 2^23 + n */
static inline vf v_power(vf shifted)
{
	vi bits = _mm512_add_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(127));

	return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23));
}
