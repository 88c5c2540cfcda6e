/*
 * A decode worker that does what a file tells it: "NAME" names a lie from the table below; any other
 * contents are an image of 64 x 64 pixels, whose bytes are all the file's first one. It shows what
 * decode_pool does when a decoder was taken over. "call NAME" tries a system call of hostile_calls.h; the
 * process is confined as the real one is. LYING_WORKER in the environment tells what goes wrong before the
 * first image. Where only headers are asked for, an honest one is as wide as the process had images.
 * It keeps to the order of what it is asked, but for what a lie does: when it is opened, or drawn.
 */
#include "daemon/decode_protocol.h"
#include "hostile_calls.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { SOCKET_FD = 3, SIDE = 64, SLOW_MS = 1200, HOSTILE_LIVED = 99 };

/* Far more than any test lets it have: the daemon's limits are what counts. */
#define ADDRESS_SPACE ((size_t)8 << 30)

static struct buffer files[DECODE_BERTHS]; /* what was opened */
static struct buffer file = BUFFER_INIT;   /* what it is at */
static uint8_t *slot;			   /* of that */
static uint8_t *slots;
static size_t slot_bytes, images;
static enum decode_mode mode;
static bool refuses; /* any header */

static void say(struct decode_message m)
{
	struct error err = ERROR_INIT;

	if (decode_message_send(SOCKET_FD, &m, -1, &err) < 0)
		_exit(1);
}

static void say_type(enum decode_message_type type)
{
	struct decode_message m;

	memset(&m, 0, sizeof(m));
	m.type = type;
	if (type == DECODE_DONE)
		m.done.resize_ns = UINT64_MAX; /* longer than it was asked */
	say(m);
}

static struct decode_message hear(int *fd)
{
	struct decode_message m;
	struct error err = ERROR_INIT;

	*fd = -1;
	if (decode_message_receive(SOCKET_FD, &m, fd, &err) != 0)
		_exit(0);
	return m;
}

static void say_hashed(uint64_t bytes)
{
	say((struct decode_message){.type = DECODE_HASHED,
				    .hashed = {hash128_of(file.data, file.size), bytes}});
}

static void say_header(size_t width, size_t height, size_t memory)
{
	say((struct decode_message){.type = DECODE_HEADER,
				    .header = {IMAGE_PNG, width, height, 1, memory}});
}

