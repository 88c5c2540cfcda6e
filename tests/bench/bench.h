/*
 * What the benchmarks share. They print numbers and assert nothing: timing belongs into docs/benchmarks.md.
 */
#ifndef LATENTD_TESTS_BENCH_H
#define LATENTD_TESTS_BENCH_H

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double bench_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void bench_must(int r, const struct error *err)
{
	if (r == 0)
		return;
	fprintf(stderr, "%s\n", err->message);
	exit(1);
}

#endif
