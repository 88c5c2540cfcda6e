/*
 * Which target size an image gets, and how it is brought there: scaled to cover the bucket, then
 * cropped at its centre. Rules by name, each with the arithmetic of the tool it comes from:
 *	kohya             sd-scripts BucketManager (make_bucket_resolutions, select_bucket)
 *	kohya_no_upscale  the same with bucket_no_upscale
 *	sdxl              the 40 sizes SDXL was trained with
 *	square            resolution x resolution
 *	fixed             one given size
 *	novelai           NovelAI bucketmanager.py
 *	musubi            musubi-tuner dataset/bucket.py
 *	onetrainer        OneTrainer mgds AspectBucketing
 *	ai_toolkit        ai-toolkit toolkit/buckets.py
 *	diffusion_pipe    diffusion-pipe utils/dataset.py
 *
 *	struct bucket_options options = {.rule = BUCKET_KOHYA, .resolution = 512};
 *	struct bucket_table *table = bucket_table_new(&options, err);
 *	bucket_place(table, width, height, &placement);
 *	if (placement.skip) ... bucket_skip_message(table, width, height, &placement, text, size) ...
 *
 * Sizes are of the oriented image. Arithmetic is in double, operation by operation as the tools do it
 * in Python, because a size that rounds differently is another bucket.
 */
#ifndef LATENTD_IMAGE_BUCKET_H
#define LATENTD_IMAGE_BUCKET_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum bucket_rule {
	BUCKET_KOHYA,
	BUCKET_KOHYA_NO_UPSCALE,
	BUCKET_SDXL,
	BUCKET_SQUARE,
	BUCKET_FIXED,
	BUCKET_NOVELAI,
	BUCKET_MUSUBI,
	BUCKET_ONETRAINER,
	BUCKET_AI_TOOLKIT,
	BUCKET_DIFFUSION_PIPE,
};

struct bucket_options {
	enum bucket_rule rule;
	size_t resolution;    /* side of the square whose area every bucket has at most, or about */
	size_t width, height; /* `fixed` only: the size */
	/* 0 in the next three: what the rule's tool has as its default */
	size_t min_bucket; /* kohya: resolution / 2; rounded down to a multiple of step */
	size_t max_bucket; /* kohya: resolution * 2; rounded up to a multiple of step */
	size_t step;	   /* sides are multiples of it */
	/* What is not worth encoding; 0: no such limit. */
	size_t min_side;      /* of the oriented image's shorter side */
	double max_upscale;   /* of either side: resized / original */
	double max_crop_loss; /* part of the resized picture that the crop cuts away, 0 to 1 */
};

struct bucket_placement {
	size_t target_width, target_height;   /* the bucket */
	size_t resized_width, resized_height; /* the whole image, scaled to cover it */
	size_t crop_left, crop_top;	      /* of the target in the resized image */
	double kohya_crop_ltrb[4];	      /* sd-scripts get_crop_ltrb, which is not the crop */
	double upscale;	  /* the larger of resized / original; over 1 enlarges */
	double crop_loss; /* 1 - target area / resized area */
	/*
	 * NULL, or why the image is skipped: `too_small` (min_side), `upscale`, `crop_loss`, `aspect`
	 * (the rule has no bucket near enough), `no_bucket` (the rule makes none of this size: all
	 * numbers above are 0).
	 */
	const char *skip;
};

struct bucket_table;

/* A rule by its name, -1 if there is none; the name of a rule; all names, NULL-terminated. */
int bucket_rule_parse(const char *name);
const char *bucket_rule_name(enum bucket_rule rule);
const char *const *bucket_rule_names(void);

/*
 * ERR_CONFIG: no bucket fits the options; an option that the rule has no use for (min_bucket with
 * `square`; `sdxl` with a resolution other than 1024). Free with bucket_table_free (NULL is fine).
 */
struct bucket_table *bucket_table_new(const struct bucket_options *options, struct error *err);
void bucket_table_free(struct bucket_table *table);

/* The options with every default filled in; what the rule has no use for is 0. */
const struct bucket_options *bucket_table_options(const struct bucket_table *table);
/* Pixels that a bucket has at most. */
size_t bucket_table_max_pixels(const struct bucket_table *table);
/* Every side of every bucket is a multiple of it. */
size_t bucket_table_multiple(const struct bucket_table *table);

/* Deterministic, for any width and height >= 1. */
void bucket_place(const struct bucket_table *table, size_t width, size_t height,
		  struct bucket_placement *out);

/* One line for people: "enlarged 3.20 times, over the limit of 2.00 (160 x 160 to 512 x 512)". */
void bucket_skip_message(const struct bucket_table *table, size_t width, size_t height,
			 const struct bucket_placement *placement, char *text, size_t size);

static inline void bucket_table_free_p(struct bucket_table **table)
{
	bucket_table_free(*table);
}

#define cleanup_bucket_table cleanup_with(bucket_table_free_p)

#endif
