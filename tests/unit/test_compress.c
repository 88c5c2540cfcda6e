#include "tests/testing.h"

#include "base/checked.h"
#include "base/compress.h"

#include <string.h>

static void compressed(struct buffer *out, const void *data, size_t size)
{
	struct error err = ERROR_INIT;

	assert_ok(compress_frame(out, data, size, COMPRESS_LEVEL_FLOATS, &err), &err);
}

static void assert_refused(const void *frame, size_t size, size_t limit)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	buffer_append_string(&out, "kept");
	assert_error(decompress_frame(&out, frame, size, limit, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "zstd");
	assert_int_equal(out.size, 4);
	assert_memory_equal(out.data, "kept", 4);
}

static void bytes_come_back_behind_what_is_there(void **state)
{
	static const size_t sizes[] = {0, 1, 1000, 300000};
	cleanup_buffer struct buffer data = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < 300000 / 4; i++)
		buffer_put_u32(&data, (uint32_t)(i * i * 2654435761u));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_buffer struct buffer frame = BUFFER_INIT, out = BUFFER_INIT;
		struct error err = ERROR_INIT;

		compressed(&frame, data.data, sizes[i]);
		buffer_append_string(&out, "x");
		assert_ok(decompress_frame(&out, frame.data, frame.size, sizes[i], &err), &err);
		assert_int_equal(out.size, sizes[i] + 1);
		assert_memory_equal(out.data + 1, data.data, sizes[i]);
	}
}

static void the_same_bytes_give_the_same_frame(void **state)
{
	cleanup_buffer struct buffer first = BUFFER_INIT, second = BUFFER_INIT;

	(void)state;
	compressed(&first, "some bytes", 10);
	compressed(&second, "some bytes", 10);
	assert_int_equal(first.size, second.size);
	assert_memory_equal(first.data, second.data, first.size);
}

static void a_frame_of_another_zstd_is_read(void **state)
{
	/* python zstandard 0.25.0, ZstdCompressor(write_content_size=True, write_checksum=True) */
	static const uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x24, 0x11, 0x65, 0x00, 0x00,
					0x30, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x20, 0x01, 0x00,
					0x31, 0x4a, 0x11, 0xa2, 0xed, 0x1e, 0x0c};
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(decompress_frame(&out, frame, sizeof(frame), 100, &err), &err);
	assert_string_equal(out.data, "hello hello hello");
}

static void a_frame_has_its_size_and_a_checksum_in_it(void **state)
{
	cleanup_buffer struct buffer frame = BUFFER_INIT;

	(void)state;
	compressed(&frame, "hello hello hello", 17);
	/* RFC 8878 3.1.1.1.1: single segment (so a size is there) and Content_Checksum_flag */
	assert_int_equal(frame.data[4] & 0x24, 0x24);
	assert_int_equal(frame.data[5], 17);
}

/* A few bits of a frame mean nothing: then the contents are the same all the same. */
static void no_flipped_bit_changes_the_contents_unnoticed(void **state)
{
	cleanup_buffer struct buffer frame = BUFFER_INIT, text = BUFFER_INIT;
	size_t unnoticed = 0;

	(void)state;
	for (size_t i = 0; i < 40; i++)
		buffer_appendf(&text, "%zu bottles ", i * i);
	compressed(&frame, text.data, text.size);
	for (size_t bit = 0; bit < frame.size * 8; bit++) {
		cleanup_buffer struct buffer out = BUFFER_INIT;
		struct error err = ERROR_INIT;

		frame.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (decompress_frame(&out, frame.data, frame.size, 100000, &err) == 0) {
			assert_int_equal(out.size, text.size);
			assert_memory_equal(out.data, text.data, text.size);
			unnoticed++;
		}
		frame.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_in_range(unnoticed, 0, 16);
}

static void every_truncation_is_refused(void **state)
{
	cleanup_buffer struct buffer frame = BUFFER_INIT;

	(void)state;
	compressed(&frame, "hello hello hello", 17);
	for (size_t size = 0; size < frame.size; size++)
		assert_refused(frame.data, size, 100);
}

static void what_is_not_exactly_one_frame_is_refused(void **state)
{
	static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 'a', 'b'};
	static const uint8_t without_size[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00, 0x65,
					       0x00, 0x00, 0x30, 0x68, 0x65, 0x6c, 0x6c,
					       0x6f, 0x20, 0x01, 0x00, 0x31, 0x4a, 0x11};
	cleanup_buffer struct buffer frame = BUFFER_INIT, two = BUFFER_INIT;

	(void)state;
	compressed(&frame, "hello", 5);
	buffer_append(&two, frame.data, frame.size);
	buffer_append(&two, frame.data, frame.size);
	assert_refused(two.data, two.size, 100);
	assert_refused(two.data, frame.size + 1, 100);
	two.size = frame.size;
	compressed(&two, "", 0);
	assert_refused(two.data, two.size, 100);
	assert_refused("", 0, 100);
	assert_refused("not zstd at all", 15, 100);
	assert_refused(skippable, sizeof(skippable), 100);
	assert_refused(without_size, sizeof(without_size), 100);
}

static void a_frame_over_the_limit_is_refused(void **state)
{
	cleanup_buffer struct buffer frame = BUFFER_INIT, zeros = BUFFER_INIT;
	/* claims 2^62 bytes: refused before memory is asked for */
	static const uint8_t bomb[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0,
				       0,    0,	   0,	 0,    0x40, 1, 0, 0};

	(void)state;
	buffer_append_zeros(&zeros, 5000);
	compressed(&frame, zeros.data, zeros.size);
	assert_refused(frame.data, frame.size, 4999);
	assert_refused(bomb, sizeof(bomb), 1 << 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_come_back_behind_what_is_there),
	    cmocka_unit_test(the_same_bytes_give_the_same_frame),
	    cmocka_unit_test(a_frame_of_another_zstd_is_read),
	    cmocka_unit_test(a_frame_has_its_size_and_a_checksum_in_it),
	    cmocka_unit_test(no_flipped_bit_changes_the_contents_unnoticed),
	    cmocka_unit_test(every_truncation_is_refused),
	    cmocka_unit_test(what_is_not_exactly_one_frame_is_refused),
	    cmocka_unit_test(a_frame_over_the_limit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
