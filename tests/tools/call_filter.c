/*
 * call_filter NAME... -- PROGRAM WORD...
 *
 * Runs a program as a service manager would with SystemCallFilter=NAME...: every other system call is answered with
 * EPERM, in its children too. Names that this machine does not have are passed over.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int allow(scmp_filter_ctx filter, const char *name)
{
	int call = seccomp_syscall_resolve_name(name);

	return call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
}

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int i = 1, r = filter ? 0 : -ENOMEM;

	for (; r == 0 && i < argc && strcmp(argv[i], "--") != 0; i++)
		r = allow(filter, argv[i]);
	if (r != 0 || i + 1 >= argc) {
		fprintf(stderr, "call_filter: %s\n", r ? strerror(-r) : "no program");
		return 1;
	}
	r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : seccomp_load(filter);
	if (r != 0) {
		fprintf(stderr, "SKIPPED: no filter of system calls here: %s\n", strerror(-r));
		return 77;
	}
	execvp(argv[i + 1], argv + i + 1);
	fprintf(stderr, "call_filter: %s: %s\n", argv[i + 1], strerror(errno));
	return 1;
}
