/*
 * Where finished shards go if not into the output folder. A file has them as a mapping, `store: {s3: s3://BUCKET/PREFIX}`; a
 * command line as `--store s3://BUCKET/PREFIX` and `--s3-...`.
 */
#ifndef LATENTD_CONFIG_STORE_OPTIONS_H
#define LATENTD_CONFIG_STORE_OPTIONS_H

#include "config/settings.h"

/* What is NULL is taken from where AWS's tools take it. */
struct store_options {
	const char *s3; /* "s3://BUCKET/PREFIX"; NULL: what the output says, or the folder itself */
	const char *endpoint, *region, *profile;
	const char *addressing; /* "auto", "path", "virtual" */
	size_t part_size;
};

/* Rows of a mapping, and of a command line. */
extern const struct settings_group store_settings, store_words;

#endif
