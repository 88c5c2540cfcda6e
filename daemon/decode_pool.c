/*
 * Each worker is a small state machine; a message that does not belong to its state is a lie, and a
 * worker that lies is killed. The slot is a sealed memfd per worker, mapped read-only here, so one worker
 * cannot reach another's pixels and cannot pull memory away under us.
 */
#include "daemon/decode_pool.h"

#include "base/checked.h"
#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

extern char **environ;

enum { EARLY_DEATHS_MAX = 8 };

enum worker_state {
	WORKER_DOWN,
	WORKER_STARTING, /* START sent, READY expected */
	WORKER_IDLE,
	WORKER_HASHING, /* OPEN sent, HASHED expected */
	WORKER_READING, /* DECODE sent, HEADER expected */
	WORKER_WAITING, /* HEADER came, geometry not sent yet */
	WORKER_DRAWING, /* GEOMETRY sent, DONE expected */
};

/* A worker is its image's ticket. */
struct decode_ticket {
	struct decode_pool *pool;
	enum worker_state state;
	bool used; /* this process was given an image */
	pid_t pid;
	int socket;
	int slot_fd;
	uint8_t *slot;
	sd_event_source *io, *timer;
	void *image;
};

struct decode_pool {
	sd_event *event;
	struct decode_pool_options options;
	char *program;
	size_t n;
	struct decode_ticket *workers;
	unsigned early_deaths; /* in a row, of processes that had no image yet */
	char last_end[512];    /* how the last process ended */
	bool cancelled;
};

static bool has_image(const struct decode_ticket *w)
{
	return w->state >= WORKER_HASHING;
}

/* -- one worker's life ---------------------------------------------------------------------------- */

