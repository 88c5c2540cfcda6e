/*
 * Bad files: each is one ERR_DATA with its reason, and costs nothing.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/decode.h"

#include <stdio.h>
#include <string.h>

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;
static const struct image_policy policy = IMAGE_POLICY_DEFAULT;

/* Header and pixels: what the header alone cannot tell may come with the pixels only. */
static void expect_bad(const void *bytes, size_t size, const char *reason, const char *text)
{
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	assert_error(image_decode(bytes, size, &limits, &policy, &image, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, reason);
	if (!strstr(err.message, text))
		fail_msg("'%s' does not say '%s'", err.message, text);
	assert_null(image.pixels);
}

static struct buffer golden_image(const char *name)
{
	cleanup_free char *folder = testing_golden("images");
	cleanup_free char *path = testing_path(folder, name);

	return testing_read(path);
}

static void an_empty_file_is_empty(void **state)
{
	(void)state;
	expect_bad("", 0, "empty", "empty");
}

static void a_text_file_is_named_as_no_image(void **state)
{
	static const char text[] = "BM is how this\n\xfftext starts";

	(void)state;
	expect_bad(text, sizeof(text) - 1, "unsupported",
		   "not an image file (starts with \"BM is how this\\n\\xff\")");
	expect_bad("\0\0\0\0", 4, "unsupported", "zero byte");
	expect_bad("x", 1, "unsupported", "not an image file");
}

static void other_image_formats_are_named(void **state)
{
	static const struct {
		const char *name, *bytes;
		size_t size;
	} files[] = {
	    {"TIFF", "II*\0\x08\0\0\0", 8},
	    {"TIFF", "MM\0*\0\0\0\x08", 8},
	    {"HEIF",
	     "\0\0\0\x1c"
	     "ftypmif1\0\0\0\0heicmif1",
	     28},
	    {"HEIC",
	     "\0\0\0\x18"
	     "ftypheic\0\0\0\0",
	     16},
	    {"JPEG 2000", "\0\0\0\x0cjP  \r\n\x87\n", 12},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		cleanup_free char *text = xasprintf("%s is not read", files[i].name);

		expect_bad(files[i].bytes, files[i].size, "unsupported", text);
	}
}

/* Cut anywhere before the last row is decoded, no file gives pixels. */
static void cut_everywhere(const char *name, size_t tail, const char *also)
{
	cleanup_buffer struct buffer file = golden_image(name);

	for (size_t size = 12; size < file.size - tail; size += 1 + file.size / 150) {
		struct image image = IMAGE_INIT;
		struct error err = ERROR_INIT;
		/* its own memory, so that a sanitizer sees a read beyond the cut */
		cleanup_free uint8_t *part = xmalloc(size);

		memcpy(part, file.data, size);
		if (image_decode(part, size, &limits, &policy, &image, &err) == 0)
			fail_msg("%s cut to %zu of %zu bytes was decoded", name, size, file.size);
		assert_int_equal(err.code, ERR_DATA);
		if (strcmp(err.reason, "truncated") != 0 && strcmp(err.reason, also) != 0)
			fail_msg("%s cut to %zu: %s", name, size, err.message);
	}
}

static void a_truncated_file_is_data_error_truncated(void **state)
{
	cleanup_buffer struct buffer broken = golden_image("broken_truncated.jpg");

	(void)state;
	expect_bad(broken.data, broken.size, "truncated", "JPEG");
	cut_everywhere("odd_420.jpg", 0, "truncated");
	cut_everywhere("progressive.jpg", 0, "truncated");
	cut_everywhere("cmyk_adobe.jpg", 0, "truncated");
	cut_everywhere("rgb_interlaced.png", 20, "truncated");
	cut_everywhere("rgb16.png", 20, "truncated");
}

static void a_damaged_scan_is_corrupt_and_not_grey(void **state)
{
	cleanup_buffer struct buffer file = golden_image("odd_420.jpg");
	size_t middle = file.size * 3 / 4;

	(void)state;
	/* an end marker in the middle of the picture: libjpeg would fill the rest with grey */
	file.data[middle] = 0xff;
	file.data[middle + 1] = 0xd9;
	expect_bad(file.data, file.size, "corrupt", "JPEG");
}

static void a_flipped_bit_in_a_png_is_corrupt(void **state)
{
	cleanup_buffer struct buffer file = golden_image("palette8_trns.png");
	const uint8_t *trns = memmem(file.data, file.size, "tRNS", 4);
	const uint8_t *idat = memmem(file.data, file.size, "IDAT", 4);

	(void)state;
	assert_true(trns && idat);
	file.data[(size_t)(trns - file.data) + 10] ^= 1;
	expect_bad(file.data, file.size, "corrupt", "PNG");
	file.data[(size_t)(trns - file.data) + 10] ^= 1;
	file.data[(size_t)(idat - file.data) + 200] ^= 1;
	expect_bad(file.data, file.size, "corrupt", "PNG");
}

static void a_png_without_a_header_chunk_is_corrupt(void **state)
{
	cleanup_buffer struct buffer file = golden_image("palette.png");

	(void)state;
	file.data[12] = 'J';
	expect_bad(file.data, file.size, "corrupt", "IHDR");
}

static void a_jpeg_of_two_components_is_unsupported(void **state)
{
	cleanup_buffer struct buffer file = golden_image("two_components.jpg");

	(void)state;
	expect_bad(file.data, file.size, "unsupported", "2 components");
}

/* Offset of the start-of-frame's height in a JPEG. */
static size_t frame_size_at(const struct buffer *file)
{
	const uint8_t *frame = memmem(file->data, file->size, "\xff\xc0\x00\x11\x08", 5);

	assert_non_null(frame);
	return (size_t)(frame - file->data) + 5;
}

static void expect_header_too_large(const struct buffer *file, const struct image_limits *l)
{
	struct image_header header = {.width = 77};
	struct error err = ERROR_INIT;

	assert_error(image_read_header(file->data, file->size, l, &header, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_large");
	assert_int_equal(header.width, 77);
}

static void a_giant_header_is_refused_before_anything_is_allocated(void **state)
{
	cleanup_buffer struct buffer jpeg = golden_image("odd_420.jpg");
	cleanup_buffer struct buffer png = golden_image("palette.png");
	size_t at = frame_size_at(&jpeg);

	(void)state;
	memcpy(jpeg.data + at, "\xff\xff\xff\xff", 4);
	expect_header_too_large(&jpeg, &limits); /* 65535: over what libjpeg does */
	memcpy(jpeg.data + at, "\xff\x00\xff\x00", 4);
	expect_header_too_large(&jpeg, &limits);
	memcpy(png.data + 16, "\0\0\xff\xff\0\0\xff\xff", 8);
	expect_header_too_large(&png, &limits);
	memcpy(png.data + 16, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	expect_header_too_large(&png, &limits);
	expect_bad(png.data, png.size, "too_large", "PNG");
}

static void each_limit_holds_exactly(void **state)
{
	cleanup_buffer struct buffer file = golden_image("odd_420.jpg"); /* 91 x 67 */
	const struct image_limits fits = {file.size, 91 * 67, 91};
	const struct image_limits tight[] = {
	    {file.size - 1, 91 * 67, 91}, {file.size, 91 * 67 - 1, 91}, {file.size, 91 * 67, 90}};
	struct image_header header;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(image_read_header(file.data, file.size, &fits, &header, &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(tight); i++)
		expect_header_too_large(&file, &tight[i]);
}

static void a_progressive_file_of_endless_scans_is_a_bomb(void **state)
{
	cleanup_buffer struct buffer file = golden_image("progressive.jpg"), bomb = BUFFER_INIT;
	const uint8_t *scan = memmem(file.data, file.size, "\xff\xda", 2);
	const uint8_t *next = NULL;

	(void)state;
	assert_non_null(scan);
	for (const uint8_t *p = scan + 2; p + 1 < file.data + file.size && !next; p++)
		if (p[0] == 0xff && p[1] != 0x00)
			next = p; /* end of the first scan */
	assert_non_null(next);
	buffer_append(&bomb, file.data, (size_t)(scan - file.data));
	for (int i = 0; i < 200; i++)
		buffer_append(&bomb, scan, (size_t)(next - scan));
	buffer_append(&bomb, "\xff\xd9", 2);
	expect_bad(bomb.data, bomb.size, "bomb", "scans");
	buffer_release(&bomb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_empty_file_is_empty),
	    cmocka_unit_test(a_text_file_is_named_as_no_image),
	    cmocka_unit_test(other_image_formats_are_named),
	    cmocka_unit_test(a_truncated_file_is_data_error_truncated),
	    cmocka_unit_test(a_damaged_scan_is_corrupt_and_not_grey),
	    cmocka_unit_test(a_flipped_bit_in_a_png_is_corrupt),
	    cmocka_unit_test(a_png_without_a_header_chunk_is_corrupt),
	    cmocka_unit_test(a_jpeg_of_two_components_is_unsupported),
	    cmocka_unit_test(a_giant_header_is_refused_before_anything_is_allocated),
	    cmocka_unit_test(each_limit_holds_exactly),
	    cmocka_unit_test(a_progressive_file_of_endless_scans_is_a_bomb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
