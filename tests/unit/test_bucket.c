/*
 * Buckets against sd-scripts' own BucketManager (buckets_kohya.tsv), and what must hold for any
 * size.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/bucket.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct bucket_table *table_of(struct bucket_options options)
{
	struct error err = ERROR_INIT;
	struct bucket_table *table = bucket_table_new(&options, &err);

	if (!table)
		fail_msg("%s", err.message);
	return table;
}

/* A row of the file; columns as its first line names them. */
struct row {
	char rule[24];
	struct bucket_options options;
	size_t width, height;
	struct bucket_placement want;
};

static bool parse_row(const char *line, struct row *r)
{
	struct bucket_options *o = &r->options;
	struct bucket_placement *p = &r->want;
	double *ltrb = p->kohya_crop_ltrb;

	return sscanf(line, "%23s %zu %zu %zu %zu %zu %zu %zu %zu %zu %zu %zu %zu %lf %lf %lf %lf",
		      r->rule, &o->resolution, &o->min_bucket, &o->max_bucket, &o->step, &r->width,
		      &r->height, &p->target_width, &p->target_height, &p->resized_width,
		      &p->resized_height, &p->crop_left, &p->crop_top, &ltrb[0], &ltrb[1], &ltrb[2],
		      &ltrb[3]) == 17;
}

static void check_row(const struct bucket_table *table, const struct row *r, const char *line)
{
	const struct bucket_placement *want = &r->want;
	struct bucket_placement got;

	bucket_place(table, r->width, r->height, &got);
	if (got.target_width != want->target_width || got.target_height != want->target_height ||
	    got.resized_width != want->resized_width ||
	    got.resized_height != want->resized_height || got.crop_left != want->crop_left ||
	    got.crop_top != want->crop_top)
		fail_msg("bucket %zux%zu, resized %zux%zu, crop %zu,%zu for: %s", got.target_width,
			 got.target_height, got.resized_width, got.resized_height, got.crop_left,
			 got.crop_top, line);
	for (size_t i = 0; i < 4; i++) /* printed with four digits */
		if (fabs(got.kohya_crop_ltrb[i] - want->kohya_crop_ltrb[i]) > 0.000051)
			fail_msg("ltrb[%zu] is %f for: %s", i, got.kohya_crop_ltrb[i], line);
}

static void check_file(const char *path, size_t expected_rows)
{
	cleanup_buffer struct buffer file = testing_read(path);
	cleanup_bucket_table struct bucket_table *table = NULL;
	struct bucket_options last = {0};
	char *save = NULL;
	size_t rows = 0;

	for (char *line = strtok_r((char *)file.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		struct row r = {0};

		if (!parse_row(line, &r) || strcmp(r.rule, "kohya") != 0)
			continue;
		if (!table || memcmp(&last, &r.options, sizeof(last)) != 0) {
			bucket_table_free(table);
			table = table_of(r.options);
			last = r.options;
		}
		check_row(table, &r, line);
		rows++;
	}
	assert_int_equal(rows, expected_rows);
}

static void kohya_places_as_sd_scripts_does(void **state)
{
	cleanup_free char *path = testing_golden("buckets_kohya.tsv");

	(void)state;
	check_file(path, 300);
}

static void kohya_places_every_shared_row_as_sd_scripts_does(void **state)
{
	cleanup_free char *path = testing_shared("goldens/buckets_kohya.tsv");

	(void)state;
	if (!path)
		skip();
	check_file(path, 2800);
}

/* What encoding relies on, for one size. */
static void check_placement(const struct bucket_table *table, size_t width, size_t height)
{
	const struct bucket_options *o = bucket_table_options(table);
	struct bucket_placement p;

	bucket_place(table, width, height, &p);
	assert_int_equal(p.target_width % o->step, 0);
	assert_int_equal(p.target_height % o->step, 0);
	assert_true(p.target_width * p.target_height <= o->resolution * o->resolution);
	assert_true(p.target_width * p.target_height <= bucket_table_max_pixels(table));
	assert_true(p.resized_width >= p.target_width && p.resized_height >= p.target_height);
	assert_true(p.resized_width == p.target_width || p.resized_height == p.target_height);
	assert_true(p.crop_left + p.target_width <= p.resized_width);
	assert_true(p.crop_top + p.target_height <= p.resized_height);
	/* -1 where sd-scripts' // floors the rounding error of an exact fit */
	assert_true(p.kohya_crop_ltrb[0] >= -1.0 && p.kohya_crop_ltrb[1] >= -1.0);
}

static void every_size_is_covered_and_cropped_inside(void **state)
{
	static const struct bucket_options settings[] = {
	    {.rule = BUCKET_KOHYA, .resolution = 512},
	    {.rule = BUCKET_KOHYA, .resolution = 1024, .max_bucket = 1024},
	    {.rule = BUCKET_KOHYA, .resolution = 768, .step = 8},
	    {.rule = BUCKET_KOHYA, .resolution = 1000, .min_bucket = 100, .step = 40},
	    {.rule = BUCKET_SQUARE, .resolution = 512},
	};
	uint32_t seed = 7;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(settings); s++) {
		cleanup_bucket_table struct bucket_table *table = table_of(settings[s]);

		for (size_t i = 0; i < 20000; i++) {
			size_t width, height;

			seed = seed * 1664525 + 1013904223;
			width = 1 + (seed >> 8) % (i % 3 ? 3000 : 65500);
			seed = seed * 1664525 + 1013904223;
			height = 1 + (seed >> 8) % (i % 5 ? 3000 : 65500);
			check_placement(table, width, height);
		}
	}
}

