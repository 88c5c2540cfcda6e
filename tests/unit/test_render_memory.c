/*
 * image_render_bytes() against what image_render() takes: every allocation of this process is
 * counted, those of the libraries too.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/color.h"
#include "image/render.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

static struct {
	size_t live, peak;
} heap;

#ifdef __SANITIZE_ADDRESS__
#define COUNTED false /* AddressSanitizer has its own malloc */
#else
#define COUNTED true

/* glibc's own, for programs that put theirs in front. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);

static void *counted(void *p)
{
	heap.live += p ? malloc_usable_size(p) : 0;
	heap.peak = heap.live > heap.peak ? heap.live : heap.peak;
	return p;
}

void *malloc(size_t size)
{
	return counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
	return counted(__libc_calloc(count, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return counted(__libc_memalign(alignment, size));
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *p = counted(__libc_memalign(alignment, size));

	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

void free(void *p)
{
	heap.live -= p ? malloc_usable_size(p) : 0;
	__libc_free(p);
}

/* Old and new may be there together while it moves. */
void *realloc(void *p, size_t size)
{
	size_t before = p ? malloc_usable_size(p) : 0;
	void *moved = __libc_realloc(p, size);

	if (!moved)
		return NULL;
	counted(moved);
	heap.live -= before;
	return moved;
}
#endif

/* Peak of rendering to @g; whether the file is whole does not matter. */
static size_t measure(const struct buffer *file, const struct image_policy *policy,
		      const struct render_geometry *g)
{
	cleanup_free uint8_t *out = xmalloc(g->width * g->height * 3);
	struct error err = ERROR_INIT;
	size_t before = heap.live;

	heap.peak = before;
	if (image_render(file->data, file->size, &limits, policy, g, out, &err) < 0)
		assert_int_equal(err.code, ERR_DATA);
	return heap.peak - before;
}

static void expect_within_bound(const char *name, const struct buffer *file,
				const struct image_policy *policy, const struct render_geometry *g)
{
	struct error err = ERROR_INIT;
	struct image_header header;
	size_t bound, peak;

	assert_ok(image_read_header(file->data, file->size, &limits, &header, &err), &err);
	bound = image_render_bytes(&header, policy, g, 1);
	peak = measure(file, policy, g);
	if (peak > bound)
		fail_msg("%s, %zu x %zu, to %zu x %zu: %zu bytes, expected at most %zu", name,
			 header.width, header.height, g->full_width, g->full_height, peak, bound);
}

/* Shrunk, a little and much, and enlarged in one direction; with and without scaling in the decoder. */
static void expect_every_way_within_bound(const char *name, const struct buffer *file)
{
	static const size_t sizes[][2] = {{512, 384}, {64, 64}, {1024, 1024}, {16, 2000}};
	struct image_policy policy = IMAGE_POLICY_DEFAULT;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const size_t w = sizes[i][0], h = sizes[i][1];
		const struct render_geometry whole = {w, h, 0, 0, w, h, FILTER_LANCZOS};
		const struct render_geometry part = {w, h, w / 4, h / 4, w / 2, h / 2, FILTER_BOX};

		for (int way = 0; way < 4; way++) {
			policy.jpeg_scaling = way & 1;
			policy.apply_exif = way & 2;
			expect_within_bound(name, file, &policy, i & 1 ? &part : &whole);
		}
	}
}

static void resize_frame(struct buffer *file, unsigned width, unsigned height)
{
	uint8_t *frame = NULL;

	for (size_t i = 0; i + 9 < file->size && !frame; i++)
		if (file->data[i] == 0xff && (file->data[i + 1] & 0xf0) == 0xc0 &&
		    file->data[i + 1] != 0xc4 && file->data[i + 1] != 0xcc)
			frame = file->data + i + 5;
	assert_non_null(frame);
	frame[0] = (uint8_t)(height >> 8);
	frame[1] = (uint8_t)height;
	frame[2] = (uint8_t)(width >> 8);
	frame[3] = (uint8_t)width;
}

