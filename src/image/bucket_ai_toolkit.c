/*
 * ai-toolkit: get_bucket_for_image_size in toolkit/buckets.py, setup_buckets in dataloader_mixins.py
 * without square_crop. Each image gets the multiples of the step around its own size, or around its
 * size at the area of the resolution.
 */
#include "image/bucket_rules.h"

#include <math.h>
#include <stdint.h>

static void fill_ai_toolkit(struct bucket_table *t)
{
	size_t step = t->options.step, resolution = t->options.resolution;

	t->max_pixels = round_down(resolution * resolution, step * step);
}

/*
 * None is left only where a side is under one step and the other so long that even one step of height is
 * over the area. The tool then takes it all the same.
 */
static enum bucket_found select_ai_toolkit(const struct bucket_options *o, struct size image,
					   struct size *target)
{
	size_t pixels = image.width * image.height, area = o->resolution * o->resolution;
	size_t wanted = pixels < area ? pixels : area, best = SIZE_MAX;
	double scale = sqrt((double)wanted / (double)pixels), step = (double)o->step;
	double steps_wide = (double)image.width * scale / step;
	double steps_high = (double)image.height * scale / step;
	const size_t widths[2] = {(size_t)floor(steps_wide), (size_t)ceil(steps_wide)};
	const size_t heights[2] = {(size_t)floor(steps_high), (size_t)ceil(steps_high)};

	for (size_t i = 0; i < 4; i++) { /* width floor, floor, ceil, ceil; height in turn */
		struct size s = {widths[i / 2] * o->step, heights[i % 2] * o->step};
		size_t has = s.width * s.height;
		size_t distance = has < wanted ? wanted - has : has - wanted;

		if (has > 0 && has <= area && distance < best) {
			best = distance;
			*target = s;
		}
	}
	return best < SIZE_MAX ? BUCKET_FOUND : BUCKET_NONE;
}

static enum bucket_found place_ai_toolkit(const struct bucket_table *t, struct size image,
					  struct bucket_fit *fit)
{
	double width = (double)image.width, height = (double)image.height, scale;

	if (select_ai_toolkit(&t->options, image, &fit->target) != BUCKET_FOUND)
		return BUCKET_NONE;
	scale = fmax((double)fit->target.width / width, (double)fit->target.height / height);
	fit->resized.width = (size_t)ceil(width * scale);
	fit->resized.height = (size_t)ceil(height * scale);
	return BUCKET_FOUND;
}

const struct bucket_rule_ops bucket_ai_toolkit = {
    .name = "ai_toolkit",
    .takes = TAKES_RESOLUTION | TAKES_STEP,
    .step = 64,
    .fill = fill_ai_toolkit,
    .place = place_ai_toolkit,
};
