/*
 * Profiles that cannot be used are ignored, a background is under transparent pixels. (That
 * profiles are used rightly, test_image_golden says.)
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/color.h"
#include "image/decode.h"

#include <stdio.h>
#include <string.h>

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

static struct image decode_bytes(const struct buffer *file, const struct image_policy *policy)
{
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	assert_ok(image_decode(file->data, file->size, &limits, policy, &image, &err), &err);
	return image;
}

static struct buffer golden_image(const char *name)
{
	cleanup_free char *folder = testing_golden("images");
	cleanup_free char *path = testing_path(folder, name);

	return testing_read(path);
}

static void expect_same_under_both_policies(const struct buffer *file, bool same)
{
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	cleanup_image struct image srgb = decode_bytes(file, &policy), ignored = IMAGE_INIT;

	policy.color = COLOR_IGNORE;
	ignored = decode_bytes(file, &policy);
	assert_int_equal(image_bytes(&srgb), image_bytes(&ignored));
	assert_true((memcmp(srgb.pixels, ignored.pixels, image_bytes(&srgb)) == 0) == same);
}

static void a_profile_that_is_damaged_is_ignored(void **state)
{
	cleanup_buffer struct buffer file = golden_image("rocket.jpg");
	uint8_t *profile = memmem(file.data, file.size, "ICC_PROFILE", 11);

	(void)state;
	assert_non_null(profile);
	expect_same_under_both_policies(&file, false);
	profile[13]++; /* two parts are announced, one is there */
	expect_same_under_both_policies(&file, true);
	profile[13]--;
	memset(profile + 14, 0x55, 128);
	expect_same_under_both_policies(&file, true);
}

static void a_profile_of_another_colour_space_is_ignored(void **state)
{
	cleanup_buffer struct buffer file = golden_image("rgb_with_grey_icc.jpg");

	(void)state;
	expect_same_under_both_policies(&file, true);
}

static void a_profile_cut_short_is_ignored(void **state)
{
	cleanup_buffer struct buffer icc = golden_image("grey_raised_black.icc");
	const uint8_t grey[2] = {0, 100};
	uint8_t out[6];

	(void)state;
	for (size_t size = 0; size < icc.size; size += 7) {
		cleanup_free uint8_t *part = xmalloc(size + 1);
		struct color_converter *c;

		memcpy(part, icc.data, size);
		c = color_converter_new(COLOR_SPACE_GREY, part, size);
		color_convert(c, grey, out, 2);
		color_converter_free(c);
		assert_int_equal(out[0], 0);
	}
}

static void the_background_shows_where_a_pixel_is_transparent(void **state)
{
	cleanup_buffer struct buffer file = golden_image("grey_alpha_interlaced.png");
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	cleanup_image struct image image = IMAGE_INIT;

	(void)state;
	memcpy(policy.background, "\x0a\x14\x1e", 3);
	image = decode_bytes(&file, &policy);
	assert_memory_equal(image.pixels, policy.background, 3); /* alpha is 0 at the corner */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_profile_that_is_damaged_is_ignored),
	    cmocka_unit_test(a_profile_of_another_colour_space_is_ignored),
	    cmocka_unit_test(a_profile_cut_short_is_ignored),
	    cmocka_unit_test(the_background_shows_where_a_pixel_is_transparent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
