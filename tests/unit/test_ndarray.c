/* tests/golden/npy is what numpy.save writes (make.py there). */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/ndarray.h"

#include <string.h>

static struct buffer golden(const char *name)
{
	cleanup_free char *relative = xasprintf("npy/%s.npy", name),
			  *path = testing_golden(relative);

	return testing_read(path);
}

static void read_golden(const char *name, struct ndarray *out)
{
	cleanup_buffer struct buffer bytes = golden(name);
	struct error err = ERROR_INIT;

	assert_ok(npy_read(bytes.data, bytes.size, out, &err), &err);
}

static void numpys_files_are_read(void **state)
{
	static const float floats[] = {0.0f, 1.5f, -2.0f, 3.25f, 1e-40f, 65504.0f};
	static const uint16_t halves[] = {0x0000, 0x3e00, 0xc000, 0x4280, 0x0001, 0x7bff};
	static const uint8_t bytes[] = {0, 1, 127, 128, 255};
	static const int64_t longs[] = {-1, (int64_t)1 << 62};
	static const double doubles[] = {-0.1, 1e300, 5e-324};
	static const float scalar = 7.5f;
	static const struct {
		const char *name;
		enum dtype dtype;
		size_t ndim, shape[3];
		const void *data;
	} examples[] = {
	    {"f4_2x3", DTYPE_F32, 2, {2, 3}, floats}, {"f2_1x2x3", DTYPE_F16, 3, {1, 2, 3}, halves},
	    {"u1_5", DTYPE_U8, 1, {5}, bytes},	      {"i8_2", DTYPE_I64, 1, {2}, longs},
	    {"f8_3", DTYPE_F64, 1, {3}, doubles},     {"f4_scalar", DTYPE_F32, 0, {0}, &scalar},
	    {"f4_empty", DTYPE_F32, 2, {0, 4}, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		cleanup_ndarray struct ndarray a = NDARRAY_INIT;

		read_golden(examples[i].name, &a);
		assert_int_equal(a.dtype, examples[i].dtype);
		assert_int_equal(a.ndim, examples[i].ndim);
		for (size_t d = 0; d < a.ndim; d++)
			assert_int_equal(a.shape[d], examples[i].shape[d]);
		assert_memory_equal(a.data, examples[i].data, a.bytes);
	}
}

static void what_is_written_is_what_numpy_writes(void **state)
{
	static const char *const names[] = {"f4_2x3",	 "f2_1x2x3", "u1_5",	 "i8_2",
					    "f4_scalar", "f4_empty", "f2_4x2x2", "f8_3"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_buffer struct buffer want = golden(names[i]), got = BUFFER_INIT;
		cleanup_ndarray struct ndarray a = NDARRAY_INIT;

		read_golden(names[i], &a);
		buffer_append_string(&got, "before");
		npy_write(&got, &a);
		assert_int_equal(got.size, want.size + 6);
		assert_memory_equal(got.data + 6, want.data, want.size);
	}
}

static void the_data_of_a_latent_begins_at_byte_128(void **state)
{
	cleanup_buffer struct buffer bytes = golden("f2_4x2x2");

	(void)state;
	assert_int_equal(bytes.size, 128 + 4 * 2 * 2 * 2);
}

static void assert_refused(const uint8_t *bytes, size_t size)
{
	struct ndarray a = NDARRAY_INIT;
	struct error err = ERROR_INIT;

	assert_error(npy_read(bytes, size, &a, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "npy");
	assert_null(a.data);
}

static void other_arrays_of_numpy_are_refused(void **state)
{
	static const char *const names[] = {"refused_fortran",	  "refused_big_endian",
					    "refused_c8",	  "refused_record",
					    "refused_seven_dims", "refused_version_2"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_buffer struct buffer bytes = golden(names[i]);

		assert_refused(bytes.data, bytes.size);
	}
}

static void every_truncation_is_refused(void **state)
{
	cleanup_buffer struct buffer bytes = golden("f4_2x3");

	(void)state;
	for (size_t size = 0; size < bytes.size; size++) {
		/* a copy of just that size, so that reading on is seen by the sanitizer */
		cleanup_free uint8_t *cut = xmalloc(size);

		memcpy(cut, bytes.data, size);
		assert_refused(cut, size);
	}
	buffer_put_u8(&bytes, 0);
	assert_refused(bytes.data, bytes.size);
}

static void a_header_that_lies_is_refused(void **state)
{
	static const char *const headers[] = {
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }\n",
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 0), }\n",
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }\n",
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (2147483648, 8589934592), }\n",
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n",
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (1, }\n",
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}\n",
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } more\n",
	    "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
	    "{'descr': '<f4', 'fortran_order': False}\n",
	    "{'descr': 'O', 'fortran_order': False, 'shape': (1,), }\n",
	    "",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		cleanup_buffer struct buffer bytes = BUFFER_INIT;

		buffer_append(&bytes, "\x93NUMPY\x01\x00", 8);
		buffer_put_u16(&bytes, (uint16_t)strlen(headers[i]));
		buffer_append_string(&bytes, headers[i]);
		buffer_append_zeros(&bytes, 4);
		assert_refused(bytes.data, bytes.size);
	}
}

