/*
 * Code for machines that may have it or not is compiled for several sets of instructions; here it is decided
 * which one runs.
 *
 *	static const struct cpu_variant variants[] = {{"avx2", CPU_AVX2 | CPU_FMA}, {"portable", 0}};
 *	const struct my_kernels *kernels = tables[cpu_isa_choose(variants, ARRAY_SIZE(variants))];
 */
#ifndef LATENTD_BASE_CPU_ISA_H
#define LATENTD_BASE_CPU_ISA_H

#include <stddef.h>

enum cpu_feature {
	CPU_AVX2 = 1,
	CPU_FMA = 2,
	CPU_AVX512F = 4,
	CPU_AVX512BW = 8,
	CPU_AVX512VL = 16,
	CPU_AVX512_VNNI = 32,
	CPU_AVX512_BF16 = 64,
};

/* A set of instructions, as people name it, and the features of the machine that its code needs. */
struct cpu_variant {
	const char *isa;
	unsigned needs; /* enum cpu_feature, ORed */
};

/* What this machine has; none of them where it is no x86-64. */
unsigned cpu_features(void);
/*
 * The first of @variants that this machine runs, or the one that $LATENTD_ISA names, if there is such a one and the
 * machine runs it. The last one needs nothing.
 */
size_t cpu_isa_choose(const struct cpu_variant *variants, size_t n);

#endif
