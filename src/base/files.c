#include "base/files.h"

#include "base/checked.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int file_open(const char *path, int flags, mode_t mode, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	int fd;

	do
		fd = open(path, flags | O_CLOEXEC, mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return error_sys(err, "open %s", text_quote(path, quoted));
	return fd;
}

static int read_to_end(int fd, size_t limit, struct buffer *out, struct error *err)
{
	size_t start = out->size;

	for (;;) {
		ssize_t n;

		if (out->capacity - out->size < 4096 && buffer_reserve(out, 65536, err) < 0)
			return -1;
		n = read(fd, out->data + out->size, out->capacity - out->size - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, "read");
		out->size += (size_t)n;
		out->data[out->size] = '\0';
		if (out->size - start > limit)
			return error_data(err, "too_large", "more than %zu bytes", limit);
		if (n == 0)
			return 0;
	}
}

int fd_read_all(int fd, size_t limit, struct buffer *out, struct error *err)
{
	size_t start = out->size;
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		if ((size_t)st.st_size > limit)
			return error_data(err, "too_large", "%zu bytes are over the limit of %zu",
					  (size_t)st.st_size, limit);
		if (buffer_reserve(out, (size_t)st.st_size, err) < 0)
			return -1;
	}
	if (read_to_end(fd, limit, out, err) < 0) {
		out->size = start;
		if (out->data)
			out->data[start] = '\0';
		return -1;
	}
	return 0;
}

int file_read_all(const char *path, size_t limit, struct buffer *out, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_close int fd = file_open(path, O_RDONLY, 0, err);

	if (fd < 0)
		return -1;
	if (fd_read_all(fd, limit, out, err) < 0)
		return error_wrap(err, "%s", text_quote(path, quoted));
	return 0;
}

int file_read_regular(const char *path, size_t limit, struct buffer *out, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_close int fd = file_open(path, O_RDONLY | O_NONBLOCK, 0, err);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return error_sys(err, "%s", text_quote(path, quoted));
	if (!S_ISREG(st.st_mode))
		return error_data(err, "not_regular", "%s is not a regular file",
				  text_quote(path, quoted));
	if (fd_read_all(fd, limit, out, err) < 0)
		return error_wrap(err, "%s", text_quote(path, quoted));
	return 0;
}

int file_lock(const char *path, mode_t mode, int *fd, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	cleanup_close int opened = file_open(path, O_RDWR | O_CREAT, mode, err);
	int r = 0;

	if (opened < 0)
		return -1;
	if (fcntl(opened, F_OFD_SETLK, &whole) < 0) {
		if (errno != EAGAIN && errno != EACCES)
			return error_sys(err, "lock %s", text_quote(path, quoted));
		r = FILE_LOCKED;
	}
	*fd = TAKE_FD(opened);
	return r;
}

int fd_write_all(int fd, const void *data, size_t size, struct error *err)
{
	const uint8_t *at = data;

	while (size > 0) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, "write");
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_pread_all(int fd, void *data, size_t size, off_t offset, struct error *err)
{
	uint8_t *at = data;

	while (size > 0) {
		ssize_t n = pread(fd, at, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, "read");
		if (n == 0)
			return error_data(err, "truncated", "ends %zu bytes early", size);
		at += n;
		offset += n;
		size -= (size_t)n;
	}
	return 0;
}

int fd_size(int fd, size_t *size, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_sys(err, "fstat");
	*size = (size_t)st.st_size;
	return 0;
}

char *dir_of(const char *path)
{
	char *copy = xstrdup(path), *slash = strrchr(copy, '/');

	if (!slash) {
		free(copy);
		return xstrdup(".");
	}
	slash[slash == copy] = '\0';
	return copy;
}

int dir_sync(const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_close int fd = file_open(path, O_RDONLY | O_DIRECTORY, 0, err);

	if (fd < 0)
		return -1;
	if (fsync(fd) < 0)
		return error_sys(err, "fsync folder %s", text_quote(path, quoted));
	return 0;
}

static int dir_make_one(const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *parent = NULL;
	struct stat st;
	char *slash;

	if (mkdir(path, 0777) < 0) {
		int saved = errno;

		if (saved == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			return 0;
		errno = saved;
		return error_sys(err, "make folder %s", text_quote(path, quoted));
	}
	parent = xstrdup(path);
	slash = strrchr(parent, '/');
	if (!slash)
		return dir_sync(".", err);
	slash[slash == parent] = '\0';
	return dir_sync(parent, err);
}

int dir_make(const char *path, struct error *err)
{
	cleanup_free char *partial = xstrdup(path);
	size_t length = strlen(partial);

	while (length > 1 && partial[length - 1] == '/')
		partial[--length] = '\0';
	for (char *p = partial; *p; p++) {
		struct stat st;

		if (*p != '/' || p == partial)
			continue;
		*p = '\0';
		if (stat(partial, &st) < 0 && dir_make_one(partial, err) < 0)
			return -1;
		*p = '/';
	}
	return dir_make_one(partial, err);
}

/* The folder @name in @parent, made where it is not there. Its descriptor, or -1. */
static int enter(int parent, const char *name, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT) {
		if (mkdirat(parent, name, 0777) < 0 && errno != EEXIST)
			return error_sys(err, "make folder %s", text_quote(name, quoted));
		if (fsync(parent) < 0)
			return error_sys(err, "fsync the folder of %s", text_quote(name, quoted));
		fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd >= 0 ? fd : error_sys(err, "open folder %s", text_quote(name, quoted));
}

int dir_make_at(int root, const char *path, struct error *err)
{
	cleanup_free char *names = xstrdup(path);
	cleanup_close int at = -1;
	char *rest = NULL;

	for (char *name = strtok_r(names, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
		int next = enter(at < 0 ? root : at, name, err);

		if (next < 0)
			return -1;
		if (at >= 0)
			close(at);
		at = next;
	}
	return 0;
}

int dir_make_below(const char *root, const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_close int fd = file_open(root, O_RDONLY | O_DIRECTORY, 0, err);

	if (fd < 0)
		return -1;
	if (dir_make_at(fd, path, err) < 0)
		return error_wrap(err, "%s", text_quote(root, quoted));
	return 0;
}

bool path_stays_below(const char *path)
{
	for (const char *part = path;; part++) {
		size_t n = strcspn(part, "/");

		if (n == 0 || (n <= 2 && strspn(part, ".") >= n))
			return false;
		part += n;
		if (!*part)
			return true;
	}
}

bool file_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ||
	       (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG);
}
