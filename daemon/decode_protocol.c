/*
 * Layout of a packet: u8 version, u8 type, u8 berth where there is one, then the fields of that type in the order of the struct,
 * u64 and doubles little-endian, strings as u16 length and bytes.
 */
#include "daemon/decode_protocol.h"

#include "base/buffer.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static bool has_berth(enum decode_message_type type)
{
	return type == DECODE_OPEN || type == DECODE_GEOMETRY || type == DECODE_SKIP;
}

/* -- writing -------------------------------------------------------------------------------------- */

static void put_string(struct buffer *out, const char *s)
{
	size_t n = strlen(s);

	buffer_put_u16(out, (uint16_t)n);
	buffer_append(out, s, n);
}

static void format_start(const struct decode_message *m, struct buffer *out)
{
	buffer_put_u8(out, (uint8_t)m->start.mode);
	buffer_put_u64(out, m->start.limits.max_file_bytes);
	buffer_put_u64(out, m->start.limits.max_pixels);
	buffer_put_u64(out, m->start.limits.max_side);
	buffer_put_u64(out, m->start.slot_bytes);
}

static void format_ready(const struct decode_message *m, struct buffer *out)
{
	buffer_put_u8(out, m->ready.seccomp);
	buffer_put_u8(out, m->ready.rlimits);
	buffer_put_u8(out, (uint8_t)m->ready.landlock);
}

static void format_draw(const struct decode_message *m, struct buffer *out)
{
	buffer_put_u64(out, m->draw.geometry.full_width);
	buffer_put_u64(out, m->draw.geometry.full_height);
	buffer_put_u64(out, m->draw.geometry.left);
	buffer_put_u64(out, m->draw.geometry.top);
	buffer_put_u64(out, m->draw.geometry.width);
	buffer_put_u64(out, m->draw.geometry.height);
	buffer_put_u8(out, (uint8_t)m->draw.geometry.filter);
	buffer_put_u8(out, m->draw.policy.apply_exif);
	buffer_put_u8(out, (uint8_t)m->draw.policy.color);
	buffer_put_u8(out, (uint8_t)m->draw.policy.alpha);
	buffer_append(out, m->draw.policy.background, 3);
	buffer_put_u8(out, m->draw.policy.jpeg_scaling);
}

static void format_header(const struct decode_message *m, struct buffer *out)
{
	buffer_put_u8(out, (uint8_t)m->header.format);
	buffer_put_u64(out, m->header.width);
	buffer_put_u64(out, m->header.height);
	buffer_put_u8(out, (uint8_t)m->header.orientation);
	buffer_put_u64(out, m->header.decode_bytes);
}

void decode_message_format(const struct decode_message *m, struct buffer *out)
{
	buffer_put_u8(out, DECODE_PROTOCOL_VERSION);
	buffer_put_u8(out, (uint8_t)m->type);
	if (has_berth(m->type))
		buffer_put_u8(out, (uint8_t)m->berth);
	switch (m->type) {
	case DECODE_START:
		format_start(m, out);
		break;
	case DECODE_READY:
		format_ready(m, out);
		break;
	case DECODE_GEOMETRY:
		format_draw(m, out);
		break;
	case DECODE_HASHED:
		buffer_append(out, m->hashed.content.bytes, sizeof(m->hashed.content.bytes));
		buffer_put_u64(out, m->hashed.bytes);
		break;
	case DECODE_HEADER:
		format_header(m, out);
		break;
	case DECODE_FAILED:
		buffer_put_u8(out, (uint8_t)m->failed.code);
		put_string(out, m->failed.reason);
		put_string(out, m->failed.message);
		break;
	case DECODE_OPEN:
	case DECODE_SKIP:
	case DECODE_DONE:
		break;
	}
}

/* -- reading: a cursor that remembers whether everything was there --------------------------------- */

struct cursor {
	const uint8_t *at;
	size_t left;
	bool ok;
};

/* The next @n bytes; where there are fewer, sixteen zeros, which is enough for every number. */
static const uint8_t *take(struct cursor *c, size_t n)
{
	static const uint8_t nothing[16];
	const uint8_t *at = c->at;

	if (!c->ok || c->left < n) {
		c->ok = false;
		return nothing;
	}
	c->at += n;
	c->left -= n;
	return at;
}

static uint64_t take_u64(struct cursor *c)
{
	return get_u64le(take(c, 8));
}

/* A size or a count of which nothing can be made when it is zero. */
static uint64_t take_positive(struct cursor *c)
{
	uint64_t value = take_u64(c);

	if (value == 0)
		c->ok = false;
	return value;
}

/* A byte below @limit. */
static unsigned take_below(struct cursor *c, unsigned limit)
{
	unsigned value = *take(c, 1);

	if (value >= limit)
		c->ok = false;
	return c->ok ? value : 0;
}

/* Text of at most @size - 1 bytes; made printable, because it comes from an untrusted process. */
static void take_string(struct cursor *c, char *out, size_t size)
{
	size_t n = get_u16le(take(c, 2));
	const uint8_t *at;

	out[0] = '\0';
	if (n >= size) {
		c->ok = false;
		return;
	}
	at = take(c, n);
	if (!c->ok)
		return;
	for (size_t i = 0; i < n; i++)
		out[i] = at[i] < 0x20 || at[i] == 0x7f ? '?' : (char)at[i];
	out[n] = '\0';
	if (!utf8_valid(out, n))
		c->ok = false;
}

