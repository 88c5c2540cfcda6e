/*
 * The first line is a pattern, the rest a path. A path that is a pattern without anything special matches itself; what
 * covers a path reaches the folders that it is in, or covers one of them.
 */
#include "base/path_glob.h"

#include "base/cleanup.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_folders(const struct path_globs *globs, char *path)
{
	for (char *slash = strrchr(path, '/'); slash && slash != path; slash = strrchr(path, '/')) {
		*slash = '\0';
		if (!path_globs_reach(globs, path) && !path_globs_cover(globs, path, true))
			__builtin_trap();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = strndup((const char *)data, size);
	char *path = text ? strchr(text, '\n') : NULL;
	const char *pattern = text;
	const struct path_globs globs = {&pattern, 1};

	if (!path || !path[1])
		return 0;
	*path++ = '\0';
	if (!path_glob_valid(pattern))
		return 0;
	if (!strpbrk(pattern, "*?[\\/") && !path_glob_matches(pattern, pattern, false))
		__builtin_trap();
	if (path_globs_cover(&globs, path, false))
		check_folders(&globs, path);
	return 0;
}
