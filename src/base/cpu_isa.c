#include "base/cpu_isa.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

unsigned cpu_features(void)
{
	unsigned features = 0;

#ifdef __x86_64__
	features |= __builtin_cpu_supports("avx2") ? CPU_AVX2 : 0;
	features |= __builtin_cpu_supports("fma") ? CPU_FMA : 0;
	features |= __builtin_cpu_supports("avx512f") ? CPU_AVX512F : 0;
	features |= __builtin_cpu_supports("avx512bw") ? CPU_AVX512BW : 0;
	features |= __builtin_cpu_supports("avx512vl") ? CPU_AVX512VL : 0;
	features |= __builtin_cpu_supports("avx512vnni") ? CPU_AVX512_VNNI : 0;
	features |= __builtin_cpu_supports("avx512bf16") ? CPU_AVX512_BF16 : 0;
#endif
	return features;
}

size_t cpu_isa_choose(const struct cpu_variant *variants, size_t n)
{
	const char *wanted = getenv("LATENTD_ISA");
	unsigned features = cpu_features();
	size_t best = n;

	assert(variants[n - 1].needs == 0);
	for (size_t i = 0; i < n; i++) {
		if ((variants[i].needs & ~features) != 0)
			continue;
		if (wanted && strcmp(wanted, variants[i].isa) == 0)
			return i;
		if (best == n)
			best = i;
	}
	return best;
}
