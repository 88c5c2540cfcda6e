/*
 * Buckets against sd-scripts' own BucketManager (buckets_kohya.tsv), options and limits.
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

		if (!parse_row(line, &r))
			continue;
		r.options.rule = (enum bucket_rule)bucket_rule_parse(r.rule);
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
	check_file(path, 450);
}

static void kohya_places_every_shared_row_as_sd_scripts_does(void **state)
{
	cleanup_free char *path = testing_shared("goldens/buckets_kohya.tsv");

	(void)state;
	if (!path)
		skip();
	check_file(path, 4200);
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

static void no_upscale_ignores_bounds_as_sd_scripts_does(void **state)
{
	cleanup_bucket_table struct bucket_table *table =
	    table_of((struct bucket_options){.rule = BUCKET_KOHYA_NO_UPSCALE,
					     .resolution = 512,
					     .min_bucket = 448,
					     .max_bucket = 576});
	struct bucket_placement p;

	(void)state;
	bucket_place(table, 100, 1100, &p);
	assert_int_equal(p.target_width, 64);
	assert_int_equal(p.target_height, 1088);
	assert_int_equal(bucket_table_options(table)->min_bucket, 0);
	assert_int_equal(bucket_table_options(table)->max_bucket, 0);
}

struct bad_options {
	struct bucket_options options;
	const char *message; /* a part of it */
};

static void check_bad(const struct bad_options *bad, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct error err = ERROR_INIT;

		assert_null(bucket_table_new(&bad[i].options, &err));
		assert_int_equal(err.code, ERR_CONFIG);
		if (!strstr(err.message, bad[i].message))
			fail_msg("'%s' is not in: %s", bad[i].message, err.message);
	}
}

static void options_without_a_bucket_are_a_configuration_error(void **state)
{
	static const struct bad_options bad[] = {
	    {{.rule = BUCKET_KOHYA}, "resolution"},
	    {{.rule = BUCKET_KOHYA, .resolution = 1u << 20}, "resolution"},
	    {{.rule = BUCKET_KOHYA, .resolution = 32}, "no kohya bucket"},
	    {{.rule = BUCKET_KOHYA, .resolution = 512, .min_bucket = 600, .max_bucket = 500},
	     "min_bucket 600"},
	    {{.rule = BUCKET_KOHYA, .resolution = 512, .max_bucket = SIZE_MAX}, "max_bucket"},
	    {{.rule = BUCKET_KOHYA, .resolution = 512, .step = SIZE_MAX}, "step"},
	    {{.rule = BUCKET_KOHYA_NO_UPSCALE, .resolution = 63}, "no kohya_no_upscale bucket"},
	    {{.rule = BUCKET_NOVELAI, .resolution = 40}, "no novelai bucket"},
	    {{.rule = BUCKET_MUSUBI, .resolution = 31}, "no musubi bucket"},
	    {{.rule = BUCKET_ONETRAINER, .resolution = 64}, "no onetrainer bucket"},
	    {{.rule = BUCKET_AI_TOOLKIT, .resolution = 63}, "no ai_toolkit bucket"},
	    {{.rule = BUCKET_DIFFUSION_PIPE, .resolution = 20}, "no diffusion_pipe bucket"},
	    {{.rule = BUCKET_FIXED}, "0 x 0"},
	    {{.rule = BUCKET_FIXED, .width = 512}, "512 x 0"},
	    {{.rule = BUCKET_FIXED, .width = SIZE_MAX, .height = 1}, "fixed"},
	};

	(void)state;
	check_bad(bad, ARRAY_SIZE(bad));
}

static void an_option_without_a_use_is_named(void **state)
{
	static const struct bad_options bad[] = {
	    {{.rule = BUCKET_SQUARE, .resolution = 512, .min_bucket = 256}, "min_bucket"},
	    {{.rule = BUCKET_SQUARE, .resolution = 512, .step = 64}, "step"},
	    {{.rule = BUCKET_MUSUBI, .resolution = 512, .max_bucket = 1024}, "max_bucket"},
	    {{.rule = BUCKET_KOHYA, .resolution = 512, .width = 512}, "width"},
	    {{.rule = BUCKET_SDXL, .resolution = 1024, .height = 512}, "height"},
	    {{.rule = BUCKET_SDXL, .resolution = 512}, "resolution 1024"},
	    {{.rule = BUCKET_FIXED, .width = 8, .height = 8, .resolution = 512}, "resolution"},
	    {{.rule = BUCKET_SQUARE, .resolution = 512, .max_upscale = -1.0}, "max_upscale"},
	    {{.rule = BUCKET_SQUARE, .resolution = 512, .max_upscale = NAN}, "max_upscale"},
	    {{.rule = BUCKET_SQUARE, .resolution = 512, .max_crop_loss = 1.5}, "max_crop_loss"},
	};

	(void)state;
	check_bad(bad, ARRAY_SIZE(bad));
}

