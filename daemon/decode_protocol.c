/*
 * Layout of a packet: u8 version, u8 type, u8 berth where there is one, then the fields of that type in the order of the struct,
 * u64 and doubles little-endian, strings as u16 length and bytes.
 */
#include "daemon/decode_protocol.h"

#include "daemon/packet.h"

#include "base/buffer.h"

#include <stdio.h>
#include <string.h>

static bool has_berth(enum decode_message_type type)
{
	return type == DECODE_OPEN || type == DECODE_GEOMETRY || type == DECODE_SKIP;
}

/* -- writing -------------------------------------------------------------------------------------- */

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
	buffer_put_u8(out, (uint8_t)m->draw.n);
	for (size_t i = 0; i < m->draw.n; i++) {
		const struct render_geometry *g = &m->draw.geometries[i];

		buffer_put_u64(out, g->full_width);
		buffer_put_u64(out, g->full_height);
		buffer_put_u64(out, g->left);
		buffer_put_u64(out, g->top);
		buffer_put_u64(out, g->width);
		buffer_put_u64(out, g->height);
		buffer_put_u8(out, (uint8_t)g->filter);
	}
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
		packet_put_string(out, m->failed.reason);
		packet_put_string(out, m->failed.message);
		break;
	case DECODE_DONE:
		buffer_put_u64(out, m->done.resize_ns);
		break;
	case DECODE_OPEN:
	case DECODE_SKIP:
		break;
	}
}

/* -- reading ----------------------------------------------------------------------------------- */

static void parse_start(struct packet_cursor *c, struct decode_message *m)
{
	m->start.mode = (enum decode_mode)packet_below(c, DECODE_MODE_HASHES + 1);
	m->start.limits.max_file_bytes = packet_u64(c);
	m->start.limits.max_pixels = packet_u64(c);
	m->start.limits.max_side = packet_u64(c);
	m->start.slot_bytes = packet_u64(c);
	if ((m->start.slot_bytes > 0) != (m->start.mode == DECODE_MODE_PIXELS))
		c->ok = false;
}

static void parse_ready(struct packet_cursor *c, struct decode_message *m)
{
	m->ready.seccomp = packet_below(c, 2) != 0;
	m->ready.rlimits = packet_below(c, 2) != 0;
	m->ready.landlock = packet_below(c, 256);
}

static void parse_draw(struct packet_cursor *c, struct decode_message *m)
{
	m->draw.n = packet_below(c, RENDERS_MAX + 1);
	if (m->draw.n == 0)
		c->ok = false;
	for (size_t i = 0; i < m->draw.n; i++) {
		struct render_geometry *g = &m->draw.geometries[i];

		g->full_width = packet_positive(c);
		g->full_height = packet_positive(c);
		g->left = packet_u64(c);
		g->top = packet_u64(c);
		g->width = packet_positive(c);
		g->height = packet_positive(c);
		g->filter = (enum resample_filter)packet_below(c, FILTER_KOHYA + 1);
	}
	m->draw.policy.apply_exif = packet_below(c, 2) != 0;
	m->draw.policy.color = (enum image_color)packet_below(c, COLOR_IGNORE + 1);
	m->draw.policy.alpha = (enum image_alpha)packet_below(c, ALPHA_ALONE + 1);
	memcpy(m->draw.policy.background, packet_take(c, 3), 3);
	m->draw.policy.jpeg_scaling = packet_below(c, 2) != 0;
}

static void parse_header(struct packet_cursor *c, struct decode_message *m)
{
	m->header.format = (enum image_format)packet_below(c, IMAGE_FORMATS);
	m->header.width = packet_positive(c);
	m->header.height = packet_positive(c);
	m->header.orientation = packet_below(c, 9);
	m->header.decode_bytes = packet_u64(c);
	if (m->header.orientation == 0)
		c->ok = false;
}

static void parse_failed(struct packet_cursor *c, struct decode_message *m)
{
	m->failed.code = (enum error_code)packet_below(c, ERR_BUG + 1);
	packet_string(c, m->failed.reason, sizeof(m->failed.reason));
	packet_string(c, m->failed.message, sizeof(m->failed.message));
	if (m->failed.code == ERR_NONE || (m->failed.code == ERR_DATA && !m->failed.reason[0]))
		c->ok = false;
}

int decode_message_parse(const uint8_t *bytes, size_t size, struct decode_message *m,
			 struct error *err)
{
	struct packet_cursor c = {bytes, size, true};
	struct decode_message parsed;

	memset(&parsed, 0, sizeof(parsed));
	if (*packet_take(&c, 1) != DECODE_PROTOCOL_VERSION)
		return error_data(err, "protocol", "not a message of protocol version %d",
				  DECODE_PROTOCOL_VERSION);
	parsed.type = (enum decode_message_type) * packet_take(&c, 1);
	if (has_berth(parsed.type))
		parsed.berth = packet_below(&c, DECODE_BERTHS);
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
		memcpy(parsed.hashed.content.bytes, packet_take(&c, 16), 16);
		parsed.hashed.bytes = packet_u64(&c);
		break;
	case DECODE_HEADER:
		parse_header(&c, &parsed);
		break;
	case DECODE_FAILED:
		parse_failed(&c, &parsed);
		break;
	case DECODE_DONE:
		parsed.done.resize_ns = packet_u64(&c);
		break;
	case DECODE_OPEN:
	case DECODE_SKIP:
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

	decode_message_format(m, &bytes);
	return packet_send(socket, bytes.data, bytes.size, fd, err);
}

int decode_message_receive(int socket, struct decode_message *m, int *fd, struct error *err)
{
	uint8_t bytes[DECODE_MESSAGE_MAX];
	cleanup_close int received = -1;
	size_t size = 0;
	int r = packet_receive(socket, bytes, sizeof(bytes), &size, &received, err);

	if (r != 0)
		return r == PACKET_CLOSED ? DECODE_CLOSED : r;
	if (decode_message_parse(bytes, size, m, err) < 0)
		return -1;
	*fd = TAKE_FD(received);
	return 0;
}
