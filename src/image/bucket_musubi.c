/*
 * musubi-tuner: BucketSelector in dataset/bucket.py, resize_image_to_bucket in dataset/media_utils.py.
 */
#include "image/bucket_rules.h"

#include <math.h>

static void fill_musubi(struct bucket_table *t)
{
	size_t step = t->options.step, side = t->options.resolution;
	size_t narrowest = round_down(side / 2, step);

	if (narrowest == 0) /* there it divides by zero */
		return;
	for (size_t width = narrowest; width < side + step; width += step) {
		struct size s = {width, round_down(side * side / width, step)};
		struct size turned = {s.height, s.width};

		bucket_list_add(&t->list, s, size_aspect(s));
		bucket_list_add(&t->list, turned, size_aspect(turned));
	}
	bucket_list_sort(&t->list);
}

static enum bucket_found place_musubi(const struct bucket_table *t, struct size image,
				      struct bucket_fit *fit)
{
	double width = (double)image.width, height = (double)image.height, scale;

	fit->target = bucket_list_nearest(&t->list, size_aspect(image))->size;
	scale = fmax((double)fit->target.width / width, (double)fit->target.height / height);
	fit->resized.width = (size_t)(width * scale + 0.5);
	fit->resized.height = (size_t)(height * scale + 0.5);
	return BUCKET_FOUND;
}

const struct bucket_rule_ops bucket_musubi = {
    .name = "musubi",
    .takes = TAKES_RESOLUTION | TAKES_STEP,
    .step = 16,
    .fill = fill_musubi,
    .place = place_musubi,
};
