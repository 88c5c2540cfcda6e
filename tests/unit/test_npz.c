/* tests/golden/npz is what numpy.savez and numpy.savez_compressed write (make.py there). */
#include "tests/testing.h"

#include "base/checked.h"
#include "storage/npz.h"

#include <stdio.h>
#include <string.h>

enum { LIMIT = 1 << 20 };

static struct buffer golden(const char *name)
{
	cleanup_free char *relative = xasprintf("npz/%s.npz", name),
			  *path = testing_golden(relative);

	return testing_read(path);
}

static void expect_golden(const struct npz *npz)
{
	static const float latents[] = {0.0f, 0.25f, 0.5f, 0.75f, 1.0f, 1.25f, 1.5f, 1.75f};
	static const int64_t size[] = {1234, 567};
	static const double crop[] = {0, 1.5, 640, 478.25};
	const struct ndarray *a = npz_find(npz, "latents");

	assert_int_equal(npz->n, 3);
	assert_non_null(a);
	assert_int_equal(a->dtype, DTYPE_F32);
	assert_int_equal(a->ndim, 3);
	assert_memory_equal(a->data, latents, sizeof(latents));
	a = npz_find(npz, "original_size");
	assert_int_equal(a->dtype, DTYPE_I64);
	assert_memory_equal(a->data, size, sizeof(size));
	a = npz_find(npz, "crop_ltrb");
	assert_int_equal(a->dtype, DTYPE_F64);
	assert_memory_equal(a->data, crop, sizeof(crop));
	assert_null(npz_find(npz, "latents_flipped"));
}

static void what_numpy_saves_is_read_compressed_or_not(void **state)
{
	static const char *const names[] = {"plain", "compressed"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_buffer struct buffer bytes = golden(names[i]);
		cleanup_npz struct npz npz = {.n = 0};
		struct error err = ERROR_INIT;

		assert_ok(npz_read(bytes.data, bytes.size, LIMIT, &npz, &err), &err);
		expect_golden(&npz);
	}
}

static void write_again(const struct npz *npz, struct buffer *out)
{
	cleanup_npz_writer struct npz_writer w = NPZ_WRITER_INIT;
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < npz->n; i++)
		npz_put(&w, npz->items[i].name, &npz->items[i].array);
	assert_ok(npz_end(&w, out, &err), &err);
}

static void what_is_written_is_read_by_us_and_by_python(void **state)
{
	cleanup_buffer struct buffer bytes = golden("plain"), again = BUFFER_INIT;
	cleanup_npz struct npz npz = {.n = 0}, back = {.n = 0};
	struct error err = ERROR_INIT;
	char *dir = testing_tempdir();
	cleanup_free char *path = testing_path(dir, "x.npz");
	cleanup_free char *command =
	    xasprintf("python3 -c \"import zipfile, sys; z = zipfile.ZipFile(sys.argv[1]); "
		      "assert z.testzip() is None; "
		      "assert z.namelist() == ['latents.npy', 'original_size.npy', "
		      "'crop_ltrb.npy']\" '%s'",
		      path);

	(void)state;
	assert_ok(npz_read(bytes.data, bytes.size, LIMIT, &npz, &err), &err);
	write_again(&npz, &again);
	assert_ok(npz_read(again.data, again.size, LIMIT, &back, &err), &err);
	expect_golden(&back);
	testing_write(path, again.data, again.size);
	assert_int_equal(system(command), 0);
	testing_tempdir_remove(dir);
}

static void refused(const uint8_t *bytes, size_t size, size_t limit, const char *reason)
{
	cleanup_free uint8_t *own = malloc(size + 1); /* a sanitizer sees a read behind its end */
	struct npz npz = {.n = 42};
	struct error err = ERROR_INIT;

	memcpy(own, bytes, size);
	assert_error(npz_read(own, size, limit, &npz, &err), &err, ERR_DATA);
	if (reason)
		assert_string_equal(err.reason, reason);
	assert_int_equal(npz.n, 42);
}

static void a_file_that_is_cut_or_too_large_or_damaged_is_refused(void **state)
{
	cleanup_buffer struct buffer bytes = golden("plain");

	(void)state;
	for (size_t size = 0; size < bytes.size - 1; size += 7)
		refused(bytes.data, size, LIMIT, NULL);
	refused(bytes.data, bytes.size, 64, "too_large");
	bytes.data[200] ^= 1; /* of the first array: its CRC does not fit */
	refused(bytes.data, bytes.size, LIMIT, "npz");
}

static void a_file_without_arrays_or_with_odd_names_is_refused(void **state)
{
	static const char *const names[] = {"a/b", "a b", "\xff", ""};
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;
	struct error err = ERROR_INIT;
	size_t shape[] = {1};

	(void)state;
	assert_ok(ndarray_alloc(&a, DTYPE_F32, 1, shape, &err), &err);
	*(float *)a.data = 1;
	for (size_t i = 0; i <= ARRAY_SIZE(names); i++) {
		cleanup_npz_writer struct npz_writer w = NPZ_WRITER_INIT;
		cleanup_buffer struct buffer bytes = BUFFER_INIT;

		if (i < ARRAY_SIZE(names))
			npz_put(&w, names[i], &a);
		assert_ok(npz_end(&w, &bytes, &err), &err);
		refused(bytes.data, bytes.size, LIMIT, "npz");
	}
}

static void a_name_that_is_there_twice_is_refused(void **state)
{
	cleanup_npz_writer struct npz_writer w = NPZ_WRITER_INIT;
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct error err = ERROR_INIT;
	size_t shape[] = {1};

	(void)state;
	assert_ok(ndarray_alloc(&a, DTYPE_F32, 1, shape, &err), &err);
	*(float *)a.data = 1;
	npz_put(&w, "a", &a);
	npz_put(&w, "a", &a);
	assert_ok(npz_end(&w, &bytes, &err), &err);
	refused(bytes.data, bytes.size, LIMIT, "npz");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_numpy_saves_is_read_compressed_or_not),
	    cmocka_unit_test(what_is_written_is_read_by_us_and_by_python),
	    cmocka_unit_test(a_file_that_is_cut_or_too_large_or_damaged_is_refused),
	    cmocka_unit_test(a_file_without_arrays_or_with_odd_names_is_refused),
	    cmocka_unit_test(a_name_that_is_there_twice_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
