#include "tests/testing.h"

#include "base/checked.h"
#include "base/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int setup(void **state)
{
	*state = testing_tempdir();
	return 0;
}

static int teardown(void **state)
{
	testing_tempdir_remove(*state);
	return 0;
}

static void a_file_is_read_whole_behind_what_is_there(void **state)
{
	cleanup_free char *path = testing_path(*state, "f");
	cleanup_buffer struct buffer data = BUFFER_INIT, out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	for (uint32_t i = 0; i < 100000; i++)
		buffer_put_u32(&data, i);
	testing_write(path, data.data, data.size);
	buffer_append_string(&out, "x");
	assert_ok(file_read_all(path, data.size, &out, &err), &err);
	assert_int_equal(out.size, data.size + 1);
	assert_memory_equal(out.data + 1, data.data, data.size);
	assert_int_equal(out.data[out.size], '\0');
}

static void an_empty_file_is_read_as_an_empty_string(void **state)
{
	cleanup_free char *path = testing_path(*state, "f");
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	testing_write(path, "", 0);
	assert_ok(file_read_all(path, 0, &out, &err), &err);
	assert_int_equal(out.size, 0);
	assert_string_equal(out.data, "");
}

static void a_file_over_the_limit_is_too_large_and_out_untouched(void **state)
{
	cleanup_free char *path = testing_path(*state, "f");
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	testing_write(path, "12345", 5);
	buffer_append_string(&out, "kept");
	assert_error(file_read_all(path, 4, &out, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_large");
	assert_string_equal(out.data, "kept");
}

static void a_pipe_over_the_limit_is_too_large_and_out_untouched(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "12345", 5), 5);
	close(ends[1]);
	buffer_append_string(&out, "kept");
	assert_error(fd_read_all(ends[0], 4, &out, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_large");
	assert_int_equal(out.size, 4);
	assert_string_equal(out.data, "kept");
	close(ends[0]);
}

static void a_missing_file_is_one_line_with_its_name(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(file_read_all("/no/such\nfile", 10, &out, &err), &err, ERR_IO);
	assert_string_equal(err.message, "open \"/no/such\\nfile\": No such file or directory");
}

static void a_descriptor_is_not_inherited(void **state)
{
	cleanup_free char *path = testing_path(*state, "f");
	struct error err = ERROR_INIT;
	cleanup_close int fd = file_open(path, O_RDWR | O_CREAT, 0600, &err);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void pread_gives_exactly_what_was_asked_or_truncated(void **state)
{
	cleanup_free char *path = testing_path(*state, "f");
	struct error err = ERROR_INIT;
	char bytes[8] = "";
	size_t size = 0;

	testing_write(path, "0123456789", 10);
	{
		cleanup_close int fd = file_open(path, O_RDONLY, 0, &err);

		assert_ok(fd_size(fd, &size, &err), &err);
		assert_int_equal(size, 10);
		assert_ok(fd_pread_all(fd, bytes, 4, 6, &err), &err);
		assert_memory_equal(bytes, "6789", 4);
		assert_ok(fd_pread_all(fd, bytes, 0, 99, &err), &err);
		assert_error(fd_pread_all(fd, bytes, 5, 6, &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "truncated");
	}
}

static void a_failed_write_is_reported(void **state)
{
	struct error err = ERROR_INIT;
	cleanup_close int fd = file_open("/dev/full", O_WRONLY, 0, &err);

	(void)state;
	assert_true(fd >= 0);
	assert_error(fd_write_all(fd, "x", 1, &err), &err, ERR_IO);
	assert_non_null(strstr(err.message, "No space left"));
}

static void folders_are_made_with_their_parents_and_again_is_fine(void **state)
{
	static const char *const names[] = {"a/b/c", "a/b/c", "a/b/d/", "e//f", "g"};
	struct error err = ERROR_INIT;
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_free char *path = testing_path(*state, names[i]);

		assert_ok(dir_make(path, &err), &err);
		assert_int_equal(stat(path, &st), 0);
		assert_true(S_ISDIR(st.st_mode));
		assert_ok(dir_sync(path, &err), &err);
	}
}

static void a_relative_folder_is_made_where_we_are(void **state)
{
	cleanup_close int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct error err = ERROR_INIT;

	assert_int_equal(chdir(*state), 0);
	assert_ok(dir_make("x/y", &err), &err);
	assert_true(file_exists("x/y"));
	assert_int_equal(fchdir(before), 0);
}

static void what_cannot_be_looked_at_counts_as_there(void **state)
{
	cleanup_free char *loop = testing_path(*state, "loop"),
			  *below = testing_path(*state, "loop/f"),
			  *nothing = testing_path(*state, "nothing"),
			  *in_nothing = testing_path(*state, "nothing/f");

	assert_int_equal(symlink("loop", loop), 0);
	assert_true(file_exists(below)); /* ELOOP */
	assert_false(file_exists(nothing));
	assert_false(file_exists(in_nothing));
}

static void a_file_in_the_way_of_a_folder_is_an_error(void **state)
{
	cleanup_free char *file = testing_path(*state, "f"), *below = testing_path(*state, "f/g");
	struct error err = ERROR_INIT;

	testing_write(file, "", 0);
	assert_error(dir_make(file, &err), &err, ERR_IO);
	error_clear(&err);
	assert_error(dir_make(below, &err), &err, ERR_IO);
	error_clear(&err);
	assert_error(dir_make("", &err), &err, ERR_IO);
}

static void folders_are_made_below_a_descriptor_wherever_its_folder_went(void **state)
{
	cleanup_free char *root = testing_path(*state, "root"),
			  *away = testing_path(*state, "away");
	cleanup_free char *made = testing_path(away, "a/b"), *file = testing_path(away, "f");
	cleanup_close int fd = -1;
	struct error err = ERROR_INIT;

	assert_error(dir_make_below(root, "a", &err), &err, ERR_IO);
	assert_false(file_exists(root));
	error_clear(&err);
	assert_ok(dir_make(root, &err), &err);
	fd = file_open(root, O_RDONLY | O_DIRECTORY, 0, &err);
	assert_int_equal(rename(root, away), 0);
	assert_ok(dir_make_at(fd, "a/b", &err), &err);
	assert_ok(dir_make_at(fd, "a//b/", &err), &err);
	assert_ok(dir_make_at(fd, "", &err), &err);
	assert_true(file_exists(made));
	assert_false(file_exists(root));
	testing_write(file, "", 0);
	assert_error(dir_make_at(fd, "f/g", &err), &err, ERR_IO);
}

static void a_dangling_link_exists(void **state)
{
	cleanup_free char *path = testing_path(*state, "link");

	assert_false(file_exists(path));
	assert_int_equal(symlink("nowhere", path), 0);
	assert_true(file_exists(path));
}

static void what_is_no_regular_file_is_refused_and_not_waited_for(void **state)
{
	cleanup_free char *fifo = testing_path(*state, "fifo"), *file = testing_path(*state, "f");
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_error(file_read_regular(fifo, 10, &out, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "not_regular");
	error_clear(&err);
	assert_error(file_read_regular(*state, 10, &out, &err), &err, ERR_DATA);
	error_clear(&err);
	testing_write(file, "12345", 5);
	assert_ok(file_read_regular(file, 5, &out, &err), &err);
	assert_string_equal(out.data, "12345");
}

static void a_lock_is_held_by_one_descriptor_until_that_is_closed(void **state)
{
	cleanup_free char *path = testing_path(*state, "lock");
	cleanup_close int second = -1, third = -1;
	int first = -1;
	struct error err = ERROR_INIT;

	assert_ok(file_lock(path, 0600, &first, &err), &err);
	assert_int_equal(file_lock(path, 0600, &second, &err), FILE_LOCKED);
	assert_true(second >= 0);
	close(first);
	assert_ok(file_lock(path, 0600, &third, &err), &err);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_file_is_read_whole_behind_what_is_there),
	    TEST(an_empty_file_is_read_as_an_empty_string),
	    TEST(a_file_over_the_limit_is_too_large_and_out_untouched),
	    TEST(a_pipe_over_the_limit_is_too_large_and_out_untouched),
	    TEST(a_missing_file_is_one_line_with_its_name),
	    TEST(a_descriptor_is_not_inherited),
	    TEST(pread_gives_exactly_what_was_asked_or_truncated),
	    TEST(a_failed_write_is_reported),
	    TEST(folders_are_made_with_their_parents_and_again_is_fine),
	    TEST(a_relative_folder_is_made_where_we_are),
	    TEST(what_cannot_be_looked_at_counts_as_there),
	    TEST(a_file_in_the_way_of_a_folder_is_an_error),
	    TEST(folders_are_made_below_a_descriptor_wherever_its_folder_went),
	    TEST(a_dangling_link_exists),
	    TEST(what_is_no_regular_file_is_refused_and_not_waited_for),
	    TEST(a_lock_is_held_by_one_descriptor_until_that_is_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
