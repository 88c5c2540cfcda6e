#include "tests/testing.h"

#include "base/checked.h"
#include "base/program_output.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LONG_MS = 10 * 60 * 1000, MOST = 1 << 20 };

static int shell(const char *script, int timeout_ms, size_t most, struct buffer *out,
		 struct error *err)
{
	const char *const argv[] = {"sh", "-c", script, NULL};

	return program_output(argv, timeout_ms, most, out, err);
}

static void what_it_writes_is_whole_and_its_errors_are_no_part_of_it(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(shell("i=0; while [ $i -lt 20000 ]; do echo 1234567; echo noise >&2; "
			"i=$((i+1)); done",
			LONG_MS, MOST, &out, &err),
		  &err);
	assert_int_equal(out.size, 160000);
	assert_null(strstr((char *)out.data, "noise"));
}

static void a_failure_tells_the_last_line_of_its_errors_and_nothing_of_its_output(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(shell("echo secret; echo first >&2; printf 'the vault is \\033 shut\\n\\n' "
			   ">&2; exit 3",
			   LONG_MS, MOST, &out, &err),
		     &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "status 3: \"the vault is \\x1b shut\""));
	assert_null(strstr(err.message, "secret"));
	assert_null(strstr(err.message, "first"));
	assert_null(out.data);
	error_clear(&err);
	assert_error(shell("kill -9 $$", LONG_MS, MOST, &out, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "signal 9"));
}

static void more_than_is_wanted_is_data_error_too_large(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(shell("while :; do echo 1234567; done", LONG_MS, 4096, &out, &err), &err,
		     ERR_DATA);
	assert_string_equal(err.reason, "too_large");
}

/* The end of the pipe tells that nobody has it open any more. */
static void who_takes_too_long_is_killed_with_what_it_started(void **state)
{
	char *dir = testing_tempdir(), *pipe = testing_path(dir, "pipe");
	cleanup_free char *script = xasprintf("exec 9>'%s'; sleep 600 & wait", pipe);
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;
	char byte;
	int fd;

	(void)state;
	assert_int_equal(mkfifo(pipe, 0600), 0);
	fd = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_error(shell(script, 1000, MOST, &out, &err), &err, ERR_TRANSIENT);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
	free(pipe);
	testing_tempdir_remove(dir);
}

static void what_it_leaves_in_the_background_is_not_waited_for(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;
	int pid = 0;

	(void)state;
	assert_ok(shell("sleep 600 & echo $!", LONG_MS, MOST, &out, &err), &err);
	assert_int_equal(sscanf((char *)out.data, "%d", &pid), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
}

static void it_has_no_input_no_descriptor_of_ours_and_the_usual_signals(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	assert_int_equal(dup2(fd, 50), 50);
	signal(SIGPIPE, SIG_IGN);
	assert_ok(shell("cat; [ ! -e /proc/self/fd/50 ] && echo closed; "
			"(yes; echo ignored >&2) | head -n 1 >/dev/null; echo done",
			LONG_MS, MOST, &out, &err),
		  &err);
	assert_string_equal((char *)out.data, "closed\ndone\n");
	signal(SIGPIPE, SIG_DFL);
	close(50);
	close(fd);
}

static void one_that_cannot_be_started_is_named_with_the_cause(void **state)
{
	char *dir = testing_tempdir(), *file = testing_path(dir, "keys");
	const char *const missing[] = {"/nonexistent/keys", NULL}, *const forbidden[] = {file,
											 NULL};
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	testing_write(file, "#!/bin/sh\n", 10);
	assert_int_equal(chmod(file, 0600), 0);
	assert_error(program_output(missing, LONG_MS, MOST, &out, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "/nonexistent/keys\": No such file"));
	error_clear(&err);
	assert_error(program_output(forbidden, LONG_MS, MOST, &out, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "Permission denied"));
	assert_non_null(strstr(err.message, "sandbox"));
	free(file);
	testing_tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_it_writes_is_whole_and_its_errors_are_no_part_of_it),
	    cmocka_unit_test(a_failure_tells_the_last_line_of_its_errors_and_nothing_of_its_output),
	    cmocka_unit_test(more_than_is_wanted_is_data_error_too_large),
	    cmocka_unit_test(who_takes_too_long_is_killed_with_what_it_started),
	    cmocka_unit_test(what_it_leaves_in_the_background_is_not_waited_for),
	    cmocka_unit_test(it_has_no_input_no_descriptor_of_ours_and_the_usual_signals),
	    cmocka_unit_test(one_that_cannot_be_started_is_named_with_the_cause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
