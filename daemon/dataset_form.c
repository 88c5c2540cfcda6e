#include "daemon/dataset_form.h"

#include "storage/mds_columns.h"

#include "base/checked.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

_Static_assert(OUTPUT_COLUMNS_SIZE == MDS_SPECIFICATION_SIZE, "a setting is a specification");

/* Places inside a shard have 32 bits; the last record comes on top. */
#define MDS_SHARD_MAX ((size_t)3 << 30)

static const char *const codecs[] = {
    [OUTPUT_CODEC_ZSTD] = "zstd", [OUTPUT_CODEC_NONE] = "none", [OUTPUT_CODEC_PLANES] = "planes"};

const char *dataset_form_codec(enum output_codec codec)
{
	return codecs[codec];
}

bool dataset_form_parse_codec(const char *name, enum output_codec *codec)
{
	for (size_t i = 0; i < ARRAY_SIZE(codecs); i++) {
		if (strcmp(codecs[i], name) == 0) {
			*codec = (enum output_codec)i;
			return true;
		}
	}
	return false;
}

static bool is_mds(const struct dataset_form *form)
{
	return strcmp(dataset_form_format(form)->name, "mds") == 0;
}

const struct shard_ops *dataset_form_format(const struct dataset_form *form)
{
	return form->format ? form->format : shard_format("wds");
}

int dataset_form_of(const struct output_options *o, struct dataset_form *out, struct error *err)
{
	struct dataset_form form = {.format = shard_format(o->format), .codec = o->codec};
	const char *columns = o->columns ? o->columns : "";

	if (!is_mds(&form) && columns[0])
		return error_set(err, ERR_CONFIG, "columns are of format mds, not of %s",
				 form.format->name);
	if (is_mds(&form) && o->shard_size > MDS_SHARD_MAX)
		return error_set(
		    err, ERR_CONFIG,
		    "shards of format mds have at most 3 GiB: expected a smaller shard "
		    "size");
	if (is_mds(&form) && o->codec == OUTPUT_CODEC_PLANES)
		return error_set(err, ERR_CONFIG,
				 "codec planes is of format wds: mds compresses its shards as a "
				 "whole");
	if (mds_specification_check(columns, err) < 0)
		return -1;
	snprintf(form.columns, sizeof(form.columns), "%s", columns);
	if (is_mds(&form))
		form.codec = OUTPUT_CODEC_NONE;
	*out = form;
	return 0;
}

void dataset_form_put(const struct dataset_form *form, struct json_t *root)
{
	json_object_set_new(root, "format", json_string(dataset_form_format(form)->name));
	json_object_set_new(root, "codec", json_string(codecs[form->codec]));
	if (form->columns[0])
		json_object_set_new(root, "columns", json_string(form->columns));
	else
		json_object_del(root, "columns");
}

/* Datasets made before there was a choice of a codec have zstd. */
bool dataset_form_read(struct json_t *root, struct dataset_form *form)
{
	const char *format = json_string_value(json_object_get(root, "format"));
	const char *codec = json_string_value(json_object_get(root, "codec"));
	const char *columns = json_string_value(json_object_get(root, "columns"));
	struct dataset_form read = {.format = shard_format(format ? format : "wds")};

	if (!read.format || (codec && !dataset_form_parse_codec(codec, &read.codec)) ||
	    (columns && strlen(columns) >= sizeof(read.columns)))
		return false;
	snprintf(read.columns, sizeof(read.columns), "%s", columns ? columns : "");
	*form = read;
	return true;
}

char *dataset_form_difference(const struct dataset_form *is, const struct dataset_form *asked)
{
	if (dataset_form_format(is) != dataset_form_format(asked))
		return xasprintf("format %s", dataset_form_format(is)->name);
	if (is->codec != asked->codec)
		return xasprintf("codec %s", codecs[is->codec]);
	if (strcmp(is->columns, asked->columns) != 0)
		return is->columns[0] ? xasprintf("columns %s", is->columns)
				      : xstrdup("columns under their own names");
	return NULL;
}