static void parse_start(struct cursor *c, struct decode_message *m)
{
	m->start.mode = (enum decode_mode)take_below(c, DECODE_MODE_HASHES + 1);
	m->start.limits.max_file_bytes = take_u64(c);
	m->start.limits.max_pixels = take_u64(c);
	m->start.limits.max_side = take_u64(c);
	m->start.slot_bytes = take_u64(c);
	if ((m->start.slot_bytes > 0) != (m->start.mode == DECODE_MODE_PIXELS))
		c->ok = false;
}

static void parse_ready(struct cursor *c, struct decode_message *m)
{
	m->ready.seccomp = take_below(c, 2) != 0;
	m->ready.rlimits = take_below(c, 2) != 0;
	m->ready.landlock = take_below(c, 256);
}

static void parse_draw(struct cursor *c, struct decode_message *m)
{
	m->draw.geometry.full_width = take_positive(c);
	m->draw.geometry.full_height = take_positive(c);
	m->draw.geometry.left = take_u64(c);
	m->draw.geometry.top = take_u64(c);
	m->draw.geometry.width = take_positive(c);
	m->draw.geometry.height = take_positive(c);
	m->draw.geometry.filter = (enum resample_filter)take_below(c, FILTER_KOHYA + 1);
	m->draw.policy.apply_exif = take_below(c, 2) != 0;
	m->draw.policy.color = (enum image_color)take_below(c, COLOR_IGNORE + 1);
	m->draw.policy.alpha = (enum image_alpha)take_below(c, ALPHA_DROP + 1);
	memcpy(m->draw.policy.background, take(c, 3), 3);
	m->draw.policy.jpeg_scaling = take_below(c, 2) != 0;
}

static void parse_header(struct cursor *c, struct decode_message *m)
{
	m->header.format = (enum image_format)take_below(c, IMAGE_FORMATS);
	m->header.width = take_positive(c);
	m->header.height = take_positive(c);
	m->header.orientation = take_below(c, 9);
	m->header.decode_bytes = take_u64(c);
	if (m->header.orientation == 0)
		c->ok = false;
}

static void parse_failed(struct cursor *c, struct decode_message *m)
{
	m->failed.code = (enum error_code)take_below(c, ERR_BUG + 1);
	take_string(c, m->failed.reason, sizeof(m->failed.reason));
	take_string(c, m->failed.message, sizeof(m->failed.message));
	if (m->failed.code == ERR_NONE || (m->failed.code == ERR_DATA && !m->failed.reason[0]))
		c->ok = false;
}

int decode_message_parse(const uint8_t *bytes, size_t size, struct decode_message *m,
			 struct error *err)
{
	struct cursor c = {bytes, size, true};
	struct decode_message parsed;

	memset(&parsed, 0, sizeof(parsed));
	if (*take(&c, 1) != DECODE_PROTOCOL_VERSION)
		return error_data(err, "protocol", "not a message of protocol version %d",
				  DECODE_PROTOCOL_VERSION);
	parsed.type = (enum decode_message_type) * take(&c, 1);
	if (has_berth(parsed.type))
		parsed.berth = take_below(&c, DECODE_BERTHS);
	switch (parsed.type) {
	case DECODE_START:
		parse_start(&c, &parsed);
		break;
	case DECODE_READY:
		parse_ready(&c, &parsed);
		break;
	case DECODE_GEOMETRY:
		parse_draw(&c, &parsed);
		break;
	case DECODE_HASHED:
		memcpy(parsed.hashed.content.bytes, take(&c, 16), 16);
		parsed.hashed.bytes = take_u64(&c);
		break;
	case DECODE_HEADER:
		parse_header(&c, &parsed);
		break;
	case DECODE_FAILED:
		parse_failed(&c, &parsed);
		break;
	case DECODE_OPEN:
	case DECODE_SKIP:
	case DECODE_DONE:
		break;
	default:
		c.ok = false;
	}
	if (!c.ok || c.left != 0)
		return error_data(err, "protocol", "a malformed message of type %d", parsed.type);
	*m = parsed;
	return 0;
}

void confinement_text(const struct confinement *c, char out[CONFINEMENT_TEXT_SIZE])
{
	char landlock[24] = "no landlock";

	if (c->landlock > 0)
		snprintf(landlock, sizeof(landlock), "landlock %u", c->landlock);
	snprintf(out, CONFINEMENT_TEXT_SIZE, "%s, %s, %s", c->seccomp ? "seccomp" : "no seccomp",
		 landlock, c->rlimits ? "rlimits" : "no rlimits");
}

/* -- the socket ----------------------------------------------------------------------------------- */

int decode_message_send(int socket, const struct decode_message *m, int fd, struct error *err)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	decode_message_format(m, &bytes);
	iov = (struct iovec){bytes.data, bytes.size};
	if (fd >= 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do
		n = sendmsg(socket, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_sys(err, "send to the other process");
	return 0;
}

/* The one descriptor that may come with a message; any further ones are closed. */
static int received_fd(struct msghdr *msg)
{
	int found = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (found < 0)
				found = fd;
			else
				close(fd);
		}
	}
	return found;
}

int decode_message_receive(int socket, struct decode_message *m, int *fd, struct error *err)
{
	uint8_t bytes[DECODE_MESSAGE_MAX];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	cleanup_close int received = -1;
	ssize_t n;

	/* ECONNRESET, told once, is before what the other side said: it ended and had not read everything. */
	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0 && errno == EAGAIN)
		return error_set(err, ERR_TRANSIENT, "no message is waiting");
	if (n == 0)
		return DECODE_CLOSED;
	if (n < 0)
		return error_sys(err, "receive from the other process");
	received = received_fd(&msg);
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return error_data(err, "protocol", "a message that is too long");
	if (decode_message_parse(bytes, (size_t)n, m, err) < 0)
		return -1;
	*fd = TAKE_FD(received);
	return 0;
}
