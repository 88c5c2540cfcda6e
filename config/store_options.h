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

/* ERR_CONFIG: a place in a store without a store, or shards of @shard_bytes, which stores do not copy. */
int store_options_check(const struct store_options *o, size_t shard_bytes, struct error *err);

/* Rows of a mapping, and of a command line. */
extern const struct settings_group store_settings, store_words;

#endif
