/* Whatever npy_read accepts, npy_write gives back with the same contents. */
#include "base/checked.h"
#include "base/ndarray.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_ndarray struct ndarray first = NDARRAY_INIT, second = NDARRAY_INIT;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct error err = ERROR_INIT;

	if (npy_read(data, size, &first, &err) < 0) {
		assert(err.code == ERR_DATA || err.code == ERR_NOMEM);
		return 0;
	}
	assert(first.bytes <= size);
	npy_write(&bytes, &first);
	if (npy_read(bytes.data, bytes.size, &second, &err) < 0)
		abort();
	assert(first.dtype == second.dtype && ndarray_same_shape(&first, &second));
	assert(first.bytes == second.bytes && memcmp(first.data, second.data, first.bytes) == 0);
	return 0;
}
