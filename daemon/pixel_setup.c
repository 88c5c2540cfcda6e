#include "daemon/pixel_setup.h"

#include <string.h>

enum { RESOLUTION = 512, SDXL_RESOLUTION = 1024 };

int pixel_setup_resolution(struct pixel_options *o, const char *name, size_t side,
			   struct error *err)
{
	int rule = bucket_rule_parse(o->bucketing);

	if (o->resolution.width != 0 || o->resolutions.n > 0 || rule == BUCKET_FIXED ||
	    rule == BUCKET_SDXL)
		return 0;
	if (side == 0)
		return error_set(err, ERR_CONFIG,
				 "resolution is missing: nothing says which size %s is made for",
				 name);
	o->resolution = (struct setting_sides){side, side};
	return 0;
}

struct bucket_table *pixel_setup_buckets(const struct pixel_options *o, struct error *err)
{
	struct setting_sides sides = o->resolution;
	struct bucket_options buckets = {.min_bucket = o->min_bucket,
					 .max_bucket = o->max_bucket,
					 .step = o->bucket_step,
					 .min_side = o->min_side,
					 .max_upscale = o->max_upscale,
					 .max_crop_loss = o->max_crop_loss};
	int rule = bucket_rule_parse(o->bucketing);

	if (rule < 0) {
		error_set(err, ERR_CONFIG, "there is no bucketing %s", o->bucketing);
		return NULL;
	}
	buckets.rule = (enum bucket_rule)rule;
	if (sides.width == 0 && buckets.rule != BUCKET_FIXED)
		sides.width = sides.height =
		    buckets.rule == BUCKET_SDXL ? SDXL_RESOLUTION : RESOLUTION;
	if (buckets.rule == BUCKET_FIXED) {
		buckets.width = sides.width;
		buckets.height = sides.height;
	} else {
		buckets.resolution = sides.width;
	}
	return bucket_table_new(&buckets, err);
}

_Static_assert(PIXEL_RESOLUTIONS_MAX == RESOLUTIONS_MAX, "each has a place");

int pixel_setup_resolutions(const struct pixel_options *o, struct resolutions *out,
			    struct error *err)
{
	size_t sides[PIXEL_RESOLUTIONS_MAX], n = pixel_options_resolutions(o, sides);
	cleanup_resolutions struct resolutions made = RESOLUTIONS_INIT;

	do {
		struct pixel_options one = *o;

		if (made.n < n)
			one.resolution = (struct setting_sides){sides[made.n], sides[made.n]};
		made.tables[made.n] = pixel_setup_buckets(&one, err);
		if (!made.tables[made.n])
			return -1;
		made.n++;
	} while (made.n < n);
	*out = made;
	made = (struct resolutions)RESOLUTIONS_INIT;
	return 0;
}

struct image_policy pixel_setup_policy(const struct pixel_options *o)
{
	struct image_policy policy = IMAGE_POLICY_DEFAULT;

	policy.apply_exif = strcmp(o->exif, "apply") == 0;
	policy.color = strcmp(o->color, "srgb") == 0 ? COLOR_SRGB : COLOR_IGNORE;
	if (!background_parse(o->alpha, policy.background))
		policy.alpha = ALPHA_DROP;
	policy.jpeg_scaling = o->jpeg_scaling;
	return policy;
}

enum resample_filter pixel_setup_filter(const struct pixel_options *o)
{
	return (enum resample_filter)resample_filter_parse(o->filter);
}
