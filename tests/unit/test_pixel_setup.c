#include "daemon/pixel_setup.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>

/* The defaults of the command line. */
static struct pixel_options defaults(void)
{
	struct pixel_options o = {.bucketing = NULL};

	settings_defaults(placement_settings.rows, placement_settings.n, &o);
	settings_defaults(drawing_settings.rows, drawing_settings.n, &o);
	return o;
}

static const char *const *choices_of(const struct settings_group *group, const char *name)
{
	for (size_t i = 0; i < group->n; i++) {
		if (strcmp(group->rows[i].name, name) == 0)
			return group->rows[i].choices;
	}
	fail_msg("there is no setting %s", name);
	return NULL;
}

static void every_rule_that_can_be_asked_for_is_there_and_none_is_left_out(void **state)
{
	const char *const *asked = choices_of(&placement_settings, "bucketing");
	size_t n = 0;

	(void)state;
	for (; asked[n]; n++) {
		struct pixel_options o = defaults();
		struct error err = ERROR_INIT;
		cleanup_bucket_table struct bucket_table *table = NULL;

		o.bucketing = asked[n];
		if (strcmp(asked[n], "fixed") == 0)
			o.resolution = (struct setting_sides){512, 512};
		table = pixel_setup_buckets(&o, &err);
		if (!table)
			fail_msg("%s: %s", asked[n], err.message);
		assert_string_equal(bucket_rule_name(bucket_table_options(table)->rule), asked[n]);
	}
	assert_int_equal(n, BUCKET_DIFFUSION_PIPE + 1);
}

static void every_filter_that_can_be_asked_for_is_there(void **state)
{
	const char *const *asked = choices_of(&drawing_settings, "filter");

	(void)state;
	for (; *asked; asked++) {
		if (resample_filter_parse(*asked) < 0)
			fail_msg("there is no filter %s", *asked);
	}
}

static void the_numbers_reach_the_table(void **state)
{
	struct pixel_options o = defaults();
	struct error err = ERROR_INIT;
	cleanup_bucket_table struct bucket_table *table = NULL;
	const struct bucket_options *b;

	(void)state;
	o.resolution = (struct setting_sides){640, 640};
	o.min_bucket = 256;
	o.max_bucket = 1536;
	o.bucket_step = 32;
	o.min_side = 100;
	o.max_upscale = 1.5;
	o.max_crop_loss = 0.25;
	table = pixel_setup_buckets(&o, &err);
	assert_non_null(table);
	b = bucket_table_options(table);
	assert_int_equal(b->resolution, 640);
	assert_int_equal(b->min_bucket, 256);
	assert_int_equal(b->max_bucket, 1536);
	assert_int_equal(b->step, 32);
	assert_int_equal(b->min_side, 100);
	assert_true(b->max_upscale == 1.5 && b->max_crop_loss == 0.25);
}

static void without_a_resolution_the_rule_has_its_own(void **state)
{
	static const struct {
		const char *rule;
		size_t side;
	} rules[] = {{"kohya", 512}, {"square", 512}, {"sdxl", 1024}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct pixel_options o = defaults();
		struct error err = ERROR_INIT;
		cleanup_bucket_table struct bucket_table *table = NULL;
		struct bucket_placement p;

		o.bucketing = rules[i].rule;
		table = pixel_setup_buckets(&o, &err);
		if (!table)
			fail_msg("%s: %s", rules[i].rule, err.message);
		bucket_place(table, 2048, 2048, &p);
		assert_int_equal(p.target_width, rules[i].side);
		assert_int_equal(p.target_height, rules[i].side);
	}
}

static void a_fixed_size_without_sides_is_wrong_usage(void **state)
{
	struct pixel_options o = defaults();
	struct error err = ERROR_INIT;

	(void)state;
	o.bucketing = "fixed";
	assert_error(pixel_options_check(&o, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "resolution is missing"));
	error_clear(&err);
	assert_null(pixel_setup_buckets(&o, &err));
	assert_int_equal(err.code, ERR_CONFIG);
}

static void a_fixed_size_is_width_by_height(void **state)
{
	struct pixel_options o = defaults();
	struct error err = ERROR_INIT;
	cleanup_bucket_table struct bucket_table *table = NULL;
	struct bucket_placement p;

	(void)state;
	o.bucketing = "fixed";
	o.resolution = (struct setting_sides){768, 320};
	table = pixel_setup_buckets(&o, &err);
	assert_non_null(table);
	bucket_place(table, 1000, 1000, &p);
	assert_int_equal(p.target_width, 768);
	assert_int_equal(p.target_height, 320);
}

static void what_no_table_can_be_made_of_is_refused(void **state)
{
	struct pixel_options o = defaults();
	struct error err = ERROR_INIT;

	(void)state;
	o.min_bucket = 4096;
	assert_null(pixel_setup_buckets(&o, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	error_clear(&err);
	o.bucketing = "nonsense";
	assert_null(pixel_setup_buckets(&o, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_non_null(strstr(err.message, "nonsense"));
}

static void the_policy_is_what_the_words_say(void **state)
{
	struct pixel_options o = defaults();
	struct image_policy p = pixel_setup_policy(&o);

	(void)state;
	assert_true(p.apply_exif && p.color == COLOR_SRGB && p.alpha == ALPHA_OVER);
	assert_int_equal(p.background[0], 255);
	assert_false(p.jpeg_scaling);
	assert_int_equal(pixel_setup_filter(&o), FILTER_LANCZOS);

	o.exif = "ignore";
	o.color = "ignore";
	o.alpha = "black";
	o.jpeg_scaling = true;
	p = pixel_setup_policy(&o);
	assert_true(!p.apply_exif && p.color == COLOR_IGNORE && p.alpha == ALPHA_OVER);
	assert_true(p.background[0] == 0 && p.background[1] == 0 && p.background[2] == 0);
	assert_true(p.jpeg_scaling);

	o.alpha = "#0a80Ff";
	p = pixel_setup_policy(&o);
	assert_int_equal(p.alpha, ALPHA_OVER);
	assert_memory_equal(p.background, "\x0a\x80\xff", 3);

	o.alpha = "drop";
	p = pixel_setup_policy(&o);
	assert_int_equal(p.alpha, ALPHA_DROP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_rule_that_can_be_asked_for_is_there_and_none_is_left_out),
	    cmocka_unit_test(every_filter_that_can_be_asked_for_is_there),
	    cmocka_unit_test(the_numbers_reach_the_table),
	    cmocka_unit_test(without_a_resolution_the_rule_has_its_own),
	    cmocka_unit_test(a_fixed_size_without_sides_is_wrong_usage),
	    cmocka_unit_test(a_fixed_size_is_width_by_height),
	    cmocka_unit_test(what_no_table_can_be_made_of_is_refused),
	    cmocka_unit_test(the_policy_is_what_the_words_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
