#include "vae/cpu_kernels.h"

#include <stdlib.h>
#include <string.h>

static bool runs_portable(void)
{
	return true;
}

#ifdef __x86_64__
static bool runs_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool runs_avx512(void)
{
	return runs_avx2() && __builtin_cpu_supports("avx512f");
}
#endif

static const struct {
	const struct cpu_kernels *kernels;
	bool (*runs)(void);
} tables[] = {
#ifdef __x86_64__
    {&cpu_kernels_avx512, runs_avx512},
    {&cpu_kernels_avx2, runs_avx2},
#endif
    {&cpu_kernels_portable, runs_portable},
};

const struct cpu_kernels *cpu_kernels(void)
{
	const char *wanted = getenv("LATENTD_ISA");
	const struct cpu_kernels *best = NULL;

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
