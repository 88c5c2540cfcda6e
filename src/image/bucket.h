/*
 * Which target size an image gets, and how it is brought there: scaled to cover the bucket, then
 * cropped at its centre. Rules by name, each with the arithmetic of the tool it comes from:
 *
 *	rule              step  buckets (N: resolution)
 *	kohya               64  sd-scripts BucketManager: area N x N, sides min_bucket to max_bucket
 *	kohya_no_upscale    64  the same with bucket_no_upscale: no list, an image only shrinks
 *	sdxl                    the 40 sizes SDXL was trained with (N is 1024), chosen as in sd-scripts
 *	square                  N x N
 *	fixed                   width x height
 *	novelai             64  bucketmanager.py: area 3/2 N x N; N = 512 is the original
 *	musubi              16  musubi-tuner BucketSelector (enable_bucket, upscaling)
 *	onetrainer          64  mgds AspectBucketing: nine shapes from 1:1 to 1:4, and turned
 *	ai_toolkit          64  toolkit/buckets.py: no list, area N x N at most; step is bucket_tolerance
 *	diffusion_pipe      32  seven shapes from 1:2 to 2:1, as its example; with most models it has 16
 *
 *	struct bucket_options options = {.rule = BUCKET_KOHYA, .resolution = 512};
 *	struct bucket_table *table = bucket_table_new(&options, err);
 *	bucket_place(table, width, height, &placement);
 *	if (placement.skip) ... bucket_skip_message(table, width, height, &placement, text, size) ...
 *
 * Sizes are of the oriented image. Arithmetic is in double, operation by operation as the tools do it
 * in Python, because a size that rounds differently is another bucket. Ties fall as in the tool.
 *
 * Where we differ from the tools, on purpose:
 *	novelai         crops at random and publishes no image code: here the centre, scaled as kohya
 *	onetrainer      as without crop jitter
 *	diffusion_pipe  ImageOps.fit cuts a fractional box out of the source and scales that. Here the whole
 *	                image is scaled to the nearest whole size, so that edges lie within one pixel
 *	ai_toolkit      gives slivers (65500 x 1) a bucket far over the area: here `no_bucket`; and where it
 *	                takes x ** 0.5, whose last bit differs between C libraries, the exact root
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
	size_t resolution;    /* side of the square whose area buckets have; not for `fixed` */
	size_t width, height; /* `fixed` only: the size */
	/* `kohya` and `novelai`; kohya_no_upscale takes and ignores them, as sd-scripts does */
	size_t min_bucket; /* 0: resolution / 2; rounded down to a multiple of step */
	size_t max_bucket; /* 0: resolution * 2; rounded up to a multiple of step */
	size_t step;	   /* sides are multiples of it; 0: the rule's own, see above */
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
	 * NULL, or why the image is skipped, the first of: `no_bucket` (the rule makes none of this
	 * size: all numbers above are 0), `too_small` (min_side), `aspect` (novelai: 4 or more away
	 * from every bucket's width / height), `upscale`, `crop_loss`.
	 */
	const char *skip;
};

struct bucket_table;

/* A rule by its name, -1 if there is none; and the name of a rule. */
int bucket_rule_parse(const char *name);
const char *bucket_rule_name(enum bucket_rule rule);

/*
 * ERR_CONFIG: no bucket fits the options; an option that the rule has no use for (min_bucket with
 * `square`, resolution with `fixed`); `sdxl` with a resolution other than 1024. Free with
 * bucket_table_free (NULL is fine).
 */
struct bucket_table *bucket_table_new(const struct bucket_options *options, struct error *err);
void bucket_table_free(struct bucket_table *table);

/* The options with every default filled in; what the rule has no use for is 0. */
const struct bucket_options *bucket_table_options(const struct bucket_table *table);
/* Pixels that a bucket has at most; a bound, not always reached, where the rule has no list. */
size_t bucket_table_max_pixels(const struct bucket_table *table);
/* Every side of every bucket is a multiple of it. */
size_t bucket_table_multiple(const struct bucket_table *table);

/* Deterministic. A side of 0 or of more than 2^26 has `no_bucket`. */
void bucket_place(const struct bucket_table *table, size_t width, size_t height,
		  struct bucket_placement *out);

/*
 * One line for people: "enlarged 3.20 times, over the limit of 2.00 (160 x 160 to 512 x 512)"; empty
 * where nothing is skipped.
 */
void bucket_skip_message(const struct bucket_table *table, size_t width, size_t height,
			 const struct bucket_placement *placement, char *text, size_t size);

static inline void bucket_table_free_p(struct bucket_table **table)
{
	bucket_table_free(*table);
}

#define cleanup_bucket_table cleanup_with(bucket_table_free_p)

#endif
