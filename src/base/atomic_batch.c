/*
 * The disk is asked to begin with each file when it is written, so the first fsync finds it at work on all of them, and
 * commits what a journal holds for all: the others have little to wait for.
 */
#include "base/atomic_batch.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"

#include <fcntl.h>
#include <string.h>

int atomic_batch_write(struct atomic_batch *b, const char *target, const void *data, size_t size,
		       struct error *err)
{
	struct atomic_file *file = &b->files[b->n];

	if (atomic_file_begin(file, b->dir, err) < 0)
		return -1;
	if (fd_write_all(file->fd, data, size, err) < 0) {
		atomic_file_abort(file);
		return -1;
	}
	sync_file_range(file->fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* a hint; the fsync tells */
	b->targets[b->n++] = xstrdup(target);
	return b->n < ATOMIC_BATCH_MAX ? 0 : atomic_batch_commit(b, err);
}

/* The folders of all targets, each once. */
static int sync_folders(const struct atomic_batch *b, struct error *err)
{
	for (size_t i = 0; i < b->n; i++) {
		cleanup_free char *folder = dir_of(b->targets[i]);
		bool again = false;

		for (size_t k = 0; k < i && !again; k++) {
			cleanup_free char *earlier = dir_of(b->targets[k]);

			again = strcmp(earlier, folder) == 0;
		}
		if (!again && dir_sync(folder, err) < 0)
			return -1;
	}
	return 0;
}

int atomic_batch_commit(struct atomic_batch *b, struct error *err)
{
	for (size_t i = 0; i < b->n; i++) {
		if (atomic_file_sync(&b->files[i], err) < 0)
			return -1;
	}
	for (size_t i = 0; i < b->n; i++) {
		if (atomic_file_appear(&b->files[i], b->targets[i], err) < 0)
			return -1;
	}
	if (sync_folders(b, err) < 0)
		return -1;
	atomic_batch_release(b);
	return 0;
}

void atomic_batch_release(struct atomic_batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		atomic_file_abort(&b->files[i]);
		free(b->targets[i]);
	}
	b->n = 0;
}
