/*
 * Layout of a packet: u8 version, u8 type, then the fields of that type, u64 little-endian, strings as u16 length and
 * bytes. A name goes to the end of its packet, because it may be any bytes.
 */
#include "daemon/unpack_protocol.h"

#include "daemon/packet.h"

#include <string.h>

enum { IS_REGULAR = 1, IS_ENCRYPTED = 2, HAS_TEXT = 4, ALL_FLAGS = 7 };

/* -- writing -------------------------------------------------------------------------------------- */

static void put_limits(struct buffer *out, const struct unpack_limits *limits)
{
	buffer_put_u64(out, limits->member_bytes);
	buffer_put_u64(out, limits->text_bytes);
	buffer_put_u64(out, limits->texts_bytes);
	buffer_put_u64(out, limits->members);
	buffer_put_u64(out, limits->grown_bytes);
	buffer_put_u64(out, limits->grown_times);
}

static void put_member(struct buffer *out, const struct unpack_message *m)
{
	const struct unpack_member *member = &m->member;

	buffer_put_u8(out, (uint8_t)((member->regular ? IS_REGULAR : 0) |
				     (member->encrypted ? IS_ENCRYPTED : 0) |
				     (m->has_text ? HAS_TEXT : 0)));
	buffer_put_u64(out, member->size);
	buffer_put_u64(out, member->place);
	buffer_put_u64(out, member->offset);
	buffer_put_u64(out, member->text_size);
	buffer_append(out, member->name, strnlen(member->name, UNPACK_NAME_MAX));
}

void unpack_message_format(const struct unpack_message *m, struct buffer *out)
{
	buffer_put_u8(out, UNPACK_PROTOCOL_VERSION);
	buffer_put_u8(out, (uint8_t)m->type);
	switch (m->type) {
	case UNPACK_SAYS_START:
		put_limits(out, &m->limits);
		break;
	case UNPACK_SAYS_READY:
		buffer_put_u8(out, m->ready.seccomp);
		buffer_put_u8(out, m->ready.rlimits);
		buffer_put_u8(out, (uint8_t)m->ready.landlock);
		break;
	case UNPACK_SAYS_READ:
	case UNPACK_SAYS_MEMBER:
		put_member(out, m);
		break;
	case UNPACK_SAYS_TEXT:
	case UNPACK_SAYS_BYTES:
		buffer_append(out, m->text.bytes, m->text.size);
		break;
	case UNPACK_SAYS_OPEN:
		buffer_put_u64(out, m->size);
		break;
	case UNPACK_SAYS_WANT:
		buffer_put_u64(out, m->want.offset);
		buffer_put_u64(out, m->want.size);
		break;
	case UNPACK_SAYS_DONE:
		buffer_put_u64(out, m->done);
		break;
	case UNPACK_SAYS_FAILED:
		buffer_put_u8(out, (uint8_t)m->failed.code);
		packet_put_string(out, m->failed.reason);
		packet_put_string(out, m->failed.message);
		break;
	case UNPACK_SAYS_LIST:
	case UNPACK_SAYS_TICK:
	case UNPACK_SAYS_END:
		break;
	}
}

/* -- reading -------------------------------------------------------------------------------------- */

static void parse_limits(struct packet_cursor *c, struct unpack_limits *limits)
{
	limits->member_bytes = packet_positive(c);
	limits->text_bytes = packet_positive(c);
	limits->texts_bytes = packet_u64(c);
	limits->members = packet_positive(c);
	limits->grown_bytes = packet_u64(c);
	limits->grown_times = packet_positive(c);
	if (limits->member_bytes > SIZE_MAX / 4 || limits->text_bytes > SIZE_MAX / 4)
		c->ok = false;
}

static void parse_member(struct packet_cursor *c, struct unpack_message *m)
{
	unsigned flags = packet_below(c, ALL_FLAGS + 1);

	m->member.regular = (flags & IS_REGULAR) != 0;
	m->member.encrypted = (flags & IS_ENCRYPTED) != 0;
	m->has_text = (flags & HAS_TEXT) != 0;
	m->member.size = packet_u64(c);
	m->member.place = packet_u64(c);
	m->member.offset = packet_u64(c);
	m->member.text_size = packet_u64(c);
	m->member.text = NULL;
	m->member.name = (const char *)c->at;
	if (c->left > UNPACK_NAME_MAX || memchr(c->at, '\0', c->left) ||
	    (!m->has_text && m->member.text_size > 0))
		c->ok = false;
	c->left = 0;
}

