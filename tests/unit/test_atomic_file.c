#include "base/atomic_batch.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/storage_faults.h"
#include "tests/storage_samples.h"
#include "tests/testing.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
	char *dir, *partial, *target;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = ERROR_INIT;

	f->dir = testing_tempdir();
	f->partial = testing_path(f->dir, "partial");
	f->target = testing_path(f->dir, "file");
	assert_ok(dir_make(f->partial, &err), &err);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	faults_end();
	free(f->partial);
	free(f->target);
	testing_tempdir_remove(f->dir);
	free(f);
	return 0;
}

static void begin(struct fixture *f, struct atomic_file *file, const char *text)
{
	struct error err = ERROR_INIT;

	assert_ok(atomic_file_begin(file, f->partial, &err), &err);
	assert_ok(fd_write_all(file->fd, text, strlen(text), &err), &err);
}

static void assert_contents(const char *path, const char *want)
{
	cleanup_buffer struct buffer bytes = testing_read(path);

	assert_string_equal((char *)bytes.data, want);
}

static void a_commit_is_write_fsync_rename_fsync_of_the_folder(void **state)
{
	struct fixture *f = *state;
	struct atomic_file file = ATOMIC_FILE_INIT;
	struct error err = ERROR_INIT;

	faults_begin();
	begin(f, &file, "hello");
	assert_false(file_exists(f->target));
	assert_ok(atomic_file_commit(&file, f->target, ATOMIC_NO_REPLACE, &err), &err);
	assert_string_equal(faults_log(), "write fsync renameat2 fsync-dir");
	assert_int_equal(faults_count("fsync"), 1);
	assert_int_equal(faults_count("fsync-dir"), 1);
	faults_end();
	assert_int_equal(file.fd, -1);
	atomic_file_abort(&file);
	assert_contents(f->target, "hello");
	assert_int_equal(sample_count_files(f->partial), 0);
}

static void a_file_that_is_synced_is_not_synced_again(void **state)
{
	struct fixture *f = *state;
	struct atomic_file file = ATOMIC_FILE_INIT;
	struct error err = ERROR_INIT;

	faults_begin();
	begin(f, &file, "hello");
	assert_ok(atomic_file_sync(&file, &err), &err);
	assert_ok(atomic_file_commit(&file, f->target, ATOMIC_REPLACE, &err), &err);
	assert_string_equal(faults_log(), "write fsync rename fsync-dir");
	assert_int_equal(faults_count("fsync"), 1);
}

static void no_replace_leaves_the_target_and_can_try_another(void **state)
{
	struct fixture *f = *state;
	struct atomic_file file = ATOMIC_FILE_INIT;
	struct error err = ERROR_INIT;
	cleanup_free char *other = testing_path(f->dir, "other");

	testing_write(f->target, "old", 3);
	begin(f, &file, "new");
	assert_int_equal(atomic_file_commit(&file, f->target, ATOMIC_NO_REPLACE, &err),
			 ATOMIC_EXISTS);
	assert_contents(f->target, "old");
	assert_ok(atomic_file_commit(&file, other, ATOMIC_NO_REPLACE, &err), &err);
	assert_contents(other, "new");
}

static void link_and_unlink_stand_in_for_rename_without_replacing(void **state)
{
	struct fixture *f = *state;
	struct atomic_file file = ATOMIC_FILE_INIT;
	struct error err = ERROR_INIT;
	cleanup_free char *other = testing_path(f->dir, "other");

	testing_write(f->target, "old", 3);
	faults_begin();
	faults_fail_all("renameat2", EINVAL);
	begin(f, &file, "new");
	assert_int_equal(atomic_file_commit(&file, f->target, ATOMIC_NO_REPLACE, &err),
			 ATOMIC_EXISTS);
	assert_ok(atomic_file_commit(&file, other, ATOMIC_NO_REPLACE, &err), &err);
	assert_string_equal(faults_log(),
			    "write fsync renameat2 link renameat2 link unlink fsync-dir");
	faults_end();
	assert_contents(f->target, "old");
	assert_contents(other, "new");
	assert_int_equal(sample_count_files(f->partial), 0);
}

