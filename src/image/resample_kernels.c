#include "image/resample_kernels.h"

#include "base/checked.h"
#include "base/cpu_isa.h"

static const struct resample_kernels *const tables[] = {
#ifdef __x86_64__
    &resample_avx512,
    &resample_avx2,
#endif
    &resample_portable,
};

static const struct cpu_variant variants[ARRAY_SIZE(tables)] = {
#ifdef __x86_64__
    {"avx512", CPU_AVX512F | CPU_AVX512BW | CPU_AVX512VL | CPU_AVX512_VNNI | CPU_AVX2},
    {"avx2", CPU_AVX2},
#endif
    {"portable", 0},
};

const struct resample_kernels *resample_kernels(void)
{
	return tables[cpu_isa_choose(variants, ARRAY_SIZE(variants))];
}

const char *resample_isa(void)
{
	return resample_kernels()->isa;
}
