/*
 * diffusion-pipe: DirectoryDataset and ARBucketDataset in utils/dataset.py, with enable_ar_bucket and
 * the aspect ratios of its examples/dataset.toml: min_ar 0.5, max_ar 2.0, num_ar_buckets 7.
 */
#include "image/bucket_rules.h"

#include "base/checked.h"

#include <math.h>

/* Python's round(): half to even. */
static size_t nearest_multiple(double side, size_t multiple)
{
	return (size_t)rint(side / (double)multiple) * multiple;
}

static void fill_diffusion_pipe(struct bucket_table *t)
{
	/* numpy.geomspace(0.5, 2.0, num=7), which it rounds to three digits */
	static const double aspects[] = {0.5, 0.63, 0.794, 1.0, 1.26, 1.587, 2.0};
	double area = (double)(t->options.resolution * t->options.resolution);

	for (size_t i = 0; i < ARRAY_SIZE(aspects); i++) {
		double width = sqrt(area * aspects[i]), height = area / width;
		struct size s = {nearest_multiple(width, t->options.step),
				 nearest_multiple(height, t->options.step)};

		if (s.width == 0 || s.height == 0) { /* nothing can be encoded at that size */
			t->list.count = 0;
			return;
		}
		bucket_list_add(&t->list, s, log(aspects[i]));
	}
}

/*
 * The last bits of log(), which C libraries differ in, decide nothing: equally far from two of the seven
 * is only an irrational aspect ratio.
 *
 * ImageOps.fit leaves the side that is relatively longer as long as the fractional box makes it.
 */
static enum bucket_found place_diffusion_pipe(const struct bucket_table *t, struct size image,
					      struct bucket_fit *fit)
{
	fit->target = bucket_list_nearest(&t->list, log(size_aspect(image)))->size;
	fit->resized = bucket_cover(fit->target, image);
	return BUCKET_FOUND;
}

const struct bucket_rule_ops bucket_diffusion_pipe = {
    .name = "diffusion_pipe",
    .takes = TAKES_RESOLUTION | TAKES_STEP,
    .step = 32,
    .fill = fill_diffusion_pipe,
    .place = place_diffusion_pipe,
};
