/*
 * JPEG files as cameras and programs leave them: metadata in many parts and in any order, beginnings
 * of files, kinds that are not read. (The pixels of every kind: test_render.)
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/decode.h"

#include <stdio.h>
#include <string.h>

#define SEGMENT_MAX 65533 /* what a marker's 16-bit length leaves */

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

static struct buffer golden_image(const char *name)
{
	cleanup_free char *path = testing_golden(name);

	return testing_read(path);
}

static void put_segment(struct buffer *b, uint8_t marker, const void *data, size_t size)
{
	const uint8_t head[4] = {0xff, marker, (uint8_t)((size + 2) >> 8), (uint8_t)(size + 2)};

	assert_true(size <= SEGMENT_MAX);
	buffer_append(b, head, sizeof(head));
	buffer_append(b, data, size);
}

/* @file with @segments after its first marker. */
static struct buffer with_segments(const struct buffer *file, const struct buffer *segments)
{
	struct buffer b = BUFFER_INIT;

	buffer_append(&b, file->data, 2);
	buffer_append(&b, segments->data, segments->size);
	buffer_append(&b, file->data + 2, file->size - 2);
	return b;
}

/* @size bytes, the directory with its one entry at the very end. */
static void put_exif(struct buffer *b, unsigned orientation, size_t size)
{
	uint8_t block[SEGMENT_MAX] = "Exif\0\0MM\0\x2a\0\0\0";
	const size_t directory = size - 6 - 18;
	const uint8_t entries[18] = {0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, (uint8_t)orientation};

	block[12] = (uint8_t)(directory >> 8);
	block[13] = (uint8_t)directory;
	memcpy(block + 6 + directory, entries, sizeof(entries));
	put_segment(b, 0xe1, block, size);
}

static unsigned orientation_with(const struct buffer *segments)
{
	cleanup_buffer struct buffer plain = golden_image("render/s420.jpg");
	cleanup_buffer struct buffer file = with_segments(&plain, segments);
	struct image_header header;
	struct error err = ERROR_INIT;

	assert_ok(image_read_header(file.data, file.size, &limits, &header, &err), &err);
	return header.orientation;
}

static void exif_may_fill_its_marker_to_the_last_byte(void **state)
{
	cleanup_buffer struct buffer segments = BUFFER_INIT;

	(void)state;
	put_exif(&segments, 6, SEGMENT_MAX);
	assert_int_equal(orientation_with(&segments), 6);
}

static void the_first_exif_of_several_markers_counts(void **state)
{
	static const char xmp[] = "http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>";
	cleanup_buffer struct buffer segments = BUFFER_INIT;

	(void)state;
	put_segment(&segments, 0xe1, "", 0);
	put_segment(&segments, 0xe1, "Exif", 4);
	put_segment(&segments, 0xe1, xmp, sizeof(xmp));
	put_exif(&segments, 8, 200);
	put_exif(&segments, 3, 200);
	assert_int_equal(orientation_with(&segments), 8);
}

/* The profile of rocket.jpg, which is no sRGB. */
static struct buffer profile(void)
{
	cleanup_buffer struct buffer file = golden_image("images/rocket.jpg");
	const uint8_t *at = memmem(file.data, file.size, "ICC_PROFILE", 12);
	struct buffer b = BUFFER_INIT;
	size_t length;

	assert_non_null(at);
	length = (size_t)at[-2] << 8 | at[-1];
	buffer_append(&b, at + 14, length - 2 - 14);
	return b;
}

/* Part @number of @parts, counted from 1. */
static void put_icc_part(struct buffer *b, const struct buffer *icc, size_t number, size_t parts)
{
	uint8_t data[SEGMENT_MAX] = "ICC_PROFILE";
	size_t from = icc->size * (number - 1) / parts, to = icc->size * number / parts;

	data[12] = (uint8_t)number;
	data[13] = (uint8_t)parts;
	memcpy(data + 14, icc->data + from, to - from);
	put_segment(b, 0xe2, data, 14 + to - from);
}

static struct image decode_with(const struct buffer *segments)
{
	cleanup_buffer struct buffer plain = golden_image("render/s444.jpg");
	cleanup_buffer struct buffer file = with_segments(&plain, segments);
	const struct image_policy policy = IMAGE_POLICY_DEFAULT;
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	assert_ok(image_decode(file.data, file.size, &limits, &policy, &image, &err), &err);
	return image;
}

static bool same_pixels(const struct image *a, const struct image *b)
{
	assert_int_equal(image_bytes(a), image_bytes(b));
	return memcmp(a->pixels, b->pixels, image_bytes(a)) == 0;
}

static void a_profile_in_many_parts_is_put_together_in_any_order(void **state)
{
	cleanup_buffer struct buffer icc = profile(), one = BUFFER_INIT, many = BUFFER_INIT;
	cleanup_buffer struct buffer none = BUFFER_INIT;
	cleanup_image struct image plain = decode_with(&none), whole = IMAGE_INIT,
				   parts = IMAGE_INIT;

	(void)state;
	put_icc_part(&one, &icc, 1, 1);
	whole = decode_with(&one);
	assert_false(same_pixels(&whole, &plain));
	for (size_t i = 0; i < 255; i++)
		put_icc_part(&many, &icc, 1 + i * 77 % 255, 255);
	parts = decode_with(&many);
	assert_true(same_pixels(&parts, &whole));
}

