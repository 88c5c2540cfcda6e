/*
 * Any bytes as a spool's segment, once as the last one and once before another: it opens, or
 * refuses a newer version; what it hands out can be read; and a second open of what the first left
 * finds the same.
 */
#include "base/files.h"
#include "storage/spool.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST  "0000000000000005.spool"
#define SECOND "0000000000000006.spool"

struct found {
	size_t n;
	struct spool_place last;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_record(void *arg, const struct spool_place *place, const struct record *record)
{
	struct found *found = arg;

	if (record->key[0] == '\0')
		abort();
	found->n++;
	found->last = *place;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void put_file(const char *dir, const char *name, const void *data, size_t size)
{
	char path[128];
	struct error err = ERROR_INIT;
	cleanup_close int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666, &err);
	if (fd < 0 || fd_write_all(fd, data, size, &err) < 0)
		abort();
}

/* Opens twice; the first may cut and remove, the second finds what it left. */
static void open_twice(const char *dir)
{
	struct found first = {.n = 0}, second = {.n = 0};
	struct error err = ERROR_INIT;
	cleanup_record struct record record = RECORD_INIT;
	struct spool *s = NULL;

	if (spool_open(dir, NULL, on_record, &first, &s, &err) < 0) {
		if (err.code != ERR_CONFIG)
			abort();
		return;
	}
	if (spool_records(s) != first.n)
		abort();
	if (first.n > 0 && spool_read(s, &first.last, &record, &err) < 0)
		abort();
	spool_close(s);
	if (spool_open(dir, NULL, on_record, &second, &s, &err) < 0 || second.n != first.n)
		abort();
	spool_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int older = 0; older < 2; older++) {
		char dir[] = "/dev/shm/latentd-fuzz-XXXXXX";

		if (!mkdtemp(dir))
			abort();
		put_file(dir, FIRST, data, size);
		if (older)
			put_file(dir, SECOND, "", 0);
		open_twice(dir);
		nftw(dir, remove_one, 4, FTW_DEPTH | FTW_PHYS);
	}
	return 0;
}
