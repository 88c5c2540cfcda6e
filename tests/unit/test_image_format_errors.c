/*
 * Bad WebP, GIF, BMP, AVIF and JPEG XL files, and PNG bombs: each is one ERR_DATA with its reason
 * and costs no more memory than its header announced.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/decode.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;
static const struct image_policy policy = IMAGE_POLICY_DEFAULT;

static struct buffer golden_image(const char *name)
{
	cleanup_free char *folder = testing_golden("images");
	cleanup_free char *path = testing_path(folder, name);

	return testing_read(path);
}

static void expect_bad(const void *bytes, size_t size, const char *reason, const char *text)
{
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	assert_error(image_decode(bytes, size, &limits, &policy, &image, &err), &err, ERR_DATA);
	if (strcmp(err.reason, reason) != 0 || !strstr(err.message, text))
		fail_msg("[%s] %s; expected [%s] %s", err.reason, err.message, reason, text);
	assert_null(image.pixels);
}

/* A golden file with some bytes replaced. */
static void expect_bad_with(const char *name, size_t at, const char *bytes, size_t size,
			    const char *reason, const char *text)
{
	cleanup_buffer struct buffer file = golden_image(name);

	assert_true(at + size <= file.size);
	memcpy(file.data + at, bytes, size);
	expect_bad(file.data, file.size, reason, text);
}

/*
 * Cut anywhere, but for the last @tail bytes, no file gives pixels; the reason is `truncated`, or
 * @also where the library does not tell.
 */
static void cut_everywhere(const char *name, size_t tail, const char *also)
{
	cleanup_buffer struct buffer file = golden_image(name);

	for (size_t size = 18; size < file.size - tail; size += 1 + file.size / 150) {
		struct image image = IMAGE_INIT;
		struct error err = ERROR_INIT;
		/* its own memory, so that a sanitizer sees a read beyond the cut */
		cleanup_free uint8_t *part = xmalloc(size);

		memcpy(part, file.data, size);
		if (image_decode(part, size, &limits, &policy, &image, &err) == 0)
			fail_msg("%s cut to %zu of %zu bytes was decoded", name, size, file.size);
		assert_int_equal(err.code, ERR_DATA);
		if (strcmp(err.reason, "truncated") != 0 && strcmp(err.reason, also) != 0)
			fail_msg("%s cut to %zu: [%s] %s", name, size, err.reason, err.message);
	}
}

static void a_truncated_file_of_each_format_is_truncated(void **state)
{
	(void)state;
	cut_everywhere("lossy.webp", 0, "truncated");
	cut_everywhere("lossless_alpha.webp", 0, "truncated");
	cut_everywhere("animated_offset.webp", 0, "truncated");
	cut_everywhere("plain.gif", 2, "truncated");
	cut_everywhere("interlaced_local.gif", 2, "truncated");
	cut_everywhere("bits8.bmp", 3, "truncated"); /* the filler of the last row */
	cut_everywhere("bits16_565.bmp", 2, "truncated");
	cut_everywhere("v4_alpha.bmp", 0, "truncated");
	cut_everywhere("rle8.bmp", 80, "truncated"); /* behind its last pixel */
	cut_everywhere("rle4.bmp", 4, "truncated");
	if (image_format_built(IMAGE_AVIF)) {
		cut_everywhere("lossless.avif", 0, "truncated");
		cut_everywhere("lossy_420.avif", 0, "truncated");
	}
	if (image_format_built(IMAGE_JXL)) {
		cut_everywhere("lossless.jxl", 0, "truncated");
		cut_everywhere("lossy.jxl", 0, "truncated");
	}
}

/* Flips one byte after the other; what is decoded all the same must at least not crash. */
static void damage_everywhere(const char *name, size_t step)
{
	cleanup_buffer struct buffer file = golden_image(name);

	for (size_t at = 12; at < file.size; at += step) {
		cleanup_image struct image image = IMAGE_INIT;
		struct error err = ERROR_INIT;

		file.data[at] ^= 0x55;
		if (image_decode(file.data, file.size, &limits, &policy, &image, &err) < 0)
			assert_true(err.code == ERR_DATA || err.code == ERR_NOMEM);
		file.data[at] ^= 0x55;
	}
}