static void an_abort_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct atomic_file file = ATOMIC_FILE_INIT;

	atomic_file_abort(&file);
	begin(f, &file, "hello");
	assert_int_equal(sample_count_files(f->partial), 1);
	atomic_file_abort(&file);
	assert_int_equal(sample_count_files(f->partial), 0);
	assert_int_equal(sample_count_files(f->dir), 1);
}

static void a_write_replaces_whole_or_not_at_all_whichever_call_fails(void **state)
{
	struct fixture *f = *state;

	testing_write(f->target, "old", 3);
	for (size_t n = 0;; n++) {
		struct error err = ERROR_INIT;
		cleanup_buffer struct buffer bytes = BUFFER_INIT;
		int r;

		faults_begin();
		faults_fail_nth(n, EIO);
		r = atomic_file_write(f->target, "newer", 5, &err);
		faults_end();
		bytes = testing_read(f->target);
		if (n >= faults_calls()) {
			assert_ok(r, &err);
			assert_string_equal((char *)bytes.data, "newer");
			break;
		}
		assert_error(r, &err, ERR_IO);
		assert_true(strcmp((char *)bytes.data, "old") == 0 ||
			    strcmp((char *)bytes.data, "newer") == 0);
		assert_int_equal(sample_count_files(f->dir), 2);
	}
}

static void a_move_syncs_both_folders_and_does_not_replace(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	cleanup_free char *to = testing_path(f->partial, "moved");

	testing_write(f->target, "hello", 5);
	faults_begin();
	assert_ok(atomic_file_move(f->target, to, &err), &err);
	assert_int_equal(faults_count("fsync-dir"), 2);
	faults_end();
	assert_contents(to, "hello");
	assert_false(file_exists(f->target));
	testing_write(f->target, "second", 6);
	assert_int_equal(atomic_file_move(f->target, to, &err), ATOMIC_EXISTS);
	assert_contents(to, "hello");
	assert_contents(f->target, "second");
}

static void a_sweep_takes_temporaries_only(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	cleanup_free char *keep = testing_path(f->partial, "keep.tar");
	cleanup_free char *nowhere = testing_path(f->dir, "nowhere");
	struct atomic_file dead = ATOMIC_FILE_INIT;

	testing_write(keep, "x", 1);
	begin(f, &dead, "half");
	assert_int_equal(sample_count_files(f->partial), 2);
	assert_ok(atomic_file_sweep(f->partial, &err), &err);
	assert_int_equal(sample_count_files(f->partial), 1);
	assert_true(file_exists(keep));
	assert_ok(atomic_file_sweep(nowhere, &err), &err);
	atomic_file_abort(&dead);
}

static void where_others_write_a_sweep_takes_old_temporaries_only(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	struct atomic_file dead = ATOMIC_FILE_INIT, others = ATOMIC_FILE_INIT;

	begin(f, &dead, "half");
	begin(f, &others, "half");
	assert_int_equal(futimens(dead.fd, old), 0);
	assert_ok(atomic_file_sweep_old(f->partial, &err), &err);
	assert_false(file_exists(dead.path));
	assert_true(file_exists(others.path));
	assert_int_equal(sample_count_files(f->partial), 1);
	atomic_file_abort(&dead);
	atomic_file_abort(&others);
}