/* A small file with a large size in its header: the decoder takes all its memory before it sees that. */
static void the_bound_holds_for_jpegs_of_every_kind_and_size(void **state)
{
	static const char *const names[] = {"s444.jpg",
					    "s420.jpg",
					    "s440.jpg",
					    "s410.jpg",
					    "s441.jpg",
					    "s_3x1.jpg",
					    "s_uneven.jpg",
					    "s_inverse.jpg",
					    "grey_2x2.jpg",
					    "s420_progressive.jpg",
					    "s422_arithmetic.jpg",
					    "cmyk_unmarked.jpg",
					    "ycck_420.jpg",
					    "ycck_444_progressive.jpg",
					    "orientation_2.jpg",
					    "orientation_6.jpg",
					    "orientation_8.jpg"};
	static const unsigned sizes[][2] = {{640, 480}, {3000, 2000}, {2111, 3333},
					    {65000, 9}, {9, 65000},   {1, 1}};

	(void)state;
	if (!COUNTED)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_free char *name = xasprintf("render/%s", names[i]);
		cleanup_free char *path = testing_golden(name);
		cleanup_buffer struct buffer file = testing_read(path);

		for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
			resize_frame(&file, sizes[k][0], sizes[k][1]);
			expect_every_way_within_bound(names[i], &file);
		}
	}
}

static void the_bound_holds_for_photographs(void **state)
{
	static const char *const names[] = {
	    "sharp_flowers.jpeg", "exif_portrait_6.jpg", "cmyk_icc.jpg", "rocket.jpg",
	    "darknet_eagle.jpg",  "retina.jpg",		 "grey.jpg",	 "hubble_deep_field.jpg",
	    "chelsea.png",	  "alpha_paper.png",	 "icc.png",	 "grey16_alpha.png"};

	(void)state;
	if (!COUNTED)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_free char *name = xasprintf("photos/%s", names[i]);
		cleanup_free char *path = testing_shared(name);
		struct buffer file;

		if (!path)
			skip();
		file = testing_read(path);
		expect_every_way_within_bound(names[i], &file);
		buffer_release(&file);
	}
}

/* -- profiles -------------------------------------------------------------------------------------- */

static void put_u32be(struct buffer *b, size_t v)
{
	const uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
				  (uint8_t)v};

	buffer_append(b, bytes, 4);
}

static void set_u32(uint8_t *p, size_t v, bool big_endian)
{
	for (size_t i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * (big_endian ? 3 - i : i)));
}

/*
 * A printer's profile with one table of 8 bits, of @grid steps for each of the @inputs: what costs lcms
 * most for its size, because it makes 16 bits of them and copies that.
 */
static struct buffer large_profile(size_t inputs, size_t grid)
{
	struct buffer b = BUFFER_INIT;
	size_t table = 3, start;

	for (size_t i = 0; i < inputs; i++)
		table *= grid;
	buffer_append_zeros(&b, 128);
	memcpy(b.data + 8, "\x02\x40\0\0prtr", 8);
	memcpy(b.data + 16, inputs == 4 ? "CMYKLab " : "RGB Lab ", 8);
	memcpy(b.data + 36, "acsp", 4);
	put_u32be(&b, 1);
	buffer_append_string(&b, "A2B0");
	put_u32be(&b, 144);
	put_u32be(&b, 48 + 256 * (inputs + 3) + table);
	start = b.size;
	buffer_append(&b, "mft1\0\0\0", 8);
	buffer_put_u8(&b, (uint8_t)inputs);
	buffer_put_u8(&b, 3);
	buffer_put_u8(&b, (uint8_t)grid);
	buffer_put_u8(&b, 0);
	for (size_t i = 0; i < 9; i++)
		put_u32be(&b, i % 4 == 0 ? 0x10000 : 0);
	for (size_t i = 0; i < 256 * inputs; i++)
		buffer_put_u8(&b, (uint8_t)i);
	for (size_t i = 0; i < table; i++)
		buffer_put_u8(&b, (uint8_t)(i * 37));
	for (size_t i = 0; i < 256 * 3; i++)
		buffer_put_u8(&b, (uint8_t)i);
	assert_int_equal(b.size - start, 48 + 256 * (inputs + 3) + table);
	buffer_append_zeros(&b, (4 - b.size % 4) % 4);
	set_u32(b.data, b.size, true);
	return b;
}

static struct buffer golden(const char *name)
{
	cleanup_free char *path = testing_golden(name);

	return testing_read(path);
}

/* @file with @piece put in at @at. */
static void put_in(struct buffer *file, size_t at, const struct buffer *piece)
{
	struct buffer whole = BUFFER_INIT;

	buffer_append(&whole, file->data, at);
	buffer_append(&whole, piece->data, piece->size);
	buffer_append(&whole, file->data + at, file->size - at);
	buffer_release(file);
	*file = whole;
}

