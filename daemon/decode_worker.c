/*
 * latentd-decode: turns image files into bucket-sized pixels in a process of its own, so that a
 * file that crashes, hangs or attacks a decoder costs that one image. It holds three descriptors: the
 * socket to the daemon, the slot, and the file it is at. decode_protocol.h has the conversation.
 */
#include "daemon/decode_protocol.h"

#include "base/checked.h"
#include "base/files.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

enum { SOCKET_FD = 3 };

struct worker {
	struct image_policy policy;
	struct image_limits limits;
	uint8_t *slot;
	size_t slot_bytes;
};

static int expect(enum decode_message_type type, struct decode_message *m, int *fd,
		  struct error *err)
{
	int r = decode_message_receive(SOCKET_FD, m, fd, err);

	if (r != 0)
		return r;
	if (m->type != type)
		return error_set(err, ERR_BUG, "message %d where %d belongs", m->type, type);
	return 0;
}

static int worker_start(struct worker *w, struct error *err)
{
	struct decode_message m = {.type = DECODE_READY};
	cleanup_close int fd = -1;
	int r = expect(DECODE_START, &m, &fd, err);

	if (r != 0)
		return r;
	w->policy = m.start.policy;
	w->limits = m.start.limits;
	w->slot_bytes = m.start.slot_bytes;
	w->slot = mmap(NULL, w->slot_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (w->slot == MAP_FAILED)
		return error_sys(err, "map the slot");
	m.type = DECODE_READY;
	return decode_message_send(SOCKET_FD, &m, -1, err);
}

/* Writes the pixels that @geometry asks for into the slot. */
static int worker_render(struct worker *w, const struct buffer *file,
			 const struct render_geometry *geometry, struct error *err)
{
	size_t bytes;

	if (!size_mul3(geometry->width, geometry->height, 3, &bytes) || bytes > w->slot_bytes)
		return error_set(err, ERR_BUG, "the target does not fit the slot");
	return image_render(file->data, file->size, &w->limits, &w->policy, geometry, w->slot, err);
}

/*
 * One image, from the descriptor to DONE or SKIP. Below zero: *err is about this image. DECODE_CLOSED: the
 * daemon is gone.
 */
static int worker_image(struct worker *w, int fd, struct error *err)
{
	cleanup_buffer struct buffer file = BUFFER_INIT;
	struct decode_message m = {.type = DECODE_HASHED};
	int none = -1, r;

	if (fd_read_all(fd, w->limits.max_file_bytes, &file, err) < 0)
		return -1;
	m.hashed.content = hash128_of(file.data, file.size);
	m.hashed.bytes = file.size;
	if (decode_message_send(SOCKET_FD, &m, -1, err) < 0)
		return DECODE_CLOSED;
	r = decode_message_receive(SOCKET_FD, &m, &none, err);
	if (r != 0)
		return r;
	if (m.type == DECODE_SKIP)
		return 0;
	if (m.type != DECODE_DECODE)
		return error_set(err, ERR_BUG, "message %d where DECODE or SKIP belongs", m.type);

	memset(&m, 0, sizeof(m));
	m.type = DECODE_HEADER;
	if (image_read_header(file.data, file.size, &w->limits, &m.header, err) < 0)
		return -1;
	if (decode_message_send(SOCKET_FD, &m, -1, err) < 0)
		return DECODE_CLOSED;
	r = expect(DECODE_GEOMETRY, &m, &none, err);
	if (r != 0)
		return r;
	if (worker_render(w, &file, &m.geometry, err) < 0)
		return -1;
	m.type = DECODE_DONE;
	return decode_message_send(SOCKET_FD, &m, -1, err) < 0 ? DECODE_CLOSED : 0;
}

static int worker_run(struct worker *w, struct error *err)
{
	for (;;) {
		struct decode_message m = {.type = DECODE_READY};
		struct error image_err = ERROR_INIT;
		cleanup_close int fd = -1;
		int r = expect(DECODE_OPEN, &m, &fd, err);

		if (r == 0)
			r = worker_image(w, fd, &image_err);
		if (r == DECODE_CLOSED)
			return 0;
		if (r < 0 && image_err.code == ERR_NONE)
			return -1; /* the conversation itself broke */
		if (r < 0) {
			m.type = DECODE_FAILED;
			m.failed = image_err;
			if (decode_message_send(SOCKET_FD, &m, -1, err) < 0)
				return -1;
		}
	}
}

int main(void)
{
	struct worker w = {.slot = NULL};
	struct error err = ERROR_INIT;
	int r;

	/* Ctrl-C belongs to the daemon, which ends its workers by closing their sockets. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = worker_start(&w, &err);
	if (r == 0)
		r = worker_run(&w, &err);
	if (r < 0) {
		fprintf(stderr, "latentd-decode: %s\n", err.message);
		return 1;
	}
	return 0;
}