static void a_profile_with_a_part_missing_is_none(void **state)
{
	cleanup_buffer struct buffer icc = profile(), some = BUFFER_INIT, none = BUFFER_INIT;
	cleanup_image struct image plain = decode_with(&none), got = IMAGE_INIT;

	(void)state;
	put_icc_part(&some, &icc, 1, 3);
	put_icc_part(&some, &icc, 3, 3);
	put_segment(&some, 0xe2, "ICC_PROFILE\0\x02", 13); /* too short for a part */
	put_segment(&some, 0xe2, "MPF\0whatever cameras put here", 30);
	got = decode_with(&some);
	assert_true(same_pixels(&got, &plain));
}

/* A header, or `truncated`: never another error, never another header. */
static bool prefix_gives_header(const struct buffer *file, size_t size,
				const struct image_header *want)
{
	cleanup_free uint8_t *part = xmalloc(size);
	struct image_header got;
	struct error err = ERROR_INIT;

	memcpy(part, file->data, size);
	if (image_read_header(part, size, &limits, &got, &err) == 0) {
		assert_int_equal(got.width, want->width);
		assert_int_equal(got.height, want->height);
		assert_int_equal(got.orientation, want->orientation);
		assert_int_equal(got.decode_bytes, want->decode_bytes);
		return true;
	}
	assert_string_equal(err.reason, "truncated");
	return false;
}

static void a_header_is_read_from_the_beginning_of_a_file(void **state)
{
	static const char *const names[] = {
	    "render/orientation_6.jpg", "render/s420_progressive.jpg", "render/s422_arithmetic.jpg",
	    "render/ycck_420.jpg", "images/rocket.jpg"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_buffer struct buffer file = golden_image(names[i]);
		const uint8_t *scan = memmem(file.data, file.size, "\xff\xda", 2);
		struct image_header want;
		struct error err = ERROR_INIT;
		size_t enough;

		assert_ok(image_read_header(file.data, file.size, &limits, &want, &err), &err);
		enough = (size_t)(scan - file.data) + 2 + (((size_t)scan[2] << 8) | scan[3]);
		for (size_t size = 4; size < enough; size++)
			assert_false(prefix_gives_header(&file, size, &want));
		for (size_t size = enough; size <= file.size; size += 97)
			assert_true(prefix_gives_header(&file, size, &want));
	}
}

static void a_header_behind_64_kib_of_exif_is_truncated_until_it_is_there(void **state)
{
	cleanup_buffer struct buffer plain = golden_image("render/s420.jpg");
	cleanup_buffer struct buffer segments = BUFFER_INIT, file = BUFFER_INIT;
	struct image_header want;
	struct error err = ERROR_INIT;

	(void)state;
	put_exif(&segments, 5, SEGMENT_MAX);
	file = with_segments(&plain, &segments);
	assert_ok(image_read_header(file.data, file.size, &limits, &want, &err), &err);
	assert_false(prefix_gives_header(&file, 64 << 10, &want));
	assert_true(prefix_gives_header(&file, file.size - 1000, &want));
}

static void expect_unsupported(const struct buffer *file)
{
	struct image_header header;
	struct error err = ERROR_INIT;

	assert_error(image_read_header(file->data, file->size, &limits, &header, &err), &err,
		     ERR_DATA);
	assert_string_equal(err.reason, "unsupported");
}

/* The start-of-frame marker's second byte. */
static uint8_t *frame_of(const struct buffer *file)
{
	uint8_t *frame = memmem(file->data, file->size, "\xff\xc0\x00\x11\x08", 5);

	assert_non_null(frame);
	return frame + 1;
}

static void lossless_and_hierarchical_files_are_unsupported(void **state)
{
	static const uint8_t kinds[] = {0xc3, 0xc5, 0xc6, 0xc7, 0xc8, 0xcb,
					0xcd, 0xce, 0xcf, 0xde, 0xdf, 0xf7};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		cleanup_buffer struct buffer file = golden_image("render/s420.jpg");

		*frame_of(&file) = kinds[i];
		expect_unsupported(&file);
	}
}

static void other_than_8_bits_is_unsupported(void **state)
{
	static const uint8_t bits[] = {2, 7, 12, 16};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		cleanup_buffer struct buffer file = golden_image("render/s420.jpg");

		frame_of(&file)[3] = bits[i];
		expect_unsupported(&file);
	}
}

static void fractional_sampling_is_unsupported(void **state)
{
	cleanup_buffer struct buffer file = golden_image("render/s420.jpg");
	const struct image_policy policy = IMAGE_POLICY_DEFAULT;
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	frame_of(&file)[10] = 0x32; /* three columns of luma */
	frame_of(&file)[13] = 0x21; /* to two of chroma */
	assert_error(image_decode(file.data, file.size, &limits, &policy, &image, &err), &err,
		     ERR_DATA);
	assert_string_equal(err.reason, "unsupported");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(exif_may_fill_its_marker_to_the_last_byte),
	    cmocka_unit_test(the_first_exif_of_several_markers_counts),
	    cmocka_unit_test(a_profile_in_many_parts_is_put_together_in_any_order),
	    cmocka_unit_test(a_profile_with_a_part_missing_is_none),
	    cmocka_unit_test(a_header_is_read_from_the_beginning_of_a_file),
	    cmocka_unit_test(a_header_behind_64_kib_of_exif_is_truncated_until_it_is_there),
	    cmocka_unit_test(lossless_and_hierarchical_files_are_unsupported),
	    cmocka_unit_test(other_than_8_bits_is_unsupported),
	    cmocka_unit_test(fractional_sampling_is_unsupported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
