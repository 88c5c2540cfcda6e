/*
 * Any bytes as a manifest of each format: it ends, every record that can be used has a path and metadata that are JSON,
 * and what is read again at its place is the same.
 */
#include "base/checked.h"
#include "base/cleanup.h"
#include "source/manifest_reader.h"

#include <jansson.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_item(const struct manifest_item *item)
{
	json_t *meta = item->meta ? json_loads(item->meta, 0, NULL) : NULL;

	if (!item->path || !*item->path || (item->meta && !json_is_object(meta)))
		abort();
	json_decref(meta);
}

static void check_place(struct manifest_reader *again, const struct manifest_item *item,
			const struct manifest_place *place)
{
	struct manifest_item same;
	struct manifest_place here;
	struct error err = ERROR_INIT;

	manifest_reader_seek(again, place->offset);
	if (manifest_reader_next(again, false, &same, &here, &err) != 0 || here.bad ||
	    here.offset != place->offset || strcmp(same.path, item->path) != 0)
		abort();
}

static void read_all(int fd, enum manifest_format format)
{
	const struct manifest_columns columns = {NULL, NULL};
	struct manifest_reader *r = NULL, *again = NULL;
	struct error err = ERROR_INIT;
	struct manifest_item item;
	struct manifest_place place;
	uint64_t last = 0;

	if (manifest_reader_open(fd, format, &columns, &r, &err) < 0)
		return;
	if (manifest_reader_open(fd, format, &columns, &again, &err) < 0)
		abort();
	for (size_t n = 0; manifest_reader_next(r, false, &item, &place, &err) == 0; n++) {
		if (n > 0 && place.offset <= last && !place.bad)
			abort();
		last = place.offset;
		if (place.bad)
			continue;
		check_item(&item);
		check_place(again, &item, &place);
	}
	manifest_reader_close(r);
	manifest_reader_close(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_close int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	for (int format = MANIFEST_JSONL; format <= MANIFEST_KOHYA; format++)
		read_all(fd, (enum manifest_format)format);
	return 0;
}
