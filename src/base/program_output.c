/* Two pipes are read until both end or the program has: a grandchild that keeps one open is somebody else's. */
#include "base/program_output.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum {
	LOOK_MS = 50, /* how often a program that keeps silent is looked at */
	BLOCK = 16 << 10,
	COMPLAINT_MAX = 4096,
};

struct run {
	pid_t pid;
	struct pollfd pipes[2]; /* its standard output and error; descriptor -1: ended */
	struct buffer text;
	size_t most;
	bool too_large;
	char complaint[COMPLAINT_MAX + 1]; /* the end of what it wrote to standard error */
	size_t complained;
	bool ended;
	int status;
};

static int start_failed(const char *program, int cause, struct error *err)
{
	bool forbidden = cause == EACCES || cause == EPERM;
	char quoted[TEXT_QUOTE_SIZE];

	return error_set(err, ERR_CONFIG, "cannot start %s: %s%s", text_quote(program, quoted),
			 strerror(cause),
			 forbidden ? " (the file's mode, a noexec mount, or the sandbox of the "
				     "service: NoExecPaths=, SystemCallFilter=)"
				   : "");
}

/* The signals that we ignore or block are as usual for it; its group makes it killable with its children. */
static int spawn(const char *const *argv, const int theirs[2], pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, usual;
	int r;

	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, theirs[0], 1);
	posix_spawn_file_actions_adddup2(&actions, theirs[1], 2);
	posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						  POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &usual);
	posix_spawnattr_setpgroup(&attributes, 0);
	r = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

/* A pipe whose reading end does not wait, and whose ends are above those that spawn() gives away. */
static int open_pipe(int ends[2], struct error *err)
{
	int pair[2], r = 0;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return error_sys(err, "create a pipe");
	for (int i = 0; i < 2; i++) {
		ends[i] = fcntl(pair[i], F_DUPFD_CLOEXEC, 3);
		if (ends[i] < 0 && r == 0)
			r = error_sys(err, "create a pipe");
		close(pair[i]);
	}
	if (r == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
		r = error_sys(err, "prepare a pipe");
	return r;
}

static int start(struct run *run, const char *const *argv, struct error *err)
{
	int ends[2][2] = {{-1, -1}, {-1, -1}};
	int r = open_pipe(ends[0], err), cause;

	if (r == 0)
		r = open_pipe(ends[1], err);
	if (r == 0) {
		const int theirs[2] = {ends[0][1], ends[1][1]};

		cause = spawn(argv, theirs, &run->pid);
		r = cause != 0 ? start_failed(argv[0], cause, err) : 0;
	}
	for (int i = 0; i < 2; i++) {
		run->pipes[i] = (struct pollfd){.fd = ends[i][0], .events = POLLIN};
		if (ends[i][1] >= 0)
			close(ends[i][1]);
	}
	return r;
}

static void keep_end(struct run *run, const uint8_t *data, size_t size)
{
	size_t gone;

	if (size > COMPLAINT_MAX) {
		data += size - COMPLAINT_MAX;
		size = COMPLAINT_MAX;
	}
	gone = run->complained + size > COMPLAINT_MAX ? run->complained + size - COMPLAINT_MAX : 0;
	run->complained -= gone;
	memmove(run->complaint, run->complaint + gone, run->complained);
	memcpy(run->complaint + run->complained, data, size);
	run->complained += size;
}

static void take(struct run *run, int which, const uint8_t *data, size_t size)
{
	if (which == 1)
		keep_end(run, data, size);
	else if (size > run->most - run->text.size)
		run->too_large = true;
	else
		buffer_append(&run->text, data, size);
}

/* All that is there now. */
static void drain(struct run *run, int which)
{
	struct pollfd *pipe = &run->pipes[which];
	uint8_t block[BLOCK];

	while (pipe->fd >= 0 && !run->too_large) {
		ssize_t n = read(pipe->fd, block, sizeof(block));

		if (n > 0)
			take(run, which, block, (size_t)n);
		else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
			close(pipe->fd);
			pipe->fd = -1;
		} else if (errno == EAGAIN)
			break;
	}
	explicit_bzero(block, sizeof(block));
}

static bool has_ended(struct run *run)
{
	if (!run->ended)
		run->ended = waitpid(run->pid, &run->status, WNOHANG) == run->pid;
	return run->ended;
}

/* False: the time is over, or it writes too much. */
static bool follow(struct run *run, int timeout_ms)
{
	int64_t until = clock_mono_ms() + timeout_ms;

	for (;;) {
		bool ended = has_ended(run);

		for (int i = 0; i < 2; i++)
			drain(run, i);
		if (run->too_large)
			return false;
		if (ended)
			return true;
		if (clock_mono_ms() >= until)
			return false;
		poll(run->pipes, 2, LOOK_MS);
	}
}

static void finish(struct run *run)
{
	if (run->pid > 0 && !run->ended) {
		kill(-run->pid, SIGKILL);
		while (waitpid(run->pid, &run->status, 0) < 0 && errno == EINTR)
			;
	}
	for (int i = 0; i < 2; i++) {
		if (run->pipes[i].fd >= 0)
			close(run->pipes[i].fd);
	}
}

/* ": the last line", "" without one. */
static char *last_line(struct run *run)
{
	char *begin = run->complaint, *end = begin + run->complained;
	char quoted[TEXT_QUOTE_SIZE];

	while (end > begin && strchr("\r\n ", end[-1]))
		end--;
	*end = '\0';
	for (char *at = begin; at < end; at++) {
		if (*at == '\n')
			begin = at + 1;
	}
	return begin < end ? xasprintf(": %s", text_quote(begin, quoted)) : xstrdup("");
}

static int judge(struct run *run, const char *program, bool followed, int timeout_ms,
		 struct error *err)
{
	cleanup_free char *why = last_line(run);
	char quoted[TEXT_QUOTE_SIZE];

	text_quote(program, quoted);
	if (run->too_large)
		return error_data(err, "too_large", "%s writes more than %zu KiB", quoted,
				  run->most >> 10);
	if (!followed)
		return error_set(err, ERR_TRANSIENT, "%s does not end within %d s%s", quoted,
				 timeout_ms / 1000, why);
	if (WIFSIGNALED(run->status))
		return error_set(err, ERR_CONFIG, "%s was killed by signal %d (%s)%s", quoted,
				 WTERMSIG(run->status), strsignal(WTERMSIG(run->status)), why);
	if (WEXITSTATUS(run->status) != 0)
		return error_set(err, ERR_CONFIG, "%s ended with status %d%s", quoted,
				 WEXITSTATUS(run->status), why);
	return 0;
}

int program_output(const char *const *argv, int timeout_ms, size_t most, struct buffer *out,
		   struct error *err)
{
	struct run run = {.pipes = {{.fd = -1}, {.fd = -1}}, .most = most};
	int r = start(&run, argv, err);
	bool followed = r == 0 && follow(&run, timeout_ms);

	finish(&run);
	if (r == 0)
		r = judge(&run, argv[0], followed, timeout_ms, err);
	if (r == 0) {
		buffer_release(out);
		*out = run.text;
		return 0;
	}
	if (run.text.data)
		explicit_bzero(run.text.data, run.text.size);
	buffer_release(&run.text);
	return -1;
}
