#include "tests/crash/shim.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096, ROOTS = 8 };

static char *roots[ROOTS];
static size_t n_roots;
static _Atomic(struct shim_file *) files[DESCRIPTORS];
static atomic_uint handles;

void shim_files_begin(const char *list)
{
	char *copy = strdup(list), *rest = copy, *root;

	while (n_roots < ROOTS && (root = strsep(&rest, ":")))
		roots[n_roots++] = strdup(root);
	free(copy);
}

static bool below_roots(const char *path)
{
	for (size_t i = 0; i < n_roots; i++) {
		size_t n = strlen(roots[i]);

		if (strncmp(path, roots[i], n) == 0 && (path[n] == '/' || path[n] == '\0'))
			return true;
	}
	return false;
}

const char *shim_path(int dirfd, const char *path, char *out)
{
	char link[64];
	ssize_t n;

	if (!shim_active() || n_roots == 0)
		return NULL;
	if (path[0] == '/') {
		snprintf(out, PATH_MAX, "%s", path);
		return below_roots(out) ? out : NULL;
	}
	if (dirfd == AT_FDCWD)
		snprintf(link, sizeof(link), "/proc/self/cwd");
	else
		snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
	n = readlink(link, out, PATH_MAX - 1);
	if (n < 0)
		return NULL;
	snprintf(out + n, (size_t)(PATH_MAX - n), "/%s", path);
	return below_roots(out) ? out : NULL;
}

struct shim_file *shim_file(int fd)
{
	return fd >= 0 && fd < DESCRIPTORS && shim_active() ? atomic_load(&files[fd]) : NULL;
}

static void replace(int fd, struct shim_file *file)
{
	struct shim_file *old = atomic_exchange(&files[fd], file);

	if (old) {
		free(old->path);
		free(old);
	}
}

/* closedir() closes its descriptor unseen: what stood at that number goes here. */
void shim_file_opened(int fd, const char *path)
{
	struct shim_file *file;

	if (fd < 0 || fd >= DESCRIPTORS)
		return;
	shim_inside++;
	file = malloc(sizeof(*file));
	*file = (struct shim_file){strdup(path), atomic_fetch_add(&handles, 1) + 1};
	shim_inside--;
	replace(fd, file);
}

void shim_file_closed(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS)
		replace(fd, NULL);
}
