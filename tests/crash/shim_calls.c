/*
 * The calls themselves, each under all names that glibc has for it. The work is done by the kernel directly: no
 * other library of the process is asked.
 */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "tests/crash/shim.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* -- open, close ------------------------------------------------------------------------------------ */

static int open_seen(int dirfd, const char *path, int flags, mode_t mode)
{
	char full[PATH_MAX];
	const char *seen = shim_path(dirfd, path, full);
	enum action action = seen ? shim_decide(CALL_OPEN, seen) : ACTION_NONE;
	int fd;

	if (action == ACTION_FAIL)
		return -1;
	if (!seen)
		return (int)syscall(SYS_openat, dirfd, path, flags, mode);
	shim_journal_lock();
	fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
	if (fd >= 0) {
		shim_file_opened(fd, seen);
		shim_journal(JOURNAL_OPEN, shim_file(fd)->handle, (uint64_t)flags, seen, NULL, 0);
	}
	shim_journal_unlock();
	shim_after(action);
	return fd;
}

static mode_t mode_argument(int flags, va_list args)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(args, flags);                                                             \
		mode = mode_argument(flags, args);                                                 \
		va_end(args);                                                                      \
		return open_seen(AT_FDCWD, path, flags, mode);                                     \
	}
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                               \
	int name(int dirfd, const char *path, int flags, ...)                                      \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(args, flags);                                                             \
		mode = mode_argument(flags, args);                                                 \
		va_end(args);                                                                      \
		return open_seen(dirfd, path, flags, mode);                                        \
	}
OPENAT(openat)
OPENAT(openat64)

