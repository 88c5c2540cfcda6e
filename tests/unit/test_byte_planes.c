#include "tests/testing.h"

#include "base/byte_planes.h"
#include "base/checked.h"
#include "base/compress.h"

#include <string.h>

static const size_t shape[] = {2, 3, 5};

static void make(struct ndarray *a, enum dtype dtype)
{
	struct error err = ERROR_INIT;

	assert_ok(ndarray_alloc(a, dtype, 3, shape, &err), &err);
	for (size_t i = 0; i < a->bytes; i++)
		((uint8_t *)a->data)[i] = (uint8_t)(i * 37 + 11);
}

static void opened(const struct ndarray *a, struct buffer *npy)
{
	cleanup_buffer struct buffer frame = BUFFER_INIT;
	struct error err = ERROR_INIT;

	assert_ok(planes_compress(&frame, a, &err), &err);
	assert_ok(decompress_frame(npy, frame.data, frame.size, 1 << 20, &err), &err);
}

/* numpy 2.4: numpy.save(f, numpy.asfortranarray(a[..., None].view("u1").reshape(2, 3, 5, 2))). */
static void bytes_lie_where_numpy_puts_them(void **state)
{
	static const char header[] =
	    "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 5, 2), }";
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;
	cleanup_buffer struct buffer npy = BUFFER_INIT;
	size_t head = 128;

	(void)state;
	make(&a, DTYPE_F16);
	opened(&a, &npy);
	assert_int_equal(npy.size, head + a.bytes);
	assert_memory_equal(npy.data + 10, header, strlen(header));
	assert_int_equal(npy.data[head - 1], '\n');
	for (size_t c = 0; c < 2; c++)
		for (size_t h = 0; h < 3; h++)
			for (size_t w = 0; w < 5; w++)
				for (size_t b = 0; b < 2; b++)
					assert_int_equal(
					    npy.data[head + ((b * 5 + w) * 3 + h) * 2 + c],
					    ((uint8_t *)a.data)[((c * 3 + h) * 5 + w) * 2 + b]);
}

static void arrays_come_back(void **state)
{
	static const enum dtype dtypes[] = {DTYPE_F16, DTYPE_F32};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(dtypes); i++) {
		cleanup_ndarray struct ndarray a = NDARRAY_INIT, b = NDARRAY_INIT;
		cleanup_buffer struct buffer npy = BUFFER_INIT;
		struct error err = ERROR_INIT;

		make(&a, dtypes[i]);
		opened(&a, &npy);
		assert_ok(planes_read(npy.data, npy.size, dtypes[i], shape, &b, &err), &err);
		assert_int_equal(b.bytes, a.bytes);
		assert_memory_equal(b.data, a.data, a.bytes);
	}
}

static void planes_of_another_array_are_refused(void **state)
{
	static const size_t other[] = {2, 5, 3}, larger[] = {2, 3, 6};
	cleanup_ndarray struct ndarray a = NDARRAY_INIT, b = NDARRAY_INIT;
	cleanup_buffer struct buffer npy = BUFFER_INIT;

	(void)state;
	make(&a, DTYPE_F16);
	opened(&a, &npy);
	for (size_t i = 0; i < 4; i++) {
		struct error err = ERROR_INIT;

		assert_error(planes_read(npy.data, npy.size - (i == 0),
					 i == 1 ? DTYPE_F32 : DTYPE_F16,
					 i == 2	  ? other
					 : i == 3 ? larger
						  : shape,
					 &b, &err),
			     &err, ERR_DATA);
		assert_string_equal(err.reason, "npy");
	}
}

/* Otherwise one table of codes would serve bytes of two kinds, and nothing be gained. */
static void noise_under_smooth_values_is_compressed_apart(void **state)
{
	static const size_t large[] = {4, 64, 64};
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;
	cleanup_buffer struct buffer planes = BUFFER_INIT, plain = BUFFER_INIT;
	struct error err = ERROR_INIT;
	uint64_t x = 3;

	(void)state;
	assert_ok(ndarray_alloc(&a, DTYPE_F16, 3, large, &err), &err);
	for (size_t i = 0; i < a.bytes; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		((uint8_t *)a.data)[i] =
		    i % 2 == 0 ? (uint8_t)(x >> 56) : (uint8_t)(0x38 | x >> 62);
	}
	assert_ok(planes_compress(&planes, &a, &err), &err);
	assert_ok(compress_frame(&plain, a.data, a.bytes, COMPRESS_LEVEL_FLOATS, &err), &err);
	assert_true(planes.size < a.bytes * 70 / 100);
	assert_true(planes.size < plain.size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_lie_where_numpy_puts_them),
	    cmocka_unit_test(arrays_come_back),
	    cmocka_unit_test(planes_of_another_array_are_refused),
	    cmocka_unit_test(noise_under_smooth_values_is_compressed_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
