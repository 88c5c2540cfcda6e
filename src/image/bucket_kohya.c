/*
 * sd-scripts: model_util.make_bucket_resolutions and BucketManager.select_bucket in train_util.
 * Python floats are doubles and int() truncates.
 */
#include "image/bucket_rules.h"

#include <math.h>

/* For each width the tallest height within the area, and both turned. */
static void fill_kohya(struct bucket_table *t)
{
	const struct bucket_options *o = &t->options;
	size_t area = o->resolution * o->resolution;
	size_t side = round_down(o->resolution, o->step);

	if (side > 0)
		bucket_list_add(&t->list, (struct size){side, side}, 1.0);
	for (size_t width = o->min_bucket; width <= o->max_bucket; width += o->step) {
		struct size s = {width, round_down(area / width, o->step)};
		struct size turned;

		if (s.height > o->max_bucket)
			s.height = o->max_bucket;
		if (s.height < o->min_bucket)
			continue;
		turned = (struct size){s.height, s.width};
		bucket_list_add(&t->list, s, size_aspect(s));
		bucket_list_add(&t->list, turned, size_aspect(turned));
	}
	bucket_list_sort(&t->list);
}

enum bucket_found bucket_place_kohya(const struct bucket_table *t, struct size image,
				     struct bucket_fit *fit)
{
	const struct bucket_list *list = &t->list;

	fit->target = bucket_list_nearest(list, size_aspect(image))->size;
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].size.width == image.width &&
		    list->items[i].size.height == image.height)
			fit->target = image;
	fit->resized = bucket_cover(fit->target, image);
	return BUCKET_FOUND;
}

const struct bucket_rule_ops bucket_kohya = {
    .name = "kohya",
    .takes = TAKES_RESOLUTION | TAKES_BOUNDS | TAKES_STEP,
    .step = 64,
    .fill = fill_kohya,
    .place = bucket_place_kohya,
};

/*
 * Both sides round to the nearest pixel before they round down to steps, so a bucket can be larger than
 * the area A. With an exact width x, the bucket is at most (x + 1/2) wide and (x + 1/2) A / x^2 + 1/2
 * high. That product is convex in x, so the largest is at an end: where the width is one step s
 * (x = s - 1/2) it is A q^2 + s / 2 with q = s / (s - 1/2), where the height is one step less than
 * A q + s. The other way round is the same with the sides exchanged.
 */
static void fill_kohya_no_upscale(struct bucket_table *t)
{
	size_t step = t->options.step, resolution = t->options.resolution;
	double q = (double)step / ((double)step - 0.5);
	double most = (double)(resolution * resolution) * q * q + (double)step;

	if (step <= resolution)
		t->max_pixels = round_down((size_t)most, step * step);
}

static double round_to_steps(double x, size_t step)
{
	return (double)round_down((size_t)(x + 0.5), step);
}

/* An image over the area shrinks to it; false where sd-scripts divides by zero. */
static bool shrink(const struct bucket_options *o, struct size image, struct size *resized)
{
	double area = (double)(o->resolution * o->resolution), aspect = size_aspect(image);
	double exact_width = sqrt(area * aspect), exact_height = area / exact_width;
	double width = round_to_steps(exact_width, o->step);
	double its_height = round_to_steps(width / aspect, o->step);
	double height = round_to_steps(exact_height, o->step);
	double its_width = round_to_steps(height * aspect, o->step);

	if (its_height == 0.0 || height == 0.0)
		return false;
	if (fabs(width / its_height - aspect) < fabs(its_width / height - aspect))
		*resized = (struct size){(size_t)width, (size_t)(width / aspect + 0.5)};
	else
		*resized = (struct size){(size_t)(height * aspect + 0.5), (size_t)height};
	return true;
}

static enum bucket_found place_kohya_no_upscale(const struct bucket_table *t, struct size image,
						struct bucket_fit *fit)
{
	const struct bucket_options *o = &t->options;

	fit->resized = image;
	if (image.width * image.height > o->resolution * o->resolution &&
	    !shrink(o, image, &fit->resized))
		return BUCKET_NONE;
	fit->target.width = round_down(fit->resized.width, o->step);
	fit->target.height = round_down(fit->resized.height, o->step);
	return fit->target.width > 0 && fit->target.height > 0 ? BUCKET_FOUND : BUCKET_NONE;
}

const struct bucket_rule_ops bucket_kohya_no_upscale = {
    .name = "kohya_no_upscale",
    .takes = TAKES_RESOLUTION | TAKES_BOUNDS | TAKES_STEP,
    .ignores = TAKES_BOUNDS,
    .step = 64,
    .fill = fill_kohya_no_upscale,
    .place = place_kohya_no_upscale,
};
