/*
 * Files that are kept for the next time: whole, within their limit, and shared.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "source/remote_cache.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT = 1 << 20, BYTES = 10000, OLD = 80, ALL = 120 };

struct fixture {
	char *dir;
	struct remote_cache *cache;
};

static struct remote_cache *open_cache(const struct fixture *f)
{
	struct remote_cache *cache = NULL;
	struct error err = ERROR_INIT;

	assert_ok(remote_cache_open(f->dir, LIMIT, &cache, &err), &err);
	return cache;
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->dir = testing_tempdir();
	f->cache = open_cache(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	remote_cache_close(f->cache);
	testing_tempdir_remove(f->dir);
	free(f);
	return 0;
}

static void url_of(size_t i, char url[64])
{
	snprintf(url, 64, "http://a.example/%zu.jpg", i);
}

static void put(struct remote_cache *cache, size_t i)
{
	cleanup_free char *bytes = xcalloc(1, BYTES);
	int fd = memfd_create("test", MFD_CLOEXEC);
	char url[64];

	url_of(i, url);
	snprintf(bytes, BYTES, "file %zu", i);
	assert_int_equal(write(fd, bytes, BYTES), BYTES);
	remote_cache_put(cache, url, fd);
	close(fd);
}

static bool has(struct remote_cache *cache, size_t i)
{
	char url[64], want[32], got[32] = "";
	struct stat st;
	int fd;

	url_of(i, url);
	fd = remote_cache_get(cache, url);
	if (fd < 0)
		return false;
	snprintf(want, sizeof(want), "file %zu", i);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, BYTES);
	assert_int_equal(read(fd, got, sizeof(got) - 1), sizeof(got) - 1);
	assert_string_equal(got, want);
	close(fd);
	return true;
}

static void files_of(const struct fixture *f, glob_t *out)
{
	cleanup_free char *pattern = xasprintf("%s/*/*", f->dir);

	assert_int_equal(glob(pattern, 0, NULL, out), 0);
}

static void what_was_put_comes_back_to_whoever_has_the_folder_open(void **state)
{
	struct fixture *f = *state;
	struct remote_cache *other = open_cache(f);

	put(f->cache, 1);
	put(other, 2);
	put(other, 2);
	assert_true(has(other, 1) && has(f->cache, 2));
	assert_false(has(other, 3));
	remote_cache_drop(other, "http://a.example/1.jpg");
	assert_false(has(f->cache, 1));
	remote_cache_close(other);
}

/* As if they had not been used for long. */
static size_t age_all(const struct fixture *f)
{
	const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	size_t bytes = 0;
	struct stat st;
	glob_t found;

	files_of(f, &found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		assert_int_equal(stat(found.gl_pathv[i], &st), 0);
		bytes += (size_t)st.st_size;
		assert_int_equal(utimensat(AT_FDCWD, found.gl_pathv[i], long_ago, 0), 0);
	}
	globfree(&found);
	return bytes;
}

static void what_was_not_used_for_longest_makes_room(void **state)
{
	struct fixture *f = *state;
	size_t left = 0;

	for (size_t i = 0; i < OLD; i++)
		put(f->cache, i);
	age_all(f);
	assert_true(has(f->cache, 0)); /* which makes it the last one that was used */
	for (size_t i = OLD; i < ALL; i++)
		put(f->cache, i);
	for (size_t i = OLD; i < ALL; i++)
		assert_true(has(f->cache, i));
	assert_true(has(f->cache, 0));
	for (size_t i = 1; i < OLD; i++)
		left += has(f->cache, i);
	assert_in_range(left, 1, OLD - 2);
	assert_in_range(age_all(f), LIMIT / 2, LIMIT);
}

static void a_file_that_is_damaged_is_not_there(void **state)
{
	struct fixture *f = *state;

	for (int way = 0; way < 3; way++) {
		glob_t found;
		int fd;

		put(f->cache, 1);
		files_of(f, &found);
		assert_int_equal(found.gl_pathc, 1);
		fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
		if (way == 0)
			assert_int_equal(pwrite(fd, "x", 1, BYTES / 2), 1);
		else
			assert_int_equal(ftruncate(fd, way == 1 ? BYTES / 2 : 0), 0);
		close(fd);
		assert_false(has(f->cache, 1));
		assert_int_equal(access(found.gl_pathv[0], F_OK), -1);
		globfree(&found);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_was_put_comes_back_to_whoever_has_the_folder_open,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(what_was_not_used_for_longest_makes_room, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_file_that_is_damaged_is_not_there, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
