/*
 * What a confined process may still do, and how it ends when it may not. (System calls that it may never make: the
 * component tests of decode_pool.)
 */
#include "daemon/confine.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { SOCKET_FD = 3, FINE = 17 };

#define ADDRESS_SPACE ((size_t)256 << 20)

/* The way a process ends that does @deed in confinement; @deed returns true where all was as it should be. */
static int end_of(bool (*deed)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct confinement got;
		int pair[2];

		/* A socket of its own, as descriptor 3. */
		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0 ||
		    dup2(pair[0], SOCKET_FD) < 0)
			_exit(1);
		confine(&(struct confine_options){SOCKET_FD, ADDRESS_SPACE}, &got);
		_exit(deed() ? FINE : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_fine(bool (*deed)(void))
{
	int status = end_of(deed);

	if (WIFSIGNALED(status))
		fail_msg("killed by signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), FINE);
}

static bool seccomp_works(void)
{
	struct confinement got = {.seccomp = false};
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		confine(&(struct confine_options){SOCKET_FD, SIZE_MAX}, &got);
		_exit(got.seccomp);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static bool computes(void)
{
	size_t bytes = (size_t)8 << 20;
	uint8_t *p = malloc(bytes), *more;
	struct timespec now;

	if (!p)
		return false;
	memset(p, 1, bytes);
	more = realloc(p, 2 * bytes);
	if (!more)
		return false;
	memset(more, 2, 2 * bytes);
	free(more);
	return clock_gettime(CLOCK_MONOTONIC, &now) == 0 && strlen(strerror(EACCES)) > 0;
}

static void memory_and_clocks_are_there(void **state)
{
	(void)state;
	assert_fine(computes);
}

static bool looks_for_files(void)
{
	struct stat st;
	FILE *f = fopen("/proc/cpuinfo", "r");

	return !f && errno == EACCES && stat("/etc/localtime", &st) < 0 && errno == EACCES &&
	       access("/etc", R_OK) < 0 && errno == EACCES;
}

/* libjpeg-turbo on ARM, libyuv and libc look for such files, and can do without. */
static void looking_for_a_file_is_refused_and_survived(void **state)
{
	(void)state;
	if (CONFINE_SANITIZED) {
		print_message("SKIPPED: a sanitizer may look for files\n");
		skip();
	}
	assert_fine(looks_for_files);
}

static bool writes_to_stderr(void)
{
	return write(STDERR_FILENO, "x", 1) < 0 && errno == EBADF && fputs("y", stderr) == EOF;
}

/* Libraries warn there, and do not ask whether it worked. */
static void messages_go_nowhere_and_harm_nothing(void **state)
{
	(void)state;
	if (CONFINE_SANITIZED || !seccomp_works()) {
		print_message(
		    "SKIPPED: a sanitizer's reports must get out, or there is no seccomp\n");
		skip();
	}
	assert_fine(writes_to_stderr);
}

static bool takes_more_than_it_may(void)
{
	void *p = malloc(ADDRESS_SPACE);

	return !p && errno == ENOMEM;
}

static void memory_beyond_the_limit_is_not_there(void **state)
{
	(void)state;
	if (CONFINE_SANITIZED) {
		print_message("SKIPPED: memory is not limited under sanitizers\n");
		skip();
	}
	assert_fine(takes_more_than_it_may);
}

/* Landlock's own answer to which version it has; not used with sanitizers. */
static unsigned landlock_here(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	return version > 0 && !CONFINE_SANITIZED ? (unsigned)version : 0;
}

static void what_was_achieved_is_said(void **state)
{
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		struct confinement got;

		confine(&(struct confine_options){SOCKET_FD, ADDRESS_SPACE}, &got);
		_exit((int)(got.rlimits | got.landlock << 1));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1 | landlock_here() << 1);
}

static bool aborts(void)
{
	abort();
}

/* A failed assert() must read as one, not as an attack. */
static void abort_ends_with_sigabrt(void **state)
{
	int status;

	(void)state;
	status = end_of(aborts);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static bool talks_elsewhere(void)
{
	struct iovec iov = {(void *)"x", 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return sendmsg(SOCKET_FD, &msg, MSG_NOSIGNAL) == 1 &&
	       sendmsg(SOCKET_FD + 1, &msg, MSG_NOSIGNAL) < 0;
}

static void messages_go_over_the_one_socket_only(void **state)
{
	int status;

	(void)state;
	if (!seccomp_works()) {
		print_message("SKIPPED: seccomp filters are forbidden here\n");
		skip();
	}
	status = end_of(talks_elsewhere);
	if (CONFINE_SANITIZED) {
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == FINE);
		return;
	}
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_and_clocks_are_there),
	    cmocka_unit_test(looking_for_a_file_is_refused_and_survived),
	    cmocka_unit_test(messages_go_nowhere_and_harm_nothing),
	    cmocka_unit_test(memory_beyond_the_limit_is_not_there),
	    cmocka_unit_test(what_was_achieved_is_said),
	    cmocka_unit_test(abort_ends_with_sigabrt),
	    cmocka_unit_test(messages_go_over_the_one_socket_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
