#include "tests/testing.h"

#include "base/buffer.h"
#include "base/checked.h"

#include <string.h>

static void what_is_appended_is_there_and_ends_with_a_nul(void **state)
{
	cleanup_buffer struct buffer b = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		buffer_append(&b, "a\0b", 3);
		assert_int_equal(b.size, 3 * (i + 1));
		assert_int_equal(b.data[b.size], '\0');
	}
	for (size_t i = 0; i < b.size; i++)
		assert_int_equal(b.data[i], "a\0b"[i % 3]);
}

static void appending_nothing_makes_an_empty_string(void **state)
{
	cleanup_buffer struct buffer b = BUFFER_INIT;

	(void)state;
	buffer_append(&b, NULL, 0);
	assert_int_equal(b.size, 0);
	assert_string_equal(b.data, "");
}

static void text_zeros_and_formats_append(void **state)
{
	cleanup_buffer struct buffer b = BUFFER_INIT;

	(void)state;
	buffer_append_string(&b, "n=");
	buffer_appendf(&b, "%d %s", -5, "x");
	buffer_append_zeros(&b, 2);
	buffer_put_u8(&b, '!');
	assert_int_equal(b.size, 9);
	assert_memory_equal(b.data, "n=-5 x\0\0!", 10);
}

static void numbers_are_little_endian_both_ways(void **state)
{
	static const uint8_t want[] = {0x01, 0x03, 0x02, 0xff, 0x06, 0x05, 0x04, 0xfe,
				       0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0xfd};
	cleanup_buffer struct buffer b = BUFFER_INIT;

	(void)state;
	buffer_put_u8(&b, 0x01);
	buffer_put_u16(&b, 0x0203);
	buffer_put_u32(&b, 0x040506ff);
	buffer_put_u64(&b, 0xfd08090a0b0c0dfe);
	assert_int_equal(b.size, sizeof(want));
	assert_memory_equal(b.data, want, sizeof(want));
	assert_int_equal(get_u16le(b.data + 1), 0x0203);
	assert_int_equal(get_u32le(b.data + 3), 0x040506ff);
	assert_true(get_u64le(b.data + 7) == 0xfd08090a0b0c0dfe);
}

static void get_does_not_extend_the_sign(void **state)
{
	static const uint8_t ones[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	(void)state;
	assert_int_equal(get_u16le(ones), 0xffff);
	assert_true(get_u32le(ones) == 0xffffffffu);
	assert_true(get_u64le(ones) == UINT64_MAX);
}

static void reset_keeps_the_memory_and_release_does_not(void **state)
{
	struct buffer b = BUFFER_INIT;
	uint8_t *data;

	(void)state;
	buffer_append_string(&b, "something");
	data = b.data;
	buffer_reset(&b);
	assert_int_equal(b.size, 0);
	assert_string_equal(b.data, "");
	assert_ptr_equal(b.data, data);
	buffer_release(&b);
	assert_null(b.data);
	assert_int_equal(b.capacity, 0);
	buffer_release(&b);
}

static void a_reserve_that_cannot_be_met_is_an_error_and_keeps_what_is_there(void **state)
{
	static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2};
	cleanup_buffer struct buffer b = BUFFER_INIT;

	(void)state;
	buffer_append_string(&b, "kept");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct error err = ERROR_INIT;

		assert_error(buffer_reserve(&b, sizes[i], &err), &err, ERR_NOMEM);
		assert_string_equal(b.data, "kept");
	}
}

static void reserved_room_is_there_without_moving(void **state)
{
	cleanup_buffer struct buffer b = BUFFER_INIT;
	struct error err = ERROR_INIT;
	uint8_t *data;

	(void)state;
	assert_ok(buffer_reserve(&b, 100000, &err), &err);
	data = b.data;
	buffer_append_zeros(&b, 100000);
	assert_ptr_equal(b.data, data);
}

static void sizes_that_would_wrap_are_refused(void **state)
{
	size_t out = 7;

	(void)state;
	assert_false(size_mul(SIZE_MAX / 2, 3, &out));
	assert_false(size_add(SIZE_MAX, 1, &out));
	assert_false(size_mul3(SIZE_MAX / 4, 2, 4, &out));
	assert_int_equal(out, 7);
	assert_true(size_mul3(2, 3, 4, &out));
	assert_int_equal(out, 24);
	assert_true(size_add(SIZE_MAX - 1, 1, &out));
	assert_true(out == SIZE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_appended_is_there_and_ends_with_a_nul),
	    cmocka_unit_test(appending_nothing_makes_an_empty_string),
	    cmocka_unit_test(text_zeros_and_formats_append),
	    cmocka_unit_test(numbers_are_little_endian_both_ways),
	    cmocka_unit_test(get_does_not_extend_the_sign),
	    cmocka_unit_test(reset_keeps_the_memory_and_release_does_not),
	    cmocka_unit_test(a_reserve_that_cannot_be_met_is_an_error_and_keeps_what_is_there),
	    cmocka_unit_test(reserved_room_is_there_without_moving),
	    cmocka_unit_test(sizes_that_would_wrap_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