static void say_raw(const void *bytes, size_t size)
{
	struct iovec iov = {(void *)bytes, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (sendmsg(SOCKET_FD, &msg, MSG_NOSIGNAL) < 0)
		_exit(1);
}

static void hang(void)
{
	for (;;)
		__asm__ volatile("");
}

/* -- the lies ------------------------------------------------------------------------------------- */

static void lie_done_first(void)
{
	say_type(DECODE_DONE);
}

static void lie_header_first(void)
{
	say_header(SIDE, SIDE, 1);
}

static void lie_ready_again(void)
{
	say_type(DECODE_READY);
}

static void lie_order(void)
{
	say_type(DECODE_SKIP);
}

static void lie_hashed_huge(void)
{
	say_hashed(UINT64_MAX);
}

static void lie_garbage(void)
{
	say_raw("\xde\xad\xbe\xef garbage", 12);
}

static void lie_empty(void)
{
	say_raw("", 0);
}

static void lie_long(void)
{
	static const uint8_t bytes[4 * DECODE_MESSAGE_MAX] = {DECODE_PROTOCOL_VERSION, DECODE_DONE};

	say_raw(bytes, sizeof(bytes));
}

static void lie_failed_nothing(void)
{
	say_type(DECODE_FAILED);
}

static void lie_exit(void)
{
	_exit(3);
}

static void lie_segv(void)
{
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

static void lie_close(void)
{
	close(SOCKET_FD);
	hang();
}

static void lie_hashed_twice(void)
{
	say_hashed(1);
	say_hashed(1);
}

static void lie_done_for_header(void)
{
	say_hashed(1);
	say_type(DECODE_DONE);
}

static void header_after_hash(size_t width, size_t height, size_t memory)
{
	say_hashed(1);
	say_header(width, height, memory);
}

static void lie_header_side(void)
{
	header_after_hash(65501, 1, 1);
}

static void lie_header_overflow(void)
{
	header_after_hash((size_t)1 << 63, (size_t)1 << 63, 1);
}

static void lie_header_pixels(void)
{
	header_after_hash(65500, 65500, 1);
}

static void lie_header_memory(void)
{
	header_after_hash(SIDE, SIDE, SIZE_MAX);
}

static void lie_header_zero(void)
{
	header_after_hash(0, SIDE, 1);
}

static void lie_header_twice(void)
{
	header_after_hash(SIDE, SIDE, 1);
	say_header(SIDE, SIDE, 1);
}

static void lie_done_without_geometry(void)
{
	header_after_hash(SIDE, SIDE, 1);
	say_type(DECODE_DONE);
}

static void lie_exit_after_header(void)
{
	header_after_hash(SIDE, SIDE, 1);
	_exit(4);
}

static void lie_exit_drawing(void)
{
	_exit(5);
}

/* It is late, but not too late. */
static void lie_slow_drawing(void)
{
	int64_t end = clock_mono_ms() + SLOW_MS;

	while (clock_mono_ms() < end)
		;
	memset(slot, 's', slot_bytes);
	say_type(DECODE_DONE);
}

static void lie_hashed_drawing(void)
{
	say_hashed(1);
}

/* The image is there; what comes behind it belongs to none. */
static void lie_done_twice(void)
{
	memset(slot, 'd', slot_bytes);
	say_type(DECODE_DONE);
	say_type(DECODE_DONE);
}

/* As much memory as there is, which the limit ends; then as an honest decoder says it. */
static void lie_hog(void)
{
	struct decode_message m = {.type = DECODE_FAILED};
	volatile uint8_t *block;
	size_t mib = 0;

	while ((block = malloc((size_t)16 << 20))) {
		*block = 1;
		mib += 16;
	}
	error_set(&m.failed, ERR_NOMEM, "no memory after %zu MiB", mib);
	say(m);
}

static void lie_done_failed(void)
{
	struct decode_message m = {.type = DECODE_FAILED};

	memset(slot, 'd', slot_bytes);
	say_type(DECODE_DONE);
	error_data(&m.failed, "truncated", "an image that nobody asked for");
	say(m);
}

struct lie {
	const char *name;
	void (*tell)(void);
};

static const struct lie when_opened[] = {
    {"done_first", lie_done_first},
    {"header_first", lie_header_first},
    {"ready_again", lie_ready_again},
    {"order", lie_order},
    {"hashed_huge", lie_hashed_huge},
    {"garbage", lie_garbage},
    {"empty", lie_empty},
    {"long", lie_long},
    {"failed_nothing", lie_failed_nothing},
    {"exit", lie_exit},
    {"segv", lie_segv},
    {"close", lie_close},
    {"hang", hang},
    {"hashed_twice", lie_hashed_twice},
    {"done_for_header", lie_done_for_header},
    {"header_side", lie_header_side},
    {"header_overflow", lie_header_overflow},
    {"header_pixels", lie_header_pixels},
    {"header_memory", lie_header_memory},
    {"header_zero", lie_header_zero},
    {"header_twice", lie_header_twice},
    {"done_without_geometry", lie_done_without_geometry},
    {"exit_after_header", lie_exit_after_header},
    {"hog", lie_hog},
};

static const struct lie when_drawn[] = {
    {"exit_drawing", lie_exit_drawing},	    {"hang_drawing", hang},
    {"hashed_drawing", lie_hashed_drawing}, {"done_twice", lie_done_twice},
    {"done_failed", lie_done_failed},	    {"hog_drawing", lie_hog},
    {"slow_drawing", lie_slow_drawing},
};

/* Whether one of @lies is the file's. */
static bool lie(const struct lie *lies, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp((const char *)file.data, lies[i].name) == 0) {
			lies[i].tell();
			return true;
		}
	}
	return false;
}

