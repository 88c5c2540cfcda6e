/*
 * Which target size an image gets, and how it is brought there: scaled to cover the bucket, then
 * cropped at its centre. Rules by name, each as the reference tool computes it:
 *	kohya    sd-scripts BucketManager (make_bucket_resolutions, select_bucket), upscaling allowed
 *	square   resolution x resolution
 *
 *	struct bucket_options options = {.rule = BUCKET_KOHYA, .resolution = 512};
 *	struct bucket_table *table = bucket_table_new(&options, err);
 *	bucket_place(table, width, height, &placement);
 *
 * Sizes are of the oriented image. All arithmetic is sd-scripts' own, in double.
 */
#ifndef LATENTD_IMAGE_BUCKET_H
#define LATENTD_IMAGE_BUCKET_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>

enum bucket_rule { BUCKET_KOHYA, BUCKET_SQUARE };

struct bucket_options {
	enum bucket_rule rule;
	size_t resolution; /* side of the square whose area every bucket has at most */
	size_t min_bucket; /* 0: resolution / 2; rounded down to a multiple of step */
	size_t max_bucket; /* 0: resolution * 2; rounded up to a multiple of step */
	size_t step;	   /* 0: 64 */
};

struct bucket_placement {
	size_t target_width, target_height;   /* the bucket */
	size_t resized_width, resized_height; /* the whole image, scaled to cover it */
	size_t crop_left, crop_top;	      /* of the target in the resized image */
	double kohya_crop_ltrb[4];	      /* sd-scripts get_crop_ltrb, which is not the crop */
};

struct bucket_table;

/* A rule by its name, -1 if there is none; and the name of a rule. */
int bucket_rule_parse(const char *name);
const char *bucket_rule_name(enum bucket_rule rule);

/* ERR_CONFIG: no bucket fits the options. Free with bucket_table_free (NULL is fine). */
struct bucket_table *bucket_table_new(const struct bucket_options *options, struct error *err);
void bucket_table_free(struct bucket_table *table);

/* The options with every default filled in. */
const struct bucket_options *bucket_table_options(const struct bucket_table *table);
/* Pixels of the largest bucket. */
size_t bucket_table_max_pixels(const struct bucket_table *table);

/* Deterministic, for any width and height >= 1. */
void bucket_place(const struct bucket_table *table, size_t width, size_t height,
		  struct bucket_placement *out);

static inline void bucket_table_free_p(struct bucket_table **table)
{
	bucket_table_free(*table);
}

#define cleanup_bucket_table cleanup_with(bucket_table_free_p)

#endif