static void allocation_is_exact_aligned_and_checked(void **state)
{
	const size_t shape[] = {3, 5, 7}, huge[] = {SIZE_MAX / 8, 3}, absurd[] = {SIZE_MAX / 8};
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(ndarray_alloc(&a, DTYPE_BF16, 3, shape, &err), &err);
	assert_int_equal(a.bytes, 210);
	assert_int_equal(ndarray_count(&a), 105);
	assert_int_equal((uintptr_t)a.data % 64, 0);
	ndarray_release(&a);
	assert_error(ndarray_alloc(&a, DTYPE_F32, 2, huge, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_large");
	error_clear(&err);
	assert_error(ndarray_alloc(&a, DTYPE_F32, 1, absurd, &err), &err, ERR_NOMEM);
	error_clear(&err);
	assert_error(ndarray_alloc(&a, DTYPE_U8, NDARRAY_MAX_DIMS + 1, shape, &err), &err,
		     ERR_DATA);
	assert_null(a.data);
}

static void shapes_compare_and_print(void **state)
{
	struct ndarray a = {.ndim = 2, .shape = {4, 64}}, b = {.ndim = 2, .shape = {4, 64, 9}},
		       c = {.ndim = 3, .shape = {4, 64, 1}}, d = {.ndim = 2, .shape = {4, 65}};
	char text[64];

	(void)state;
	assert_true(ndarray_same_shape(&a, &b));
	assert_false(ndarray_same_shape(&a, &c));
	assert_false(ndarray_same_shape(&a, &d));
	ndarray_shape_text(3, c.shape, text, sizeof(text));
	assert_string_equal(text, "[4, 64, 1]");
	ndarray_shape_text(0, NULL, text, sizeof(text));
	assert_string_equal(text, "[]");
	ndarray_shape_text(3, c.shape, text, 5);
	assert_string_equal(text, "[4, ");
}

static void dtypes_have_their_names_and_sizes(void **state)
{
	(void)state;
	assert_string_equal(dtype_name(DTYPE_F32), "float32");
	assert_string_equal(dtype_name(DTYPE_F16), "float16");
	assert_string_equal(dtype_name(DTYPE_BF16), "bfloat16");
	assert_string_equal(dtype_name(DTYPE_U8), "uint8");
	assert_string_equal(dtype_name(DTYPE_I64), "int64");
	assert_int_equal(dtype_size(DTYPE_F32), 4);
	assert_int_equal(dtype_size(DTYPE_F16), 2);
	assert_int_equal(dtype_size(DTYPE_BF16), 2);
	assert_int_equal(dtype_size(DTYPE_U8), 1);
	assert_int_equal(dtype_size(DTYPE_I64), 8);
	assert_string_equal(dtype_name(DTYPE_F64), "float64");
	assert_int_equal(dtype_size(DTYPE_F64), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numpys_files_are_read),
	    cmocka_unit_test(what_is_written_is_what_numpy_writes),
	    cmocka_unit_test(the_data_of_a_latent_begins_at_byte_128),
	    cmocka_unit_test(other_arrays_of_numpy_are_refused),
	    cmocka_unit_test(every_truncation_is_refused),
	    cmocka_unit_test(a_header_that_lies_is_refused),
	    cmocka_unit_test(allocation_is_exact_aligned_and_checked),
	    cmocka_unit_test(shapes_compare_and_print),
	    cmocka_unit_test(dtypes_have_their_names_and_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