static struct buffer jpeg_with(const char *name, const struct buffer *profile)
{
	enum { PART = 65000 };
	cleanup_buffer struct buffer parts = BUFFER_INIT;
	size_t n = (profile->size + PART - 1) / PART;
	struct buffer file = golden(name);

	assert_in_range(n, 1, 255);
	for (size_t i = 0; i < n; i++) {
		size_t left = profile->size - i * PART, size = left < PART ? left : PART;

		buffer_append(&parts, "\xff\xe2", 2);
		buffer_put_u8(&parts, (uint8_t)((size + 16) >> 8));
		buffer_put_u8(&parts, (uint8_t)(size + 16));
		buffer_append(&parts, "ICC_PROFILE", 12);
		buffer_put_u8(&parts, (uint8_t)(i + 1));
		buffer_put_u8(&parts, (uint8_t)n);
		buffer_append(&parts, profile->data + i * PART, size);
	}
	put_in(&file, 2, &parts);
	return file;
}

static struct buffer s420_with(const struct buffer *profile)
{
	return jpeg_with("render/s420.jpg", profile);
}

static struct buffer png_with(const struct buffer *profile)
{
	cleanup_buffer struct buffer chunk = BUFFER_INIT;
	uLongf room = compressBound(profile->size);
	cleanup_free uint8_t *packed = xmalloc(room);
	struct buffer file = golden("images/rgb_interlaced.png");

	assert_int_equal(compress2(packed, &room, profile->data, profile->size, 1), Z_OK);
	put_u32be(&chunk, room + 6);
	buffer_append(&chunk, "iCCPname\0", 10);
	buffer_append(&chunk, packed, room);
	put_u32be(&chunk, crc32(0, chunk.data + 4, (uInt)(chunk.size - 4)));
	put_in(&file, 33, &chunk);
	return file;
}

/* The plain picture made an extended one. */
static struct buffer webp_with(const struct buffer *profile)
{
	cleanup_buffer struct buffer chunks = BUFFER_INIT;
	struct buffer file = golden("images/lossy.webp");

	buffer_append(&chunks, "VP8X\x0a\0\0\0\x20\0\0\0", 12);
	/* width and height, less one */
	buffer_put_u16(&chunks, (uint16_t)((get_u16le(file.data + 26) & 0x3fff) - 1));
	buffer_put_u8(&chunks, 0);
	buffer_put_u16(&chunks, (uint16_t)((get_u16le(file.data + 28) & 0x3fff) - 1));
	buffer_put_u8(&chunks, 0);
	buffer_append(&chunks, "ICCP", 4);
	buffer_put_u32(&chunks, (uint32_t)profile->size);
	buffer_append(&chunks, profile->data, profile->size);
	put_in(&file, 12, &chunks);
	set_u32(file.data + 4, file.size - 8, false);
	return file;
}

static struct buffer bmp_with(const struct buffer *profile)
{
	struct buffer file = golden("images/v5_icc.bmp");

	set_u32(file.data + 14 + 112, file.size - 14, false);
	set_u32(file.data + 14 + 116, profile->size, false);
	buffer_append(&file, profile->data, profile->size);
	return file;
}

static void expect_profile_within_bound(const char *name, struct buffer file)
{
	const struct render_geometry g = {8, 8, 0, 0, 8, 8, FILTER_BOX};
	struct image_policy policy = IMAGE_POLICY_DEFAULT;

	expect_within_bound(name, &file, &policy, &g);
	buffer_release(&file);
}

static void the_bound_holds_for_profiles_of_every_size_in_every_format(void **state)
{
	static const size_t grids[][2] = {{3, 17}, {3, 60}, {3, 130}, {3, 176},
					  {4, 9},  {4, 30}, {4, 47}};

	(void)state;
	if (!COUNTED)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(grids); i++) {
		cleanup_buffer struct buffer profile = large_profile(grids[i][0], grids[i][1]);

		assert_true(profile.size <= COLOR_PROFILE_MAX);
		if (grids[i][0] == 4) {
			expect_profile_within_bound(
			    "JPEG in CMYK", jpeg_with("render/cmyk_unmarked.jpg", &profile));
			continue;
		}
		expect_profile_within_bound("JPEG", s420_with(&profile));
		profile.data[100] = 1;
		expect_profile_within_bound("PNG", png_with(&profile));
		profile.data[100] = 2;
		expect_profile_within_bound("WebP", webp_with(&profile));
		profile.data[100] = 3;
		expect_profile_within_bound("BMP", bmp_with(&profile));
	}
}

