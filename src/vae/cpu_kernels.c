#include "vae/cpu_kernels.h"

#include "base/checked.h"
#include "base/cpu_isa.h"

static const struct cpu_kernels *const tables[] = {
#ifdef __x86_64__
    &cpu_kernels_avx512,
    &cpu_kernels_avx2,
#endif
    &cpu_kernels_portable,
};

static const struct cpu_variant variants[ARRAY_SIZE(tables)] = {
#ifdef __x86_64__
    {"avx512", CPU_AVX512F | CPU_AVX2 | CPU_FMA},
    {"avx2", CPU_AVX2 | CPU_FMA},
#endif
    {"portable", 0},
};

const struct cpu_kernels *cpu_kernels(void)
{
	return tables[cpu_isa_choose(variants, ARRAY_SIZE(variants))];
}

const struct cpu_kernels *cpu_kernels_of_bf16(void)
{
#ifdef __x86_64__
	if (cpu_kernels() == &cpu_kernels_avx512 && (cpu_features() & CPU_AVX512_BF16))
		return &cpu_kernels_bf16;
#endif
	return NULL;
}
