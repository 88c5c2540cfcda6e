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
#include <sys/syscall.h>
#include <unistd.h>

/* What is asked of the kernel, counted; and a file that shrinks between two questions. */
static struct {
	size_t calls, bytes;
	off_t end; /* that lseek() finds; 0: the true one */
} asked;

ssize_t pread(int fd, void *out, size_t size, off_t offset)
{
	ssize_t n = syscall(SYS_pread64, fd, out, size, offset);

	asked.calls++;
	asked.bytes += n > 0 ? (size_t)n : 0;
	return n;
}

off_t lseek(int fd, off_t offset, int whence)
{
	return asked.end ? asked.end : (off_t)syscall(SYS_lseek, fd, offset, whence);
}

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

/* @size bytes that no decoder knows, between the frame of exif6.webp and its EXIF. */
static struct buffer long_webp(size_t size)
{
	cleanup_buffer struct buffer webp = golden("exif6.webp");
	const uint8_t *exif = memmem(webp.data, webp.size, "EXIF", 4);
	struct buffer whole = BUFFER_INIT;

	assert_non_null(exif);
	buffer_append(&whole, webp.data, (size_t)(exif - webp.data));
	buffer_append(&whole, "priv", 4);
	buffer_put_u32(&whole, (uint32_t)size);
	buffer_append_zeros(&whole, size + size % 2);
	buffer_append(&whole, exif, webp.size - (size_t)(exif - webp.data));
	for (size_t i = 0; i < 4; i++)
		whole.data[4 + i] = (uint8_t)((whole.size - 8) >> (8 * i));
	return whole;
}

static void exif_behind_the_pixels_of_a_long_webp_is_read_alone(void **state)
{
	static const size_t sizes[] = {0, 1, 65000, 65536, 300001, 20u << 20};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_buffer struct buffer webp = long_webp(sizes[i]);

		asked.bytes = 0;
		assert_int_equal(orientation_both_ways(&webp), 6);
		assert_in_range(asked.bytes, 1, 80 << 10);
	}
}

/* The header of @bytes from a descriptor; @reason NULL: it is there. */
static void expect_header_fd(const struct buffer *bytes, const char *reason)
{
	const struct image_limits limits = IMAGE_LIMITS_DEFAULT;
	cleanup_buffer struct buffer scratch = BUFFER_INIT;
	cleanup_close int fd = file_of(bytes);
	struct image_header header;
	struct error err = ERROR_INIT;

	if (!reason) {
		assert_ok(image_read_header_fd(fd, &limits, &scratch, &header, &err), &err);
		assert_int_equal(header.orientation, 1);
		return;
	}
	assert_error(image_read_header_fd(fd, &limits, &scratch, &header, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, reason);
}

static void a_long_webp_that_lacks_the_exif_it_announces_is_truncated(void **state)
{
	cleanup_buffer struct buffer webp = long_webp(200000);
	size_t size = webp.size;

	(void)state;
	for (webp.size = size - 1; webp.size > size - 100; webp.size--)
		expect_header_fd(&webp, "truncated");
	webp.size = 70000;
	expect_header_fd(&webp, "truncated");
	webp.data[20] &= (uint8_t)~8;
	expect_header_fd(&webp, NULL); /* it announces none */
}

static void a_long_webp_with_a_chunk_that_leaves_it_is_corrupt(void **state)
{
	cleanup_buffer struct buffer webp = long_webp(200000);
	uint8_t *chunk = memmem(webp.data, webp.size, "priv", 4);

	(void)state;
	assert_non_null(chunk);
	chunk[7] = 1;
	expect_header_fd(&webp, "corrupt");
}

/* 4 MiB, of which the first decides. */
static void an_exif_chunk_of_any_length_is_not_read(void **state)
{
	cleanup_buffer struct buffer png = golden("exif7_after.png");
	uint8_t *chunk;

	(void)state;
	png_add_chunks(&png, 1, 4u << 20);
	chunk = memmem(png.data, png.size, "prIv", 4);
	assert_non_null(chunk);
	memcpy(chunk, "eXIf", 4);
	asked.bytes = 0;
	assert_int_equal(orientation_both_ways(&png), 1);
	assert_in_range(asked.bytes, 1, 80 << 10);
}

static void small_chunks_are_read_many_at_a_time(void **state)
{
	cleanup_buffer struct buffer png = golden("exif7_after.png");

	(void)state;
	png_add_chunks(&png, 1000000, 0);
	asked.calls = 0;
	assert_int_equal(orientation_both_ways(&png), 7);
	assert_in_range(asked.calls, 1, 12 * 1000000 / 4000);
}

static void a_file_that_shrinks_while_it_is_read_has_the_header_it_had(void **state)
{
	static const off_t ends[] = {1, 32, 33, 40, 65535};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		cleanup_buffer struct buffer png = golden("exif7_after.png"),
					     webp = long_webp(200000);

		png_add_chunks(&png, 1, 65535 + 33);
		asked.end = ends[i];
		expect_header_fd(&png, NULL);
		expect_header_fd(&webp, "truncated");
		asked.end = 0;
	}
}

/* What it takes to decode follows from the length of the profile, which is not read. */
static void a_long_profile_counts_though_it_is_cut(void **state)
{
	cleanup_buffer struct buffer png = golden("exif7_after.png");
	uint8_t *chunk;

	(void)state;
	png_add_chunks(&png, 1, 200000);
	chunk = memmem(png.data, png.size, "prIv", 4);
	assert_non_null(chunk);
	memcpy(chunk, "iCCP", 4);
	assert_int_equal(orientation_both_ways(&png), 7);
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
	    cmocka_unit_test(exif_behind_the_pixels_of_a_long_webp_is_read_alone),
	    cmocka_unit_test(a_long_webp_that_lacks_the_exif_it_announces_is_truncated),
	    cmocka_unit_test(a_long_webp_with_a_chunk_that_leaves_it_is_corrupt),
	    cmocka_unit_test(an_exif_chunk_of_any_length_is_not_read),
	    cmocka_unit_test(small_chunks_are_read_many_at_a_time),
	    cmocka_unit_test(a_file_that_shrinks_while_it_is_read_has_the_header_it_had),
	    cmocka_unit_test(a_long_profile_counts_though_it_is_cut),
	    cmocka_unit_test(a_jpeg_whose_header_is_long_is_read_on),
	    cmocka_unit_test(a_file_that_ends_in_its_header_is_truncated),
	    cmocka_unit_test(a_file_over_the_limit_is_too_large_before_it_is_read),
	    cmocka_unit_test(a_whole_file_is_read_at_every_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
