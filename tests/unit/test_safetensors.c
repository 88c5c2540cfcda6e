#include "vae/safetensors.h"

#include "tests/testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A file in memory: length, @json, then @data_size bytes 0, 1, 2, ... */
static struct buffer make(const char *json, size_t data_size)
{
	struct buffer b = BUFFER_INIT;

	buffer_put_u64(&b, strlen(json));
	buffer_append_string(&b, json);
	for (size_t i = 0; i < data_size; i++)
		buffer_put_u8(&b, (uint8_t)i);
	return b;
}

static void assert_refused(const struct buffer *b, const char *says)
{
	struct error err = ERROR_INIT;
	struct safetensors *file = safetensors_open_memory(b->data, b->size, &err);

	assert_null(file);
	assert_int_equal(err.code, ERR_DATA);
	assert_string_equal(err.reason, "safetensors");
	if (!strstr(err.message, says))
		fail_msg("expected '%s', the message is: %s", says, err.message);
}

static void tensors_are_listed_and_found_by_name(void **state)
{
	struct buffer b =
	    make("{\"__metadata__\":{\"format\":\"pt\"},"
		 "\"b\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
		 "\"a\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[8,16]},"
		 "\"e\":{\"dtype\":\"F16\",\"shape\":[0,3],\"data_offsets\":[16,16]}}",
		 16);
	struct error err = ERROR_INIT;
	struct safetensors *file = safetensors_open_memory(b.data, b.size, &err);
	const struct safetensor *t;

	(void)state;
	assert_non_null(file);
	assert_int_equal(safetensors_count(file), 3);
	assert_null(safetensors_at(file, 3));
	assert_null(safetensors_find(file, "__metadata__"));
	t = safetensors_find(file, "b");
	assert_int_equal(t->ndim, 2);
	assert_int_equal(t->shape[1], 2);
	assert_int_equal(t->count, 2);
	t = safetensors_find(file, "a");
	assert_int_equal(t->dtype, ST_OTHER);
	assert_int_equal(t->count, 1);
	assert_int_equal(safetensors_find(file, "e")->count, 0);
	safetensors_close(file);
	buffer_release(&b);
}

static void f32_f16_and_bf16_are_read_as_float(void **state)
{
	static const uint8_t data[] = {0x00, 0x00, 0xc0, 0x3f,	/* F32 1.5 */
				       0x00, 0x3c, 0x01, 0x00,	/* F16 1, 2^-24 */
				       0xc0, 0x3f, 0x80, 0xff}; /* BF16 1.5, -inf */
	struct buffer b = make("{\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
			       "\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[4,8]},"
			       "\"g\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[8,12]}}",
			       12);
	struct error err = ERROR_INIT;
	struct safetensors *file;
	float f, h[2], g[2];

	(void)state;
	memcpy(b.data + b.size - sizeof(data), data, sizeof(data));
	file = safetensors_open_memory(b.data, b.size, &err);
	assert_non_null(file);
	assert_ok(safetensors_read_f32(file, safetensors_find(file, "f"), &f, &err), &err);
	assert_ok(safetensors_read_f32(file, safetensors_find(file, "h"), h, &err), &err);
	assert_ok(safetensors_read_f32(file, safetensors_find(file, "g"), g, &err), &err);
	assert_true(f == 1.5f && h[0] == 1.0f && h[1] == 0x1p-24f && g[0] == 1.5f);
	assert_true(isinf(g[1]) && g[1] < 0);
	safetensors_close(file);
	buffer_release(&b);
}

static void a_tensor_of_another_dtype_cannot_be_read(void **state)
{
	struct buffer b =
	    make("{\"n\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
		 "\"x\":{\"dtype\":\"F4_FUTURE\",\"shape\":[16],\"data_offsets\":[8,16]}}",
		 16);
	struct error err = ERROR_INIT;
	struct safetensors *file = safetensors_open_memory(b.data, b.size, &err);
	float out[16] = {0};

	(void)state;
	assert_non_null(file);
	assert_error(safetensors_read_f32(file, safetensors_find(file, "n"), out, &err), &err,
		     ERR_DATA);
	assert_non_null(strstr(err.message, "\"n\""));
	error_clear(&err);
	assert_error(safetensors_read_f32(file, safetensors_find(file, "x"), out, &err), &err,
		     ERR_DATA);
	safetensors_close(file);
	buffer_release(&b);
}

