/*
 * latentd-unpack: lists archives and reads their members in a process of its own, as latentd-decode does with images.
 * unpack_protocol.h has the conversation; before READY the process confines itself. It ends when its socket is closed.
 */
#include "daemon/packet.h"
#include "daemon/unpack_protocol.h"

#include "base/checked.h"
#include "source/unpacker.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { SOCKET_FD = 3 };

/* For libarchive and the dictionaries of compressors, beside a member. */
#define WORKING_BYTES ((size_t)2 << 30)

struct worker {
	struct unpack_limits limits;
	struct unpacker *unpacker; /* NULL: no archive, or one that cannot be opened */
	struct error unopened;
	struct unpack_input in; /* whose bytes come from a file or from the daemon */
	bool has_archive, gone; /* gone: the daemon */
	uint8_t *packet;
};

static void say(struct worker *w, const struct unpack_message *m)
{
	struct error ignored = ERROR_INIT;

	w->gone = w->gone || unpack_message_send(SOCKET_FD, m, -1, &ignored) < 0;
}

static void on_tick(void *arg)
{
	const struct unpack_message m = {.type = UNPACK_SAYS_TICK};
	struct worker *w = arg;

	say(w, &m);
	if (w->gone)
		exit(0); /* in the middle of a call that may last */
}

static void say_failed(struct worker *w, const struct error *why)
{
	const struct unpack_message m = {.type = UNPACK_SAYS_FAILED, .failed = *why};

	say(w, &m);
}

/* -- what it asks for ----------------------------------------------------------------------------- */

/* Where the daemon cannot give them it ends this process. */
static void ask_for(struct worker *w, uint64_t offset, uint8_t *out, size_t size)
{
	struct unpack_message m = {.type = UNPACK_SAYS_WANT, .want = {offset, size}};
	struct error ignored = ERROR_INIT;
	int fd = -1;

	say(w, &m);
	if (w->gone || unpack_message_receive(SOCKET_FD, w->packet, &m, &fd, &ignored) != 0)
		exit(0); /* in the middle of a call of libarchive */
	if (m.type != UNPACK_SAYS_BYTES || m.text.size != size || fd >= 0)
		exit(1);
	memcpy(out, m.text.bytes, size);
}

static int read_remote(void *arg, uint64_t offset, void *out, size_t size, struct error *err)
{
	uint8_t *at = out;

	(void)err;
	while (size > 0) {
		size_t n = size < UNPACK_TEXT_MAX ? size : UNPACK_TEXT_MAX;

		ask_for(arg, offset, at, n);
		offset += n;
		at += n;
		size -= n;
	}
	return 0;
}

/* -- what it is asked ----------------------------------------------------------------------------- */

/* @fd: -1: it has @size bytes, of which the daemon gives those that are needed. */
static void take_archive(struct worker *w, int fd, uint64_t size)
{
	unpacker_close(w->unpacker);
	if (w->in.fd >= 0)
		close(w->in.fd);
	w->unpacker = NULL;
	w->has_archive = true;
	w->in = (struct unpack_input){.fd = fd};
	if (fd < 0)
		w->in = (struct unpack_input){-1, size, read_remote, w};
	error_clear(&w->unopened);
	if (unpacker_open(&w->in, &w->limits, &w->unpacker, &w->unopened) == 0)
		unpacker_on_tick(w->unpacker, on_tick, w);
}

static void say_member(struct worker *w, const struct unpack_member *member)
{
	struct unpack_message m = {
	    .type = UNPACK_SAYS_MEMBER, .member = *member, .has_text = member->text != NULL};
	const uint8_t *text = member->text;
	size_t left = member->text_size;

	say(w, &m);
	while (left > 0) {
		size_t n = left < UNPACK_TEXT_MAX ? left : UNPACK_TEXT_MAX;

		m = (struct unpack_message){.type = UNPACK_SAYS_TEXT, .text = {text, n}};
		say(w, &m);
		text += n;
		left -= n;
	}
}