static void a_damaged_file_costs_no_more_than_itself(void **state)
{
	static const char *const names[] = {
	    "lossy.webp", "lossless_alpha.webp", "animated_offset.webp", "interlaced_local.gif",
	    "rle8.bmp",	  "os2_v2.bmp",		 "bits16_565.bmp"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		damage_everywhere(names[i], 3);
}

static void a_damaged_webp_is_corrupt(void **state)
{
	(void)state;
	expect_bad_with("lossy.webp", 16, "\xff\xff\xff\x00", 4, "corrupt", "too long");
	expect_bad_with("lossy.webp", 23, "xyz", 3, "corrupt", "WebP");
	/* the frame of an animation leaves its canvas */
	expect_bad_with("animated_offset.webp", 24, "\x10\0\0\x10\0\0", 6, "corrupt", "leaves");
	/* the canvas of a still picture is not that of its frame */
	expect_bad_with("lossless_alpha.webp", 12, "VP8X", 4, "corrupt", "WebP");
	/* a frame of another size than its animation says */
	expect_bad_with("animated_offset.webp", 58, "\1", 1, "corrupt", "others");
}

static void a_gif_without_a_picture_is_corrupt(void **state)
{
	static const char only_comment[] = "GIF89a\2\0\2\0\0\0\0!\xfe\3abc\0;";
	static const char empty_frame[] = "GIF89a\2\0\2\0\0\0\0,\0\0\0\0\0\0\0\0\0\2\1\x2c\0;";

	(void)state;
	expect_bad(only_comment, sizeof(only_comment) - 1, "corrupt", "no picture");
	expect_bad(empty_frame, sizeof(empty_frame) - 1, "corrupt", "empty");
	expect_bad_with("plain.gif", 109, "?", 1, "corrupt", "GIF");
}

static void what_a_bmp_may_not_be_is_named(void **state)
{
	(void)state;
	expect_bad_with("bits24.bmp", 30, "\4", 1, "unsupported", "JPEG inside");
	expect_bad_with("bits24.bmp", 30, "\5", 1, "unsupported", "PNG inside");
	expect_bad_with("os2_v2.bmp", 30, "\3", 1, "unsupported", "OS/2");
	expect_bad_with("bits24.bmp", 28, "\7", 1, "unsupported", "7 bits");
	expect_bad_with("bits24.bmp", 30, "\1", 1, "corrupt", "RLE8");
	expect_bad_with("bits24.bmp", 18, "\0\0\0\0", 4, "corrupt", "0 x 29");
	expect_bad_with("bits24.bmp", 18, "\xff\xff\xff\xff", 4, "corrupt", "-1 x 29");
	expect_bad_with("bits8.bmp", 46, "\0\0\2\0", 4, "corrupt", "palette");
	expect_bad_with("bits16_565.bmp", 54, "\1\xf0", 2, "unsupported", "mask");
	expect_bad_with("bits24.bmp", 10, "\xff\xff\xff\xff", 4, "truncated", "inside its picture");
}

static void a_format_that_is_not_built_is_named(void **state)
{
	static const char avif[] = "\0\0\0\x1c"
				   "ftypmif1\0\0\0\0mif1avifmiaf";
	static const char jxl[] = "\0\0\0\x0cJXL \r\n\x87\n";
	const char *refusal = "is not read by this build";

	(void)state;
	expect_bad(avif, sizeof(avif) - 1,
		   image_format_built(IMAGE_AVIF) ? "truncated" : "unsupported",
		   image_format_built(IMAGE_AVIF) ? "AVIF" : refusal);
	expect_bad(jxl, sizeof(jxl) - 1,
		   image_format_built(IMAGE_JXL) ? "truncated" : "unsupported",
		   image_format_built(IMAGE_JXL) ? "JPEG XL" : refusal);
	for (int i = IMAGE_JPEG; i <= IMAGE_BMP; i++)
		assert_true(image_format_built((enum image_format)i));
}

/* -- bombs ------------------------------------------------------------------------------------- */

/* By what a child grows that decodes @file, in MiB. */
static int memory_to_decode(const struct buffer *file, bool succeeds)
{
	int status = 0;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct image image = IMAGE_INIT;
		struct error err = ERROR_INIT;
		struct rusage before, after;
		long grown;

		getrusage(RUSAGE_SELF, &before);
		if ((image_decode(file->data, file->size, &limits, &policy, &image, &err) == 0) !=
		    succeeds)
			_exit(255);
		getrusage(RUSAGE_SELF, &after);
		grown = (after.ru_maxrss - before.ru_maxrss) / 1024;
		_exit(grown < 254 ? (int)grown : 254);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_not_equal(WEXITSTATUS(status), 255);
	return WEXITSTATUS(status);
}

static void expect_cheap(const struct buffer *file, bool succeeds)
{
	int grown = memory_to_decode(file, succeeds);

	if (grown > 8)
		fail_msg("%d MiB for a file of %zu bytes", grown, file->size);
}

static void put_u32be(struct buffer *b, uint32_t v)
{
	const uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
				  (uint8_t)v};

	buffer_append(b, bytes, 4);
}

