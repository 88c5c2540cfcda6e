/*
 * What all rules share: options, the table, the crop, the limits. What a rule does by itself stands in
 * bucket_NAME.c, behind struct bucket_rule_ops.
 */
#include "image/bucket.h"

#include "base/checked.h"
#include "image/bucket_rules.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_IMAGE_SIDE ((size_t)1 << 26)

static const struct bucket_rule_ops *const rules[] = {
    [BUCKET_KOHYA] = &bucket_kohya,
    [BUCKET_KOHYA_NO_UPSCALE] = &bucket_kohya_no_upscale,
    [BUCKET_SDXL] = &bucket_sdxl,
    [BUCKET_SQUARE] = &bucket_square,
    [BUCKET_FIXED] = &bucket_fixed,
    [BUCKET_NOVELAI] = &bucket_novelai,
    [BUCKET_MUSUBI] = &bucket_musubi,
    [BUCKET_ONETRAINER] = &bucket_onetrainer,
    [BUCKET_AI_TOOLKIT] = &bucket_ai_toolkit,
    [BUCKET_DIFFUSION_PIPE] = &bucket_diffusion_pipe,
};

static const char skip_no_bucket[] = "no_bucket", skip_too_small[] = "too_small",
		  skip_aspect[] = "aspect", skip_upscale[] = "upscale",
		  skip_crop_loss[] = "crop_loss";

int bucket_rule_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (strcmp(name, rules[i]->name) == 0)
			return (int)i;
	return -1;
}

const char *bucket_rule_name(enum bucket_rule rule)
{
	return rules[rule]->name;
}

static int check_takes(const struct bucket_rule_ops *ops, const struct bucket_options *o,
		       struct error *err)
{
	const struct {
		const char *name;
		size_t value;
		unsigned bit;
	} given[] = {
	    {"resolution", o->resolution, TAKES_RESOLUTION},
	    {"width", o->width, TAKES_SIZE},
	    {"height", o->height, TAKES_SIZE},
	    {"min_bucket", o->min_bucket, TAKES_BOUNDS},
	    {"max_bucket", o->max_bucket, TAKES_BOUNDS},
	    {"step", o->step, TAKES_STEP},
	};

	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		if (given[i].value != 0 && !(ops->takes & given[i].bit))
			return error_set(err, ERR_CONFIG, "%s buckets have no %s (%zu)", ops->name,
					 given[i].name, given[i].value);
	if ((ops->takes & TAKES_RESOLUTION) &&
	    (o->resolution < 1 || o->resolution > BUCKET_MAX_SIDE))
		return error_set(err, ERR_CONFIG, "resolution must be 1 to %d, not %zu",
				 BUCKET_MAX_SIDE, o->resolution);
	return 0;
}

static int check_limits(const struct bucket_options *o, struct error *err)
{
	if (!(o->max_upscale >= 0.0) || isinf(o->max_upscale))
		return error_set(err, ERR_CONFIG, "max_upscale must be 0 or more, not %g",
				 o->max_upscale);
	if (!(o->max_crop_loss >= 0.0 && o->max_crop_loss <= 1.0))
		return error_set(err, ERR_CONFIG, "max_crop_loss must be 0 to 1, not %g",
				 o->max_crop_loss);
	return 0;
}

static int fill_bounds(struct bucket_options *o, struct error *err)
{
	if (o->min_bucket == 0)
		o->min_bucket = o->resolution / 2;
	if (o->max_bucket == 0)
		o->max_bucket = o->resolution * 2;
	if (o->max_bucket > 2 * BUCKET_MAX_SIDE)
		return error_set(err, ERR_CONFIG, "max_bucket must be at most %d, not %zu",
				 2 * BUCKET_MAX_SIDE, o->max_bucket);
	if (o->min_bucket > o->max_bucket)
		return error_set(err, ERR_CONFIG, "min_bucket %zu is over max_bucket %zu",
				 o->min_bucket, o->max_bucket);
	o->min_bucket = round_down(o->min_bucket, o->step);
	if (o->min_bucket == 0)
		o->min_bucket = o->step;
	o->max_bucket = round_down(o->max_bucket + o->step - 1, o->step);
	return 0;
}

static int fill_options(const struct bucket_rule_ops *ops, struct bucket_options *o,
			struct error *err)
{
	if (check_takes(ops, o, err) < 0 || check_limits(o, err) < 0)
		return -1;
	if (ops->check && ops->check(o, err) < 0)
		return -1;
	if (o->step == 0)
		o->step = ops->step;
	if (o->step > BUCKET_MAX_SIDE)
		return error_set(err, ERR_CONFIG, "step must be at most %d, not %zu",
				 BUCKET_MAX_SIDE, o->step);
	if (ops->ignores & TAKES_BOUNDS)
		o->min_bucket = o->max_bucket = 0;
	else if (ops->takes & TAKES_BOUNDS)
		return fill_bounds(o, err);
	return 0;
}

