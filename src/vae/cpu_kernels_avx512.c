/* cpu_kernels_body.h in vectors of 16: 24 sums of the product, 4 of b and 1 of a fill 29 of 32 registers. */
#include "vae/cpu_kernels.h"

#ifdef __x86_64__

#define KERNELS	    cpu_kernels_avx512
#define KERNELS_ISA "avx512"

#include "vae/cpu_vectors_avx512.h"

#include "vae/cpu_kernels_body.h"

#endif
