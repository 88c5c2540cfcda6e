#include "tests/unit/layer_testing.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <math.h>

float *values(size_t n, uint32_t seed)
{
	float *x = xcalloc(n, sizeof(*x));
	uint64_t s = seed;

	for (size_t i = 0; i < n; i++) {
		s = s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		x[i] = (float)(int32_t)(s >> 32) * 0x1p-31f;
	}
	return x;
}

double max_abs(const float *a, const float *b, size_t n)
{
	double worst = 0;

	for (size_t i = 0; i < n; i++)
		worst = fmax(worst, isnan(a[i]) ? INFINITY : fabs((double)a[i] - (double)b[i]));
	return worst;
}

const struct variant naive = {&vae_engine_naive, NULL};
const struct variant fast[FAST] = {
    {&vae_engine_onednn, NULL},
    {&vae_engine_winograd, "avx512"},
    {&vae_engine_winograd, "avx2"},
    {&vae_engine_winograd, "portable"},
};

const struct variant narrow = {&vae_engine_winograd_bf16, NULL};

void need_bf16(void)
{
	struct error err = ERROR_INIT;

	if (narrow.ops->check(&err) == 0)
		return;
	print_message("SKIPPED: no AVX512_BF16 here\n");
	skip();
}

struct vae_engine *open_engine(const struct variant *v, size_t threads)
{
	struct error err = ERROR_INIT;
	struct vae_engine *engine = NULL;

	if (v->isa)
		setenv("LATENTD_ISA", v->isa, 1);
	assert_ok(v->ops->open(threads, &engine, &err), &err);
	unsetenv("LATENTD_ISA");
	return engine;
}