static void put_chunk(struct buffer *png, const char *type, const void *data, size_t size)
{
	size_t start = png->size + 4;

	put_u32be(png, (uint32_t)size);
	buffer_append(png, type, 4);
	buffer_append(png, data, size);
	put_u32be(png, (uint32_t)crc32(0, png->data + start, (uInt)(size + 4)));
}

/* @start and zeros, @size bytes, as a zlib stream behind @prefix. */
static struct buffer deflated(const char *prefix, size_t prefix_size, const void *start,
			      size_t start_size, size_t size)
{
	struct buffer out = BUFFER_INIT;
	uint8_t *plain = xcalloc(size, 1);
	uLongf room = compressBound(size);
	uint8_t *packed = xmalloc(room);

	memcpy(plain, start, start_size);
	assert_int_equal(compress2(packed, &room, plain, size, 9), Z_OK);
	buffer_append(&out, prefix, prefix_size);
	buffer_append(&out, packed, room);
	free(plain);
	free(packed);
	return out;
}

/* The header of an ICC profile of 50 MiB that has nothing against it but its size. */
static const uint8_t profile_start[132] = {
    0x03, 0x20, 0,   0,	  0,	    0,	 0,    0,    2, 0x40, 0, 0, 'm', 'n', 't',  'r',  'R', 'G',
    'B',  ' ',	'X', 'Y', 'Z',	    ' ', 0,    0,    0, 0,    0, 0, 0,	 0,   0,    0,	  0,   0,
    'a',  'c',	's', 'p', [68] = 0, 0,	 0xf6, 0xd6, 0, 1,    0, 0, 0,	 0,   0xd3, 0x2d,
};

static const uint8_t tiny_rgb[13] = {0, 0, 0, 4, 0, 0, 0, 4, 8, 2, 0, 0, 0};

/* A picture of 4 x 4 with @type in front of its pixels. */
static struct buffer png_with(const char *type, const struct buffer *chunk, const uint8_t *ihdr,
			      size_t pixel_bytes)
{
	cleanup_buffer struct buffer pixels = deflated("", 0, "", 0, pixel_bytes);
	struct buffer png = BUFFER_INIT;

	buffer_append(&png, "\x89PNG\r\n\x1a\n", 8);
	put_chunk(&png, "IHDR", ihdr, 13);
	if (type)
		put_chunk(&png, type, chunk->data, chunk->size);
	put_chunk(&png, "IDAT", pixels.data, pixels.size);
	put_chunk(&png, "IEND", "", 0);
	return png;
}

static void fifty_megabytes_in_a_png_chunk_cost_nothing(void **state)
{
	cleanup_buffer struct buffer profile =
	    deflated("name\0\0", 6, profile_start, sizeof(profile_start), 50u << 20);
	cleanup_buffer struct buffer text = deflated("Comment\0\0", 9, "", 0, 50u << 20);
	cleanup_buffer struct buffer with_profile = png_with("iCCP", &profile, tiny_rgb, 4 * 13);
	/* below what libpng itself would refuse */
	cleanup_buffer struct buffer less = deflated("Comment\0\0", 9, "", 0, 15u << 20);
	cleanup_buffer struct buffer with_text = png_with("zTXt", &text, tiny_rgb, 4 * 13);
	cleanup_buffer struct buffer with_less = png_with("zTXt", &less, tiny_rgb, 4 * 13);
	cleanup_buffer struct buffer with_pixels = png_with(NULL, NULL, tiny_rgb, 50u << 20);

	(void)state;
	expect_cheap(&with_profile, true);
	expect_cheap(&with_text, true);
	expect_cheap(&with_less, true);
	expect_cheap(&with_pixels, true);
}

