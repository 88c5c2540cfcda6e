/* Whatever npz_read accepts, npz_put and npz_end give back with the same contents. */
#include "storage/npz.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_npz struct npz first = {.n = 0}, second = {.n = 0};
	cleanup_npz_writer struct npz_writer w = NPZ_WRITER_INIT;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct error err = ERROR_INIT;

	if (npz_read(data, size, (size_t)64 << 20, &first, &err) < 0) {
		assert(err.code == ERR_DATA || err.code == ERR_NOMEM);
		return 0;
	}
	for (size_t i = 0; i < first.n; i++)
		npz_put(&w, first.items[i].name, &first.items[i].array);
	if (npz_end(&w, &bytes, &err) < 0 ||
	    npz_read(bytes.data, bytes.size, SIZE_MAX, &second, &err) < 0)
		abort();
	assert(first.n == second.n);
	for (size_t i = 0; i < first.n; i++) {
		const struct ndarray *a = &first.items[i].array, *b = &second.items[i].array;

		assert(strcmp(first.items[i].name, second.items[i].name) == 0);
		assert(a->dtype == b->dtype && ndarray_same_shape(a, b) && a->bytes == b->bytes);
		assert(memcmp(a->data, b->data, a->bytes) == 0);
	}
	return 0;
}
