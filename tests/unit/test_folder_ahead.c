/*
 * A file system that answers slowly is made of one that does not: what the walk asks takes longer, and once other threads ask
 * too, it gets no answer about a name before they have asked for it.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "source/folder_ahead.h"
#include "source/source.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FILES = 3000, SLOW_NS = 60000 };

static struct {
	pthread_t walk;
	atomic_bool slow;
	pthread_mutex_t lock;
	pthread_cond_t one_more;
	size_t in_each;	   /* files of a folder */
	bool asked[FILES]; /* by another thread than the walk's */
	size_t others;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .one_more = PTHREAD_COND_INITIALIZER};

static bool is_walk(void)
{
	return atomic_load(&disk.slow) && pthread_equal(pthread_self(), disk.walk);
}

static void take_long(void)
{
	int64_t began = clock_mono_ns();

	while (clock_mono_ns() - began < SLOW_NS)
		;
}

static void wait_for_the_others(size_t number)
{
	pthread_mutex_lock(&disk.lock);
	while (disk.others > 0 && !disk.asked[number])
		pthread_cond_wait(&disk.one_more, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
	take_long();
}

static void asked_by_another(size_t number)
{
	pthread_mutex_lock(&disk.lock);
	disk.asked[number] = true;
	disk.others++;
	pthread_cond_broadcast(&disk.one_more);
	pthread_mutex_unlock(&disk.lock);
}

int __real_fstatat(int dir, const char *name, struct stat *st, int flags);
int __wrap_fstatat(int dir, const char *name, struct stat *st, int flags);

int __wrap_fstatat(int dir, const char *name, struct stat *st, int flags)
{
	size_t number;

	if (atomic_load(&disk.slow) && sscanf(name, "%5zu.jpg", &number) == 1) {
		if (is_walk())
			wait_for_the_others(number);
		else
			asked_by_another(number);
	}
	return __real_fstatat(dir, name, st, flags);
}

int __real_openat(int dir, const char *name, int flags, ...);
int __wrap_openat(int dir, const char *name, int flags, ...);

/* Of what is there already. A folder is opened when another thread has been in it. */
int __wrap_openat(int dir, const char *name, int flags, ...)
{
	size_t folder;

	if (is_walk() && sscanf(name, "%4zu", &folder) == 1)
		wait_for_the_others(folder * disk.in_each);
	return __real_openat(dir, name, flags);
}

static char *make_tree(size_t in_each)
{
	char *dir = testing_tempdir();
	char name[64];

	for (size_t i = 0; i < FILES; i++) {
		cleanup_free char *path = NULL;

		snprintf(name, sizeof(name), "%04zu", i / in_each);
		path = testing_path(dir, name);
		if (i % in_each == 0)
			assert_int_equal(mkdir(path, 0755), 0);
		snprintf(name, sizeof(name), "%04zu/%05zu.jpg", i / in_each, i);
		free(path);
		path = testing_path(dir, name);
		testing_write(path, "x", 1);
	}
	return dir;
}

/* All of it, in order; returns how many names another thread has asked for. */
static size_t list_slowly(const char *dir, size_t in_each)
{
	const struct source_folder_options options = {.recursive = true};
	struct error err = ERROR_INIT;
	struct source *source = NULL;
	struct source_entry entry;
	size_t listed = 0, asked = 0, number;

	disk.walk = pthread_self();
	disk.in_each = in_each;
	disk.others = 0;
	memset(disk.asked, 0, sizeof(disk.asked));
	assert_ok(source_folder_open(dir, &options, &source, &err), &err);
	atomic_store(&disk.slow, true);
	while (source_next(source, &entry, &err) == 0) {
		assert_int_equal(sscanf(entry.path, "%*4s/%5zu.jpg", &number), 1);
		assert_int_equal(number, listed++);
		assert_int_equal(entry.size, 1);
	}
	source_close(source);
	atomic_store(&disk.slow, false);
	assert_int_equal(listed, FILES);
	for (size_t i = 0; i < FILES; i++)
		asked += disk.asked[i];
	return asked;
}

static void where_answers_are_slow_files_of_a_folder_are_asked_for_before_the_walk(void **state)
{
	char *dir = make_tree(FILES);

	(void)state;
	assert_true(list_slowly(dir, FILES) > FILES / 2);
	testing_tempdir_remove(dir);
}

static void where_answers_are_slow_folders_are_read_before_the_walk(void **state)
{
	char *dir = make_tree(5);

	(void)state;
	assert_true(list_slowly(dir, 5) > FILES / 2);
	testing_tempdir_remove(dir);
}

static void a_few_slow_answers_among_quick_ones_start_nothing(void **state)
{
	struct folder_ahead *a = folder_ahead_new(LINKS_NONE);

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		folder_ahead_took(a, i % 3 == 0 ? 10 * SLOW_NS : 1000);
	assert_false(folder_ahead_is_on(a));
	for (size_t i = 0; i < 1000; i++)
		folder_ahead_took(a, SLOW_NS);
	assert_true(folder_ahead_is_on(a));
	folder_ahead_close(a);
}

static void names_of_one_kind_are_taken_at_a_time(void **state)
{
	const char *const names[] = {"1.jpg", "2.jpg", "folder/", "other/", "3.jpg"};
	struct folder_ahead *a = folder_ahead_new(LINKS_NONE);
	char *dir = testing_tempdir();
	struct error err = ERROR_INIT;
	int fd = file_open(dir, O_RDONLY | O_DIRECTORY, 0, &err);

	(void)state;
	assert_true(fd >= 0);
	while (!folder_ahead_is_on(a))
		folder_ahead_took(a, SLOW_NS);
	assert_int_equal(folder_ahead_post(a, fd, names, 0, 5), 2);
	assert_int_equal(folder_ahead_post(a, fd, names, 2, 5), 4);
	assert_int_equal(folder_ahead_post(a, fd, names, 4, 5), 5);
	assert_int_equal(folder_ahead_post(a, fd, names, 5, 5), 5);
	close(fd); /* they have their own */
	folder_ahead_close(a);
	testing_tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		where_answers_are_slow_files_of_a_folder_are_asked_for_before_the_walk),
	    cmocka_unit_test(where_answers_are_slow_folders_are_read_before_the_walk),
	    cmocka_unit_test(a_few_slow_answers_among_quick_ones_start_nothing),
	    cmocka_unit_test(names_of_one_kind_are_taken_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