static void a_header_of_65535_by_65535_costs_nothing(void **state)
{
	static const uint8_t giant[13] = {0, 0, 255, 255, 0, 0, 255, 255, 8, 6, 0, 0, 1};
	cleanup_buffer struct buffer png = png_with(NULL, NULL, giant, 4096);
	cleanup_buffer struct buffer bmp = golden_image("rle8.bmp");
	cleanup_buffer struct buffer gif = golden_image("interlaced_local.gif");
	cleanup_buffer struct buffer webp = golden_image("animated_offset_alpha.webp");

	(void)state;
	memcpy(bmp.data + 18, "\xff\xff\0\0\xff\xff\0\0", 8);
	memcpy(gif.data + 6, "\xff\xff\xff\xff", 4);
	memcpy(webp.data + 24, "\xff\xff\0\xff\xff\0", 6);
	expect_cheap(&png, false);
	expect_bad(png.data, png.size, "too_large", "65535 x 65535");
	expect_cheap(&bmp, false);
	expect_bad(bmp.data, bmp.size, "too_large", "65535 x 65535");
	expect_cheap(&gif, false);
	expect_bad(gif.data, gif.size, "too_large", "65535 x 65535");
	expect_cheap(&webp, false);
	expect_bad(webp.data, webp.size, "too_large", "65536 x 65536");
}

/* Ten thousand frames: only the first may be looked at. */
static void a_long_animation_costs_as_much_as_its_first_frame(void **state)
{
	cleanup_buffer struct buffer gif = golden_image("plain.gif");
	cleanup_buffer struct buffer long_gif = BUFFER_INIT;
	const uint8_t *frame = memmem(gif.data, gif.size, ",\0\0\0\0", 5);
	size_t start;

	(void)state;
	assert_non_null(frame);
	start = (size_t)(frame - gif.data);
	buffer_append(&long_gif, gif.data, start);
	for (int i = 0; i < 10000; i++)
		buffer_append(&long_gif, frame, gif.size - start - 1);
	expect_cheap(&long_gif, true);
}

/* -- what the header promises ---------------------------------------------------------------------- */

static void expect_stored(const char *name, size_t width, size_t height, unsigned orientation)
{
	cleanup_buffer struct buffer file = golden_image(name);
	struct image_header header;
	struct error err = ERROR_INIT;

	assert_ok(image_read_header(file.data, file.size, &limits, &header, &err), &err);
	assert_int_equal(header.width, width);
	assert_int_equal(header.height, height);
	assert_int_equal(header.orientation, orientation);
}

static void the_header_has_the_size_before_orientation(void **state)
{
	(void)state;
	expect_stored("exif6.webp", 37, 29, 6);
	if (image_format_built(IMAGE_AVIF))
		expect_stored("orientation_7.avif", 18, 11, 7);
	if (image_format_built(IMAGE_JXL))
		expect_stored("orientation_6.jxl", 37, 29, 6);
}

static void no_header_announces_more_than_the_bound(void **state)
{
	/* a codestream's header: 4000 x 4000, 8 bits, one extra channel (alpha), the rest by default */
	static const uint8_t jxl[] = {0xff, 0x0a, 0xfa, 0x7c, 0x01, 0x3b, 0x01};
	struct image_header header;
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(image_decode_bytes_max(SIZE_MAX / 2, 3), SIZE_MAX);
	assert_int_equal(image_decode_bytes_max(1, SIZE_MAX - 1), SIZE_MAX);
	if (!image_format_built(IMAGE_JXL))
		skip();
	assert_ok(image_read_header(jxl, sizeof(jxl), &limits, &header, &err), &err);
	assert_int_equal(header.width, 4000);
	assert_int_equal(header.height, 4000);
	assert_true(header.decode_bytes > (size_t)64 * 4000 * 4000);
	assert_true(header.decode_bytes <= image_decode_bytes_max(4000, 4000));
}