static void the_bound_holds_for_every_format(void **state)
{
	static const char *const names[] = {"lossy.webp",
					    "lossless_alpha.webp",
					    "animated_offset_alpha.webp",
					    "plain.gif",
					    "interlaced_local.gif",
					    "beyond_screen.gif",
					    "bits24.bmp",
					    "rle8.bmp",
					    "v5_icc.bmp",
					    "lossy_420.avif",
					    "lossless_alpha.avif",
					    "icc.avif",
					    "orientation_7.avif",
					    "lossy.jxl",
					    "icc_alpha.jxl",
					    "animated.jxl",
					    "orientation_6.jxl",
					    "rgba_interlaced.png"};
	const size_t avif = 9, jxl = 13, png = 17;

	(void)state;
	if (!COUNTED)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_free char *name = xasprintf("images/%s", names[i]);
		cleanup_buffer struct buffer file = golden(name);

		if ((i < avif || image_format_built(IMAGE_AVIF) || i >= jxl) &&
		    (i < jxl || image_format_built(IMAGE_JXL) || i >= png))
			expect_every_way_within_bound(names[i], &file);
	}
}

/* More than is ever read costs what none does. (The parts of a JPEG cannot hold as much.) */
static void a_profile_over_the_limit_costs_nothing(void **state)
{
	struct buffer (*const with[])(const struct buffer *profile) = {webp_with, bmp_with};
	const struct render_geometry g = {8, 8, 0, 0, 8, 8, FILTER_BOX};
	const struct image_policy policy = IMAGE_POLICY_DEFAULT;
	cleanup_buffer struct buffer profile = large_profile(3, 180);

	(void)state;
	assert_true(profile.size > COLOR_PROFILE_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(with); i++) {
		cleanup_buffer struct buffer file = with[i](&profile);
		struct error err = ERROR_INIT;
		struct image_header header;

		assert_ok(image_read_header(file.data, file.size, &limits, &header, &err), &err);
		assert_true(image_render_bytes(&header, &policy, &g, 1) < 8u << 20);
	}
}

static void a_picture_that_is_not_turned_is_never_whole_in_memory(void **state)
{
	const struct render_geometry g = {384, 256, 0, 0, 384, 256, FILTER_LANCZOS};
	cleanup_free char *path = testing_golden("render/s420.jpg");
	cleanup_buffer struct buffer file = testing_read(path);
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	struct error err = ERROR_INIT;
	struct image_header header;

	(void)state;
	resize_frame(&file, 6000, 4000);
	assert_ok(image_read_header(file.data, file.size, &limits, &header, &err), &err);
	assert_true(image_render_bytes(&header, &policy, &g, 1) < 6000 * 4000 * 3 / 4);
	if (COUNTED)
		assert_true(measure(&file, &policy, &g) < 6000 * 4000 * 3 / 4);
}

static void a_size_beyond_memory_is_bounded_by_all_of_it(void **state)
{
	const struct render_geometry g = {64, 64, 0, 0, 64, 64, FILTER_LANCZOS};
	const struct image_policy policy = IMAGE_POLICY_DEFAULT;
	struct image_header header = {IMAGE_JPEG, SIZE_MAX / 4, 4, 6, 0};

	(void)state;
	assert_int_equal(image_render_bytes(&header, &policy, &g, 1), SIZE_MAX);
	header.orientation = 1;
	header.width = 4;
	header.decode_bytes = SIZE_MAX;
	assert_int_equal(image_render_bytes(&header, &policy, &g, 1), SIZE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_bound_holds_for_jpegs_of_every_kind_and_size),
	    cmocka_unit_test(the_bound_holds_for_photographs),
	    cmocka_unit_test(the_bound_holds_for_profiles_of_every_size_in_every_format),
	    cmocka_unit_test(the_bound_holds_for_every_format),
	    cmocka_unit_test(a_profile_over_the_limit_costs_nothing),
	    cmocka_unit_test(a_picture_that_is_not_turned_is_never_whole_in_memory),
	    cmocka_unit_test(a_size_beyond_memory_is_bounded_by_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