static size_t greatest_common_divisor(size_t a, size_t b)
{
	while (b != 0) {
		size_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* What every bucket of the list has in common. */
static void measure_list(struct bucket_table *t)
{
	size_t multiple = 0;

	for (size_t i = 0; i < t->list.count; i++) {
		struct size s = t->list.items[i].size;

		multiple = greatest_common_divisor(multiple, s.width);
		multiple = greatest_common_divisor(multiple, s.height);
		if (s.width * s.height > t->max_pixels)
			t->max_pixels = s.width * s.height;
	}
	t->multiple = t->list.count > 0 ? multiple : t->options.step;
}

struct bucket_table *bucket_table_new(const struct bucket_options *options, struct error *err)
{
	const struct bucket_rule_ops *ops = rules[options->rule];
	struct bucket_options filled = *options;
	struct bucket_table *t;

	if (fill_options(ops, &filled, err) < 0)
		return NULL;
	t = xcalloc(1, sizeof(*t));
	t->options = filled;
	t->ops = ops;
	ops->fill(t);
	measure_list(t);
	if (t->max_pixels == 0) {
		error_set(err, ERR_CONFIG, "no %s bucket in steps of %zu fits resolution %zu",
			  ops->name, filled.step, filled.resolution);
		bucket_table_free(t);
		return NULL;
	}
	return t;
}

void bucket_table_free(struct bucket_table *table)
{
	if (!table)
		return;
	free(table->list.items);
	free(table);
}

const struct bucket_options *bucket_table_options(const struct bucket_table *table)
{
	return &table->options;
}

size_t bucket_table_max_pixels(const struct bucket_table *table)
{
	return table->max_pixels;
}

size_t bucket_table_multiple(const struct bucket_table *table)
{
	return table->multiple;
}

/* BucketManager.get_crop_ltrb: the image fitted into the bucket. Python's // on floats floors. */
static void kohya_crop_ltrb(struct size bucket, struct size image, double ltrb[4])
{
	double bucket_aspect = size_aspect(bucket), aspect = size_aspect(image);
	double width = (double)bucket.width, height = (double)bucket.height;

	if (bucket_aspect > aspect)
		width = height * aspect;
	else
		height = width / aspect;
	ltrb[0] = floor(((double)bucket.width - width) / 2.0);
	ltrb[1] = floor(((double)bucket.height - height) / 2.0);
	ltrb[2] = ltrb[0] + width;
	ltrb[3] = ltrb[1] + height;
}

static const char *skip_reason(const struct bucket_options *o, struct size image,
			       enum bucket_found found, const struct bucket_placement *p)
{
	if (image.width < o->min_side || image.height < o->min_side)
		return skip_too_small;
	if (found == BUCKET_FAR)
		return skip_aspect;
	if (o->max_upscale > 0.0 && p->upscale > o->max_upscale)
		return skip_upscale;
	if (o->max_crop_loss > 0.0 && p->crop_loss > o->max_crop_loss)
		return skip_crop_loss;
	return NULL;
}

void bucket_place(const struct bucket_table *table, size_t width, size_t height,
		  struct bucket_placement *out)
{
	struct size image = {width, height};
	struct bucket_fit fit = {0};
	enum bucket_found found = BUCKET_NONE;
	struct bucket_placement p = {.skip = skip_no_bucket};

	if (width > 0 && height > 0 && width <= MAX_IMAGE_SIDE && height <= MAX_IMAGE_SIDE)
		found = table->ops->place(table, image, &fit);
	if (found != BUCKET_NONE) {
		p.target_width = fit.target.width;
		p.target_height = fit.target.height;
		p.resized_width = fit.resized.width;
		p.resized_height = fit.resized.height;
		p.crop_left = (p.resized_width - p.target_width) / 2;
		p.crop_top = (p.resized_height - p.target_height) / 2;
		kohya_crop_ltrb(fit.target, image, p.kohya_crop_ltrb);
		p.upscale = fmax((double)p.resized_width / (double)width,
				 (double)p.resized_height / (double)height);
		p.crop_loss = 1.0 - (double)p.target_width * (double)p.target_height /
					((double)p.resized_width * (double)p.resized_height);
		p.skip = skip_reason(&table->options, image, found, &p);
	}
	*out = p;
}

void bucket_skip_message(const struct bucket_table *table, size_t width, size_t height,
			 const struct bucket_placement *p, char *text, size_t size)
{
	const struct bucket_options *o = &table->options;

	if (!p->skip)
		snprintf(text, size, "%s", "");
	else if (strcmp(p->skip, skip_no_bucket) == 0)
		snprintf(text, size, "%s has no bucket for %zu x %zu", table->ops->name, width,
			 height);
	else if (strcmp(p->skip, skip_too_small) == 0)
		snprintf(text, size, "a side of %zu is under the minimum of %zu (%zu x %zu)",
			 width < height ? width : height, o->min_side, width, height);
	else if (strcmp(p->skip, skip_aspect) == 0)
		snprintf(text, size, "no bucket is near its shape (%zu x %zu; nearest %zu x %zu)",
			 width, height, p->target_width, p->target_height);
	else if (strcmp(p->skip, skip_upscale) == 0)
		snprintf(text, size,
			 "enlarged %.2f times, over the limit of %.2f (%zu x %zu to %zu x %zu)",
			 p->upscale, o->max_upscale, width, height, p->resized_width,
			 p->resized_height);
	else
		snprintf(text, size,
			 "%.1f %% cropped away, over the limit of %.1f %% (%zu x %zu to %zu x %zu)",
			 100.0 * p->crop_loss, 100.0 * o->max_crop_loss, p->resized_width,
			 p->resized_height, p->target_width, p->target_height);
}
