/* What jpeg_encode writes is read back as nearly the same pixels, and has the quantisation of Pillow's quality 75. */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/decode.h"
#include "image/jpeg_encode.h"

#include <string.h>

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

static void pixels_come_back_nearly_the_same(void **state)
{
	static const size_t sizes[][2] = {{1, 1}, {9, 7}, {16, 16}, {129, 65}, {1, 300}};
	const struct image_policy policy = IMAGE_POLICY_DEFAULT;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		cleanup_image struct image in = IMAGE_INIT, out = IMAGE_INIT;
		cleanup_buffer struct buffer file = BUFFER_INIT;
		struct error err = ERROR_INIT;

		assert_ok(image_alloc(&in, sizes[s][0], sizes[s][1], &err), &err);
		for (size_t i = 0; i < image_bytes(&in); i++)
			in.pixels[i] = (uint8_t)(128 + i % 3 * 20 + i / 3 % in.width / 4);
		assert_ok(jpeg_encode(in.pixels, in.width, in.height, &file, &err), &err);
		assert_ok(image_decode(file.data, file.size, &limits, &policy, &out, &err), &err);
		assert_int_equal(out.width, in.width);
		assert_int_equal(out.height, in.height);
		for (size_t i = 0; i < image_bytes(&in); i++)
			assert_in_range(out.pixels[i] + 16 - in.pixels[i], 0, 32);
	}
}

/* The first luminance table at quality 75 is half of the standard's: 16, 11, 12, 14 become 8, 6, 6, 7. */
static void tables_are_those_of_quality_75(void **state)
{
	static const uint8_t first[] = {0xff, 0xdb, 0, 67, 0, 8, 6, 6, 7};
	uint8_t pixels[3 * 64] = {0};
	cleanup_buffer struct buffer file = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(jpeg_encode(pixels, 8, 8, &file, &err), &err);
	assert_non_null(memmem(file.data, file.size, first, sizeof(first)));
}

static void a_size_that_is_no_jpeg_is_refused(void **state)
{
	cleanup_buffer struct buffer file = BUFFER_INIT;
	struct error err = ERROR_INIT;
	uint8_t pixel[3] = {0};

	(void)state;
	assert_error(jpeg_encode(pixel, 0, 1, &file, &err), &err, ERR_DATA);
	error_clear(&err);
	assert_error(jpeg_encode(pixel, JPEG_SIDE_MAX + 1, 1, &file, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_large");
	assert_int_equal(file.size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pixels_come_back_nearly_the_same),
	    cmocka_unit_test(tables_are_those_of_quality_75),
	    cmocka_unit_test(a_size_that_is_no_jpeg_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
