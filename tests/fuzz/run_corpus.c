/*
 * main() for a fuzz target that is built without libFuzzer: runs every file of the folders given, so that
 * the corpus is a regression test everywhere.
 */
#include "base/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_folder(const char *folder)
{
	struct dirent *entry;
	DIR *dir = opendir(folder);
	int files = 0;

	if (!dir) {
		fprintf(stderr, "%s: no such corpus\n", folder);
		return -1;
	}
	while ((entry = readdir(dir))) {
		struct error err = ERROR_INIT;
		cleanup_buffer struct buffer bytes = BUFFER_INIT;
		cleanup_close int fd =
		    openat(dirfd(dir), entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

		if (entry->d_name[0] == '.' || fd < 0)
			continue;
		if (fd_read_all(fd, 64u << 20, &bytes, &err) < 0) {
			fprintf(stderr, "%s: %s\n", entry->d_name, err.message);
			closedir(dir);
			return -1;
		}
		LLVMFuzzerTestOneInput(bytes.data, bytes.size);
		files++;
	}
	closedir(dir);
	return files;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int files = run_folder(argv[i]);

		if (files < 0)
			return 1;
		total += files;
	}
	printf("%d inputs\n", total);
	return total > 0 ? 0 : 1;
}
