/* What tests of layers share: numbers, and every engine there is. */
#ifndef LATENTD_TESTS_LAYER_TESTING_H
#define LATENTD_TESTS_LAYER_TESTING_H

#include "vae/vae_engine.h"

#include <stdint.h>

enum { FAST = 4 };

/* An engine, with the kernels of one set of instructions, if it has some and the machine runs them. */
struct variant {
	const struct vae_engine_ops *ops;
	const char *isa;
};

extern const struct variant naive;
extern const struct variant fast[FAST];
/* The one in bfloat16, for machines that have it: skips the test on others. */
extern const struct variant narrow;
void need_bf16(void);

struct vae_engine *open_engine(const struct variant *v, size_t threads);
/* The same numbers in every run, in [-1, 1); to be freed. */
float *values(size_t n, uint32_t seed);
double max_abs(const float *a, const float *b, size_t n);

#endif
