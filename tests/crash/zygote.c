/*
 * A library for LD_PRELOAD that starts a program once and runs it many times: loading its 86 libraries
 * costs more than most runs of latentctl. Where ZYGOTE_FD names a socket, main() is not called, but
 * for each request that comes there, in a child of its own:
 *
 *	request   uint32 arguments, uint32 settings of the environment, uint32 bytes, then so many: the
 *		  folder to work in, the arguments from argv[0] on and the environment, each with its NUL;
 *		  with the descriptors for stdout and stderr
 *	answer    int32: the child's process id; int32, at its end: its status as of waitpid()
 *
 * What a child leaves behind becomes a child of this process. A request of three zeros asks for that:
 *
 *	answer    int32: 1 while such a process lives, otherwise 0
 *
 * All that a program has done before main(), constructors included, is done for all of them, and so is what
 * libcrypto sets up for its first hash; the shim, where it is preloaded as well, begins anew in each.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int (*main_fn)(int, char **, char **);
typedef int (*start_fn)(main_fn, int, char **, void (*)(void), void (*)(void), void (*)(void),
			void *);

struct request {
	uint32_t arguments, settings, bytes;
	int output[2];
	char *text;
};

enum { FAILED = 70, DESCRIPTORS = 2 };

static main_fn program;
static char **arguments; /* of this run: a sanitizer must find them */
static void (*shim_begin)(void);
static bool
    ends_at_once; /* where neither shim nor sanitizer reports at an exit, that of 60 libraries is left out */

/* At the end of the one who asks, this process ends too. */
static void receive(int socket, void *data, size_t size)
{
	for (char *p = data; size > 0;) {
		ssize_t n = read(socket, p, size);

		if (n <= 0)
			_exit(n < 0 ? FAILED : 0);
		p += n;
		size -= (size_t)n;
	}
}

static void send_number(int socket, int32_t number)
{
	if (write(socket, &number, sizeof(number)) != sizeof(number))
		_exit(FAILED);
}

/* The descriptors come with the first bytes. */
static void receive_request(int socket, struct request *r)
{
	uint32_t head[3];
	char control[CMSG_SPACE(sizeof(r->output))] __attribute__((aligned(8)));
	struct iovec part = {head, sizeof(head)};
	struct msghdr message = {
	    .msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(socket, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);

	if (n == 0)
		_exit(0);
	if (n == sizeof(head) && head[0] == 0)
		return;
	if (n != sizeof(head) || !c || c->cmsg_len != CMSG_LEN(sizeof(r->output)))
		_exit(FAILED);
	memcpy(r->output, CMSG_DATA(c), sizeof(r->output));
	r->arguments = head[0];
	r->settings = head[1];
	r->bytes = head[2];
	r->text = malloc(r->bytes + 1);
	receive(socket, r->text, r->bytes);
	r->text[r->bytes] = '\0';
}

static char **words(char **text, uint32_t n)
{
	char **list = calloc(n + 1, sizeof(*list));

	for (uint32_t i = 0; i < n; i++) {
		list[i] = *text;
		*text += strlen(*text) + 1;
	}
	return list;
}

static void find_others(void)
{
	*(void **)&shim_begin = dlsym(RTLD_DEFAULT, "shim_begin");
	ends_at_once = !shim_begin && !dlsym(RTLD_DEFAULT, "__sanitizer_set_death_callback");
}

static int run(int socket, const struct request *r)
{
	char *text = r->text, *folder = text;
	int status;

	close(socket);
	text += strlen(text) + 1;
	arguments = words(&text, r->arguments);
	environ = words(&text, r->settings);
	if (chdir(folder) < 0 || dup2(r->output[0], STDOUT_FILENO) < 0 ||
	    dup2(r->output[1], STDERR_FILENO) < 0)
		_exit(FAILED);
	close(r->output[0]);
	close(r->output[1]);
	if (shim_begin)
		shim_begin();
	status = program((int)r->arguments, arguments, environ);
	if (!ends_at_once)
		return status;
	fflush(NULL);
	_exit(status);
}

static bool is_left_over(void)
{
	pid_t dead;

	while ((dead = waitpid(-1, NULL, WNOHANG)) > 0)
		continue;
	return dead == 0;
}

static void warm_libcrypto(void)
{
	int (*digest)(void *context, const char *name, const char *properties, const void *data,
		      size_t size, unsigned char *out, size_t *out_size);
	unsigned char hash[64];
	size_t size = 0;

	*(void **)&digest = dlsym(RTLD_DEFAULT, "EVP_Q_digest");
	if (digest)
		digest(NULL, "SHA256", NULL, "", 0, hash, &size);
}

static int serve(int argc, char **argv, char **environment)
{
	const char *number = getenv("ZYGOTE_FD");
	int socket = number ? atoi(number) : -1;

	if (socket < 0)
		return program(argc, argv, environment);
	fcntl(socket, F_SETFD, FD_CLOEXEC);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		_exit(FAILED);
	find_others();
	warm_libcrypto();
	for (;;) {
		struct request r = {0};
		int status = 0;
		pid_t child;

		receive_request(socket, &r);
		if (!r.text) {
			send_number(socket, is_left_over());
			continue;
		}
		child = fork();
		if (child == 0)
			return run(socket, &r);
		close(r.output[0]);
		close(r.output[1]);
		free(r.text);
		send_number(socket, child);
		if (child < 0 || waitpid(child, &status, 0) != child)
			_exit(FAILED);
		send_number(socket, status);
	}
}

int __libc_start_main(main_fn main, int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(main_fn main, int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end)
{
	start_fn start;

	*(void **)&start = dlsym(RTLD_NEXT, "__libc_start_main");
	program = main;
	return start(serve, argc, argv, init, fini, rtld_fini, stack_end);
}
