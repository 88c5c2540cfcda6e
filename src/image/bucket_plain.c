/*
 * Rules that are a list by themselves: one size, or the sizes of the SDXL report (arXiv 2307.01952,
 * appendix I). That list is not symmetric: it has 1344 x 704 (width x height) but not 704 x 1344.
 */
#include "image/bucket_rules.h"

#include "base/checked.h"

#define SDXL_RESOLUTION 1024

static void add(struct bucket_table *t, size_t width, size_t height)
{
	struct size s = {width, height};

	bucket_list_add(&t->list, s, size_aspect(s));
}

static void fill_square(struct bucket_table *t)
{
	add(t, t->options.resolution, t->options.resolution);
}

const struct bucket_rule_ops bucket_square = {
    .name = "square",
    .takes = TAKES_RESOLUTION,
    .fill = fill_square,
    .place = bucket_place_kohya,
};

static int check_fixed(const struct bucket_options *o, struct error *err)
{
	if (o->width < 1 || o->height < 1 || o->width > BUCKET_MAX_SIDE ||
	    o->height > BUCKET_MAX_SIDE)
		return error_set(
		    err, ERR_CONFIG,
		    "fixed buckets have a width and a height of 1 to %d, not %zu x %zu",
		    BUCKET_MAX_SIDE, o->width, o->height);
	return 0;
}

static void fill_fixed(struct bucket_table *t)
{
	add(t, t->options.width, t->options.height);
}

const struct bucket_rule_ops bucket_fixed = {
    .name = "fixed",
    .takes = TAKES_SIZE,
    .check = check_fixed,
    .fill = fill_fixed,
    .place = bucket_place_kohya,
};

static int check_sdxl(const struct bucket_options *o, struct error *err)
{
	if (o->resolution != SDXL_RESOLUTION)
		return error_set(err, ERR_CONFIG, "sdxl buckets have resolution %d, not %zu",
				 SDXL_RESOLUTION, o->resolution);
	return 0;
}

static void fill_sdxl(struct bucket_table *t)
{
	static const unsigned short height_width[][2] = {
	    {512, 2048}, {512, 1984}, {512, 1920},  {512, 1856}, {576, 1792}, {576, 1728},
	    {576, 1664}, {640, 1600}, {640, 1536},  {704, 1472}, {704, 1408}, {704, 1344},
	    {768, 1344}, {768, 1280}, {832, 1216},  {832, 1152}, {896, 1152}, {896, 1088},
	    {960, 1088}, {960, 1024}, {1024, 1024}, {1024, 960}, {1088, 960}, {1088, 896},
	    {1152, 896}, {1152, 832}, {1216, 832},  {1280, 768}, {1344, 768}, {1408, 704},
	    {1472, 704}, {1536, 640}, {1600, 640},  {1664, 576}, {1728, 576}, {1792, 576},
	    {1856, 512}, {1920, 512}, {1984, 512},  {2048, 512},
	};

	for (size_t i = 0; i < ARRAY_SIZE(height_width); i++)
		add(t, height_width[i][1], height_width[i][0]);
	bucket_list_sort(&t->list);
}

const struct bucket_rule_ops bucket_sdxl = {
    .name = "sdxl",
    .takes = TAKES_RESOLUTION,
    .check = check_sdxl,
    .fill = fill_sdxl,
    .place = bucket_place_kohya,
};
