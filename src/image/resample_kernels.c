#include "image/resample_kernels.h"

#include <string.h>

static bool runs_portable(void)
{
	return true;
}

#ifdef __x86_64__
static bool runs_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}

static bool runs_avx512(void)
{
	return runs_avx2() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512vnni");
}
#endif

static const struct {
	const struct resample_kernels *kernels;
	bool (*runs)(void);
} tables[] = {
#ifdef __x86_64__
    {&resample_avx512, runs_avx512},
    {&resample_avx2, runs_avx2},
#endif
    {&resample_portable, runs_portable},
};

const struct resample_kernels *resample_kernels(void)
{
	const char *wanted = getenv("LATENTD_ISA");
	const struct resample_kernels *best = NULL;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (!tables[i].runs())
			continue;
		if (wanted && strcmp(wanted, tables[i].kernels->isa) == 0)
			return tables[i].kernels;
		if (!best)
			best = tables[i].kernels;
	}
	return best;
}

const char *resample_isa(void)
{
	return resample_kernels()->isa;
}
