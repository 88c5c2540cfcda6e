/*
 * Landlock and the limits are asked for by plain system calls: the structures are three numbers, and no
 * library or header is needed that Ubuntu 22.04 lacks. The order matters: rlimits before seccomp, which
 * forbids to change them, and Landlock before the descriptors are limited, because it takes one for a moment.
 */
#include "daemon/confine.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

/* -- Landlock: linux/landlock.h and its versions ---------------------------------------------------- */

struct landlock_ruleset {
	uint64_t access_fs, access_net, scoped;
};

enum { LANDLOCK_VERSION_FLAG = 1 };

/*
 * Everything that version @abi can forbid. A kernel takes a longer structure than it knows when what is
 * beyond is zero.
 */
static struct landlock_ruleset everything(int abi)
{
	struct landlock_ruleset r = {.access_fs = (1u << 13) - 1}; /* execute ... make symlink */

	if (abi >= 2)
		r.access_fs |= 1u << 13; /* refer */
	if (abi >= 3)
		r.access_fs |= 1u << 14; /* truncate */
	if (abi >= 4)
		r.access_net = 3; /* TCP bind, connect */
	if (abi >= 5)
		r.access_fs |= 1u << 15; /* ioctl of devices */
	if (abi >= 6)
		r.scoped = 3; /* abstract sockets, signals */
	return r;
}

unsigned confine_landlock(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_FLAG);

	return abi < 1 ? 0 : (unsigned)abi;
}

/* The version that holds from now on; 0: the kernel has none, or refuses. LeakSanitizer reads /proc. */
static unsigned landlock_everything(void)
{
	unsigned abi = confine_landlock();
	struct landlock_ruleset ruleset;
	cleanup_close int fd = -1;

	if (abi == 0 || CONFINE_SANITIZED)
		return 0;
	ruleset = everything((int)abi);
	fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, sizeof(ruleset), 0);
	if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return 0;
	return (unsigned)abi;
}

/* -- rlimits ------------------------------------------------------------------------------------------ */

static bool limit(__rlimit_resource_t resource, rlim_t value)
{
	struct rlimit now;

	if (getrlimit(resource, &now) < 0)
		return false;
	if (now.rlim_max < value)
		value = now.rlim_max;
	return setrlimit(resource, &(struct rlimit){value, value}) == 0;
}

/* CPU time has no limit of its own: the daemon's clock is stricter, and ends the process from outside. */
static bool limit_everything(const struct confine_options *options)
{
	enum { DESCRIPTORS = 8 }; /* standard ones, socket, slot, file, one to spare */
	bool ok = limit(RLIMIT_CORE, 0) && limit(RLIMIT_NPROC, 0);

	if (CONFINE_SANITIZED)
		return ok;
	if (options->address_space_bytes != SIZE_MAX)
		ok = ok && limit(RLIMIT_AS, options->address_space_bytes);
	return ok && limit(RLIMIT_NOFILE, DESCRIPTORS);
}

/* -- seccomp ------------------------------------------------------------------------------------------ */

/* Calls that touch nothing but this process and what it holds. */
static const int allowed[] = {
    SCMP_SYS(read),	     SCMP_SYS(pread64),
    SCMP_SYS(lseek),	     SCMP_SYS(fstat),
    SCMP_SYS(close),	     SCMP_SYS(munmap),
    SCMP_SYS(mremap),	     SCMP_SYS(brk),
    SCMP_SYS(madvise),	     SCMP_SYS(futex),
    SCMP_SYS(sched_yield),   SCMP_SYS(sched_getaffinity),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),  SCMP_SYS(getrandom),
    SCMP_SYS(getpid),	     SCMP_SYS(gettid),
    SCMP_SYS(rt_sigaction),  SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),  SCMP_SYS(exit),
    SCMP_SYS(exit_group),    SCMP_SYS(restart_syscall),
};

/* How libraries look for files that they can do without. */
static const int answered_eacces[] = {
    SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(stat),	 SCMP_SYS(newfstatat),
    SCMP_SYS(statx),  SCMP_SYS(readlink),  SCMP_SYS(readlinkat),
};

