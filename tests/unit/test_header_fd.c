/*
 * The header read from a descriptor is that of the whole file, wherever in the file it lies.
 */
#include "image/header_fd.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

static int file_of(const struct buffer *bytes)
{
	int fd = memfd_create("a file", MFD_CLOEXEC);
	struct error err = ERROR_INIT;

	assert_true(fd >= 0);
	assert_ok(fd_write_all(fd, bytes->data, bytes->size, &err), &err);
	return fd;
}

static struct buffer golden(const char *name)
{
	cleanup_free char *relative = xasprintf("images/%s", name);
	cleanup_free char *path = testing_golden(relative);

	return testing_read(path);
}

/* Both ways to the header of @bytes, which must be equal; returns its orientation. */
static unsigned orientation_both_ways(const struct buffer *bytes)
{
	const struct image_limits limits = IMAGE_LIMITS_DEFAULT;
	cleanup_buffer struct buffer scratch = BUFFER_INIT;
	cleanup_close int fd = file_of(bytes);
	struct image_header want, got;
	struct error err = ERROR_INIT;

	memset(&want, 0, sizeof(want));
	memset(&got, 0, sizeof(got));
	assert_ok(image_read_header(bytes->data, bytes->size, &limits, &want, &err), &err);
	assert_ok(image_read_header_fd(fd, &limits, &scratch, &got, &err), &err);
	assert_int_equal(got.format, want.format);
	assert_int_equal(got.width, want.width);
	assert_int_equal(got.height, want.height);
	assert_int_equal(got.orientation, want.orientation);
	assert_int_equal(got.decode_bytes, want.decode_bytes);
	return got.orientation;
}

/* @count chunks of @size bytes that no decoder knows, behind IHDR. The checksums are nobody's business here. */
static void png_add_chunks(struct buffer *png, size_t count, size_t size)
{
	cleanup_buffer struct buffer whole = BUFFER_INIT;

	buffer_append(&whole, png->data, 33);
	for (size_t i = 0; i < count; i++) {
		uint8_t head[8] = {
		    0,	(uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, 'p', 'r', 'I',
		    'v'};

		buffer_append(&whole, head, sizeof(head));
		buffer_append_zeros(&whole, size + 4);
	}
	buffer_append(&whole, png->data + 33, png->size - 33);
	buffer_release(png);
	*png = whole;
	whole = (struct buffer)BUFFER_INIT;
}

static void exif_behind_the_pixels_of_a_long_png_counts(void **state)
{
	static const struct {
		size_t count, size;
	} layouts[] = {{0, 0}, {20, 8192}, {1, 65536 - 50}, {1, 200000}, {3, 65536}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		cleanup_buffer struct buffer png = golden("exif7_after.png");

		png_add_chunks(&png, layouts[i].count, layouts[i].size);
		assert_int_equal(orientation_both_ways(&png), 7);
	}
}

static void a_long_png_that_is_damaged_has_the_header_of_its_beginning(void **state)
{
	(void)state;
	for (size_t cut = 1; cut < 120; cut++) {
		cleanup_buffer struct buffer png = golden("exif7_after.png");

		png_add_chunks(&png, 3, 65536);
		png.size -= cut;
		orientation_both_ways(&png);
	}
}

/* As cameras do that keep a preview in APP segments. */
static void a_jpeg_whose_header_is_long_is_read_on(void **state)
{
	cleanup_buffer struct buffer jpeg = golden("orientation_6.jpg"), whole = BUFFER_INIT;
	const uint8_t app[] = {0xff, 0xef, 0xff, 0xff}; /* APP15, the longest */

	(void)state;
	buffer_append(&whole, jpeg.data, 2);
	for (size_t i = 0; i < 12; i++) {
		buffer_append(&whole, app, sizeof(app));
		buffer_append_zeros(&whole, 65533);
	}
	buffer_append(&whole, jpeg.data + 2, jpeg.size - 2);
	assert_int_equal(orientation_both_ways(&whole), 6);
}

static void a_file_that_ends_in_its_header_is_truncated(void **state)
{
	const struct image_limits limits = IMAGE_LIMITS_DEFAULT;
	cleanup_buffer struct buffer png = golden("icc.png"), scratch = BUFFER_INIT;
	struct image_header header;
	struct error err = ERROR_INIT;
	int fd;

	(void)state;
	png.size = 20;
	fd = file_of(&png);
	assert_error(image_read_header_fd(fd, &limits, &scratch, &header, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "truncated");
	close(fd);
}

static void a_file_over_the_limit_is_too_large_before_it_is_read(void **state)
{
	const struct image_limits limits = {1u << 20, 1000000, 65500};
	cleanup_buffer struct buffer png = golden("icc.png"), scratch = BUFFER_INIT;
	struct image_header header;
	struct error err = ERROR_INIT, again = ERROR_INIT;
	int fd = file_of(&png);

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	assert_error(image_read_header_fd(fd, &limits, &scratch, &header, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_large");
	assert_error(image_read_file_fd(fd, &limits, &scratch, &again), &again, ERR_DATA);
	assert_string_equal(again.reason, "too_large");
	assert_true(scratch.capacity <= 1u << 20);
	close(fd);
}

static void a_whole_file_is_read_at_every_size(void **state)
{
	static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, 1000000};
	const struct image_limits limits = {1000000, 1000000, 65500};
	cleanup_buffer struct buffer out = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_buffer struct buffer bytes = BUFFER_INIT;
		struct error err = ERROR_INIT;
		int fd;

		buffer_append_zeros(&bytes, sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			bytes.data[k] = (uint8_t)(k * 31 + k / 256);
		fd = file_of(&bytes);
		assert_ok(image_read_file_fd(fd, &limits, &out, &err), &err);
		assert_int_equal(out.size, sizes[i]);
		assert_true(sizes[i] == 0 || memcmp(out.data, bytes.data, sizes[i]) == 0);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(exif_behind_the_pixels_of_a_long_png_counts),
	    cmocka_unit_test(a_long_png_that_is_damaged_has_the_header_of_its_beginning),
	    cmocka_unit_test(a_jpeg_whose_header_is_long_is_read_on),
	    cmocka_unit_test(a_file_that_ends_in_its_header_is_truncated),
	    cmocka_unit_test(a_file_over_the_limit_is_too_large_before_it_is_read),
	    cmocka_unit_test(a_whole_file_is_read_at_every_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
