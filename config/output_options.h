/*
 * How finished samples lie in shards: shared by `latentctl encode` and the datasets of a daemon.
 *
 *	struct my_options { struct output_options output; ... };
 *	{.type = SETTING_GROUP, .offset = FIELD(output), .group = &output_settings},
 */
#ifndef LATENTD_CONFIG_OUTPUT_OPTIONS_H
#define LATENTD_CONFIG_OUTPUT_OPTIONS_H

#include "config/settings.h"

enum output_codec { OUTPUT_CODEC_ZSTD, OUTPUT_CODEC_NONE, OUTPUT_CODEC_PLANES };
#define OUTPUT_CODECS 3
/* Of all columns that are named in `columns`, and NUL. */
#define OUTPUT_COLUMNS_SIZE 256

enum output_order { OUTPUT_ORDER_SHUFFLED, OUTPUT_ORDER_SCAN };

struct output_options {
	const char *format; /* of storage/shard.h */
	size_t shard_samples, shard_size;
	enum output_codec codec;
	enum output_order order;
	const char *columns; /* of mds: storage/mds_columns.h; NULL: their own names */
};

/* What they can be, each ending with NULL. */
extern const char *const output_formats[], *const output_codecs[], *const output_orders[];

extern const struct settings_group output_settings;

#endif