static int slot_open(struct decode_ticket *w, size_t bytes, struct error *err)
{
	w->slot_fd = memfd_create("latentd-slot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (w->slot_fd < 0)
		return error_sys(err, "create shared memory");
	if (ftruncate(w->slot_fd, (off_t)bytes) < 0)
		return error_sys(err, "size shared memory");
	if (fcntl(w->slot_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return error_sys(err, "seal shared memory");
	w->slot = mmap(NULL, bytes, PROT_READ, MAP_SHARED, w->slot_fd, 0);
	if (w->slot == MAP_FAILED) {
		w->slot = NULL;
		return error_sys(err, "map shared memory");
	}
	return 0;
}

/* The program gets the socket as descriptor 3 and none beyond the standard ones. */
static int spawn_program(const char *program, int socket, pid_t *pid, struct error *err)
{
	char *const argv[] = {(char *)"latentd-decode", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int r;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, socket, 3);
	posix_spawn_file_actions_addclosefrom_np(&actions, 4);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	r = posix_spawn(pid, program, &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	if (r != 0) {
		errno = r;
		return error_sys(err, "start %s", program);
	}
	return 0;
}

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *arg);
static void clock_start(struct decode_ticket *w);

static int worker_spawn(struct decode_ticket *w, struct error *err)
{
	const struct decode_pool_options *options = &w->pool->options;
	struct decode_message m = {
	    .type = DECODE_START,
	    .start = {options->mode, options->policy, options->limits, options->slot_bytes}};
	struct error ended = ERROR_INIT;
	int pair[2], r;

	assert(w->state == WORKER_DOWN);
	if (slot_open(w, options->slot_bytes, err) < 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_sys(err, "create a socket pair");
	w->socket = pair[0];
	w->used = false;
	r = spawn_program(w->pool->program, pair[1], &w->pid, err);
	close(pair[1]);
	if (r < 0)
		return -1;
	fcntl(w->socket, F_SETFL, O_NONBLOCK);
	w->state = WORKER_STARTING;
	r = sd_event_add_io(w->pool->event, &w->io, w->socket, EPOLLIN, on_socket, w);
	if (r < 0) {
		errno = -r;
		return error_sys(err, "watch a worker");
	}
	clock_start(w);
	/* One that has ended already says so by its socket. */
	decode_message_send(w->socket, &m, w->slot_fd, &ended);
	return 0;
}

/* Ends the process and says how it ended. The image, if any, is the caller's business. */
static void worker_stop(struct decode_ticket *w, char *how, size_t size)
{
	int status = 0;

	w->io = sd_event_source_disable_unref(w->io);
	w->timer = sd_event_source_disable_unref(w->timer);
	if (w->pid > 0) {
		siginfo_t info;

		memset(&info, 0, sizeof(info));
		/* Dead already, or to be killed: only the first tells how it died. */
		if (waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOWAIT | WNOHANG) != 0 ||
		    info.si_pid != w->pid)
			kill(w->pid, SIGKILL);
		while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (WIFSIGNALED(status))
		snprintf(how, size, "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(how, size, "exit status %d", WEXITSTATUS(status));
	if (w->slot)
		munmap(w->slot, w->pool->options.slot_bytes);
	if (w->slot_fd >= 0)
		close(w->slot_fd);
	if (w->socket >= 0)
		close(w->socket);
	w->slot = NULL;
	w->slot_fd = w->socket = -1;
	w->pid = 0;
	w->state = WORKER_DOWN;
}

/*
 * The worker is of no more use: its image fails with @why, or because it died when @why is NULL. A new
 * process takes its place, unless process after process ends before it had an image.
 */
static void worker_lost(struct decode_ticket *w, const struct error *why)
{
	struct decode_pool *pool = w->pool;
	bool had_image = has_image(w), early = !w->used;
	struct error died = ERROR_INIT, failed = ERROR_INIT;
	void *image = w->image;
	char how[96];

	worker_stop(w, how, sizeof(how));
	w->image = NULL;
	pool->early_deaths = early ? pool->early_deaths + 1 : 0;
	snprintf(pool->last_end, sizeof(pool->last_end), "%s", how);
	if (had_image) {
		if (!why) {
			error_data(&died, "worker_died", "the decoder died on this file: %s", how);
			why = &died;
		}
		pool->options.handlers.on_failed(image, why);
	}
	if (pool->cancelled || pool->early_deaths >= EARLY_DEATHS_MAX)
		return;
	if (worker_spawn(w, &failed) < 0) {
		worker_stop(w, how, sizeof(how));
		snprintf(pool->last_end, sizeof(pool->last_end), "%s", failed.message);
	}
}

/* -- the conversation ----------------------------------------------------------------------------- */

static int on_timeout(sd_event_source *source, uint64_t usec, void *arg)
{
	struct decode_ticket *w = arg;
	struct error why = ERROR_INIT;

	(void)source;
	(void)usec;
	error_data(&why, "timeout", "not decoded after %llu s",
		   (unsigned long long)w->pool->options.time_limit_ms / 1000);
	worker_lost(w, &why);
	return 0;
}

/* (Re)starts the clock of a worker: of its start, or of its image. The wait for memory does not count. */
static void clock_start(struct decode_ticket *w)
{
	uint64_t usec = w->pool->options.time_limit_ms * 1000;

	w->timer = sd_event_source_disable_unref(w->timer);
	sd_event_add_time_relative(w->pool->event, &w->timer, CLOCK_MONOTONIC, usec, 0, on_timeout,
				   w);
}

static void worker_say(struct decode_ticket *w, const struct decode_message *m)
{
	struct error err = ERROR_INIT;

	/* A worker that died is noticed by its socket; nothing is lost by not sending to it. */
	decode_message_send(w->socket, m, -1, &err);
}

static void worker_idle(struct decode_ticket *w)
{
	w->timer = sd_event_source_disable_unref(w->timer);
	w->state = WORKER_IDLE;
	w->image = NULL;
}

static bool handle_hashed(struct decode_ticket *w, const struct decode_message *m)
{
	struct decode_message answer = {.type = DECODE_DECODE};
	void *image = w->image;

	if (w->state != WORKER_HASHING || m->hashed.bytes > w->pool->options.limits.max_file_bytes)
		return false;
	if (w->pool->options.handlers.on_hashed(image, &m->hashed.content, m->hashed.bytes)) {
		w->state = WORKER_READING;
	} else {
		answer.type = DECODE_SKIP;
		worker_idle(w);
	}
	worker_say(w, &answer);
	return true;
}

static bool handle_header(struct decode_ticket *w, const struct decode_message *m)
{
	const struct image_limits *limits = &w->pool->options.limits;
	size_t pixels;

	if (w->state != WORKER_READING || m->header.width > limits->max_side ||
	    m->header.height > limits->max_side ||
	    !size_mul(m->header.width, m->header.height, &pixels) || pixels > limits->max_pixels ||
	    m->header.decode_bytes / 64 > pixels + 65536)
		return false;
	w->timer = sd_event_source_disable_unref(w->timer);
	w->state = WORKER_WAITING;
	w->pool->options.handlers.on_header(w->image, &m->header, w);
	return true;
}

static bool handle_done(struct decode_ticket *w)
{
	void *image = w->image;

	if (w->state != WORKER_DRAWING)
		return false;
	worker_idle(w);
	w->pool->options.handlers.on_done(image, w->slot);
	return true;
}

static bool handle_failed(struct decode_ticket *w, const struct decode_message *m)
{
	void *image = w->image;

	if (!has_image(w))
		return false;
	worker_idle(w);
	w->pool->options.handlers.on_failed(image, &m->failed);
	return true;
}

/* False: the message does not belong here. */
static bool handle_message(struct decode_ticket *w, const struct decode_message *m)
{
	switch (m->type) {
	case DECODE_READY:
		if (w->state != WORKER_STARTING)
			return false;
		worker_idle(w);
		return true;
	case DECODE_HASHED:
		return handle_hashed(w, m);
	case DECODE_HEADER:
		return handle_header(w, m);
	case DECODE_DONE:
		return handle_done(w);
	case DECODE_FAILED:
		return handle_failed(w, m);
	default:
		return false;
	}
}

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct decode_ticket *w = arg;
	struct decode_message m;
	struct error err = ERROR_INIT, lied = ERROR_INIT;
	int passed = -1, r;

	(void)source;
	(void)events;
	r = decode_message_receive(fd, &m, &passed, &err);
	if (passed >= 0)
		close(passed); /* workers have no descriptors to give */
	if (r == DECODE_CLOSED) {
		worker_lost(w, NULL);
		return 0;
	}
	if (r < 0 && err.code == ERR_TRANSIENT)
		return 0;
	if (r < 0 || !handle_message(w, &m)) {
		error_data(&lied, "worker_died", "the decoder broke the protocol on this file");
		worker_lost(w, &lied);
	}
	return 0;
}

/* -- the pool ------------------------------------------------------------------------------------- */

/* latentd-decode in the folder of this executable. */
static char *program_beside_us(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return xstrdup("latentd-decode");
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	return xasprintf("%s/latentd-decode", self);
}

int decode_pool_open(sd_event *event, const struct decode_pool_options *options,
		     struct decode_pool **out, struct error *err)
{
	struct decode_pool *pool = xcalloc(1, sizeof(*pool));

	assert(options->workers > 0 && options->slot_bytes > 0);
	pool->event = event;
	pool->options = *options;
	pool->program = options->program ? xstrdup(options->program) : program_beside_us();
	pool->n = options->workers;
	pool->workers = xcalloc(pool->n, sizeof(*pool->workers));
	for (size_t i = 0; i < pool->n; i++)
		pool->workers[i] =
		    (struct decode_ticket){.pool = pool, .socket = -1, .slot_fd = -1};
	for (size_t i = 0; i < pool->n; i++) {
		if (worker_spawn(&pool->workers[i], err) < 0) {
			decode_pool_close(pool);
			return -1;
		}
	}
	*out = pool;
	return 0;
}

void decode_pool_close(struct decode_pool *pool)
{
	char how[96];

	if (!pool)
		return;
	for (size_t i = 0; i < pool->n; i++)
		worker_stop(&pool->workers[i], how, sizeof(how));
	free(pool->workers);
	free(pool->program);
	free(pool);
}

static size_t count_states(const struct decode_pool *pool, enum worker_state first,
			   enum worker_state last)
{
	size_t n = 0;

	for (size_t i = 0; i < pool->n; i++)
		n += pool->workers[i].state >= first && pool->workers[i].state <= last;
	return n;
}

size_t decode_pool_idle(const struct decode_pool *pool)
{
	return count_states(pool, WORKER_IDLE, WORKER_IDLE);
}

size_t decode_pool_busy(const struct decode_pool *pool)
{
	return count_states(pool, WORKER_HASHING, WORKER_DRAWING);
}

void decode_pool_cancel(struct decode_pool *pool)
{
	struct error stopped = ERROR_INIT;

	pool->cancelled = true;
	error_set(&stopped, ERR_TRANSIENT, "stopped");
	for (size_t i = 0; i < pool->n; i++) {
		if (has_image(&pool->workers[i]))
			worker_lost(&pool->workers[i], &stopped);
	}
}

const char *decode_pool_last_end(const struct decode_pool *pool)
{
	return pool->last_end;
}

bool decode_pool_dead(const struct decode_pool *pool)
{
	return !pool->cancelled && count_states(pool, WORKER_DOWN, WORKER_DOWN) == pool->n;
}

void decode_pool_start(struct decode_pool *pool, int fd, void *image)
{
	struct decode_message m = {.type = DECODE_OPEN};
	struct decode_ticket *w = NULL;
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < pool->n && !w; i++) {
		if (pool->workers[i].state == WORKER_IDLE)
			w = &pool->workers[i];
	}
	assert(w);
	w->state = WORKER_HASHING;
	w->used = true;
	w->image = image;
	clock_start(w);
	/* If it died just now, its socket says so in the next turn of the loop. */
	decode_message_send(w->socket, &m, fd, &err);
}

void decode_pool_place(struct decode_ticket *w, const struct render_geometry *geometry)
{
	struct decode_message m = {.type = DECODE_GEOMETRY, .geometry = *geometry};

	assert(w->state == WORKER_WAITING);
	w->state = WORKER_DRAWING;
	clock_start(w);
	worker_say(w, &m);
}
