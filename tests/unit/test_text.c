#include "tests/testing.h"

#include "base/checked.h"
#include "base/text.h"

#include <string.h>

static void quoting_shows_what_a_terminal_must_not_get(void **state)
{
	static const struct {
		const char *in, *out;
	} examples[] = {
	    {"", "\"\""},
	    {"plain caf\xc3\xa9", "\"plain caf\xc3\xa9\""},
	    {"a\nb\tc\x1b[2J\x7f", "\"a\\nb\\x09c\\x1b[2J\\x7f\""},
	    {"say \"hi\" \\", "\"say \\\"hi\\\" \\\\\""},
	    {"\xff\xc3(", "\"\\xff\\xc3(\""},
	    {"c1\xc2\x9b", "\"c1\\xc2\\x9b\""},
	    {"nbsp\xc2\xa0", "\"nbsp\xc2\xa0\""},
	};
	char quoted[TEXT_QUOTE_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++)
		assert_string_equal(text_quote(examples[i].in, quoted), examples[i].out);
}

static void a_long_quote_is_cut_and_still_closed(void **state)
{
	static const char *const units[] = {"x", "\x01", "\xf0\x9f\x90\xb1", "\xc2\x80"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		cleanup_buffer struct buffer text = BUFFER_INIT;
		char quoted[TEXT_QUOTE_SIZE];

		while (text.size < 2000)
			buffer_append_string(&text, units[i]);
		text_quote((const char *)text.data, quoted);
		assert_in_range(strlen(quoted), 250, TEXT_QUOTE_SIZE - 1);
		assert_string_equal(quoted + strlen(quoted) - 4, "...\"");
		assert_true(utf8_valid(quoted, strlen(quoted)));
	}
}

static void utf8_is_what_rfc_3629_says(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} examples[] = {
	    {"a", 1},
	    {"\x7f", 1},
	    {"\xc2\x80", 2},
	    {"\xdf\xbf", 2},
	    {"\xe0\xa0\x80", 3},
	    {"\xed\x9f\xbf", 3},
	    {"\xee\x80\x80", 3},
	    {"\xef\xbf\xbf", 3},
	    {"\xf0\x90\x80\x80", 4},
	    {"\xf4\x8f\xbf\xbf", 4},
	    {"\x80", 0},	     /* continuation alone */
	    {"\xc0\xaf", 0},	     /* overlong */
	    {"\xc1\xbf", 0},	     /* overlong */
	    {"\xe0\x9f\xbf", 0},     /* overlong */
	    {"\xf0\x8f\xbf\xbf", 0}, /* overlong */
	    {"\xed\xa0\x80", 0},     /* surrogates */
	    {"\xed\xbf\xbf", 0},
	    {"\xf4\x90\x80\x80", 0}, /* beyond U+10FFFF */
	    {"\xf5\x80\x80\x80", 0},
	    {"\xf8\x88\x80\x80\x80", 0},
	    {"\xff", 0},
	    {"\xc3", 0}, /* cut off */
	    {"\xe2\x82", 0},
	    {"\xf0\x9f\x90", 0},
	    {"\xc3(", 0},
	    {"\xe2(\xac", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		size_t size = strlen(examples[i].bytes);

		assert_int_equal(utf8_sequence((const uint8_t *)examples[i].bytes, size),
				 examples[i].length);
		assert_int_equal(utf8_valid(examples[i].bytes, size), examples[i].length > 0);
	}
	assert_int_equal(utf8_sequence((const uint8_t *)"\0", 1), 1);
	assert_int_equal(utf8_sequence((const uint8_t *)"", 0), 0);
	assert_true(utf8_valid("", 0));
	assert_false(utf8_valid("good\xff", 5));
}

static void each_bad_byte_becomes_one_replacement_character(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;

	(void)state;
	utf8_append_clean(&out,
			  "a\xff\xfe"
			  "b\xe2\x82\xac\xe2\x82",
			  9);
	assert_string_equal(out.data, "a\xef\xbf\xbd\xef\xbf\xbd"
				      "b\xe2\x82\xac"
				      "\xef\xbf\xbd\xef\xbf\xbd");
}

