#include "tests/testing.h"

#include "base/checked.h"
#include "base/ndarray.h"
#include "encoder/pixel_range.h"

#include <math.h>
#include <string.h>

/* tests/golden/pixel_range/make.py: the two lines of diffusers' VaeImageProcessor, in numpy. */
static void pixels_become_bit_for_bit_what_diffusers_makes_of_them(void **state)
{
	cleanup_free char *path = testing_golden("pixel_range/signed_f4.npy");
	cleanup_buffer struct buffer file = testing_read(path);
	cleanup_ndarray struct ndarray want = NDARRAY_INIT;
	struct error err = ERROR_INIT;
	uint8_t pixels[256];
	float got[256];

	(void)state;
	for (size_t i = 0; i < 256; i++)
		pixels[i] = (uint8_t)i;
	assert_ok(npy_read(file.data, file.size, &want, &err), &err);
	assert_int_equal(want.bytes, sizeof(got));
	pixel_range_signed(got, pixels, 256);
	assert_memory_equal(got, want.data, sizeof(got));
}

/* Back, as its postprocess does: clamped, and rounded to the nearest, ties to even. */
static void values_become_the_nearest_pixels(void **state)
{
	static const float values[] = {-7, -1, 1, 3, 0, 1.0f / 255, -1.0f / 255, NAN};
	static const uint8_t want[] = {0, 0, 255, 255, 128, 128, 127, 0};
	uint8_t pixels[256], back[256];
	float range[256];

	(void)state;
	for (size_t i = 0; i < 256; i++)
		pixels[i] = (uint8_t)i;
	pixel_range_signed(range, pixels, 256);
	pixel_range_stored(back, range, 256);
	assert_memory_equal(back, pixels, 256);
	pixel_range_stored(back, values, sizeof(want));
	assert_memory_equal(back, want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_become_the_nearest_pixels),
	    cmocka_unit_test(pixels_become_bit_for_bit_what_diffusers_makes_of_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