static int creat_seen(const char *path, mode_t mode)
{
	return open_seen(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int creat(const char *path, mode_t mode)
{
	return creat_seen(path, mode);
}

int creat64(const char *path, mode_t mode)
{
	return creat_seen(path, mode);
}

static void *next(const char *name)
{
	shim_inside++;
	void *found = dlsym(RTLD_NEXT, name);
	shim_inside--;
	return found;
}

/* The name is chosen inside: it is known afterwards. */
static int mkostemps_seen(char *pattern, int suffix, int flags)
{
	static int (*real)(char *, int, int);
	char full[PATH_MAX];
	const char *seen = shim_path(AT_FDCWD, pattern, full);
	enum action action = seen ? shim_decide(CALL_OPEN, seen) : ACTION_NONE;
	int fd;

	if (action == ACTION_FAIL)
		return -1;
	if (!real)
		*(void **)&real = next("mkostemps");
	shim_journal_lock();
	fd = real(pattern, suffix, flags);
	if (fd >= 0 && (seen = shim_path(AT_FDCWD, pattern, full))) {
		shim_file_opened(fd, seen);
		shim_journal(JOURNAL_OPEN, shim_file(fd)->handle, O_CREAT | O_RDWR, seen, NULL, 0);
	}
	shim_journal_unlock();
	shim_after(action);
	return fd;
}

int mkostemps(char *pattern, int suffix, int flags)
{
	return mkostemps_seen(pattern, suffix, flags);
}

int mkostemps64(char *pattern, int suffix, int flags)
{
	return mkostemps_seen(pattern, suffix, flags);
}

DIR *opendir(const char *path)
{
	static DIR *(*real)(const char *);
	char full[PATH_MAX];
	const char *seen = shim_path(AT_FDCWD, path, full);

	if (seen && shim_decide(CALL_OPEN, seen) == ACTION_FAIL)
		return NULL;
	if (!real)
		*(void **)&real = next("opendir");
	return real(path);
}

int close(int fd)
{
	shim_file_closed(fd);
	return (int)syscall(SYS_close, fd);
}

/* -- read, write ------------------------------------------------------------------------------------- */

/* Half of @size, but something: no bytes at all mean the end of a file. */
static size_t shortened(enum action action, size_t size)
{
	return (action == ACTION_HALF || action == ACTION_HALF_DIE) && size > 1 ? size / 2 : size;
}

ssize_t read(int fd, void *data, size_t size)
{
	struct shim_file *file = shim_file(fd);
	enum action action = file ? shim_decide(CALL_READ, file->path) : ACTION_NONE;

	if (action == ACTION_FAIL)
		return -1;
	return syscall(SYS_read, fd, data, shortened(action, size));
}

static ssize_t pread_seen(int fd, void *data, size_t size, off_t offset)
{
	struct shim_file *file = shim_file(fd);
	enum action action = file ? shim_decide(CALL_READ, file->path) : ACTION_NONE;

	if (action == ACTION_FAIL)
		return -1;
	return syscall(SYS_pread64, fd, data, shortened(action, size), offset);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
	return pread_seen(fd, data, size, offset);
}

ssize_t pread64(int fd, void *data, size_t size, off_t offset)
{
	return pread_seen(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
	struct shim_file *file = shim_file(fd);
	enum action action = file ? shim_decide(CALL_WRITE, file->path) : ACTION_NONE;
	ssize_t n;

	if (action == ACTION_FAIL)
		return -1;
	if (!file)
		return syscall(SYS_write, fd, data, size);
	shim_journal_lock();
	n = syscall(SYS_write, fd, data, shortened(action, size));
	if (n > 0)
		shim_journal(JOURNAL_WRITE, file->handle,
			     (uint64_t)(syscall(SYS_lseek, fd, 0, SEEK_CUR) - n), NULL, data,
			     (size_t)n);
	shim_journal_unlock();
	shim_after(action);
	return n;
}

static ssize_t pwrite_seen(int fd, const void *data, size_t size, off_t offset)
{
	struct shim_file *file = shim_file(fd);
	enum action action = file ? shim_decide(CALL_WRITE, file->path) : ACTION_NONE;
	ssize_t n;

	if (action == ACTION_FAIL)
		return -1;
	if (!file)
		return syscall(SYS_pwrite64, fd, data, size, offset);
	shim_journal_lock();
	n = syscall(SYS_pwrite64, fd, data, shortened(action, size), offset);
	if (n > 0)
		shim_journal(JOURNAL_WRITE, file->handle, (uint64_t)offset, NULL, data, (size_t)n);
	shim_journal_unlock();
	shim_after(action);
	return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	return pwrite_seen(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	return pwrite_seen(fd, data, size, offset);
}

/* -- sync, truncate, mmap, lock ------------------------------------------------------------------------ */

static int sync_seen(long number, int fd)
{
	struct shim_file *file = shim_file(fd);
	enum action action = file ? shim_decide(CALL_SYNC, file->path) : ACTION_NONE;
	int r;

	if (action == ACTION_FAIL)
		return -1;
	if (!file)
		return (int)syscall(number, fd);
	shim_journal_lock();
	r = (int)syscall(number, fd);
	if (r == 0)
		shim_journal(JOURNAL_SYNC, file->handle, 0, NULL, NULL, 0);
	shim_journal_unlock();
	shim_after(action);
	return r;
}

int fsync(int fd)
{
	return sync_seen(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return sync_seen(SYS_fdatasync, fd);
}

static int ftruncate_seen(int fd, off_t size)
{
	struct shim_file *file = shim_file(fd);
	enum action action = file ? shim_decide(CALL_TRUNCATE, file->path) : ACTION_NONE;
	int r;

	if (action == ACTION_FAIL)
		return -1;
	if (!file)
		return (int)syscall(SYS_ftruncate, fd, size);
	shim_journal_lock();
	r = (int)syscall(SYS_ftruncate, fd, size);
	if (r == 0)
		shim_journal(JOURNAL_TRUNCATE, file->handle, (uint64_t)size, NULL, NULL, 0);
	shim_journal_unlock();
	shim_after(action);
	return r;
}

int ftruncate(int fd, off_t size)
{
	return ftruncate_seen(fd, size);
}

int ftruncate64(int fd, off_t size)
{
	return ftruncate_seen(fd, size);
}

static void *mmap_seen(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	struct shim_file *file = flags & MAP_ANONYMOUS ? NULL : shim_file(fd);

	if (file && shim_decide(CALL_MMAP, file->path) == ACTION_FAIL)
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	return mmap_seen(at, size, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	return mmap_seen(at, size, protection, flags, fd, offset);
}

static int fcntl_seen(int fd, int command, void *argument)
{
	struct shim_file *file = NULL;

	if (command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK)
		file = shim_file(fd);
	if (file && shim_decide(CALL_LOCK, file->path) == ACTION_FAIL)
		return -1;
	return (int)syscall(SYS_fcntl, fd, command, argument);
}

#define FCNTL(name)                                                                                \
	int name(int fd, int command, ...)                                                         \
	{                                                                                          \
		va_list args;                                                                      \
		void *argument;                                                                    \
                                                                                                   \
		va_start(args, command);                                                           \
		argument = va_arg(args, void *);                                                   \
		va_end(args);                                                                      \
		return fcntl_seen(fd, command, argument);                                          \
	}
FCNTL(fcntl)
FCNTL(fcntl64)
