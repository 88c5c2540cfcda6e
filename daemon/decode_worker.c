/*
 * latentd-decode: turns image files into bucket-sized pixels in a process of its own, so that a
 * file that crashes, hangs or attacks a decoder costs that one image. It holds two descriptors, the socket to the
 * daemon and the slots, and a third while it reads a file. decode_protocol.h has the conversation; before READY
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

struct berth {
	bool taken;
	struct buffer file;
};

struct worker {
	enum decode_mode mode;
	struct image_limits limits;
	uint8_t *slots;	   /* NULL: none */
	size_t slot_bytes; /* of each berth */
	struct berth berths[DECODE_BERTHS];
};

static int worker_start(struct worker *w, struct error *err)
{
	struct decode_message m = {.type = DECODE_READY};
	cleanup_close int fd = -1;
	size_t most, slots;
	int r = decode_message_receive(SOCKET_FD, &m, &fd, err);

	if (r != 0)
		return r;
	if (m.type != DECODE_START || !size_mul(m.start.slot_bytes, DECODE_BERTHS, &slots))
		return error_set(err, ERR_BUG, "message %d where START belongs", m.type);
	w->mode = m.start.mode;
	w->limits = m.start.limits;
	w->slot_bytes = m.start.slot_bytes;
	if (slots > 0) {
		void *mapped = mmap(NULL, slots, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (mapped == MAP_FAILED)
			return error_sys(err, "map the slots");
		w->slots = mapped;
	}
	memset(&m, 0, sizeof(m));
	m.type = DECODE_READY;
	most = decode_memory_most(&w->limits, slots);
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

/* One step each. Below zero: *err is about this image. DECODE_CLOSED: the daemon is gone. */
static int look(struct worker *w, struct berth *b, int fd, struct error *err)
{
	struct image_header header;

	if (w->mode == DECODE_MODE_HEADERS) {
		if (image_read_header_fd(fd, &w->limits, &b->file, &header, err) < 0)
			return -1;
		return send_header(&header);
	}
	if (image_read_file_fd(fd, &w->limits, &b->file, err) < 0)
		return -1;
	if (send_hash(&b->file) != 0)
		return DECODE_CLOSED;
	if (image_read_header(b->file.data, b->file.size, &w->limits, &header, err) < 0)
		return -1;
	return send_header(&header);
}

/* Writes the pixels that are asked for into the berth's slot. */
static int draw(struct worker *w, struct berth *b, const struct decode_message *m,
		struct error *err)
{
	struct decode_message done = {.type = DECODE_DONE};
	uint8_t *slot = w->slots + m->berth * w->slot_bytes;
	struct error gone = ERROR_INIT;
	int64_t resize_ns;
	size_t bytes;

	if (!render_pixel_bytes(m->draw.geometries, m->draw.n, &bytes) || bytes > w->slot_bytes)
		return error_set(err, ERR_BUG, "what is wanted does not fit the slot");
	if (image_render_many(b->file.data, b->file.size, &w->limits, &m->draw.policy,
			      m->draw.geometries, m->draw.n, slot, &resize_ns, err) < 0)
		return -1;
	done.done.resize_ns = (uint64_t)resize_ns;
	return decode_message_send(SOCKET_FD, &done, -1, &gone) < 0 ? DECODE_CLOSED : 0;
}

static void leave(struct berth *b)
{
	b->taken = false;
	if (b->file.capacity > KEPT_BYTES)
		buffer_release(&b->file);
}

/* As the steps. */
static int worker_step(struct worker *w, const struct decode_message *m, int fd, struct error *err)
{
	struct berth *b = &w->berths[m->berth];
	int r = 0;

	if (m->type == DECODE_OPEN) {
		b->taken = true;
		r = look(w, b, fd, err);
		if (r == 0 && w->mode == DECODE_MODE_PIXELS)
			return 0;
	} else if (m->type == DECODE_GEOMETRY) {
		r = draw(w, b, m, err);
	}
	leave(b);
	return r;
}

/* What the daemon may say now: it opens what is free, and draws or skips what is taken. */
static bool belongs(const struct worker *w, const struct decode_message *m)
{
	switch (m->type) {
	case DECODE_OPEN:
		return !w->berths[m->berth].taken;
	case DECODE_GEOMETRY:
	case DECODE_SKIP:
		return w->berths[m->berth].taken;
	default:
		return false;
	}
}

static int worker_run(struct worker *w, struct error *err)
{
	for (;;) {
		struct decode_message m = {.type = DECODE_READY};
		struct decode_message failed = {.type = DECODE_FAILED, .failed = ERROR_INIT};
		cleanup_close int fd = -1;
		int r = decode_message_receive(SOCKET_FD, &m, &fd, err);

		if (r != 0)
			return r == DECODE_CLOSED ? 0 : r;
		if (!belongs(w, &m))
			return error_set(err, ERR_BUG, "message %d of berth %u is out of place",
					 m.type, m.berth);
		r = worker_step(w, &m, fd, &failed.failed);
		if (r == DECODE_CLOSED)
			return 0;
		if (r < 0 && decode_message_send(SOCKET_FD, &failed, -1, err) < 0)
			return -1;
	}
}

int main(void)
{
	struct worker w = {.mode = DECODE_MODE_PIXELS};
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
	for (size_t i = 0; i < DECODE_BERTHS; i++)
		buffer_release(&w.berths[i].file);
	if (r < 0) {
		fprintf(stderr, "latentd-decode: %s\n", err.message);
		return 1;
	}
	return 0;
}
