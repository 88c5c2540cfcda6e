/*
 * What exporters are: each is one file, export_NAME.c, and a line in the table in export.c. docs/EXPORT.md says what each
 * writes, and how it is used.
 */
#ifndef LATENTD_DAEMON_EXPORT_FORMAT_H
#define LATENTD_DAEMON_EXPORT_FORMAT_H

#include "daemon/export_source.h"
#include "storage/record.h"

/* A model's latent space as a trainer calls it, told by its numbers. */
struct export_arch {
	const char *name;
	size_t channels; /* of a latent, before patches */
	double scaling_factor, shift_factor;
	size_t patch_size;
	bool normalised; /* what the trainer keeps; otherwise raw */
	bool by_name;	 /* only where --arch says it: others have the same numbers */
};

/* What a sample of a format with columns has. */
enum export_column {
	EXPORT_COLUMN_JSON = 1,
	EXPORT_COLUMN_LATENT = 2,
	EXPORT_COLUMN_CAPTION = 4,
};

struct export_job {
	const struct export_format *format;
	const struct export_arch *arch; /* NULL: a format for any */
	const struct export_space *space;
	enum dtype dtype;
	bool
	    normalised; /* of a format for any model: what a model is trained on, not what is stored */
	unsigned columns; /* of enum export_column */
};

/* Where a format has the variants of an image. */
enum export_variants {
	EXPORT_VARIANTS_OWN,	  /* a sample is as good as another */
	EXPORT_VARIANTS_MIRRORED, /* the mirrored one in the file of the plain one, others nowhere */
	EXPORT_VARIANTS_NONE,	  /* nowhere */
};

struct export_format {
	const char *name, *help;
	const struct export_arch
	    *archs; /* NULL: any, and latents are as they are stored, moments too */
	size_t n_archs;
	const char *dtypes; /* that --dtype may say, the default first: "stored float32 bfloat16" */
	const char *list;   /* the file that list_entry fills; NULL: there is none */
	const char *head, *between, *tail; /* of that file, around and between its entries */
	/* The rule of buckets under which the trainer finds what it looks for; NULL: any. */
	const char *bucket_rule;
	bool upright; /* the trainer ignores EXIF orientation: a turned image is another to it */
	enum export_variants variants;
	const char *lost; /* what it cannot carry, in words */
	bool columns;	  /* --columns chooses among them */
	bool masks;	  /* it carries them */
	/* The file's path below the target, to be freed; with pack: one that tells the sample from others. */
	char *(*path)(const struct export_job *job, const struct export_sample *sample);
	/* @latent: of the job's dtype; of the arch's kind, or as stored. One of the two: a file, or what is put in a tar. */
	int (*pack)(const struct export_job *job, const struct export_sample *sample,
		    const struct ndarray *latent, struct record *out, struct error *err);
	/* @mirrored: the same of the mirrored image; NULL: there is none, or it is a sample of its own. */
	int (*encode)(const struct export_job *job, const struct export_sample *sample,
		      const struct ndarray *latent, const struct ndarray *mirrored,
		      struct buffer *out, struct error *err);
	void (*list_entry)(const struct export_job *job, const struct export_sample *sample,
			   struct buffer *out);
};

extern const struct export_format export_kohya;
extern const struct export_format export_musubi;
extern const struct export_format export_ai_toolkit;
extern const struct export_format export_npz;
extern const struct export_format export_safetensors;
extern const struct export_format export_wds;

/* "latent", or "moments". */
const char *export_array_name(const struct export_job *job);
/* Makes @record tell of @made what it told of the stored latent. */
void export_record_describe(const struct export_job *job, const struct ndarray *made,
			    struct json_t *record);
/* The record as compact JSON, to be freed. */
char *export_record_text(const struct export_sample *sample);

/* The path of the sample's image without its extension, as os.path.splitext does it; to be freed. */
char *export_stem(const char *path);
/* Its last part. */
const char *export_name(const char *path);
/*
 * json.dumps of what Python makes of these bytes in a file's name: ASCII, what is not UTF-8 as lone surrogates, which lead back
 * to the file. With the quotes. NULL: "".
 */
void export_put_text(struct buffer *out, const char *text);

#endif
