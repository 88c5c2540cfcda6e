#include "daemon/stdin_archive.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>

enum { ASK_EVERY_MS = 200, BUFFER_BYTES = 1 << 20 };

char *stdin_archive_path(const char *folder)
{
	return xasprintf("%s/stdin.tar", folder);
}

/* Some bytes; 0: the end. */
static ssize_t read_some(int fd, uint8_t *bytes, bool (*stop)(void *arg), void *arg,
			 struct error *err)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	for (;;) {
		ssize_t n;

		if (stop(arg))
			return error_set(err, ERR_TRANSIENT,
					 "stopped while reading standard input");
		if (poll(&ready, 1, ASK_EVERY_MS) <= 0) /* a signal, too */
			continue;
		n = read(fd, bytes, BUFFER_BYTES);
		if (n >= 0)
			return n;
		if (errno != EINTR && errno != EAGAIN)
			return error_sys(err, "read standard input");
	}
}

int stdin_archive_write(int fd, const char *path, bool (*stop)(void *arg), void *arg,
			struct error *err)
{
	cleanup_free uint8_t *bytes = xmalloc(BUFFER_BYTES);
	cleanup_close int out = -1;
	bool empty = true;
	ssize_t n;

	if (isatty(fd))
		return error_set(err, ERR_CONFIG,
				 "-: an archive is read from standard input, which is a terminal");
	out = file_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, err);
	if (out < 0)
		return -1;
	while ((n = read_some(fd, bytes, stop, arg, err)) > 0) {
		empty = false;
		if (fd_write_all(out, bytes, (size_t)n, err) < 0)
			return error_wrap(err, "%s", path);
	}
	if (n == 0 && empty)
		return error_set(err, ERR_CONFIG,
				 "-: standard input is empty: expected an archive");
	return n < 0 ? -1 : 0;
}