#define TENSOR(dtype, shape, offsets)                                                              \
	"{\"t\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void a_bad_header_is_refused_with_the_reason(void **state)
{
	static const struct {
		const char *json, *says;
	} cases[] = {
	    {"[]", "no JSON object"},
	    {"{\"t\":", "header: "},
	    {"{\"t\":1}", "tensor \"t\": no dtype"},
	    {"{\"t\":{},\"t\":{}}", "duplicate"},
	    {TENSOR("F32", "null", "[0,8]"), "no shape"},
	    {TENSOR("F32", "[2.0]", "[0,8]"), "a dimension is no number"},
	    {TENSOR("F32", "[-2]", "[0,8]"), "a dimension is no number"},
	    {TENSOR("F32", "[1,1,1,1,1,1,1]", "[0,4]"), "too many dimensions"},
	    {TENSOR("F32", "[4294967296,4294967296]", "[0,8]"), "product overflows"},
	    {TENSOR("F32", "[4611686018427387904]", "[0,0]"), "size overflows"},
	    {TENSOR("F32", "[9223372036854775808]", "[0,8]"), "header: "},
	    {TENSOR("F32", "[2]", "[0]"), "data_offsets are no two numbers"},
	    {TENSOR("F32", "[2]", "[-8,0]"), "data_offsets are no two numbers"},
	    {TENSOR("F32", "[2]", "[8,0]"), "run backwards"},
	    {TENSOR("F32", "[2]", "[16,24]"), "beyond the end of the file"},
	    {TENSOR("F32", "[2]", "[9223372036854775800,9223372036854775807]"),
	     "beyond the end of the file"},
	    {TENSOR("F32", "[2]", "[0,4]"), "do not match its shape"},
	    {TENSOR("F16", "[2]", "[0,8]"), "do not match its shape"},
	    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
	     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
	     "overlaps"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buffer b = make(cases[i].json, 16);

		assert_refused(&b, cases[i].says);
		buffer_release(&b);
	}
}

static void a_header_beyond_the_file_or_any_limit_is_refused(void **state)
{
	struct buffer b = BUFFER_INIT;

	(void)state;
	assert_refused(&b, "too short");
	buffer_put_u64(&b, 1000);
	buffer_append_string(&b, "{}");
	assert_refused(&b, "the header lies beyond");
	buffer_reset(&b);
	buffer_append_string(&b, "PK\x03\x04 a pickle");
	assert_refused(&b, "not a .safetensors file");
	buffer_release(&b);
}

static void what_is_written_is_read_back(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "x.safetensors");
	cleanup_ndarray struct ndarray a = NDARRAY_INIT, b = NDARRAY_INIT;
	struct safetensors_entry entries[] = {{"z\"quoted", &a}, {"empty", &b}};
	size_t shape[] = {2, 3}, none[] = {0};
	struct error err = ERROR_INIT;
	struct safetensors *file;
	struct buffer bytes;
	float got[6];

	(void)state;
	assert_ok(ndarray_alloc(&a, DTYPE_F32, 2, shape, &err), &err);
	assert_ok(ndarray_alloc(&b, DTYPE_F32, 1, none, &err), &err);
	for (size_t i = 0; i < 6; i++)
		((float *)a.data)[i] = (float)i / 7;
	assert_ok(safetensors_write(path, entries, 2, &err), &err);
	file = safetensors_open(path, &err);
	assert_non_null(file);
	assert_int_equal(safetensors_count(file), 2);
	assert_ok(safetensors_read_f32(file, safetensors_find(file, "z\"quoted"), got, &err), &err);
	assert_memory_equal(got, a.data, sizeof(got));
	assert_int_equal(safetensors_find(file, "empty")->count, 0);
	safetensors_close(file);
	bytes = testing_read(path);
	assert_int_equal(get_u64le(bytes.data) % 8, 0);
	buffer_release(&bytes);
	free(path);
	testing_tempdir_remove(dir);
}

static void a_file_that_shrinks_while_open_is_truncated_not_a_crash(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "x.safetensors");
	struct buffer b = make(TENSOR("F32", "[4]", "[0,16]"), 16);
	struct error err = ERROR_INIT;
	struct safetensors *file;
	float out[4];

	(void)state;
	testing_write(path, b.data, b.size);
	file = safetensors_open(path, &err);
	assert_non_null(file);
	assert_int_equal(truncate(path, (off_t)b.size - 1), 0);
	assert_error(safetensors_read_f32(file, safetensors_at(file, 0), out, &err), &err,
		     ERR_DATA);
	safetensors_close(file);
	buffer_release(&b);
	free(path);
	testing_tempdir_remove(dir);
}

static void what_is_no_regular_file_is_refused_without_waiting(void **state)
{
	char *dir = testing_tempdir(), *path = testing_path(dir, "fifo");
	struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(safetensors_open(path, &err));
	assert_int_equal(err.code, ERR_DATA);
	error_clear(&err);
	assert_null(safetensors_open(dir, &err));
	assert_int_equal(err.code, ERR_DATA);
	free(path);
	testing_tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tensors_are_listed_and_found_by_name),
	    cmocka_unit_test(f32_f16_and_bf16_are_read_as_float),
	    cmocka_unit_test(a_tensor_of_another_dtype_cannot_be_read),
	    cmocka_unit_test(a_bad_header_is_refused_with_the_reason),
	    cmocka_unit_test(a_header_beyond_the_file_or_any_limit_is_refused),
	    cmocka_unit_test(what_is_written_is_read_back),
	    cmocka_unit_test(a_file_that_shrinks_while_open_is_truncated_not_a_crash),
	    cmocka_unit_test(what_is_no_regular_file_is_refused_without_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
