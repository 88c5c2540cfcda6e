/*
 * make_archive [--password WORD] OUT FOLDER: every file below FOLDER, in byte order of their paths, as an archive of the
 * kind that OUT's ending names.
 */
#include "tests/archive_samples.h"

#include "base/checked.h"
#include "base/files.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>

static char **paths;
static size_t n_paths, capacity;

static int on_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)at;
	if (type != FTW_F)
		return 0;
	ARRAY_GROW(paths, n_paths, capacity);
	paths[n_paths++] = xstrdup(path);
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
	const char *password = argc == 5 && strcmp(argv[1], "--password") == 0 ? argv[2] : NULL;
	const char *out = argv[argc - 2], *folder = argv[argc - 1];
	struct archive_samples *s;

	if (argc < 3 || nftw(folder, on_file, 16, FTW_PHYS) != 0)
		return 2;
	qsort(paths, n_paths, sizeof(*paths), compare);
	s = archive_samples_begin(out, password);
	for (size_t i = 0; i < n_paths; i++) {
		cleanup_buffer struct buffer bytes = BUFFER_INIT;
		struct error err = ERROR_INIT;

		if (file_read_all(paths[i], SIZE_MAX / 2, &bytes, &err) < 0) {
			fprintf(stderr, "%s\n", err.message);
			return 1;
		}
		archive_samples_add(s, paths[i] + strlen(folder) + 1, bytes.data, bytes.size);
		free(paths[i]);
	}
	archive_samples_end(s);
	free(paths);
	return 0;
}
