/* cpu_kernels_body.h in vectors of 4 that the compiler maps to what the machine has: SSE2, NEON or none. */
#include "vae/cpu_kernels.h"

#include <string.h>

#define LANES	      4
#define PANEL_VECTORS 2
#define KERNELS	      cpu_kernels_portable
#define KERNELS_ISA   "portable"

typedef float vf __attribute__((vector_size(16)));
typedef int vi __attribute__((vector_size(16)));

static inline vf v_set1(float x)
{
	return (vf){x, x, x, x};
}

static inline vf v_load(const float *p)
{
	vf x;

	memcpy(&x, p, sizeof(x));
	return x;
}

static inline void v_store(float *p, vf x)
{
	memcpy(p, &x, sizeof(x));
}

static inline vf v_fma(vf a, vf b, vf c)
{
	return a * b + c;
}

/* As the machine's own: b where either is NaN. */
static inline vf v_min(vf a, vf b)
{
	vi less = a < b;

	return (vf)(((vi)a & less) | ((vi)b & ~less));
}

static inline vf v_max(vf a, vf b)
{
	vi more = a > b;

	return (vf)(((vi)a & more) | ((vi)b & ~more));
}

/* 2^n, where n lies in the low bits of 1.5 * 2^23 + n */
static inline vf v_power(vf shifted)
{
	return (vf)(((vi)shifted + 127) << 23);
}

#include "vae/cpu_kernels_body.h"
