#include "testing.h"

#include "base/checked.h"
#include "base/files.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>

static const char *source_dir(void)
{
	const char *dir = getenv("LATENTD_SOURCE_DIR");

	return dir ? dir : ".";
}

char *testing_tempdir(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = xasprintf("%s/latentd-test-XXXXXX", base ? base : "/tmp");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void testing_tempdir_remove(char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(dir);
}

char *testing_path(const char *dir, const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

void testing_write(const char *path, const void *data, size_t size)
{
	struct error err = ERROR_INIT;
	cleanup_close int fd = file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666, &err);

	if (fd < 0 || fd_write_all(fd, data, size, &err) < 0)
		fail_msg("%s", err.message);
}

struct buffer testing_read(const char *path)
{
	struct error err = ERROR_INIT;
	struct buffer bytes = BUFFER_INIT;

	if (file_read_all(path, SIZE_MAX / 4, &bytes, &err) < 0)
		fail_msg("%s", err.message);
	return bytes;
}

char *testing_golden(const char *name)
{
	return xasprintf("%s/tests/golden/%s", source_dir(), name);
}

char *testing_shared(const char *name)
{
	char *path = xasprintf("%s/../shared/%s", source_dir(), name);

	if (file_exists(path))
		return path;
	printf("SKIPPED: shared/%s is not beside the source tree\n", name);
	free(path);
	return NULL;
}
