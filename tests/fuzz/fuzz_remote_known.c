/*
 * Any bytes as the table of what servers said: asking ends, texts fit, and what is put is found.
 */
#include "base/cleanup.h"
#include "source/remote_known.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_table(const char *path, const uint8_t *data, size_t size)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char url[] = "http://a.example/1.jpg";
	struct remote_fact fact = {.version = 3, .checked_at = 5, .etag = "\"x\""}, found;
	char folder[] = "/tmp/fuzz-known-XXXXXX", path[64];
	struct remote_known *known;

	if (!mkdtemp(folder))
		abort();
	snprintf(path, sizeof(path), "%s/fetched-1", folder);
	write_table(path, data, size);
	known = remote_known_open(folder);
	if (!known)
		abort();
	if (remote_known_find(known, url, &found) &&
	    (strlen(found.etag) >= sizeof(found.etag) ||
	     strlen(found.modified) >= sizeof(found.modified)))
		abort();
	remote_known_put(known, url, &fact);
	if (!remote_known_find(known, url, &found) || found.version != 3 || found.checked_at != 5 ||
	    strcmp(found.etag, fact.etag) != 0 || found.modified[0])
		abort();
	remote_known_close(known);
	unlink(path);
	rmdir(folder);
	return 0;
}