static void the_mode_follows_the_umask(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	mode_t before = umask(027);
	struct stat st;

	assert_ok(atomic_file_write(f->target, "x", 1, &err), &err);
	umask(before);
	assert_int_equal(stat(f->target, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
}

#define FILE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* -- several together --------------------------------------------------------------------------------- */

static void write_to_batch(struct fixture *f, struct atomic_batch *b, const char *name)
{
	cleanup_free char *path = testing_path(f->dir, name);
	struct error err = ERROR_INIT;

	assert_ok(atomic_batch_write(b, path, name, strlen(name), &err), &err);
}

static void assert_is_there(struct fixture *f, const char *name)
{
	cleanup_free char *path = testing_path(f->dir, name);

	assert_contents(path, name);
}

static void a_batch_is_durable_before_any_of_it_appears(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *folder = testing_path(f->dir, "folder");
	struct atomic_batch b = {.dir = f->partial};
	struct error err = ERROR_INIT;

	assert_ok(dir_make(folder, &err), &err);
	testing_write(f->target, "old", 3);
	faults_begin();
	write_to_batch(f, &b, "folder/a");
	write_to_batch(f, &b, "file");
	write_to_batch(f, &b, "folder/b");
	assert_contents(f->target, "old");
	assert_ok(atomic_batch_commit(&b, &err), &err);
	assert_string_equal(faults_log(), "write fsync rename fsync-dir");
	assert_int_equal(faults_count("fsync"), 3);
	assert_int_equal(faults_count("rename"), 3);
	assert_int_equal(faults_count("fsync-dir"), 2);
	faults_end();
	assert_ok(atomic_batch_commit(&b, &err), &err); /* of nothing */
	assert_is_there(f, "file");
	assert_is_there(f, "folder/a");
	assert_is_there(f, "folder/b");
	assert_int_equal(sample_count_files(f->partial), 0);
	atomic_batch_release(&b);
}

static void a_full_batch_commits_itself(void **state)
{
	struct fixture *f = *state;
	struct atomic_batch b = {.dir = f->partial};

	for (size_t i = 0; i < ATOMIC_BATCH_MAX + 1; i++) {
		cleanup_free char *name = xasprintf("%zu", i);

		write_to_batch(f, &b, name);
		assert_int_equal(sample_count_files(f->partial), (i + 1) % ATOMIC_BATCH_MAX);
	}
	atomic_batch_release(&b);
	assert_int_equal(sample_count_files(f->partial), 0);
	assert_is_there(f, "63");
}

static void a_batch_that_fails_at_any_call_leaves_nothing_half(void **state)
{
	struct fixture *f = *state;
	size_t n = 0;

	for (;; n++) {
		struct atomic_batch b = {.dir = f->partial};
		cleanup_free char *second = testing_path(f->dir, "second");
		struct error err = ERROR_INIT;
		bool failed;

		testing_write(f->target, "old", 3);
		testing_write(second, "old", 3);
		faults_begin();
		faults_fail_nth(n, EIO);
		failed = atomic_batch_write(&b, f->target, "file", 4, &err) < 0 ||
			 atomic_batch_write(&b, second, "second", 6, &err) < 0 ||
			 atomic_batch_commit(&b, &err) < 0;
		atomic_batch_release(&b);
		faults_end();
		assert_int_equal(sample_count_files(f->partial), 0);
		if (!failed)
			break;
		assert_int_equal(err.code, ERR_IO);
		if (n < 5) /* two writes, two fsyncs, the first rename */
			assert_contents(f->target, "old");
		else
			assert_contents(f->target, "file");
		assert_contents(second, n < 6 ? "old" : "second");
	}
	assert_int_equal(n, 7); /* the folder's fsync was the last */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    FILE_TEST(a_commit_is_write_fsync_rename_fsync_of_the_folder),
	    FILE_TEST(a_file_that_is_synced_is_not_synced_again),
	    FILE_TEST(no_replace_leaves_the_target_and_can_try_another),
	    FILE_TEST(link_and_unlink_stand_in_for_rename_without_replacing),
	    FILE_TEST(an_abort_leaves_nothing),
	    FILE_TEST(a_write_replaces_whole_or_not_at_all_whichever_call_fails),
	    FILE_TEST(a_move_syncs_both_folders_and_does_not_replace),
	    FILE_TEST(a_sweep_takes_temporaries_only),
	    FILE_TEST(where_others_write_a_sweep_takes_old_temporaries_only),
	    FILE_TEST(the_mode_follows_the_umask),
	    FILE_TEST(a_batch_is_durable_before_any_of_it_appears),
	    FILE_TEST(a_full_batch_commits_itself),
	    FILE_TEST(a_batch_that_fails_at_any_call_leaves_nothing_half),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