/* What is skipped, and what stands exactly at a limit and is not. */
static void limits_skip_what_is_beyond_them(void **state)
{
	static const struct {
		size_t width, height;
		const char *skip, *message;
	} cases[] = {
	    {512, 512, NULL, ""},
	    {256, 256, NULL, ""}, /* enlarged exactly twice */
	    {255, 255, "upscale",
	     "enlarged 2.01 times, over the limit of 2.00 (255 x 255 to 512 x 512)"},
	    {1024, 512, NULL, ""}, /* half of it cropped */
	    {1026, 512, "crop_loss",
	     "50.1 % cropped away, over the limit of 50.0 % (1026 x 512 to 512 x 512)"},
	    {199, 900, "too_small", "a side of 199 is under the minimum of 200 (199 x 900)"},
	    {900, 199, "too_small", "a side of 199 is under the minimum of 200 (900 x 199)"},
	    {200, 4000, "upscale",
	     "enlarged 2.56 times, over the limit of 2.00 (200 x 4000 to 512 x 10240)"},
	};
	cleanup_bucket_table struct bucket_table *table =
	    table_of((struct bucket_options){.rule = BUCKET_SQUARE,
					     .resolution = 512,
					     .min_side = 200,
					     .max_upscale = 2.0,
					     .max_crop_loss = 0.5});

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bucket_placement p;
		char text[200];

		bucket_place(table, cases[i].width, cases[i].height, &p);
		bucket_skip_message(table, cases[i].width, cases[i].height, &p, text, sizeof(text));
		if (cases[i].skip)
			assert_string_equal(p.skip, cases[i].skip);
		else
			assert_null(p.skip);
		assert_string_equal(text, cases[i].message);
		assert_int_equal(p.target_width, 512);
	}
}

static void a_size_without_a_bucket_is_skipped_with_nothing_filled(void **state)
{
	static const struct bucket_placement nothing;
	cleanup_bucket_table struct bucket_table *table =
	    table_of((struct bucket_options){.rule = BUCKET_AI_TOOLKIT, .resolution = 512});
	struct bucket_placement p;
	char text[200];

	(void)state;
	bucket_place(table, 65500, 1, &p);
	assert_string_equal(p.skip, "no_bucket");
	bucket_skip_message(table, 65500, 1, &p, text, sizeof(text));
	assert_string_equal(text, "ai_toolkit has no bucket for 65500 x 1");
	p.skip = NULL;
	assert_memory_equal(&p, &nothing, sizeof(p));
	bucket_place(table, SIZE_MAX, SIZE_MAX, &p);
	assert_string_equal(p.skip, "no_bucket");
	bucket_place(table, 0, 512, &p);
	assert_string_equal(p.skip, "no_bucket");
}

static void every_rule_has_its_name(void **state)
{
	(void)state;
	for (int i = 0; i <= BUCKET_DIFFUSION_PIPE; i++)
		assert_int_equal(bucket_rule_parse(bucket_rule_name((enum bucket_rule)i)), i);
	assert_int_equal(bucket_rule_parse("kohya_no_upscale"), BUCKET_KOHYA_NO_UPSCALE);
	assert_int_equal(bucket_rule_parse(""), -1);
	assert_int_equal(bucket_rule_parse("kohy"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kohya_places_as_sd_scripts_does),
	    cmocka_unit_test(kohya_places_every_shared_row_as_sd_scripts_does),
	    cmocka_unit_test(the_defaults_are_half_and_twice_the_resolution_in_steps_of_64),
	    cmocka_unit_test(square_is_the_centre_of_the_covered_square),
	    cmocka_unit_test(an_exact_size_wins_and_of_equal_shapes_the_first),
	    cmocka_unit_test(no_upscale_ignores_bounds_as_sd_scripts_does),
	    cmocka_unit_test(options_without_a_bucket_are_a_configuration_error),
	    cmocka_unit_test(an_option_without_a_use_is_named),
	    cmocka_unit_test(limits_skip_what_is_beyond_them),
	    cmocka_unit_test(a_size_without_a_bucket_is_skipped_with_nothing_filled),
	    cmocka_unit_test(every_rule_has_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
