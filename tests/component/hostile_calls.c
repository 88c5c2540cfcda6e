#include "hostile_calls.h"

#include "base/checked.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define POINTER(p) ((long)(uintptr_t)(p))
#define ANONYMOUS  (MAP_PRIVATE | MAP_ANONYMOUS)

/* Numbers that every architecture has; the older names of the same calls are on no allow-list either. */
const struct hostile_call hostile_calls[] = {
    /* processes */
    {"clone", SYS_clone, {SIGCHLD}, true},
    {"clone3", SYS_clone3, {0}, false},
    {"execve", SYS_execve, {POINTER("/bin/true")}, false},
    {"execveat", SYS_execveat, {AT_FDCWD, POINTER("/bin/true")}, false},
    {"kill", SYS_kill, {1, 0}, true},
    {"tgkill", SYS_tgkill, {1, 1, 0}, true},
    {"pidfd_open", SYS_pidfd_open, {1, 0}, false},
    {"ptrace", SYS_ptrace, {PTRACE_TRACEME}, true},
    {"process_vm_readv", SYS_process_vm_readv, {1}, true},
    {"setpriority", SYS_setpriority, {PRIO_PROCESS, 0, -5}, false},
    {"setuid", SYS_setuid, {0}, false},
    {"unshare", SYS_unshare, {CLONE_NEWUSER}, false},
    /* code */
    {"mmap_exec", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, ANONYMOUS, -1}, true},
    {"mprotect_exec", SYS_mprotect, {4096, 4096, PROT_READ | PROT_EXEC}, true},
    {"pkey_mprotect", SYS_pkey_mprotect, {4096, 4096, PROT_EXEC, -1}, false},
    {"bpf", SYS_bpf, {0}, false},
    {"userfaultfd", SYS_userfaultfd, {0}, false},
    {"personality", SYS_personality, {0x0400000}, false}, /* READ_IMPLIES_EXEC */
    /* descriptors */
    {"open_write", SYS_openat, {AT_FDCWD, POINTER("/dev/null"), O_WRONLY}, true},
    {"open_create", SYS_openat, {AT_FDCWD, POINTER("/tmp"), O_RDWR | O_TMPFILE, 0600}, true},
    {"openat2", SYS_openat2, {AT_FDCWD, POINTER("/dev/null")}, false},
    {"dup", SYS_dup, {0}, false},
    {"dup3", SYS_dup3, {0, 7}, false},
    {"fcntl", SYS_fcntl, {0, F_DUPFD, 4}, false},
    {"pipe2", SYS_pipe2, {0}, false},
    {"eventfd2", SYS_eventfd2, {0}, false},
    {"memfd_create", SYS_memfd_create, {POINTER("code")}, false},
    {"epoll_create1", SYS_epoll_create1, {0}, false},
    {"inotify_init1", SYS_inotify_init1, {0}, false},
    {"io_uring_setup", SYS_io_uring_setup, {1}, false},
    {"perf_event_open", SYS_perf_event_open, {0}, false},
    /* network, and what else carries bytes out */
    {"socket", SYS_socket, {AF_INET, SOCK_STREAM}, false},
    {"socketpair", SYS_socketpair, {AF_UNIX, SOCK_STREAM}, false},
    {"connect", SYS_connect, {3}, false},
    {"sendto", SYS_sendto, {3, POINTER("x"), 1}, false},
    {"sendmsg_other", SYS_sendmsg, {0}, false},
    {"recvmsg_other", SYS_recvmsg, {0}, false},
    {"sendmmsg", SYS_sendmmsg, {3}, false},
    {"write_other", SYS_write, {1, POINTER("x"), 1}, true},
    {"writev", SYS_writev, {2}, false},
    {"sendfile", SYS_sendfile, {1, 0, 0, 1}, false},
    {"splice", SYS_splice, {0}, false},
    {"ioctl", SYS_ioctl, {2, 0x5412}, false}, /* TIOCSTI: type into the terminal */
    {"shmget", SYS_shmget, {1, 4096, 0666}, false},
    {"mq_open", SYS_mq_open, {POINTER("q"), O_RDWR}, false},
    /* files by name */
    {"unlinkat", SYS_unlinkat, {AT_FDCWD, POINTER("nothing")}, false},
    {"mkdirat", SYS_mkdirat, {AT_FDCWD, POINTER("nothing/nowhere")}, false},
    {"linkat", SYS_linkat, {AT_FDCWD, POINTER("a"), AT_FDCWD, POINTER("b")}, false},
    {"fchmod", SYS_fchmod, {2, 0777}, false},
    {"ftruncate", SYS_ftruncate, {4, 0}, false},
    {"getdents64", SYS_getdents64, {0}, true},
    {"chdir", SYS_chdir, {POINTER("/")}, false},
    {"mount", SYS_mount, {0}, false},
    /* the confinement itself */
    {"prctl", SYS_prctl, {PR_SET_DUMPABLE, 1}, true},
    {"prlimit64", SYS_prlimit64, {0, RLIMIT_AS}, true},
    {"seccomp", SYS_seccomp, {0}, false},
    {"landlock", SYS_landlock_create_ruleset, {0, 0, 1}, false},
    {"keyctl", SYS_keyctl, {0}, false},
    {"reboot", SYS_reboot, {0}, false},
};
const size_t hostile_calls_count = ARRAY_SIZE(hostile_calls);

long hostile_call_try(const struct hostile_call *call)
{
	const long *a = call->arguments;

	return syscall(call->number, a[0], a[1], a[2], a[3], a[4], 0L);
}
