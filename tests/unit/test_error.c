#include "tests/testing.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

static void making_an_error_returns_minus_one_with_code_and_message(void **state)
{
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(error_set(&err, ERR_CONFIG, "%s: %d blocks", "x.json", 0), -1);
	assert_int_equal(err.code, ERR_CONFIG);
	assert_string_equal(err.message, "x.json: 0 blocks");
	assert_string_equal(err.reason, "");
}

static void a_data_error_has_its_reason(void **state)
{
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(error_data(&err, "truncated", "ends at byte %d", 7), -1);
	assert_int_equal(err.code, ERR_DATA);
	assert_string_equal(err.reason, "truncated");
	assert_string_equal(err.message, "ends at byte 7");
}

static void a_system_error_says_what_errno_says(void **state)
{
	struct error err = ERROR_INIT;

	(void)state;
	errno = ENOSPC;
	assert_int_equal(error_sys(&err, "write '%s'", "f"), -1);
	assert_int_equal(err.code, ERR_IO);
	assert_string_equal(err.message, "write 'f': No space left on device");
	error_clear(&err);
	errno = ENOMEM;
	error_sys(&err, "map");
	assert_int_equal(err.code, ERR_NOMEM);
}

static void wrapping_puts_text_in_front_and_keeps_code_and_reason(void **state)
{
	struct error err = ERROR_INIT;

	(void)state;
	error_data(&err, "bomb", "100%% too large");
	assert_int_equal(error_wrap(&err, "image %s", "a.png"), -1);
	error_wrap(&err, "dataset");
	assert_int_equal(err.code, ERR_DATA);
	assert_string_equal(err.reason, "bomb");
	assert_string_equal(err.message, "dataset: image a.png: 100% too large");
}

static void a_message_that_is_too_long_is_cut(void **state)
{
	struct error err = ERROR_INIT;
	char text[1000];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	error_set(&err, ERR_IO, "%s", text);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	error_wrap(&err, "front");
	assert_memory_equal(err.message, "front: xxx", 10);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	error_clear(&err);
	errno = EIO;
	error_sys(&err, "%s", text);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

static void a_cleared_error_can_be_set_again(void **state)
{
	struct error err = ERROR_INIT;

	(void)state;
	error_data(&err, "gone", "first");
	error_clear(&err);
	assert_int_equal(err.code, ERR_NONE);
	assert_string_equal(err.reason, "");
	assert_string_equal(err.message, "");
	error_set(&err, ERR_BUG, "second");
	assert_string_equal(err.message, "second");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(making_an_error_returns_minus_one_with_code_and_message),
	    cmocka_unit_test(a_data_error_has_its_reason),
	    cmocka_unit_test(a_system_error_says_what_errno_says),
	    cmocka_unit_test(wrapping_puts_text_in_front_and_keeps_code_and_reason),
	    cmocka_unit_test(a_message_that_is_too_long_is_cut),
	    cmocka_unit_test(a_cleared_error_can_be_set_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