/* How much of a file its header takes; less is `truncated`, more says the same. */
static void expect_header_within(const char *name, size_t at_most)
{
	cleanup_buffer struct buffer file = golden_image(name);
	struct image_header whole, part;
	struct error err = ERROR_INIT;
	size_t least = 0;

	assert_ok(image_read_header(file.data, file.size, &limits, &whole, &err), &err);
	for (size_t size = 18; size <= file.size; size++) {
		cleanup_free uint8_t *start = xmalloc(size);

		memcpy(start, file.data, size);
		error_clear(&err);
		if (image_read_header(start, size, &limits, &part, &err) < 0) {
			if (least > 0 || strcmp(err.reason, "truncated") != 0)
				fail_msg("%s cut to %zu: [%s] %s", name, size, err.reason,
					 err.message);
			continue;
		}
		least = least > 0 ? least : size;
		assert_int_equal(part.width, whole.width);
		assert_int_equal(part.height, whole.height);
		assert_int_equal(part.orientation, whole.orientation);
		assert_int_equal(part.decode_bytes, whole.decode_bytes);
	}
	if (least > at_most)
		fail_msg("%s: %zu bytes, not %zu", name, least, at_most);
}

static void the_beginning_of_a_file_has_its_header(void **state)
{
	(void)state;
	expect_header_within("lossy.webp", 30);
	expect_header_within("lossless.webp", 30);
	expect_header_within("lossy_alpha.webp", 400);
	expect_header_within("animated_offset.webp", 90);
	expect_header_within("exif6.webp", SIZE_MAX);
	expect_header_within("plain.gif", 130);
	expect_header_within("rle8.bmp", 54 + 1024);
	expect_header_within("bits16_565.bmp", 66);
	if (image_format_built(IMAGE_AVIF))
		expect_header_within("lossy_420.avif", SIZE_MAX);
	if (image_format_built(IMAGE_JXL))
		expect_header_within("lossy.jxl", 64);
}

/* The last byte of a header that giflib asks for may be a zero of our own. */
static void a_gif_cut_before_the_last_byte_of_its_header_is_truncated(void **state)
{
	cleanup_buffer struct buffer gif = golden_image("plain.gif");
	const uint8_t *frame = memmem(gif.data, gif.size, ",\0\0\0\0", 5);
	struct image_header header;
	struct error err = ERROR_INIT;
	size_t size;

	(void)state;
	assert_non_null(frame);
	size = (size_t)(frame - gif.data) + 10;
	assert_ok(image_read_header(gif.data, size + 1, &limits, &header, &err), &err);
	assert_error(image_read_header(gif.data, size, &limits, &header, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "truncated");
}

static void an_exif_block_over_its_limit_is_not_looked_at(void **state)
{
	cleanup_buffer struct buffer block = BUFFER_INIT;
	struct image_header header;
	struct error err = ERROR_INIT;

	(void)state;
	buffer_append(&block, "II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0", 26);
	for (int large = 0; large <= 1; large++) {
		cleanup_buffer struct buffer png = BUFFER_INIT;

		if (large)
			buffer_append_zeros(&block, 1u << 20);
		png = png_with("eXIf", &block, tiny_rgb, 4 * 13);
		assert_ok(image_read_header(png.data, png.size, &limits, &header, &err), &err);
		assert_int_equal(header.orientation, large ? 1 : 6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_truncated_file_of_each_format_is_truncated),
	    cmocka_unit_test(a_damaged_file_costs_no_more_than_itself),
	    cmocka_unit_test(a_damaged_webp_is_corrupt),
	    cmocka_unit_test(a_gif_without_a_picture_is_corrupt),
	    cmocka_unit_test(what_a_bmp_may_not_be_is_named),
	    cmocka_unit_test(a_format_that_is_not_built_is_named),
	    cmocka_unit_test(fifty_megabytes_in_a_png_chunk_cost_nothing),
	    cmocka_unit_test(a_header_of_65535_by_65535_costs_nothing),
	    cmocka_unit_test(a_long_animation_costs_as_much_as_its_first_frame),
	    cmocka_unit_test(the_header_has_the_size_before_orientation),
	    cmocka_unit_test(no_header_announces_more_than_the_bound),
	    cmocka_unit_test(the_beginning_of_a_file_has_its_header),
	    cmocka_unit_test(a_gif_cut_before_the_last_byte_of_its_header_is_truncated),
	    cmocka_unit_test(an_exif_block_over_its_limit_is_not_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