static void list(struct worker *w)
{
	const struct unpack_message end = {.type = UNPACK_SAYS_END};
	struct error err = w->unopened;
	struct unpack_member m;
	int r = w->unpacker ? 0 : -1;

	while (r == 0 && !w->gone) {
		r = unpacker_next(w->unpacker, &m, &err);
		if (r == 0)
			say_member(w, &m);
	}
	if (r < 0)
		say_failed(w, &err);
	else
		say(w, &end);
}

/* The member's size is the room in @fd, less one byte: an empty one could not be mapped. */
static ssize_t read_into(struct worker *w, const struct unpack_member *member, int fd,
			 struct error *err)
{
	size_t room = member->size + 1;
	ssize_t n;
	void *bytes;

	if (!w->unpacker) {
		*err = w->unopened;
		return -1;
	}
	bytes = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return error_sys(err, "map a member of %zu bytes", room - 1);
	n = unpacker_read(w->unpacker, member, bytes, room - 1, err);
	munmap(bytes, room);
	return n;
}

/* Its name is in the packet, where bytes that are asked for come. */
static bool read_member(struct worker *w, const struct unpack_member *member, int fd)
{
	struct unpack_message done = {.type = UNPACK_SAYS_DONE};
	cleanup_free char *name = xstrdup(member->name);
	struct unpack_member own = *member;
	struct error err = ERROR_INIT;
	ssize_t n;

	own.name = name;
	n = read_into(w, &own, fd, &err);
	if (n < 0) {
		say_failed(w, &err);
		return true;
	}
	done.done = (uint64_t)n;
	say(w, &done);
	return true;
}

/* False: the message does not belong here. */
static bool answer(struct worker *w, const struct unpack_message *m, int *fd)
{
	switch (m->type) {
	case UNPACK_SAYS_OPEN:
		if ((*fd < 0) == (m->size == 0) || m->size > INT64_MAX)
			return false;
		take_archive(w, TAKE_FD(*fd), m->size);
		return true;
	case UNPACK_SAYS_LIST:
		list(w);
		return w->has_archive;
	case UNPACK_SAYS_READ:
		if (*fd < 0 || m->member.size > w->limits.member_bytes)
			return false;
		return w->has_archive && read_member(w, &m->member, *fd);
	default:
		return false;
	}
}

/* -- begin and end -------------------------------------------------------------------------------- */

static int worker_start(struct worker *w, uint8_t *packet, struct error *err)
{
	struct unpack_message m = {.type = UNPACK_SAYS_READY};
	cleanup_close int fd = -1;
	int r = unpack_message_receive(SOCKET_FD, packet, &m, &fd, err);

	if (r != 0)
		return r;
	if (m.type != UNPACK_SAYS_START)
		return error_set(err, ERR_BUG, "message %d where START belongs", m.type);
	w->limits = m.limits;
	memset(&m, 0, sizeof(m));
	m.type = UNPACK_SAYS_READY;
	/* The C library opens files for these when it is first asked. */
	tzset();
	setlocale(LC_CTYPE, "C.UTF-8");
	confine(&(struct confine_options){SOCKET_FD, WORKING_BYTES + w->limits.member_bytes},
		&m.ready);
	return unpack_message_send(SOCKET_FD, &m, -1, err);
}

static int worker_run(struct worker *w, uint8_t *packet, struct error *err)
{
	while (!w->gone) {
		struct unpack_message m;
		cleanup_close int fd = -1;
		int r = unpack_message_receive(SOCKET_FD, packet, &m, &fd, err);

		if (r != 0)
			return r == PACKET_CLOSED ? 0 : r;
		if (!answer(w, &m, &fd))
			return error_set(err, ERR_BUG, "message %d is out of place", m.type);
	}
	return 0;
}

int main(void)
{
	static uint8_t packet[UNPACK_MESSAGE_MAX + 1];
	struct worker w = {.in.fd = -1, .packet = packet};
	struct error err = ERROR_INIT;
	int r;

	/* Ctrl-C belongs to the daemon, which ends its workers. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	r = worker_start(&w, packet, &err);
	if (r == 0)
		r = worker_run(&w, packet, &err);
	unpacker_close(w.unpacker);
	if (r < 0) {
		fprintf(stderr, "latentd-unpack: %s\n", err.message);
		return 1;
	}
	return 0;
}
