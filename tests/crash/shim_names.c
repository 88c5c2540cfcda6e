/* The calls that work on names: rename, link, unlink, mkdir, stat. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "tests/crash/shim.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A call with two names, as the kernel has them. */
static int two_names(enum call call, enum journal_op op, long number, const int dirs[2],
		     const char *const names[2], unsigned flags)
{
	char from[PATH_MAX], to[PATH_MAX];
	const char *seen = shim_path(dirs[0], names[0], from);
	const char *target = shim_path(dirs[1], names[1], to);
	enum action action = seen && target ? shim_decide(call, target) : ACTION_NONE;
	int r;

	if (action == ACTION_FAIL)
		return -1;
	shim_journal_lock();
	r = (int)syscall(number, dirs[0], names[0], dirs[1], names[1], flags);
	if (r == 0 && seen && target)
		shim_journal(op, 0, flags, seen, target, strlen(target));
	shim_journal_unlock();
	shim_after(action);
	return r;
}

static int rename_seen(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	return two_names(CALL_RENAME, JOURNAL_RENAME, SYS_renameat2, (int[]){from_dir, to_dir},
			 (const char *const[]){from, to}, flags);
}

int rename(const char *from, const char *to)
{
	return rename_seen(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return rename_seen(from_dir, from, to_dir, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	return rename_seen(from_dir, from, to_dir, to, flags);
}

static int link_seen(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	return two_names(CALL_LINK, JOURNAL_LINK, SYS_linkat, (int[]){from_dir, to_dir},
			 (const char *const[]){from, to}, flags);
}

int link(const char *from, const char *to)
{
	return link_seen(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	return link_seen(from_dir, from, to_dir, to, (unsigned)flags);
}

int unlinkat(int dirfd, const char *path, int flags)
{
	char full[PATH_MAX];
	const char *seen = shim_path(dirfd, path, full);
	enum action action = seen ? shim_decide(CALL_UNLINK, seen) : ACTION_NONE;
	int r;

	if (action == ACTION_FAIL)
		return -1;
	shim_journal_lock();
	r = (int)syscall(SYS_unlinkat, dirfd, path, flags);
	if (r == 0 && seen)
		shim_journal(JOURNAL_UNLINK, 0, 0, seen, NULL, 0);
	shim_journal_unlock();
	shim_after(action);
	return r;
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
	char full[PATH_MAX];
	const char *seen = shim_path(dirfd, path, full);
	enum action action = seen ? shim_decide(CALL_MKDIR, seen) : ACTION_NONE;
	int r;

	if (action == ACTION_FAIL)
		return -1;
	shim_journal_lock();
	r = (int)syscall(SYS_mkdirat, dirfd, path, mode);
	if (r == 0 && seen)
		shim_journal(JOURNAL_MKDIR, 0, 0, seen, NULL, 0);
	shim_journal_unlock();
	shim_after(action);
	return r;
}

int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

/* -- stat ------------------------------------------------------------------------------------------ */

static int stat_seen(int dirfd, const char *path, void *out, int flags)
{
	struct shim_file *file = path[0] ? NULL : shim_file(dirfd);
	char full[PATH_MAX];
	const char *seen = path[0] ? shim_path(dirfd, path, full) : file ? file->path : NULL;

	if (seen && shim_decide(CALL_STAT, seen) == ACTION_FAIL)
		return -1;
	return (int)syscall(SYS_newfstatat, dirfd, path, out, flags);
}

#define STAT(type, suffix)                                                                         \
	int stat##suffix(const char *restrict path, struct type *restrict out)                     \
	{                                                                                          \
		return stat_seen(AT_FDCWD, path, out, 0);                                          \
	}                                                                                          \
	int lstat##suffix(const char *restrict path, struct type *restrict out)                    \
	{                                                                                          \
		return stat_seen(AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW);                        \
	}                                                                                          \
	int fstat##suffix(int fd, struct type *out)                                                \
	{                                                                                          \
		return stat_seen(fd, "", out, AT_EMPTY_PATH);                                      \
	}
STAT(stat, )
STAT(stat64, 64)
