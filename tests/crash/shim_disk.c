/* What kind of file system the roots are on: mounting a network file system takes a network, or rights. */
#include "tests/crash/shim.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static unsigned long kind;

void shim_disk_begin(const char *f_type)
{
	kind = strtoul(f_type, NULL, 0);
}

int statfs(const char *path, struct statfs *out)
{
	int r = (int)syscall(SYS_statfs, path, out);
	char full[PATH_MAX];

	if (r == 0 && kind != 0 && shim_active() && shim_path(AT_FDCWD, path, full))
		out->f_type = (__fsword_t)kind;
	return r;
}

/* The kernel has no such call: glibc makes it of another. */
int statvfs(const char *path, struct statvfs *out)
{
	static int (*real)(const char *, struct statvfs *);
	char full[PATH_MAX];
	const char *seen = shim_path(AT_FDCWD, path, full);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "statvfs");
	if (seen && shim_decide(CALL_ROOM, seen) == ACTION_FAIL)
		return -1;
	return real(path, out);
}