static void the_defaults_are_half_and_twice_the_resolution_in_steps_of_64(void **state)
{
	cleanup_bucket_table struct bucket_table *table =
	    table_of((struct bucket_options){.rule = BUCKET_KOHYA, .resolution = 1000});
	const struct bucket_options *o = bucket_table_options(table);

	(void)state;
	assert_int_equal(o->step, 64);
	assert_int_equal(o->min_bucket, 448);
	assert_int_equal(o->max_bucket, 2048);
	assert_int_equal(bucket_table_max_pixels(table), 576 * 1728);
}

static void square_is_the_centre_of_the_covered_square(void **state)
{
	cleanup_bucket_table struct bucket_table *table =
	    table_of((struct bucket_options){.rule = BUCKET_SQUARE, .resolution = 512});
	struct bucket_placement p;

	(void)state;
	bucket_place(table, 640, 480, &p);
	assert_int_equal(p.target_width, 512);
	assert_int_equal(p.target_height, 512);
	assert_int_equal(p.resized_width, 683);
	assert_int_equal(p.resized_height, 512);
	assert_int_equal(p.crop_left, 85);
	assert_int_equal(p.crop_top, 0);
}

/* Both squares are in this list: sd-scripts adds 512x512, though it is over max_bucket. */
static void an_exact_size_wins_and_of_equal_shapes_the_first(void **state)
{
	cleanup_bucket_table struct bucket_table *table = table_of((struct bucket_options){
	    .rule = BUCKET_KOHYA, .resolution = 512, .min_bucket = 64, .max_bucket = 256});
	struct bucket_placement p;

	(void)state;
	bucket_place(table, 100, 100, &p);
	assert_int_equal(p.target_width, 256);
	bucket_place(table, 512, 512, &p);
	assert_int_equal(p.target_width, 512);
}

static void options_without_a_bucket_are_a_configuration_error(void **state)
{
	static const struct bucket_options bad[] = {
	    {.rule = BUCKET_KOHYA, .resolution = 0},
	    {.rule = BUCKET_KOHYA, .resolution = 1u << 20},
	    {.rule = BUCKET_KOHYA, .resolution = 32},
	    {.rule = BUCKET_KOHYA, .resolution = 512, .min_bucket = 600, .max_bucket = 500},
	    {.rule = BUCKET_KOHYA, .resolution = 512, .max_bucket = SIZE_MAX},
	    {.rule = BUCKET_KOHYA, .resolution = 512, .step = SIZE_MAX},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = ERROR_INIT;

		assert_null(bucket_table_new(&bad[i], &err));
		assert_int_equal(err.code, ERR_CONFIG);
	}
}

static void rules_have_names(void **state)
{
	(void)state;
	assert_int_equal(bucket_rule_parse("kohya"), BUCKET_KOHYA);
	assert_int_equal(bucket_rule_parse("square"), BUCKET_SQUARE);
	assert_int_equal(bucket_rule_parse(""), -1);
	assert_string_equal(bucket_rule_name(BUCKET_SQUARE), "square");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kohya_places_as_sd_scripts_does),
	    cmocka_unit_test(kohya_places_every_shared_row_as_sd_scripts_does),
	    cmocka_unit_test(every_size_is_covered_and_cropped_inside),
	    cmocka_unit_test(the_defaults_are_half_and_twice_the_resolution_in_steps_of_64),
	    cmocka_unit_test(square_is_the_centre_of_the_covered_square),
	    cmocka_unit_test(an_exact_size_wins_and_of_equal_shapes_the_first),
	    cmocka_unit_test(options_without_a_bucket_are_a_configuration_error),
	    cmocka_unit_test(rules_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