/* -- an honest image ------------------------------------------------------------------------------ */

/* HASHED with descriptors that nobody asked for. */
static void say_hashed_with_descriptors(void)
{
	struct decode_message m = {.type = DECODE_HASHED,
				   .hashed = {hash128_of(file.data, file.size), file.size}};
	struct error err = ERROR_INIT;

	decode_message_send(SOCKET_FD, &m, SOCKET_FD, &err);
}

static void look_honestly(void)
{
	struct decode_message m = {.type = DECODE_FAILED};

	if (mode != DECODE_MODE_HEADERS) {
		if (file.data[0] == '+')
			say_hashed_with_descriptors();
		else
			say_hashed(file.size);
	}
	if (refuses) {
		error_data(&m.failed, "unsupported", "there is no decoder for it any more");
		say(m);
	} else if (mode == DECODE_MODE_PIXELS) {
		say_header(SIDE, SIDE, SIDE * SIDE * 3);
	} else {
		say_header(images, SIDE, 0);
	}
}

static void try_call(const char *name)
{
	for (size_t i = 0; i < hostile_calls_count; i++) {
		if (strcmp(hostile_calls[i].name, name) == 0)
			hostile_call_try(&hostile_calls[i]);
	}
	_exit(HOSTILE_LIVED);
}

static void open_image(int fd)
{
	struct error err = ERROR_INIT;

	buffer_reset(&file);
	if (fd_read_all(fd, 4096, &file, &err) < 0)
		_exit(1);
	close(fd);
	images++;
	if (strncmp((const char *)file.data, "call ", 5) == 0)
		try_call((const char *)file.data + 5);
	if (!lie(when_opened, ARRAY_SIZE(when_opened)))
		look_honestly();
}

static void draw_image(void)
{
	if (lie(when_drawn, ARRAY_SIZE(when_drawn)))
		return;
	memset(slot, file.data[0], slot_bytes);
	say_type(DECODE_DONE);
}

static void one_step(void)
{
	int fd;
	struct decode_message m = hear(&fd);

	file = files[m.berth];
	slot = slots + m.berth * slot_bytes;
	if (m.type == DECODE_OPEN)
		open_image(fd);
	else if (m.type == DECODE_GEOMETRY)
		draw_image();
	files[m.berth] = file;
}

static void start(const char *how)
{
	struct decode_message m;
	int fd;

	if (strcmp(how, "exit before ready") == 0)
		_exit(0);
	m = hear(&fd);
	mode = m.start.mode;
	slot_bytes = m.start.slot_bytes;
	if (slot_bytes > 0) {
		slots = mmap(NULL, slot_bytes * DECODE_BERTHS, PROT_READ | PROT_WRITE, MAP_SHARED,
			     fd, 0);
		/* It is sealed: it cannot be made smaller under the daemon. */
		if (slots == MAP_FAILED || ftruncate(fd, 0) == 0)
			_exit(1);
		close(fd);
	}
	refuses = strcmp(how, "refuses headers") == 0;
	if (strcmp(how, "garbage before ready") == 0)
		lie_garbage();
	memset(&m, 0, sizeof(m));
	m.type = DECODE_READY;
	if (strcmp(how, "unconfined") != 0)
		confine(&(struct confine_options){SOCKET_FD, ADDRESS_SPACE}, &m.ready);
	say(m);
	if (strcmp(how, "exit when ready") == 0)
		_exit(0);
}

int main(void)
{
	const char *how = getenv("LYING_WORKER");

	/* "hang" would outlive a test that fails. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	start(how ? how : "");
	for (;;)
		one_step();
}