static void parse_failed(struct packet_cursor *c, struct error *failed)
{
	failed->code = (enum error_code)packet_below(c, ERR_BUG + 1);
	packet_string(c, failed->reason, sizeof(failed->reason));
	packet_string(c, failed->message, sizeof(failed->message));
	if (failed->code == ERR_NONE || (failed->code == ERR_DATA && !failed->reason[0]))
		c->ok = false;
}

static void parse_text(struct packet_cursor *c, struct unpack_message *m)
{
	m->text.size = c->left;
	m->text.bytes = c->at;
	if (c->left == 0 || c->left > UNPACK_TEXT_MAX)
		c->ok = false;
	c->left = 0;
}

static void parse_want(struct packet_cursor *c, struct unpack_message *m)
{
	uint64_t size;

	m->want.offset = packet_u64(c);
	size = packet_u64(c);
	m->want.size = size <= UNPACK_TEXT_MAX ? (size_t)size : 0;
	if (m->want.size == 0)
		c->ok = false;
}

static void parse_fields(struct packet_cursor *c, struct unpack_message *m)
{
	switch (m->type) {
	case UNPACK_SAYS_START:
		parse_limits(c, &m->limits);
		break;
	case UNPACK_SAYS_READY:
		m->ready.seccomp = packet_below(c, 2) != 0;
		m->ready.rlimits = packet_below(c, 2) != 0;
		m->ready.landlock = packet_below(c, 256);
		break;
	case UNPACK_SAYS_READ:
	case UNPACK_SAYS_MEMBER:
		parse_member(c, m);
		break;
	case UNPACK_SAYS_TEXT:
	case UNPACK_SAYS_BYTES:
		parse_text(c, m);
		break;
	case UNPACK_SAYS_OPEN:
		m->size = packet_u64(c);
		break;
	case UNPACK_SAYS_WANT:
		parse_want(c, m);
		break;
	case UNPACK_SAYS_DONE:
		m->done = packet_u64(c);
		break;
	case UNPACK_SAYS_FAILED:
		parse_failed(c, &m->failed);
		break;
	case UNPACK_SAYS_LIST:
	case UNPACK_SAYS_TICK:
	case UNPACK_SAYS_END:
		break;
	default:
		c->ok = false;
	}
}

int unpack_message_parse(const uint8_t *bytes, size_t size, struct unpack_message *m,
			 struct error *err)
{
	struct packet_cursor c = {bytes, size, true};
	struct unpack_message parsed;

	memset(&parsed, 0, sizeof(parsed));
	if (*packet_take(&c, 1) != UNPACK_PROTOCOL_VERSION)
		return error_data(err, "protocol", "not a message of protocol version %d",
				  UNPACK_PROTOCOL_VERSION);
	parsed.type = (enum unpack_message_type) * packet_take(&c, 1);
	parse_fields(&c, &parsed);
	if (!c.ok || c.left != 0)
		return error_data(err, "protocol", "a malformed message of type %d", parsed.type);
	*m = parsed;
	return 0;
}

/* -- the socket ----------------------------------------------------------------------------------- */

int unpack_message_send(int socket, const struct unpack_message *m, int fd, struct error *err)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	unpack_message_format(m, &bytes);
	return packet_send(socket, bytes.data, bytes.size, fd, err);
}

int unpack_message_receive(int socket, uint8_t *packet, struct unpack_message *m, int *fd,
			   struct error *err)
{
	cleanup_close int received = -1;
	size_t size = 0;
	int r = packet_receive(socket, packet, UNPACK_MESSAGE_MAX, &size, &received, err);

	if (r != 0)
		return r;
	packet[size] = '\0';
	if (unpack_message_parse(packet, size, m, err) < 0)
		return -1;
	*fd = TAKE_FD(received);
	return 0;
}
