/*
 * Any bytes as a file of the cache: it is given out whole or not at all, and what is put afterwards is what comes.
 */
#include "base/cleanup.h"
#include "source/remote_cache.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/fuzz-cache-XXXXXX";

#define URL "http://a.example/1.jpg"

static bool has_bytes(int fd, const void *data, size_t size)
{
	char found[16];

	return size <= sizeof(found) && read(fd, found, sizeof(found)) == (ssize_t)size &&
	       memcmp(found, data, size) == 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_folder(void)
{
	nftw(folder, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

/* The only one. */
static void find_file(char *out, size_t size)
{
	char pattern[96];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/*/*", folder);
	if (glob(pattern, 0, NULL, &found) != 0 || found.gl_pathc != 1)
		abort();
	snprintf(out, size, "%s", found.gl_pathv[0]);
	globfree(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct remote_cache *cache;
	char path[96];
	cleanup_close int bytes = memfd_create("fuzz", MFD_CLOEXEC);
	struct error err = ERROR_INIT;
	cleanup_close int kept = -1;
	cleanup_close int fd = -1;
	cleanup_close int again = -1;

	if (!cache) {
		if (!mkdtemp(folder) || remote_cache_open(folder, 1 << 20, &cache, &err) < 0)
			abort();
		atexit(remove_folder);
	}
	if (bytes < 0 || write(bytes, "0123456789", 10) != 10)
		abort();
	remote_cache_put(cache, URL, bytes);
	find_file(path, sizeof(path));
	kept = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (kept < 0 || write(kept, data, size) != (ssize_t)size)
		abort();
	fd = remote_cache_get(cache, URL);
	if (fd < 0 && access(path, F_OK) == 0)
		abort();
	remote_cache_put(cache, URL, bytes);
	again = remote_cache_get(cache, URL);
	if (again < 0 || !has_bytes(again, "0123456789", 10))
		abort();
	return 0;
}
