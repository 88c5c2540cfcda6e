#include "tests/storage_faults.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define NEVER SIZE_MAX

static struct {
	bool active, skip_syncs, die;
	size_t calls, nth;
	int error;
	const char *all;
	char log[1024];
	const char *last;
	struct {
		const char *name;
		size_t count;
	} names[16];
} faults;

/* clang-format off: pairs of what the linker makes of --wrap */
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __real_mkdirat(int folder, const char *path, mode_t mode);
int __wrap_mkdirat(int folder, const char *path, mode_t mode);
int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size);
/* clang-format on */

void faults_begin(void)
{
	bool skip = faults.skip_syncs;

	memset(&faults, 0, sizeof(faults));
	faults.skip_syncs = skip;
	faults.nth = NEVER;
	faults.active = true;
}

void faults_end(void)
{
	faults.active = false;
}

void faults_fail_nth(size_t n, int error)
{
	faults.nth = n;
	faults.error = error;
	faults.die = false;
}

void faults_die_nth(size_t n)
{
	faults.nth = n;
	faults.die = true;
}

void faults_fail_all(const char *name, int error)
{
	faults.all = name;
	faults.error = error;
}

void faults_skip_syncs(bool skip)
{
	faults.skip_syncs = skip;
}

size_t faults_calls(void)
{
	return faults.calls;
}

const char *faults_log(void)
{
	return faults.log;
}

size_t faults_count(const char *name)
{
	for (size_t i = 0; i < 16 && faults.names[i].name; i++) {
		if (strcmp(faults.names[i].name, name) == 0)
			return faults.names[i].count;
	}
	return 0;
}

static void note(const char *name)
{
	size_t i = 0, used = strlen(faults.log);

	while (i < 15 && faults.names[i].name && strcmp(faults.names[i].name, name) != 0)
		i++;
	faults.names[i].name = name;
	faults.names[i].count++;
	if (!faults.last || strcmp(faults.last, name) != 0)
		snprintf(faults.log + used, sizeof(faults.log) - used, "%s%s", used ? " " : "",
			 name);
	faults.last = name;
}

/* Whether this call fails now, with errno set. @dies is not NULL: told instead of dying at once. */
static bool fails(const char *name, bool *dies)
{
	bool nth, all;

	if (!faults.active)
		return false;
	note(name);
	nth = faults.calls++ == faults.nth;
	all = faults.all && strcmp(faults.all, name) == 0;
	if (nth && faults.die && !dies)
		_exit(FAULTS_DIED);
	if (dies)
		*dies = nth && faults.die;
	errno = faults.error;
	return nth || all;
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	bool dies = false;
	int error;

	if (!fails("write", &dies))
		return __real_write(fd, data, size);
	error = errno;
	if (__real_write(fd, data, size / 2) < 0)
		return -1;
	if (dies)
		_exit(FAULTS_DIED);
	errno = error;
	return -1;
}

static const char *fsync_name(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? "fsync-dir" : "fsync";
}

int __wrap_fsync(int fd)
{
	if (fails(fsync_name(fd), NULL))
		return -1;
	return faults.skip_syncs ? 0 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	if (fails("fdatasync", NULL))
		return -1;
	return faults.skip_syncs ? 0 : __real_fdatasync(fd);
}

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	return fails("renameat2", NULL) ? -1 : __real_renameat2(from_dir, from, to_dir, to, flags);
}

int __wrap_rename(const char *from, const char *to)
{
	return fails("rename", NULL) ? -1 : __real_rename(from, to);
}

int __wrap_link(const char *from, const char *to)
{
	return fails("link", NULL) ? -1 : __real_link(from, to);
}

int __wrap_unlink(const char *path)
{
	return fails("unlink", NULL) ? -1 : __real_unlink(path);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	return fails("mkdir", NULL) ? -1 : __real_mkdir(path, mode);
}

int __wrap_mkdirat(int folder, const char *path, mode_t mode)
{
	return fails("mkdir", NULL) ? -1 : __real_mkdirat(folder, path, mode);
}

int __wrap_ftruncate(int fd, off_t size)
{
	return fails("ftruncate", NULL) ? -1 : __real_ftruncate(fd, size);
}
