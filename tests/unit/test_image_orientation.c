/*
 * EXIF: what is found in a block, and which way the pixels turn.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/decode.h"
#include "image/exif.h"
#include "image/orientation.h"

#include <stdio.h>
#include <string.h>

#define WIDTH  5
#define HEIGHT 3

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

/* The stored pixel that belongs at (x, y) of the upright picture: the EXIF standard's table. */
static void stored_position(unsigned orientation, size_t x, size_t y, size_t *sx, size_t *sy)
{
	const size_t right = WIDTH - 1, bottom = HEIGHT - 1;
	const size_t columns[] = {x, right - x, right - x, x, y, y, right - y, right - y};
	const size_t rows[] = {y, y, bottom - y, bottom - y, x, bottom - x, bottom - x, x};

	*sx = columns[orientation - 1];
	*sy = rows[orientation - 1];
}

static void each_orientation_turns_the_pixels_upright(void **state)
{
	(void)state;
	for (unsigned orientation = 1; orientation <= 8; orientation++) {
		cleanup_image struct image image = IMAGE_INIT;
		struct error err = ERROR_INIT;
		bool swaps = orientation >= 5;

		assert_ok(image_alloc(&image, WIDTH, HEIGHT, &err), &err);
		for (size_t i = 0; i < WIDTH * HEIGHT * 3; i++)
			image.pixels[i] = (uint8_t)i;
		assert_ok(orientation_apply(&image, orientation, &err), &err);
		assert_int_equal(image.width, swaps ? HEIGHT : WIDTH);
		assert_int_equal(image.height, swaps ? WIDTH : HEIGHT);
		for (size_t i = 0; i < WIDTH * HEIGHT; i++) {
			size_t sx, sy;

			stored_position(orientation, i % image.width, i / image.width, &sx, &sy);
			for (size_t c = 0; c < 3; c++)
				assert_int_equal(image.pixels[i * 3 + c],
						 (sy * WIDTH + sx) * 3 + c);
		}
	}
}

static void two_quarter_turns_are_a_half_turn_beyond_one_tile(void **state)
{
	cleanup_image struct image turned = IMAGE_INIT, half = IMAGE_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(image_alloc(&turned, 101, 67, &err), &err);
	assert_ok(image_alloc(&half, 101, 67, &err), &err);
	for (size_t i = 0; i < image_bytes(&half); i++)
		turned.pixels[i] = half.pixels[i] = (uint8_t)(i * 31 >> 3);
	assert_ok(orientation_apply(&turned, 6, &err), &err);
	assert_ok(orientation_apply(&turned, 6, &err), &err);
	assert_ok(orientation_apply(&half, 3, &err), &err);
	assert_int_equal(turned.width, 101);
	assert_memory_equal(turned.pixels, half.pixels, image_bytes(&half));
}

static void the_header_says_the_orientation_and_the_upright_size(void **state)
{
	(void)state;
	for (unsigned orientation = 1; orientation <= 8; orientation++) {
		cleanup_free char *name = xasprintf("images/orientation_%u.jpg", orientation);
		cleanup_free char *path = testing_golden(name);
		cleanup_buffer struct buffer file = testing_read(path);
		struct image_header header;
		struct error err = ERROR_INIT;
		size_t width, height;

		assert_ok(image_read_header(file.data, file.size, &limits, &header, &err), &err);
		assert_int_equal(header.orientation, orientation);
		assert_int_equal(header.width, 40);
		assert_int_equal(header.height, 24);
		image_oriented_size(&header, &width, &height);
		assert_int_equal(width, orientation >= 5 ? 24 : 40);
		assert_int_equal(height, orientation >= 5 ? 40 : 24);
	}
}

static void orientation_can_be_ignored(void **state)
{
	cleanup_free char *path = testing_golden("images/orientation_6.jpg");
	cleanup_buffer struct buffer file = testing_read(path);
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	cleanup_image struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	policy.apply_exif = false;
	assert_ok(image_decode(file.data, file.size, &limits, &policy, &image, &err), &err);
	assert_int_equal(image.width, 40);
	assert_int_equal(image.height, 24);
}

/* Header, a directory of two entries (the second is the orientation), no next directory. */
#define BIG_ENDIAN_BLOCK                                                                           \
	"MM\0\x2a\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\0\x05\xff\xff\xff\xf0"                         \
	"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
#define BLOCK_SIZE	  38
#define ORIENTATION_TYPE  25 /* low byte */
#define ORIENTATION_COUNT 29
#define ORIENTATION_VALUE 31

static void a_block_is_read_in_both_byte_orders(void **state)
{
	static const uint8_t big[] = BIG_ENDIAN_BLOCK, prefixed[] = "Exif\0\0" BIG_ENDIAN_BLOCK;
	static const uint8_t little[] =
	    "II\x2a\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x08\0\0\0";

	(void)state;
	assert_int_equal(exif_orientation(big, BLOCK_SIZE), 6);
	assert_int_equal(exif_orientation(prefixed, BLOCK_SIZE + 6), 6);
	assert_int_equal(exif_orientation(little, 22), 8);
}

static void a_broken_block_means_upright(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {
	    {0, 'I'},			   /* mixed byte order mark */
	    {3, 0x2b},			   /* not 42 */
	    {4, 0xff},			   /* directory far outside */
	    {7, 37},			   /* directory's count is cut off */
	    {9, 1},			   /* the entry is not counted */
	    {ORIENTATION_TYPE, 1},	   /* a BYTE */
	    {ORIENTATION_COUNT, 2},	   /* two values */
	    {ORIENTATION_VALUE, 0},	   /* below the range */
	    {ORIENTATION_VALUE, 9},	   /* above the range */
	    {ORIENTATION_VALUE - 1, 0x10}, /* 0x1006 */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		uint8_t block[] = BIG_ENDIAN_BLOCK;

		block[changes[i].at] = changes[i].value;
		assert_int_equal(exif_orientation(block, BLOCK_SIZE), 1);
	}
}

static void a_block_cut_anywhere_is_never_read_beyond(void **state)
{
	static const uint8_t whole[] = BIG_ENDIAN_BLOCK;
	const size_t entry_end = 8 + 2 + 2 * 12;

	(void)state;
	for (size_t size = 0; size <= BLOCK_SIZE; size++) {
		cleanup_free uint8_t *part = xmalloc(size + 1);

		part = xrealloc(part, size > 0 ? size : 1, 1);
		memcpy(part, whole, size);
		assert_int_equal(exif_orientation(part, size), size >= entry_end ? 6 : 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_orientation_turns_the_pixels_upright),
	    cmocka_unit_test(two_quarter_turns_are_a_half_turn_beyond_one_tile),
	    cmocka_unit_test(the_header_says_the_orientation_and_the_upright_size),
	    cmocka_unit_test(orientation_can_be_ignored),
	    cmocka_unit_test(a_block_is_read_in_both_byte_orders),
	    cmocka_unit_test(a_broken_block_means_upright),
	    cmocka_unit_test(a_block_cut_anywhere_is_never_read_beyond),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
