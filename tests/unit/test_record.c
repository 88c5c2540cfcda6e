#include "tests/storage_samples.h"
#include "tests/testing.h"

#include <stdlib.h>
#include <string.h>

static void a_record_comes_back_from_its_encoding(void **state)
{
	(void)state;
	for (size_t i = 0; i < GOLDEN_RECORDS; i++) {
		struct error err = ERROR_INIT;
		cleanup_record struct record in = RECORD_INIT, out = RECORD_INIT;
		cleanup_buffer struct buffer bytes = BUFFER_INIT;

		sample_golden(i, &in);
		record_encode(&in, &bytes);
		assert_ok(record_decode(bytes.data, bytes.size, &out, &err), &err);
		assert_true(sample_equal(&in, &out, true));
	}
}

static void the_encoding_is_the_documented_one(void **state)
{
	cleanup_free char *path = testing_golden("storage_record.bin");
	cleanup_buffer struct buffer want = testing_read(path), bytes = BUFFER_INIT;
	cleanup_record struct record r = RECORD_INIT;

	(void)state;
	sample_golden(0, &r);
	record_encode(&r, &bytes);
	assert_int_equal(bytes.size, want.size);
	assert_memory_equal(bytes.data, want.data, want.size);
}

static void refused(const uint8_t *bytes, size_t size)
{
	struct error err = ERROR_INIT;
	struct record out = {.rank = 42};

	assert_error(record_decode(bytes, size, &out, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "record");
	assert_int_equal(out.rank, 42);
}

static void bytes_that_end_early_or_late_are_refused(void **state)
{
	cleanup_record struct record r = RECORD_INIT;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	(void)state;
	sample_golden(0, &r);
	record_encode(&r, &bytes);
	for (size_t size = 0; size < bytes.size; size++) {
		/* Its own block, so that a sanitizer sees a read behind the end. */
		cleanup_free uint8_t *cut = malloc(size + 1);

		memcpy(cut, bytes.data, size);
		refused(cut, size);
	}
	buffer_put_u8(&bytes, 0);
	refused(bytes.data, bytes.size);
}

static void a_flipped_bit_in_a_member_is_refused(void **state)
{
	cleanup_record struct record r = RECORD_INIT;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	size_t start;

	(void)state;
	sample_golden(0, &r);
	record_encode(&r, &bytes);
	start = 1 + 4 * 8 + 1 + strlen(r.key) + 1 + strlen(r.group) + 1 + 1 + strlen("json");
	for (size_t i = start; i < start + 16 + 8 + 7; i++) {
		for (int bit = 0; bit < 8; bit++) {
			bytes.data[i] ^= (uint8_t)(1 << bit);
			refused(bytes.data, bytes.size);
			bytes.data[i] ^= (uint8_t)(1 << bit);
		}
	}
}

/* An encoded record with these names, one member a suffix. */
static void encode_names(struct buffer *out, const char *key, uint8_t key_length,
			 const char *const *suffixes, uint8_t n)
{
	struct hash128 hash = hash128_of(NULL, 0);

	buffer_put_u8(out, 1);
	buffer_append_zeros(out, 32);
	buffer_put_u8(out, key_length);
	buffer_append(out, key, key_length);
	buffer_put_u8(out, 0);
	buffer_put_u8(out, n);
	for (uint8_t i = 0; i < n; i++) {
		buffer_put_u8(out, (uint8_t)strlen(suffixes[i]));
		buffer_append_string(out, suffixes[i]);
		buffer_append(out, hash.bytes, sizeof(hash.bytes));
		buffer_put_u64(out, 0);
	}
}

static void names_that_no_record_can_have_are_refused(void **state)
{
	static const char *const plain[] = {"json"}, *const twice[] = {"a", "a"},
				 *const slash[] = {"a/b"}, *const empty[] = {""};
	static const char *const nine[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9"};
	static const char *const long_suffix[] = {"0123456789012345678901234567890x"};
	static const struct {
		const char *key;
		uint8_t key_length;
		const char *const *suffixes;
		uint8_t n;
	} cases[] = {
	    {"", 0, plain, 1},		{"a\0b", 3, plain, 1}, {"key", 3, twice, 2},
	    {"key", 3, slash, 1},	{"key", 3, empty, 1},  {"key", 3, nine, 9},
	    {"key", 3, long_suffix, 1},
	};
	struct error err = ERROR_INIT;
	cleanup_record struct record out = RECORD_INIT;
	cleanup_buffer struct buffer good = BUFFER_INIT;

	(void)state;
	encode_names(&good, "key", 3, plain, 1);
	assert_ok(record_decode(good.data, good.size, &out, &err), &err);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cleanup_buffer struct buffer bytes = BUFFER_INIT;

		encode_names(&bytes, cases[i].key, cases[i].key_length, cases[i].suffixes,
			     cases[i].n);
		refused(bytes.data, bytes.size);
	}
}

static void names_too_long_for_a_record_are_a_bug_of_the_caller(void **state)
{
	char name[RECORD_KEY_SIZE + 1];
	struct record r = RECORD_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	memset(name, 'a', sizeof(name));
	name[RECORD_KEY_SIZE] = '\0';
	assert_error(record_init(&r, name, "", &err), &err, ERR_BUG);
	error_clear(&err);
	assert_error(record_init(&r, "", "", &err), &err, ERR_BUG);
	error_clear(&err);
	name[RECORD_GROUP_SIZE] = '\0';
	assert_error(record_init(&r, "key", name, &err), &err, ERR_BUG);
	error_clear(&err);
	assert_ok(record_init(&r, "key", "", &err), &err);
	assert_error(record_add(&r, name, "", 0, &err), &err, ERR_BUG);
	error_clear(&err);
	for (char suffix[] = "1"; suffix[0] <= '8'; suffix[0]++)
		assert_ok(record_add(&r, suffix, "x", 1, &err), &err);
	assert_error(record_add(&r, "9", "x", 1, &err), &err, ERR_BUG);
	record_release(&r);
}

static void a_buffer_given_to_a_record_is_empty_afterwards(void **state)
{
	struct error err = ERROR_INIT;
	struct buffer data = BUFFER_INIT;
	cleanup_record struct record r = RECORD_INIT;
	const struct record_member *member;

	(void)state;
	buffer_append_string(&data, "abc");
	assert_ok(record_init(&r, "key", "", &err), &err);
	assert_ok(record_add_buffer(&r, "txt", &data, &err), &err);
	assert_null(data.data);
	member = record_member(&r, "txt");
	assert_non_null(member);
	assert_memory_equal(member->data.data, "abc", 3);
	assert_int_equal(record_bytes(&r), 3);
	assert_null(record_member(&r, "json"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_record_comes_back_from_its_encoding),
	    cmocka_unit_test(the_encoding_is_the_documented_one),
	    cmocka_unit_test(bytes_that_end_early_or_late_are_refused),
	    cmocka_unit_test(a_flipped_bit_in_a_member_is_refused),
	    cmocka_unit_test(names_that_no_record_can_have_are_refused),
	    cmocka_unit_test(names_too_long_for_a_record_are_a_bug_of_the_caller),
	    cmocka_unit_test(a_buffer_given_to_a_record_is_empty_afterwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
