/*
 * NovelAI's bucketmanager.py (gen_buckets, assign_buckets): base_res N x N, max_size 3/2 N x N, min_dim
 * and dim_limit are min_bucket and max_bucket, max_ar_error 4.
 */
#include "image/bucket_rules.h"

#include <math.h>

#define MAX_ASPECT_ERROR 4.0

/* sorted(key=lambda x: x[0] * 4096 - x[1]): by width, the taller first. */
static int sort_key_compare(const void *a, const void *b)
{
	const struct bucket *x = a, *y = b;
	double x_key = (double)x->size.width * 4096.0 - (double)x->size.height;
	double y_key = (double)y->size.width * 4096.0 - (double)y->size.height;

	return (x_key > y_key) - (x_key < y_key);
}

static void add(struct bucket_table *t, size_t width, size_t height)
{
	struct size s = {width, height};

	bucket_list_add(&t->list, s, size_aspect(s));
}

static void fill_novelai(struct bucket_table *t)
{
	const struct bucket_options *o = &t->options;
	size_t base = o->resolution, area = base * base * 3 / 2;

	for (size_t width = o->min_bucket; width <= o->max_bucket; width += o->step) {
		size_t height = round_down(area / width, o->step);

		if (height > o->max_bucket)
			height = o->max_bucket;
		if (height < o->min_bucket)
			break;
		add(t, width, height);
		add(t, height, width);
	}
	if (base % o->step == 0 && base >= o->min_bucket && base <= o->max_bucket)
		add(t, base, base);
	bucket_list_sort(&t->list); /* for the duplicates */
	if (t->list.count > 0)
		qsort(t->list.items, t->list.count, sizeof(*t->list.items), sort_key_compare);
}

static enum bucket_found place_novelai(const struct bucket_table *t, struct size image,
				       struct bucket_fit *fit)
{
	double aspect = size_aspect(image);
	const struct bucket *bucket = bucket_list_nearest(&t->list, aspect);

	fit->target = bucket->size;
	fit->resized = bucket_cover(fit->target, image);
	return fabs(bucket->shape - aspect) < MAX_ASPECT_ERROR ? BUCKET_FOUND : BUCKET_FAR;
}

const struct bucket_rule_ops bucket_novelai = {
    .name = "novelai",
    .takes = TAKES_RESOLUTION | TAKES_BOUNDS | TAKES_STEP,
    .step = 64,
    .fill = fill_novelai,
    .place = place_novelai,
};
