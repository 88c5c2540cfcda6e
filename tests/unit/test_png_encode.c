/* What png_encode writes is read back by libpng as the same pixels, for sizes and contents of every kind. */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/decode.h"
#include "image/png_encode.h"

#include <string.h>

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

static uint8_t noise(size_t i)
{
	uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u;

	return (uint8_t)((x ^ x >> 29) * 0xbf58476d1ce4e5b9u >> 56);
}

static uint8_t ramp(size_t i)
{
	return (uint8_t)(i / 3 + i / 1536);
}

static uint8_t flat(size_t i)
{
	return i % 3 == 1 ? 200 : 17;
}

static void expect_same_pixels(struct png_encoder *encoder, size_t width, size_t height,
			       uint8_t (*value)(size_t))
{
	const struct image_policy policy = IMAGE_POLICY_DEFAULT;
	cleanup_image struct image in = IMAGE_INIT, out = IMAGE_INIT;
	cleanup_buffer struct buffer file = BUFFER_INIT;
	struct error err = ERROR_INIT;

	assert_ok(image_alloc(&in, width, height, &err), &err);
	for (size_t i = 0; i < image_bytes(&in); i++)
		in.pixels[i] = value(i);
	assert_ok(png_encode(encoder, in.pixels, width, height, &file, &err), &err);
	assert_true(file.size <= png_encode_bound(width, height));
	assert_ok(image_decode(file.data, file.size, &limits, &policy, &out, &err), &err);
	assert_int_equal(out.width, width);
	assert_int_equal(out.height, height);
	assert_memory_equal(in.pixels, out.pixels, image_bytes(&in));
}

static void every_size_and_content_comes_back(void **state)
{
	static const size_t sizes[][2] = {{1, 1},    {1, 9},	{9, 1},	   {2, 2},
					  {7, 5},    {64, 48},	{129, 65}, {512, 40},
					  {40, 512}, {1024, 3}, {333, 222}};
	uint8_t (*const contents[])(size_t) = {noise, ramp, flat};
	struct png_encoder *encoder = png_encoder_new();

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (size_t c = 0; c < ARRAY_SIZE(contents); c++)
			expect_same_pixels(encoder, sizes[s][0], sizes[s][1], contents[c]);
	}
	png_encoder_free(encoder);
}

static void nothing_stays_of_the_image_before(void **state)
{
	struct png_encoder *used = png_encoder_new(), *fresh = png_encoder_new();
	cleanup_buffer struct buffer a = BUFFER_INIT, b = BUFFER_INIT;
	struct error err = ERROR_INIT;
	uint8_t pixels[6 * 4 * 3];

	(void)state;
	for (size_t i = 0; i < sizeof(pixels); i++)
		pixels[i] = noise(i);
	expect_same_pixels(used, 200, 100, ramp);
	assert_ok(png_encode(used, pixels, 6, 4, &a, &err), &err);
	assert_ok(png_encode(fresh, pixels, 6, 4, &b, &err), &err);
	assert_int_equal(a.size, b.size);
	assert_memory_equal(a.data, b.data, a.size);
	png_encoder_free(used);
	png_encoder_free(fresh);
}

static void a_size_that_no_file_has_is_refused(void **state)
{
	static const size_t sizes[][2] = {
	    {0, 5}, {5, 0}, {SIZE_MAX / 2, 2}, {1000000000, 1}, {40000, 40000}};
	struct png_encoder *encoder = png_encoder_new();
	cleanup_buffer struct buffer file = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct error err = ERROR_INIT;

		assert_true(png_encode_bound(sizes[i][0], sizes[i][1]) == SIZE_MAX);
		assert_error(png_encode(encoder, NULL, sizes[i][0], sizes[i][1], &file, &err), &err,
			     ERR_DATA);
		assert_string_equal(err.reason, "too_large");
		assert_int_equal(file.size, 0);
	}
	png_encoder_free(encoder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_size_and_content_comes_back),
	    cmocka_unit_test(nothing_stays_of_the_image_before),
	    cmocka_unit_test(a_size_that_no_file_has_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