static void paths_come_back_from_percent_encoding(void **state)
{
	static const struct {
		const char *in, *out;
	} examples[] = {
	    {"", ""},
	    {"a b/caf\xc3\xa9.jpg", "a b/caf\xc3\xa9.jpg"},
	    {"100%.jpg", "100%25.jpg"},
	    {"%41", "%2541"},
	    {"caf\xe9", "caf%E9"},
	    {"\xff\xc3", "%FF%C3"},
	    {"new\nline", "new\nline"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		cleanup_buffer struct buffer encoded = BUFFER_INIT, decoded = BUFFER_INIT;

		percent_encode(&encoded, examples[i].in, strlen(examples[i].in));
		buffer_append_string(&encoded, "");
		assert_string_equal(encoded.data, examples[i].out);
		assert_true(utf8_valid(encoded.data, encoded.size));
		assert_true(percent_decode(&decoded, (const char *)encoded.data));
		buffer_append_string(&decoded, "");
		assert_string_equal(decoded.data, examples[i].in);
	}
}

static void every_byte_comes_back_from_percent_encoding(void **state)
{
	cleanup_buffer struct buffer encoded = BUFFER_INIT, decoded = BUFFER_INIT;
	uint8_t all[256];

	(void)state;
	for (size_t i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	percent_encode(&encoded, all, sizeof(all));
	assert_true(percent_decode(&decoded, (const char *)encoded.data));
	assert_int_equal(decoded.size, 256);
	assert_memory_equal(decoded.data, all, 256);
}

static void a_broken_escape_is_refused_and_either_case_read(void **state)
{
	static const char *const broken[] = {"%", "a%4", "%g0", "%0g", "%%41", "x% 1"};
	cleanup_buffer struct buffer out = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		assert_false(percent_decode(&out, broken[i]));
	buffer_reset(&out);
	assert_true(percent_decode(&out, "%fF%4a"));
	assert_string_equal(out.data, "\xffJ");
}

static void sizes_read_well(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} examples[] = {
	    {0, "0 B"},
	    {1023, "1023 B"},
	    {1024, "1.0 KiB"},
	    {1536, "1.5 KiB"},
	    {1 << 20, "1.0 MiB"},
	    {(uint64_t)256 << 20, "256.0 MiB"},
	    {UINT64_MAX, "16.0 EiB"},
	};
	char text[24];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++)
		assert_string_equal(text_bytes(examples[i].bytes, text), examples[i].text);
}

static void a_count_has_a_comma_every_three_digits(void **state)
{
	char out[28];

	(void)state;
	assert_string_equal(text_count(0, out), "0");
	assert_string_equal(text_count(999, out), "999");
	assert_string_equal(text_count(1000, out), "1,000");
	assert_string_equal(text_count(123456, out), "123,456");
	assert_string_equal(text_count(UINT64_MAX, out), "18,446,744,073,709,551,615");
}

static void a_duration_has_two_units_at_most(void **state)
{
	char out[32];

	(void)state;
	assert_string_equal(text_duration(0, out), "0 s");
	assert_string_equal(text_duration(59, out), "59 s");
	assert_string_equal(text_duration(119, out), "2 min");
	assert_string_equal(text_duration(11520, out), "3 h 12 min");
	assert_string_equal(text_duration(5 * 86400 + 7300, out), "5 days 2 h");
}

static void a_text_that_is_none_is_the_same_as_none_alone(void **state)
{
	char copy[] = "cat";

	(void)state;
	assert_true(text_same("cat", copy));
	assert_true(text_same(NULL, NULL));
	assert_false(text_same("cat", "dog"));
	assert_false(text_same(NULL, ""));
	assert_false(text_same("", NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(quoting_shows_what_a_terminal_must_not_get),
	    cmocka_unit_test(a_long_quote_is_cut_and_still_closed),
	    cmocka_unit_test(utf8_is_what_rfc_3629_says),
	    cmocka_unit_test(each_bad_byte_becomes_one_replacement_character),
	    cmocka_unit_test(paths_come_back_from_percent_encoding),
	    cmocka_unit_test(every_byte_comes_back_from_percent_encoding),
	    cmocka_unit_test(a_broken_escape_is_refused_and_either_case_read),
	    cmocka_unit_test(sizes_read_well),
	    cmocka_unit_test(a_count_has_a_comma_every_three_digits),
	    cmocka_unit_test(a_duration_has_two_units_at_most),
	    cmocka_unit_test(a_text_that_is_none_is_the_same_as_none_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
