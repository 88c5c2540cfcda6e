/*
 * What `latentctl bench encode` is asked to measure, from its command line.
 */
#ifndef LATENTD_CONFIG_BENCH_OPTIONS_H
#define LATENTD_CONFIG_BENCH_OPTIONS_H

#include "config/vae_options.h"

struct bench_options {
	const char *vae; /* path, preset or hub id */
	struct vae_options vae_options;
	const char *precision; /* "f32", "bf16" */
	const char *device;    /* "cpu" */
	struct setting_sides size;
	size_t batch;  /* images of a round */
	size_t rounds; /* measured ones */
	size_t threads;
	size_t memory_limit; /* bytes; 0: none */
	bool json, help;
};

extern const struct setting bench_settings[];
extern const size_t n_bench_settings;

/* What no single option can tell. ERR_CONFIG. */
int bench_options_check(const struct bench_options *options, struct error *err);

#endif
