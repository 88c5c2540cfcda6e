#include "daemon/packet.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* -- the socket ----------------------------------------------------------------------------------- */

int packet_send(int socket, const void *bytes, size_t size, int fd, struct error *err)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	iov = (struct iovec){(void *)(uintptr_t)bytes, size};
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

int packet_receive(int socket, void *bytes, size_t capacity, size_t *size, int *fd,
		   struct error *err)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = {bytes, capacity};
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
		return PACKET_CLOSED;
	if (n < 0)
		return error_sys(err, "receive from the other process");
	received = received_fd(&msg);
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return error_data(err, "protocol", "a message that is too long");
	*size = (size_t)n;
	*fd = TAKE_FD(received);
	return 0;
}

/* -- what is in them ------------------------------------------------------------------------------ */

void packet_put_string(struct buffer *out, const char *s)
{
	size_t n = strlen(s);

	buffer_put_u16(out, (uint16_t)n);
	buffer_append(out, s, n);
}

const uint8_t *packet_take(struct packet_cursor *c, size_t n)
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

uint64_t packet_u64(struct packet_cursor *c)
{
	return get_u64le(packet_take(c, 8));
}

uint64_t packet_positive(struct packet_cursor *c)
{
	uint64_t value = packet_u64(c);

	if (value == 0)
		c->ok = false;
	return value;
}

unsigned packet_below(struct packet_cursor *c, unsigned limit)
{
	unsigned value = *packet_take(c, 1);

	if (value >= limit)
		c->ok = false;
	return c->ok ? value : 0;
}

void packet_string(struct packet_cursor *c, char *out, size_t size)
{
	size_t n = get_u16le(packet_take(c, 2));
	const uint8_t *at;

	out[0] = '\0';
	if (n >= size) {
		c->ok = false;
		return;
	}
	at = packet_take(c, n);
	if (!c->ok)
		return;
	for (size_t i = 0; i < n; i++)
		out[i] = at[i] < 0x20 || at[i] == 0x7f ? '?' : (char)at[i];
	out[n] = '\0';
	if (!utf8_valid(out, n))
		c->ok = false;
}
