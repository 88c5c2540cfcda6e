/*
 * What `latentctl encode` is asked to do, from its command line.
 */
#ifndef LATENTD_CONFIG_ENCODE_OPTIONS_H
#define LATENTD_CONFIG_ENCODE_OPTIONS_H

#include "config/pixel_options.h"

#include <stdbool.h>
#include <stdint.h>

struct encode_options {
	const char *vae; /* diffusers folder, or "fake" */
	const char *out;
	const char *name;  /* NULL: made from model, resolution and recipe */
	const char *state; /* NULL: below XDG_STATE_HOME */
	struct pixel_options pixels;
	const char *posterior, *dtype, *order;
	const char *duplicates, *on_delete; /* "keep"; "drop", "remove" */
	bool on_delete_all;
	const char *part; /* "2/3"; NULL: all */
	bool no_captions;
	uint64_t seed;
	size_t jobs, threads; /* 0: all cores */
	size_t memory;	      /* bytes of pixels and latents in flight */
	size_t shard_samples, shard_size;
	bool quiet;
	bool help;
};

extern const struct setting encode_settings[];
extern const size_t n_encode_settings;

/* A folder's name that can be shown and typed: one path component of UTF-8, at most 100 bytes, not hidden. */
bool dataset_name_valid(const char *name);
/* Part I of N, "I/N" with 1 <= I <= N <= 65536, as 0 .. N-1 of N; false if @text is not that. */
bool encode_part_parse(const char *text, uint32_t *part, uint32_t *parts);
/* What no single option can tell: what is missing, and whether the name is one. ERR_CONFIG. */
int encode_options_check(const struct encode_options *options, size_t n_sources, struct error *err);

#endif
