/* Whatever a list says, its entries are URLs or objects of buckets, in the same order each time, and nothing is asked of a server. */
#include "source/source.h"

#include "base/cleanup.h"
#include "net/http_url.h"
#include "net/s3_request.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int memory_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("list", MFD_CLOEXEC);

	if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size))
		__builtin_trap();
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct source_folder_options options = {.recursive = true};
	struct source_entry entry, found;
	struct error err = ERROR_INIT;
	struct source *source = NULL;
	cleanup_close int fd = memory_file(data, size);
	char path[64];
	int looked_for = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (source_urls_open(path, &options, &source, &err) < 0)
		__builtin_trap();
	while (source_next(source, &entry, &err) == 0) {
		cleanup_free char *url = strdup(entry.path);

		if (!http_url_is_valid(url) && !s3_is_url(url))
			__builtin_trap();
		if (looked_for++ < 4 && source_examine(source, url, &found, &err) != 0)
			__builtin_trap();
	}
	source_close(source);
	return 0;
}
