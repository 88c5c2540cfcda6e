/*
 * How the samples of a dataset lie in its shards: one for all of them, written in dataset.json. It changes no value, so it is
 * no part of the recipe.
 */
#ifndef LATENTD_DAEMON_DATASET_FORM_H
#define LATENTD_DAEMON_DATASET_FORM_H

#include "config/output_options.h"
#include "storage/shard.h"

struct json_t;

struct dataset_form {
	const struct shard_ops *format; /* NULL: wds */
	enum output_codec
	    codec; /* of the latent's member; mds compresses the shard, and has none */
	char columns[OUTPUT_COLUMNS_SIZE]; /* of mds: storage/mds_columns.h */
};

/* ERR_CONFIG: columns that are none or of another format, or shards too large for it. */
int dataset_form_of(const struct output_options *options, struct dataset_form *out,
		    struct error *err);
/* "zstd", "none", "planes". */
const char *dataset_form_codec(enum output_codec codec);
bool dataset_form_parse_codec(const char *name, enum output_codec *codec);
const struct shard_ops *dataset_form_format(const struct dataset_form *form);

/* As members of @root, a dataset.json; and back: false where it says something that is not known here. */
void dataset_form_put(const struct dataset_form *form, struct json_t *root);
bool dataset_form_read(struct json_t *root, struct dataset_form *form);

/* NULL where they are the same; else what the first is: "format mds", "codec none". To be freed. */
char *dataset_form_difference(const struct dataset_form *is, const struct dataset_form *asked);

#endif
