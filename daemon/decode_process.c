/*
 * The slot is a sealed memfd, mapped read-only here: the process cannot pull memory away under us, and holds
 * no other process's pixels.
 */
#include "daemon/decode_process.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "daemon/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

extern char **environ;

char *decode_process_program(const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return xstrdup(name);
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	return xasprintf("%s/%s", self, name);
}

static int slot_open(struct decode_process *p, size_t bytes, struct error *err)
{
	void *slot;

	p->slot_fd = memfd_create("latentd-slot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (p->slot_fd < 0)
		return error_sys(err, "create shared memory");
	if (ftruncate(p->slot_fd, (off_t)bytes) < 0)
		return error_sys(err, "size shared memory");
	if (fcntl(p->slot_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return error_sys(err, "seal shared memory");
	slot = mmap(NULL, bytes, PROT_READ, MAP_SHARED, p->slot_fd, 0);
	if (slot == MAP_FAILED)
		return error_sys(err, "map shared memory");
	p->slot = slot;
	p->slot_bytes = bytes;
	return 0;
}

/* Of the environment, which may hold secrets: what the loader, the C library, our code and sanitizers ask for. */
static bool worker_may_see(const char *entry)
{
	static const char *const names[] = {"LATENTD_ISA", "TZ", "LANG", "LC_ALL",
					    "LD_LIBRARY_PATH"};
	static const char sanitizer[] = "SAN_OPTIONS";
	size_t n = strcspn(entry, "="), tail = strlen(sanitizer);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strlen(names[i]) == n && strncmp(entry, names[i], n) == 0)
			return true;
	}
	return n > tail && strncmp(entry + n - tail, sanitizer, tail) == 0;
}

/* To be freed; the strings are the environment's. */
static char **worker_environment(void)
{
	size_t n = 0, kept = 0;
	char **list;

	while (environ[n])
		n++;
	list = xcalloc(n + 1, sizeof(*list));
	for (size_t i = 0; i < n; i++) {
		if (worker_may_see(environ[i]))
			list[kept++] = environ[i];
	}
	return list;
}

/* The program gets the socket as descriptor 3 and none beyond the standard ones. */
static int spawn_program(const char *program, int socket, pid_t *pid, struct error *err)
{
	cleanup_free char **environment = worker_environment();
	const char *slash = strrchr(program, '/');
	char *const argv[] = {(char *)(slash ? slash + 1 : program), NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int r;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	/* Reports of sanitizers must get out; else a log or a terminal is nothing for a decoder to write to. */
	if (!CONFINE_SANITIZED)
		posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, socket, 3);
	posix_spawn_file_actions_addclosefrom_np(&actions, 4);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	r = posix_spawn(pid, program, &actions, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	if (r != 0) {
		errno = r;
		return error_sys(err, "start %s", program);
	}
	return 0;
}

int decode_process_start(struct decode_process *p, const char *program, size_t slot_bytes,
			 struct error *err)
{
	cleanup_free char *beside_us = program ? NULL : decode_process_program("latentd-decode");
	cleanup_close int theirs = -1;
	int pair[2];

	if (slot_bytes > 0 && slot_open(p, slot_bytes, err) < 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_sys(err, "create a socket pair");
	p->socket = pair[0];
	theirs = pair[1];
	if (fcntl(p->socket, F_SETFL, O_NONBLOCK) < 0)
		return error_sys(err, "prepare a socket");
	return spawn_program(program ? program : beside_us, theirs, &p->pid, err);
}

void decode_process_limit(struct decode_process *p, size_t bytes)
{
	struct rlimit limit;

	if (CONFINE_SANITIZED || p->pid <= 0 || bytes == p->address_space ||
	    prlimit(p->pid, RLIMIT_AS, NULL, &limit) < 0)
		return;
	p->address_space = bytes;
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	prlimit(p->pid, RLIMIT_AS, &limit, NULL);
}

/* Dead already, or to be killed: only the first tells how it died. */
static int end_process(pid_t pid)
{
	siginfo_t info;
	int status = 0;

	memset(&info, 0, sizeof(info));
	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) != 0 || info.si_pid != pid)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

void decode_process_end(struct decode_process *p, char how[DECODE_PROCESS_END_SIZE])
{
	int status = p->pid > 0 ? end_process(p->pid) : 0;

	if (WIFSIGNALED(status))
		snprintf(how, DECODE_PROCESS_END_SIZE, "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(how, DECODE_PROCESS_END_SIZE, "exit status %d", WEXITSTATUS(status));
	if (p->slot)
		munmap((void *)p->slot, p->slot_bytes);
	if (p->slot_fd >= 0)
		close(p->slot_fd);
	if (p->socket >= 0)
		close(p->socket);
	*p = (struct decode_process)DECODE_PROCESS_NONE;
}
