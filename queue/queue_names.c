#include "queue/queue_names.h"

#include "base/hash.h"

#include <string.h>

size_t name_stem_size(const char *path, size_t size)
{
	for (size_t i = size; i > 0 && path[i - 1] != '/'; i--) {
		if (path[i - 1] == '.')
			return i == 1 || path[i - 2] == '/' ? size : i - 1;
	}
	return size;
}

int64_t name_print(int64_t dataset, const char *name, size_t size)
{
	uint64_t seed = (uint64_t)dataset;
	uint64_t group = hash64_of(name, size > 4 ? size - 4 : 0, seed);
	uint64_t member = hash64_of(name, size, seed);

	return (int64_t)((group & 0xffffffff00000000) | member >> 32);
}

bool name_equal(const char *a, size_t a_size, const char *b, size_t b_size)
{
	return a_size == b_size && memcmp(a, b, a_size) == 0;
}
