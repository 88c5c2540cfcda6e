/*
 * cpu_kernels_body.h in AVX-512 with products of bfloat16: each float's place of a and b holds two channels, the first
 * one in its lower half, and VDPBF16PS multiplies and adds both. Sums are float32, as everything that is no product.
 */
#include "vae/cpu_kernels.h"

#ifdef __x86_64__

#define KERNELS	    cpu_kernels_bf16
#define KERNELS_ISA "avx512bf16"
#define PACKED	    2

#include "vae/cpu_vectors_avx512.h"

static inline vf v_product(vf a, vf b, vf c)
{
	return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}

/* LANES neighbouring channels, rounded to nearest, ties to even. */
static inline void v_store_run(float *p, vf x)
{
	_mm256_storeu_si256((__m256i_u *)p, (__m256i)_mm512_cvtneps_pbh(x));
}

/* The same channels of two rows. */
static inline vf v_pack_rows(const vf rows[PACKED])
{
	vi low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(rows[0]));
	vi high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(rows[1]));

	return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

#include "vae/cpu_kernels_body.h"

#endif
