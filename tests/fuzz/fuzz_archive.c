/*
 * Any bytes as an archive: the list ends, its index answers, and what it lists can be asked for.
 */
#include "base/checked.h"
#include "base/cleanup.h"
#include "source/archive_index.h"
#include "source/unpack.h"

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_member(void *arg, const struct unpack_member *m)
{
	if (m)
		archive_index_add(arg, m);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct unpack_limits limits = {.member_bytes = 1 << 20,
					     .text_bytes = 1 << 12,
					     .texts_bytes = 1 << 16,
					     .members = 200,
					     .grown_bytes = 1 << 20,
					     .grown_times = 100};
	struct archive_index *index = archive_index_new();
	cleanup_close int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct unpack *unpack = NULL;
	struct error err = ERROR_INIT;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size ||
	    unpack_local_open(&limits, &unpack, &err) < 0)
		abort();
	unpack_list(unpack, fd, on_member, index, &err);
	archive_index_end(index);
	for (size_t i = 0; i < archive_index_count(index) && i < 5; i++) {
		const struct archive_item *item = archive_index_item(index, i);
		const struct unpack_member m = {.name = item->name,
						.size = item->size,
						.place = item->place,
						.offset = item->offset};
		cleanup_close int member = -1;

		if (archive_index_find(index, item->path) != item)
			abort();
		error_clear(&err);
		member = unpack_read(unpack, fd, 1, &m, &err);
	}
	archive_index_free(index);
	unpack_close(unpack);
	return 0;
}
