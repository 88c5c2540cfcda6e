/*
 * One record of a manifest: the bytes of a line of JSON Lines, of a row of CSV or TSV, or of a member of kohya's
 * metadata JSON, and what they say of an image.
 *
 *	struct manifest_record *m = manifest_record_new(MANIFEST_CSV, &columns);
 *	manifest_record_header(m, bytes, size, err)             CSV and TSV: the first row names the columns
 *	why = manifest_record_parse(m, bytes, size, &item)      NULL, or what is wrong with it
 *	manifest_record_free(m)
 *
 * The path is the value of the column that is asked for, else of the first that is there of path, file_name, file_path,
 * image_path, img_path, filename, file, image, url; the caption in the same way of caption, text, prompt, description. All
 * other columns are metadata. In kohya's JSON the member's name is the path, and the caption is what sd-scripts makes of
 * it: "caption" and "tags" with ", " between. A caption of null, or an empty field, is none. A mask is what the first column of mask,
 * mask_path, mask_file_name with a text in it says; it stays metadata as well.
 */
#ifndef LATENTD_SOURCE_MANIFEST_RECORD_H
#define LATENTD_SOURCE_MANIFEST_RECORD_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum manifest_format { MANIFEST_JSONL, MANIFEST_CSV, MANIFEST_TSV, MANIFEST_KOHYA };

/* By its ending: .jsonl, .ndjson, .csv, .tsv, .json, in any case. False: it is none. */
bool manifest_format_of(const char *path, enum manifest_format *out);

/* NULL: one of those that are usual. They outlive the record. */
struct manifest_columns {
	const char *path, *caption;
};

/* Valid until the next record is parsed. */
struct manifest_item {
	const char *path;    /* as it stands there; UTF-8 */
	const char *caption; /* NULL: none */
	const char *meta;    /* a JSON object with its keys in order; NULL: there is nothing */
	const char *mask;    /* the path of its mask as it stands there; NULL: none */
};

struct manifest_record;

struct manifest_record *manifest_record_new(enum manifest_format format,
					    const struct manifest_columns *columns);
void manifest_record_free(struct manifest_record *m);
/* ERR_CONFIG: no column has a path, with what there is. */
int manifest_record_header(struct manifest_record *m, const char *bytes, size_t size,
			   struct error *err);
/* @paths_only: caption and meta are left out. NULL: *item is filled. */
const char *manifest_record_parse(struct manifest_record *m, const char *bytes, size_t size,
				  bool paths_only, struct manifest_item *item);

#endif
