/*
 * latentd-decode: turns image files into bucket-sized pixels in a process of its own, so that a
 * file that crashes, hangs or attacks a decoder costs that one image. It holds three descriptors: the
 * socket to the daemon, the slot, and the file it is at. decode_protocol.h has the conversation; before READY
 * the process confines itself.
 */
#include "daemon/decode_memory.h"
#include "daemon/decode_protocol.h"

#include "base/checked.h"
#include "image/header_fd.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

enum { SOCKET_FD = 3 };

/* A file's buffer that is larger is not kept for the next one. */
#define KEPT_BYTES ((size_t)8 << 20)

struct worker {
	enum decode_mode mode;
	struct image_limits limits;
	uint8_t *slot; /* NULL: none */
	size_t slot_bytes;
	struct buffer file;
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
	size_t most;
	int r = expect(DECODE_START, &m, &fd, err);

	if (r != 0)
		return r;
	w->mode = m.start.mode;
	w->limits = m.start.limits;
	w->slot_bytes = m.start.slot_bytes;
	if (w->slot_bytes > 0) {
		void *slot = mmap(NULL, w->slot_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (slot == MAP_FAILED)
			return error_sys(err, "map the slot");
		w->slot = slot;
	}
	memset(&m, 0, sizeof(m));
	m.type = DECODE_READY;
	most = decode_memory_most(&w->limits, w->slot_bytes);
	tzset(); /* lcms asks for the time, and the C library would open the time zone then */
	confine(&(struct confine_options){SOCKET_FD, most}, &m.ready);
	return decode_message_send(SOCKET_FD, &m, -1, err);
}

static int send_header(const struct image_header *header)
{
	struct decode_message m = {.type = DECODE_HEADER, .header = *header};
	struct error gone = ERROR_INIT;

	return decode_message_send(SOCKET_FD, &m, -1, &gone) < 0 ? DECODE_CLOSED : 0;
}

static int send_hash(const struct buffer *file)
{
	struct decode_message m = {.type = DECODE_HASHED,
				   .hashed = {hash128_of(file->data, file->size), file->size}};
	struct error gone = ERROR_INIT;

	return decode_message_send(SOCKET_FD, &m, -1, &gone) < 0 ? DECODE_CLOSED : 0;
}

/* Writes the pixels that @geometry asks for into the slot. */
static int worker_render(struct worker *w, const struct render_geometry *geometry,
			 const struct image_policy *policy, struct error *err)
{
	size_t bytes;

	if (!size_mul3(geometry->width, geometry->height, 3, &bytes) || bytes > w->slot_bytes)
		return error_set(err, ERR_BUG, "the target does not fit the slot");
	return image_render(w->file.data, w->file.size, &w->limits, policy, geometry, w->slot, err);
}

/*
 * One image of each mode, from the descriptor to the last message or SKIP. Below zero: *err is about this
 * image. DECODE_CLOSED: the daemon is gone.
 */
static int look_at_header(struct worker *w, int fd, struct error *err)
{
	struct image_header header;

	if (image_read_header_fd(fd, &w->limits, &w->file, &header, err) < 0)
		return -1;
	return send_header(&header);
}

static int look_at_all(struct worker *w, int fd, struct error *err)
{
	struct image_header header;
	int r;

	if (image_read_file_fd(fd, &w->limits, &w->file, err) < 0)
		return -1;
	r = send_hash(&w->file);
	if (r != 0)
		return r;
	if (image_read_header(w->file.data, w->file.size, &w->limits, &header, err) < 0)
		return -1;
	return send_header(&header);
}

static int draw(struct worker *w, int fd, struct error *err)
{
	struct decode_message m;
	struct image_header header;
	int none = -1, r;

	if (image_read_file_fd(fd, &w->limits, &w->file, err) < 0)
		return -1;
	r = send_hash(&w->file);
	if (r != 0)
		return r;
	r = decode_message_receive(SOCKET_FD, &m, &none, err);
	if (r != 0)
		return r;
	if (m.type == DECODE_SKIP)
		return 0;
	if (m.type != DECODE_DECODE)
		return error_set(err, ERR_BUG, "message %d where DECODE or SKIP belongs", m.type);

	if (image_read_header(w->file.data, w->file.size, &w->limits, &header, err) < 0)
		return -1;
	r = send_header(&header);
	if (r == 0)
		r = decode_message_receive(SOCKET_FD, &m, &none, err);
	if (r != 0)
		return r;
	if (m.type == DECODE_SKIP)
		return 0;
	if (m.type != DECODE_GEOMETRY)
		return error_set(err, ERR_BUG, "message %d where GEOMETRY or SKIP belongs", m.type);
	if (worker_render(w, &m.draw.geometry, &m.draw.policy, err) < 0)
		return -1;
	m.type = DECODE_DONE;
	return decode_message_send(SOCKET_FD, &m, -1, err) < 0 ? DECODE_CLOSED : 0;
}

static int (*const by_mode[])(struct worker *w, int fd, struct error *err) = {
    [DECODE_MODE_PIXELS] = draw,
    [DECODE_MODE_HEADERS] = look_at_header,
    [DECODE_MODE_HASHES] = look_at_all,
};

static int worker_run(struct worker *w, struct error *err)
{
	for (;;) {
		struct decode_message m = {.type = DECODE_READY};
		struct error image_err = ERROR_INIT;
		cleanup_close int fd = -1;
		int r = expect(DECODE_OPEN, &m, &fd, err);

		if (r == 0)
			r = by_mode[w->mode](w, fd, &image_err);
		if (w->file.capacity > KEPT_BYTES)
			buffer_release(&w->file);
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
	struct worker w = {.file = BUFFER_INIT};
	struct error err = ERROR_INIT;
	int r;

	/* Ctrl-C belongs to the daemon, which ends its workers by closing their sockets. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	/* Where the daemon died before this call, the socket is closed: no image comes, and worker_run ends. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = worker_start(&w, &err);
	if (r == 0)
		r = worker_run(&w, &err);
	buffer_release(&w.file);
	if (r < 0) {
		fprintf(stderr, "latentd-decode: %s\n", err.message);
		return 1;
	}
	return 0;
}
