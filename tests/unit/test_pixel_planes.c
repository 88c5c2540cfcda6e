#include "tests/testing.h"

#include "base/checked.h"
#include "base/half.h"
#include "encoder/pixel_planes.h"
#include "encoder/pixel_range.h"

#include <string.h>

enum { MOST = 300 };

static void fill(uint8_t *pixels, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pixels[i] = (uint8_t)(i * 37 + (i >> 3));
}

static void every_value_is_that_of_the_definition_at_every_length(void **state)
{
	static const enum dtype dtypes[] = {DTYPE_F16, DTYPE_F32, DTYPE_U8};
	uint8_t pixels[3 * MOST];
	float got[3 * MOST + 1], want[3 * MOST + 1];

	(void)state;
	fill(pixels, sizeof(pixels));
	for (size_t d = 0; d < ARRAY_SIZE(dtypes); d++) {
		for (size_t n = 0; n <= MOST; n += n < 40 ? 1 : 13) {
			for (int range = PIXEL_SIGNED; range <= PIXEL_UNIT; range++) {
				memset(got, 7, sizeof(got));
				memset(want, 7, sizeof(want));
				pixel_planes(got, dtypes[d], (enum pixel_range)range, pixels, n);
				pixel_planes_plain(want, dtypes[d], (enum pixel_range)range, pixels,
						   n);
				assert_memory_equal(got, want, sizeof(got));
			}
		}
	}
}

static void signed_values_are_those_of_a_local_encode(void **state)
{
	uint8_t pixels[3 * 256];
	float local[3 * 256], planes[3 * 256];
	uint16_t halves[3 * 256];

	(void)state;
	for (size_t i = 0; i < sizeof(pixels); i++)
		pixels[i] = (uint8_t)(i / 3);
	pixel_range_signed(local, pixels, sizeof(pixels));
	pixel_planes(planes, DTYPE_F32, PIXEL_SIGNED, pixels, 256);
	pixel_planes(halves, DTYPE_F16, PIXEL_SIGNED, pixels, 256);
	for (size_t i = 0; i < 256; i++) {
		for (size_t c = 0; c < 3; c++) {
			assert_true(planes[c * 256 + i] == local[3 * i + c]);
			assert_int_equal(halves[c * 256 + i], half_from_float(local[3 * i + c]));
		}
	}
	assert_true(planes[0] == -1 && planes[255] == 1);
}

static void channels_become_planes(void **state)
{
	const uint8_t pixels[] = {1, 2, 3, 4, 5, 6};
	uint8_t planes[6];
	float unit[6];

	(void)state;
	pixel_planes(planes, DTYPE_U8, PIXEL_UNIT, pixels, 2);
	assert_memory_equal(planes, ((const uint8_t[]){1, 4, 2, 5, 3, 6}), 6);
	pixel_planes(unit, DTYPE_F32, PIXEL_UNIT, pixels, 2);
	assert_true(unit[1] == 4 / 255.0f && unit[5] == 6 / 255.0f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_value_is_that_of_the_definition_at_every_length),
	    cmocka_unit_test(signed_values_are_those_of_a_local_encode),
	    cmocka_unit_test(channels_become_planes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
