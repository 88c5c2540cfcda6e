/*
 * What a bucket rule is, to bucket.c and to the rules themselves; nobody else includes this.
 *
 * A rule with a list fills it once, in the order in which its tool decides ties, and places by
 * bucket_list_nearest(); a rule without one leaves the list empty and sets max_pixels.
 */
#ifndef LATENTD_IMAGE_BUCKET_RULES_H
#define LATENTD_IMAGE_BUCKET_RULES_H

#include "image/bucket.h"

/* Sides beyond it are no bucket that a model encodes; it also keeps every product exact. */
#define BUCKET_MAX_SIDE 65536

struct size {
	size_t width, height;
};

struct bucket {
	struct size size;
	double shape; /* what the rule compares with the image's own: width / height, a logarithm */
};

struct bucket_list {
	struct bucket *items;
	size_t count, capacity;
};

struct bucket_table {
	struct bucket_options options; /* defaults filled in before the rule sees them */
	const struct bucket_rule_ops *ops;
	struct bucket_list list;
	size_t max_pixels, multiple;
};

/* Options besides the limits, as bits: those a rule takes. */
enum {
	TAKES_RESOLUTION = 1,
	TAKES_SIZE = 2,
	TAKES_BOUNDS = 4, /* min_bucket and max_bucket */
	TAKES_STEP = 8,
};

enum bucket_found {
	BUCKET_FOUND,
	BUCKET_FAR,  /* found, but the tool drops the image for its shape */
	BUCKET_NONE, /* *fit is not filled */
};

struct bucket_fit {
	struct size target, resized; /* resized covers target */
};

struct bucket_rule_ops {
	const char *name;
	unsigned takes;
	unsigned ignores; /* of these: set to 0 instead of used */
	size_t step;	  /* its default */
	/* NULL, or what else must hold: ERR_CONFIG. */
	int (*check)(const struct bucket_options *o, struct error *err);
	/* Fills t->list, or t->max_pixels where there is none. Neither: nothing fits the options. */
	void (*fill)(struct bucket_table *t);
	/* Sides are 1 to 2^26, so that their product is exact in double. */
	enum bucket_found (*place)(const struct bucket_table *t, struct size image,
				   struct bucket_fit *fit);
};

extern const struct bucket_rule_ops bucket_kohya, bucket_kohya_no_upscale, bucket_sdxl,
    bucket_square, bucket_fixed, bucket_novelai, bucket_musubi, bucket_onetrainer,
    bucket_ai_toolkit, bucket_diffusion_pipe;

static inline size_t round_down(size_t n, size_t step)
{
	return n - n % step;
}

/* Width / height. */
double size_aspect(struct size s);

void bucket_list_add(struct bucket_list *list, struct size size, double shape);
/* By width, then height, as Python sorts pairs; each size once. */
void bucket_list_sort(struct bucket_list *list);
/* numpy's argmin of |shape - @shape|: the first of the nearest. */
const struct bucket *bucket_list_nearest(const struct bucket_list *list, double shape);

/* sd-scripts' scaling: the side that is relatively shorter fits, both rounded half up. */
struct size bucket_cover(struct size target, struct size image);

/* sd-scripts' choice: an exact size first, then the nearest width / height. */
enum bucket_found bucket_place_kohya(const struct bucket_table *t, struct size image,
				     struct bucket_fit *fit);

#endif
