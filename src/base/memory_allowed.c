#include "base/memory_allowed.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_LIMIT = 65536 };

/* The text of a small file, to be freed; NULL: it cannot be read. */
static char *text_of(const char *path)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error ignored = ERROR_INIT;

	if (file_read_all(path, FILE_LIMIT, &text, &ignored) < 0)
		return NULL;
	return xasprintf("%.*s", (int)text.size, text.data ? (const char *)text.data : "");
}

/* "/system.slice/latentd.service" of the line "0::..."; to be freed, NULL: there is none. */
static char *group_of(const char *self)
{
	cleanup_free char *text = text_of(self);
	const char *line = text;

	while (line && strncmp(line, "0::/", 4) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return line ? xasprintf("%.*s", (int)strcspn(line + 3, "\n"), line + 3) : NULL;
}

/* "max", or what is no number: no limit. */
static size_t limit_of(const char *root, const char *group)
{
	cleanup_free char *path = xasprintf("%s%s/memory.max", root, group);
	cleanup_free char *text = text_of(path);
	unsigned long long bytes;
	char *end = NULL;

	if (!text || *text < '0' || *text > '9')
		return SIZE_MAX;
	errno = 0;
	bytes = strtoull(text, &end, 10);
	return errno == 0 && strcmp(end, "\n") == 0 ? bytes : SIZE_MAX;
}

size_t memory_of_cgroup(const char *self, const char *root)
{
	cleanup_free char *group = group_of(self);
	size_t least = SIZE_MAX;

	while (group) {
		size_t limit = limit_of(root, group);
		char *slash = strrchr(group, '/');

		least = limit < least ? limit : least;
		if (!slash)
			break;
		*slash = '\0';
	}
	return least;
}

size_t memory_allowed(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	size_t machine = pages > 0 && size > 0 ? (size_t)pages * (size_t)size : SIZE_MAX;
	size_t group = memory_of_cgroup("/proc/self/cgroup", "/sys/fs/cgroup");

	return group < machine ? group : machine;
}
