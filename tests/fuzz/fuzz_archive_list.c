/* A list is read or it is none; what is read is written as it was. */
#include "source/archive_list.h"

#include "base/hash.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_member(void *arg, const struct unpack_member *m)
{
	archive_list_put(arg, m);
}

/* The bytes with the hash that belongs to them: otherwise hardly anything comes past it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct archive_stamp stamp = {0, 0, 0};
	cleanup_buffer struct buffer list = BUFFER_INIT, again = BUFFER_INIT;
	const struct hash128 hash = hash128_of(data, size);
	struct error damage = ERROR_INIT;

	archive_list_read(data, size, &stamp, NULL, NULL, &damage);
	if (size >= 32) {
		stamp = (struct archive_stamp){get_u64le(data + 8), get_u64le(data + 16),
					       (int64_t)get_u64le(data + 24)};
	}
	buffer_append(&list, data, size);
	buffer_append(&list, hash.bytes, sizeof(hash.bytes));
	archive_list_begin(&again, &stamp);
	if (!archive_list_read(list.data, list.size, &stamp, on_member, &again, &damage))
		return 0;
	archive_list_end(&again, &damage);
	if (again.size != list.size || memcmp(again.data, list.data, list.size) != 0)
		__builtin_trap();
	return 0;
}