/* What the runtimes of sanitizers need for a report or a search for leaks, which traces from a thread. */
static const int sanitizers_need[] = {
    SCMP_SYS(write),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(stat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(readlink),
    SCMP_SYS(clone),
    SCMP_SYS(ptrace),
    SCMP_SYS(wait4),
    SCMP_SYS(prctl),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getppid),
    SCMP_SYS(getdents64),
    SCMP_SYS(getdents),
    SCMP_SYS(mprotect),
    SCMP_SYS(mmap),
    SCMP_SYS(tgkill),
    SCMP_SYS(kill),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
};

/* Calls that an architecture does not have are left out by libseccomp. */
static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = seccomp_rule_add(filter, action, calls[i], 0);
	return r;
}

static int add_plain(scmp_filter_ctx filter)
{
	int r = add_all(filter, SCMP_ACT_ALLOW, allowed, ARRAY_SIZE(allowed));

	if (r == 0 && CONFINE_SANITIZED)
		return add_all(filter, SCMP_ACT_ALLOW, sanitizers_need,
			       ARRAY_SIZE(sanitizers_need));
	if (r == 0)
		r = add_all(filter, SCMP_ACT_ERRNO(EACCES), answered_eacces,
			    ARRAY_SIZE(answered_eacces));
	return r;
}

/* The kernel looks at 32 bits of these arguments, and what callers leave above them may be anything. */
#define FIRST_IS(value) SCMP_A0_32(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)(value))

/* Calls of which the numbers among their arguments decide. */
static int add_conditional(scmp_filter_ctx filter, int socket)
{
	const struct scmp_arg_cmp on_socket = FIRST_IS(socket);
	const struct scmp_arg_cmp on_stderr = FIRST_IS(STDERR_FILENO);
	const struct scmp_arg_cmp to_self = FIRST_IS(getpid());
	const struct scmp_arg_cmp no_code = SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
	const uint32_t writing = O_ACCMODE | O_CREAT | O_TRUNC;
	const struct {
		uint32_t action;
		int call;
		struct scmp_arg_cmp when;
	} rules[] = {
	    {SCMP_ACT_ALLOW, SCMP_SYS(recvmsg), on_socket},
	    {SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), on_socket},
	    {SCMP_ACT_ERRNO(EBADF), SCMP_SYS(write), on_stderr}, /* warnings of libraries */
	    {SCMP_ACT_ALLOW, SCMP_SYS(tgkill), to_self},	 /* abort() itself */
	    {SCMP_ACT_ALLOW, SCMP_SYS(mmap), no_code},
	    {SCMP_ACT_ALLOW, SCMP_SYS(mprotect), no_code},
	    {SCMP_ACT_ERRNO(EACCES), SCMP_SYS(open), SCMP_A1_32(SCMP_CMP_MASKED_EQ, writing, 0)},
	    {SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), SCMP_A2_32(SCMP_CMP_MASKED_EQ, writing, 0)},
	};
	/* Behind the two of the socket a sanitizer's list says all. */
	size_t n = CONFINE_SANITIZED ? 2 : ARRAY_SIZE(rules);
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = seccomp_rule_add_array(filter, rules[i].action, rules[i].call, 1,
					   &rules[i].when);
	return r;
}

static bool forbid_calls(int socket)
{
	const uint32_t otherwise =
	    CONFINE_SANITIZED ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS;
	scmp_filter_ctx filter = seccomp_init(otherwise);
	int r;

	if (!filter)
		return false;
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = add_plain(filter);
	if (r == 0)
		r = add_conditional(filter, socket);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r == 0;
}

void confine(const struct confine_options *options, struct confinement *got)
{
	/* Not dumpable: /proc/PID is root's, and others of this user cannot trace it. */
	if (!CONFINE_SANITIZED)
		prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	got->landlock = landlock_everything();
	got->rlimits = limit_everything(options);
	got->seccomp = forbid_calls(options->socket);
	/* Instead of the filter, which lets nothing be written. */
	if (!got->seccomp && !CONFINE_SANITIZED)
		got->rlimits = limit(RLIMIT_FSIZE, 0) && got->rlimits;
}
