/*
 * image_render_bytes() against what image_render() takes: every allocation of this process is
 * counted, those of the libraries too.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/render.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

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
	bound = image_render_bytes(&header, policy, g);
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
	assert_true(image_render_bytes(&header, &policy, &g) < 6000 * 4000 * 3 / 4);
	if (COUNTED)
		assert_true(measure(&file, &policy, &g) < 6000 * 4000 * 3 / 4);
}

static void a_size_beyond_memory_is_bounded_by_all_of_it(void **state)
{
	const struct render_geometry g = {64, 64, 0, 0, 64, 64, FILTER_LANCZOS};
	const struct image_policy policy = IMAGE_POLICY_DEFAULT;
	struct image_header header = {IMAGE_JPEG, SIZE_MAX / 4, 4, 6, 0};

	(void)state;
	assert_int_equal(image_render_bytes(&header, &policy, &g), SIZE_MAX);
	header.orientation = 1;
	header.width = 4;
	header.decode_bytes = SIZE_MAX;
	assert_int_equal(image_render_bytes(&header, &policy, &g), SIZE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_bound_holds_for_jpegs_of_every_kind_and_size),
	    cmocka_unit_test(the_bound_holds_for_photographs),
	    cmocka_unit_test(a_picture_that_is_not_turned_is_never_whole_in_memory),
	    cmocka_unit_test(a_size_beyond_memory_is_bounded_by_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
