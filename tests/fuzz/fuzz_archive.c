/*
 * Any bytes as an archive: the list ends, its index answers, and what it lists can be asked for. Where the bytes are elsewhere it is
 * the same list, and nothing behind their end is asked for.
 */
#include "base/checked.h"
#include "base/cleanup.h"
#include "source/archive_index.h"
#include "source/unpack.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_member(void *arg, const struct unpack_member *m)
{
	if (m)
		archive_index_add(arg, m);
	return 0;
}

struct elsewhere {
	const uint8_t *data;
	size_t size, members;
};

static int read_elsewhere(void *arg, uint64_t offset, void *out, size_t size, struct error *err)
{
	const struct elsewhere *e = arg;

	(void)err;
	if (size > e->size || offset > e->size - size)
		abort();
	memcpy(out, e->data + offset, size);
	return 0;
}

static int count(void *arg, const struct unpack_member *m)
{
	*(size_t *)arg += m != NULL;
	return 0;
}

static void list_elsewhere(struct unpack *unpack, int fd, const uint8_t *data, size_t size)
{
	struct elsewhere e = {.data = data, .size = size};
	const struct unpack_input in = {-1, size, read_elsewhere, &e};
	struct error here = ERROR_INIT, there = ERROR_INIT;
	size_t members = 0;

	unpack_list(unpack, UNPACK_FD(fd), count, &members, &here);
	unpack_list(unpack, &in, count, &e.members, &there);
	if (members != e.members || strcmp(here.reason, there.reason) != 0)
		abort();
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
	unpack_list(unpack, UNPACK_FD(fd), on_member, index, &err);
	archive_index_end(index);
	list_elsewhere(unpack, fd, data, size);
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
		member = unpack_read(unpack, UNPACK_FD(fd), 1, &m, &err);
	}
	archive_index_free(index);
	unpack_close(unpack);
	return 0;
}
