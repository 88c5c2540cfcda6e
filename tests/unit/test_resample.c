/*
 * What the golden hashes do not say: a crop is a crop of the whole, names, plans that leave their
 * frame.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/resample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct image noise(size_t width, size_t height)
{
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;
	uint32_t seed = 12345;

	assert_ok(image_alloc(&image, width, height, &err), &err);
	for (size_t i = 0; i < image_bytes(&image); i++) {
		seed = seed * 1664525 + 1013904223;
		image.pixels[i] = (uint8_t)(seed >> 24);
	}
	return image;
}

static void expect_crop_of_whole(const struct image *source, const struct resample_plan *plan)
{
	struct resample_plan full = *plan;
	struct error err = ERROR_INIT;
	cleanup_free uint8_t *whole = xmalloc(plan->full_width * plan->full_height * 3);
	cleanup_free uint8_t *crop = xmalloc(plan->width * plan->height * 3);

	full.left = full.top = 0;
	full.width = plan->full_width;
	full.height = plan->full_height;
	assert_ok(resample(source, &full, whole, &err), &err);
	assert_ok(resample(source, plan, crop, &err), &err);
	for (size_t y = 0; y < plan->height; y++)
		assert_memory_equal(crop + y * plan->width * 3,
				    whole + ((plan->top + y) * plan->full_width + plan->left) * 3,
				    plan->width * 3);
}

static void a_crop_is_a_crop_of_the_whole_result(void **state)
{
	cleanup_image struct image source = noise(83, 57);
	static const size_t sizes[][2] = {{20, 15}, {200, 131}, {83, 15}, {20, 57}, {83, 57}};

	(void)state;
	for (size_t f = FILTER_NEAREST; f <= FILTER_KOHYA; f++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct resample_plan plan = resample_whole(
			    &source, sizes[i][0], sizes[i][1], (enum resample_filter)f);

			plan.left = sizes[i][0] / 3;
			plan.width = sizes[i][0] / 2;
			plan.top = sizes[i][1] / 5;
			plan.height = sizes[i][1] - plan.top;
			expect_crop_of_whole(&source, &plan);
		}
	}
}

static void one_colour_stays_that_colour(void **state)
{
	cleanup_image struct image source = noise(40, 30);

	(void)state;
	memset(source.pixels, 201, image_bytes(&source));
	for (size_t f = FILTER_NEAREST; f <= FILTER_KOHYA; f++) {
		struct resample_plan plan = resample_whole(&source, 61, 7, (enum resample_filter)f);
		struct error err = ERROR_INIT;
		uint8_t out[61 * 7 * 3];

		assert_ok(resample(&source, &plan, out, &err), &err);
		for (size_t i = 0; i < sizeof(out); i++)
			assert_int_equal(out[i], 201);
	}
}

static void filters_have_names(void **state)
{
	static const char *const names[] = {"nearest", "box",	  "bilinear", "hamming",
					    "bicubic", "lanczos", "kohya"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(resample_filter_parse(names[i]), i);
		assert_string_equal(resample_filter_name((enum resample_filter)i), names[i]);
	}
	assert_int_equal(resample_filter_parse("Lanczos"), -1);
}

static void expect_refused(const struct image *source, struct resample_plan plan)
{
	uint8_t untouched[3] = {1, 2, 3};
	struct error err = ERROR_INIT;

	assert_error(resample(source, &plan, untouched, &err), &err, ERR_BUG);
	assert_memory_equal(untouched, ((const uint8_t[]){1, 2, 3}), 3);
}

static void a_plan_that_leaves_its_frame_is_a_bug(void **state)
{
	cleanup_image struct image source = noise(8, 8);
	const struct resample_plan good = resample_whole(&source, 4, 4, FILTER_BOX);
	struct resample_plan bad;

	(void)state;
	bad = good, bad.left = 1;
	expect_refused(&source, bad);
	bad = good, bad.top = SIZE_MAX;
	expect_refused(&source, bad);
	bad = good, bad.height = 0;
	expect_refused(&source, bad);
	bad = good, bad.full_width = bad.width = 0;
	expect_refused(&source, bad);
	bad = good, bad.box[2] = 8.01;
	expect_refused(&source, bad);
	bad = good, bad.box[0] = -0.1;
	expect_refused(&source, bad);
	bad = good, bad.box[1] = bad.box[3];
	expect_refused(&source, bad);
	bad = good, bad.box[0] = (double)NAN;
	expect_refused(&source, bad);
	bad = good, bad.box[3] = (double)NAN;
	expect_refused(&source, bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_crop_is_a_crop_of_the_whole_result),
	    cmocka_unit_test(one_colour_stays_that_colour),
	    cmocka_unit_test(filters_have_names),
	    cmocka_unit_test(a_plan_that_leaves_its_frame_is_a_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
