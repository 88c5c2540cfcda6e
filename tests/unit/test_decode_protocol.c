#include "daemon/decode_protocol.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

static const enum decode_message_type types[] = {DECODE_START,	  DECODE_OPEN,	DECODE_SKIP,
						 DECODE_GEOMETRY, DECODE_READY, DECODE_HASHED,
						 DECODE_HEADER,	  DECODE_DONE,	DECODE_FAILED};

/* A message of @type whose fields all differ, with values that need every byte of theirs. */
static struct decode_message example(enum decode_message_type type)
{
	struct decode_message m;

	memset(&m, 0, sizeof(m));
	m.type = type;
	switch (type) {
	case DECODE_START:
		m.start.limits =
		    (struct image_limits){0x0102030405060708, 0xa1a2a3a4a5a6a7a8, 65500};
		m.start.slot_bytes = 0xf1f2f3f4f5f6f7f8;
		break;
	case DECODE_READY:
		m.ready = (struct confinement){.seccomp = true, .rlimits = false, .landlock = 7};
		break;
	case DECODE_OPEN:
	case DECODE_SKIP:
		m.berth = 1;
		break;
	case DECODE_GEOMETRY:
		m.berth = DECODE_BERTHS - 1;
		m.draw.n = 2;
		m.draw.geometries[0] = (struct render_geometry){1000, 0x1122334455667788, 3, 4, 512,
								768,  FILTER_BICUBIC};
		m.draw.geometries[1] =
		    (struct render_geometry){2000, 3000, 5, 6, 1024, 1536, FILTER_BOX};
		m.draw.policy =
		    (struct image_policy){true, COLOR_IGNORE, ALPHA_DROP, {1, 128, 255}, true};
		break;
	case DECODE_HASHED:
		m.hashed.content = hash128_of("abc", 3);
		m.hashed.bytes = 0x8877665544332211;
		break;
	case DECODE_HEADER:
		m.header = (struct image_header){IMAGE_PNG, 640, 481, 6, 0x0123456789abcdef};
		break;
	case DECODE_DONE:
		m.done.resize_ns = 0x1122334455667788;
		break;
	case DECODE_FAILED:
		error_data(&m.failed, "truncated", "ends at byte 12 of 13, \xc3\xa9");
		break;
	default:
		break;
	}
	return m;
}

static struct buffer formatted(const struct decode_message *m)
{
	struct buffer bytes = BUFFER_INIT;

	decode_message_format(m, &bytes);
	return bytes;
}

static struct buffer example_bytes(enum decode_message_type type)
{
	struct decode_message m = example(type);

	return formatted(&m);
}

static void assert_refused(const uint8_t *bytes, size_t size)
{
	struct decode_message m = {.type = DECODE_DONE};
	struct error err = ERROR_INIT;

	assert_error(decode_message_parse(bytes, size, &m, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "protocol");
	assert_int_equal(m.type, DECODE_DONE); /* untouched */
}

static struct decode_message parsed(const struct buffer *bytes)
{
	struct decode_message m;
	struct error err = ERROR_INIT;

	assert_ok(decode_message_parse(bytes->data, bytes->size, &m, &err), &err);
	return m;
}

/* -- bytes ---------------------------------------------------------------------------------------- */

static void every_message_comes_back_as_it_went(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		cleanup_buffer struct buffer bytes = example_bytes(types[i]), again = BUFFER_INIT;
		struct decode_message m = parsed(&bytes);

		assert_int_equal(m.type, types[i]);
		again = formatted(&m);
		assert_int_equal(again.size, bytes.size);
		assert_memory_equal(again.data, bytes.data, bytes.size);
		assert_true(bytes.size <= DECODE_MESSAGE_MAX);
	}
}

static void every_field_comes_back_in_its_place(void **state)
{
	cleanup_buffer struct buffer start = example_bytes(DECODE_START);
	cleanup_buffer struct buffer ready = example_bytes(DECODE_READY);
	cleanup_buffer struct buffer open = example_bytes(DECODE_OPEN);
	cleanup_buffer struct buffer geometry = example_bytes(DECODE_GEOMETRY);
	cleanup_buffer struct buffer hashed = example_bytes(DECODE_HASHED);
	cleanup_buffer struct buffer done = example_bytes(DECODE_DONE);
	cleanup_buffer struct buffer failed = example_bytes(DECODE_FAILED);
	struct decode_message m = parsed(&start);
	struct hash128 abc = hash128_of("abc", 3);

	(void)state;
	assert_true(m.start.limits.max_file_bytes == 0x0102030405060708);
	assert_true(m.start.limits.max_pixels == 0xa1a2a3a4a5a6a7a8);
	assert_int_equal(m.start.limits.max_side, 65500);
	assert_true(m.start.slot_bytes == 0xf1f2f3f4f5f6f7f8);
	m = parsed(&ready);
	assert_true(m.ready.seccomp && !m.ready.rlimits);
	assert_int_equal(m.ready.landlock, 7);
	m = parsed(&open);
	assert_int_equal(m.berth, 1);
	m = parsed(&geometry);
	assert_int_equal(m.berth, DECODE_BERTHS - 1);
	assert_int_equal(m.draw.n, 2);
	assert_int_equal(m.draw.geometries[0].full_width, 1000);
	assert_true(m.draw.geometries[0].full_height == 0x1122334455667788);
	assert_int_equal(m.draw.geometries[0].left, 3);
	assert_int_equal(m.draw.geometries[0].top, 4);
	assert_int_equal(m.draw.geometries[0].width, 512);
	assert_int_equal(m.draw.geometries[0].height, 768);
	assert_int_equal(m.draw.geometries[0].filter, FILTER_BICUBIC);
	assert_int_equal(m.draw.geometries[1].height, 1536);
	assert_int_equal(m.draw.geometries[1].filter, FILTER_BOX);
	assert_true(m.draw.policy.apply_exif);
	assert_int_equal(m.draw.policy.color, COLOR_IGNORE);
	assert_int_equal(m.draw.policy.alpha, ALPHA_DROP);
	assert_true(m.draw.policy.jpeg_scaling);
	assert_memory_equal(m.draw.policy.background, ((uint8_t[]){1, 128, 255}), 3);
	m = parsed(&done);
	assert_true(m.done.resize_ns == 0x1122334455667788);
	m = parsed(&hashed);
	assert_true(hash128_equal(&m.hashed.content, &abc));
	assert_true(m.hashed.bytes == 0x8877665544332211);
	m = parsed(&failed);
	assert_int_equal(m.failed.code, ERR_DATA);
	assert_string_equal(m.failed.reason, "truncated");
	assert_string_equal(m.failed.message, "ends at byte 12 of 13, \xc3\xa9");
}

static void the_bytes_of_a_header_are_those_of_the_layout(void **state)
{
	static const uint8_t want[] = {6,    66,   1, /* version, type, PNG */
				       0x80, 2,	   0,	 0,    0,    0,	   0,	 0, /* 640 */
				       0xe1, 1,	   0,	 0,    0,    0,	   0,	 0, /* 481 */
				       6,    0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01};
	cleanup_buffer struct buffer bytes = example_bytes(DECODE_HEADER);
	struct decode_message m = parsed(&bytes);

	(void)state;
	assert_int_equal(bytes.size, sizeof(want));
	assert_memory_equal(bytes.data, want, sizeof(want));
	assert_int_equal(m.header.format, IMAGE_PNG);
	assert_int_equal(m.header.width, 640);
	assert_int_equal(m.header.height, 481);
	assert_int_equal(m.header.orientation, 6);
	assert_true(m.header.decode_bytes == 0x0123456789abcdef);
}

static void every_beginning_of_every_message_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		cleanup_buffer struct buffer bytes = example_bytes(types[i]);

		for (size_t size = 0; size < bytes.size; size++) {
			/* Exactly as long as said, so that a sanitizer sees a read behind it. */
			cleanup_free uint8_t *cut = xmalloc(size > 0 ? size : 1);

			memcpy(cut, bytes.data, size);
			assert_refused(cut, size);
		}
	}
}

static void a_byte_too_many_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		cleanup_buffer struct buffer bytes = example_bytes(types[i]);

		buffer_put_u8(&bytes, 0);
		assert_refused(bytes.data, bytes.size);
	}
}

static void another_version_and_unknown_types_are_refused(void **state)
{
	cleanup_buffer struct buffer bytes = example_bytes(DECODE_READY);

	(void)state;
	for (unsigned version = 0; version < 256; version++) {
		bytes.data[0] = (uint8_t)version;
		if (version != DECODE_PROTOCOL_VERSION)
			assert_refused(bytes.data, bytes.size);
	}
	bytes.data[0] = DECODE_PROTOCOL_VERSION;
	for (unsigned type = 0; type < 256; type++) {
		bytes.data[1] = (uint8_t)type;
		if (type < DECODE_START || (type > DECODE_GEOMETRY && type < DECODE_READY) ||
		    type > DECODE_FAILED)
			assert_refused(bytes.data, bytes.size);
	}
}

static void a_value_outside_its_enumeration_is_refused(void **state)
{
	static const struct {
		enum decode_message_type type;
		size_t offset; /* of a byte that is @low to @high */
		unsigned low, high;
	} ranges[] = {
	    {DECODE_START, 2, DECODE_MODE_PIXELS, DECODE_MODE_PIXELS}, /* the others have no slot */
	    {DECODE_READY, 2, 0, 1},
	    {DECODE_READY, 3, 0, 1},
	    {DECODE_OPEN, 2, 0, DECODE_BERTHS - 1},
	    {DECODE_SKIP, 2, 0, DECODE_BERTHS - 1},
	    {DECODE_GEOMETRY, 2, 0, DECODE_BERTHS - 1},
	    {DECODE_GEOMETRY, 3, 2, 2}, /* the length says how many there are */
	    {DECODE_GEOMETRY, 4 + 6 * 8, 0, FILTER_KOHYA},
	    {DECODE_GEOMETRY, 4 + 6 * 8 + 49, 0, FILTER_KOHYA},
	    {DECODE_GEOMETRY, 5 + 6 * 8 + 49, 0, 1},
	    {DECODE_GEOMETRY, 6 + 6 * 8 + 49, 0, COLOR_IGNORE},
	    {DECODE_GEOMETRY, 7 + 6 * 8 + 49, 0, ALPHA_ALONE},
	    {DECODE_GEOMETRY, 11 + 6 * 8 + 49, 0, 1},
	    {DECODE_HEADER, 2, 0, IMAGE_FORMATS - 1},
	    {DECODE_HEADER, 3 + 2 * 8, 1, 8},
	    {DECODE_FAILED, 2, ERR_TRANSIENT, ERR_BUG},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		cleanup_buffer struct buffer bytes = example_bytes(ranges[i].type);

		for (unsigned value = 0; value < 256; value++) {
			bytes.data[ranges[i].offset] = (uint8_t)value;
			if (value < ranges[i].low || value > ranges[i].high)
				assert_refused(bytes.data, bytes.size);
			else
				parsed(&bytes);
		}
	}
}

static void only_the_mode_for_pixels_has_a_slot(void **state)
{
	(void)state;
	for (uint8_t mode = DECODE_MODE_HEADERS; mode <= DECODE_MODE_HASHES; mode++) {
		cleanup_buffer struct buffer bytes = example_bytes(DECODE_START);
		struct decode_message m;

		bytes.data[2] = mode;
		assert_refused(bytes.data, bytes.size);
		memset(bytes.data + 3 + 3 * 8, 0, 8);
		m = parsed(&bytes);
		assert_int_equal(m.start.mode, mode);
		assert_int_equal(m.start.slot_bytes, 0);
	}
}

static void a_size_of_zero_is_refused(void **state)
{
	static const struct {
		enum decode_message_type type;
		size_t offset; /* of eight bytes */
	} sizes[] = {
	    {DECODE_HEADER, 3},	   {DECODE_HEADER, 11},		  {DECODE_GEOMETRY, 4},
	    {DECODE_GEOMETRY, 12}, {DECODE_GEOMETRY, 4 + 4 * 8},  {DECODE_GEOMETRY, 4 + 5 * 8},
	    {DECODE_GEOMETRY, 53}, {DECODE_GEOMETRY, 53 + 5 * 8}, {DECODE_START, 3 + 3 * 8}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_buffer struct buffer bytes = example_bytes(sizes[i].type);

		memset(bytes.data + sizes[i].offset, 0, 8);
		assert_refused(bytes.data, bytes.size);
	}
}

/* FAILED with these strings, by hand: decode_message_format would not write them. */
static struct buffer failed_bytes(const char *reason, size_t reason_size, const char *message,
				  size_t message_size)
{
	struct buffer b = BUFFER_INIT;

	buffer_put_u8(&b, DECODE_PROTOCOL_VERSION);
	buffer_put_u8(&b, DECODE_FAILED);
	buffer_put_u8(&b, ERR_DATA);
	buffer_put_u16(&b, (uint16_t)reason_size);
	buffer_append(&b, reason, reason_size);
	buffer_put_u16(&b, (uint16_t)message_size);
	buffer_append(&b, message, message_size);
	return b;
}

static void strings_longer_than_their_room_are_refused(void **state)
{
	char text[600];
	cleanup_buffer struct buffer fits = BUFFER_INIT, reason = BUFFER_INIT,
				     message = BUFFER_INIT;
	struct decode_message m;

	(void)state;
	memset(text, 'a', sizeof(text));
	fits = failed_bytes(text, 23, text, 511);
	m = parsed(&fits);
	assert_int_equal(strlen(m.failed.reason), 23);
	assert_int_equal(strlen(m.failed.message), 511);
	reason = failed_bytes(text, 24, text, 3);
	message = failed_bytes(text, 3, text, 512);
	assert_refused(reason.data, reason.size);
	assert_refused(message.data, message.size);
}

static void a_string_length_beyond_the_message_is_refused(void **state)
{
	cleanup_buffer struct buffer bytes = failed_bytes("bad", 3, "message", 7);

	(void)state;
	bytes.data[3] = 0xff;
	bytes.data[4] = 0xff;
	assert_refused(bytes.data, bytes.size);
	bytes.data[3] = 20; /* fits a reason, reaches past the end */
	bytes.data[4] = 0;
	assert_refused(bytes.data, bytes.size);
}

static void what_a_worker_says_is_utf8_without_control_bytes(void **state)
{
	cleanup_buffer struct buffer controls = failed_bytes("b\0d", 3, "a\x1b[2J\x7f\n", 7);
	cleanup_buffer struct buffer foreign = failed_bytes("bad", 3, "\xff", 1);
	cleanup_buffer struct buffer nameless = failed_bytes("", 0, "ERR_DATA names a reason", 23);
	struct decode_message m = parsed(&controls);

	(void)state;
	assert_string_equal(m.failed.reason, "b?d");
	assert_string_equal(m.failed.message, "a?[2J??");
	assert_refused(foreign.data, foreign.size);
	assert_refused(nameless.data, nameless.size);
}

/* -- the socket ----------------------------------------------------------------------------------- */

struct pair {
	int a, b;
};

static int setup(void **state)
{
	static struct pair pair;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	pair = (struct pair){ends[0], ends[1]};
	fcntl(pair.b, F_SETFL, O_NONBLOCK);
	*state = &pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	if (pair->a >= 0)
		close(pair->a);
	close(pair->b);
	return 0;
}

static size_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Sends @bytes with @n copies of standard input. */
static void send_raw(int socket, const void *bytes, size_t size, size_t n)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(16 * sizeof(int))];
	} control = {.space = {0}};
	struct iovec iov = {(void *)bytes, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n > 0) {
		struct cmsghdr *c;
		int fds[16] = {0};

		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	assert_int_equal(sendmsg(socket, &msg, 0), (ssize_t)size);
}

static void a_message_crosses_the_socket_with_its_descriptor(void **state)
{
	struct pair *pair = *state;
	struct decode_message sent = example(DECODE_OPEN), got;
	struct error err = ERROR_INIT;
	int file = memfd_create("a file", MFD_CLOEXEC), fd = -1;
	struct stat a, b;

	assert_ok(decode_message_send(pair->a, &sent, file, &err), &err);
	assert_ok(decode_message_receive(pair->b, &got, &fd, &err), &err);
	assert_int_equal(got.type, DECODE_OPEN);
	assert_true(fd >= 0 && fd != file);
	assert_int_equal(fstat(file, &a) | fstat(fd, &b), 0);
	assert_true(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(file);
	close(fd);
}

static void a_message_without_a_descriptor_says_so(void **state)
{
	struct pair *pair = *state;
	struct decode_message sent = example(DECODE_HEADER), got;
	struct error err = ERROR_INIT;
	int fd = 99;

	assert_ok(decode_message_send(pair->a, &sent, -1, &err), &err);
	assert_ok(decode_message_receive(pair->b, &got, &fd, &err), &err);
	assert_int_equal(fd, -1);
	assert_int_equal(got.header.width, 640);
}

static void descriptors_beyond_the_first_are_closed(void **state)
{
	struct pair *pair = *state;
	cleanup_buffer struct buffer bytes = example_bytes(DECODE_OPEN);
	size_t before = open_descriptors();
	struct decode_message got;
	struct error err = ERROR_INIT;
	int fd = -1;

	send_raw(pair->a, bytes.data, bytes.size, 3);
	assert_ok(decode_message_receive(pair->b, &got, &fd, &err), &err);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(open_descriptors(), before);
}

static void a_message_that_is_refused_leaves_no_descriptor(void **state)
{
	struct pair *pair = *state;
	cleanup_buffer struct buffer bytes = example_bytes(DECODE_OPEN);
	size_t before = open_descriptors();
	struct decode_message got;
	int fd = -1;

	for (size_t i = 0; i < 2; i++) {
		struct error err = ERROR_INIT;

		if (i == 0)
			send_raw(pair->a, bytes.data, bytes.size, 12); /* too many to take */
		else
			send_raw(pair->a, "garbage", 7, 1);
		assert_error(decode_message_receive(pair->b, &got, &fd, &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "protocol");
		assert_int_equal(fd, -1);
		assert_int_equal(open_descriptors(), before);
	}
}

static void a_packet_longer_than_any_message_is_refused(void **state)
{
	struct pair *pair = *state;
	uint8_t bytes[DECODE_MESSAGE_MAX + 1] = {DECODE_PROTOCOL_VERSION, DECODE_DONE};
	struct decode_message got;
	struct error err = ERROR_INIT;
	int fd = -1;

	send_raw(pair->a, bytes, sizeof(bytes), 0);
	assert_error(decode_message_receive(pair->b, &got, &fd, &err), &err, ERR_DATA);
}

static void nothing_there_yet_is_transient(void **state)
{
	struct pair *pair = *state;
	struct decode_message got;
	struct error err = ERROR_INIT;
	int fd = -1;

	assert_error(decode_message_receive(pair->b, &got, &fd, &err), &err, ERR_TRANSIENT);
}

static void a_side_that_is_gone_is_closed_after_its_last_message(void **state)
{
	struct pair *pair = *state;
	struct decode_message sent = example(DECODE_DONE), got;
	struct error err = ERROR_INIT;
	int fd = -1;

	assert_ok(decode_message_send(pair->a, &sent, -1, &err), &err);
	close(pair->a);
	pair->a = -1;
	assert_ok(decode_message_receive(pair->b, &got, &fd, &err), &err);
	assert_int_equal(got.type, DECODE_DONE);
	assert_int_equal(decode_message_receive(pair->b, &got, &fd, &err), DECODE_CLOSED);
	assert_int_equal(err.code, ERR_NONE);
	/* And to send to it is an error, not the end of this process. */
	assert_error(decode_message_send(pair->b, &sent, -1, &err), &err, ERR_IO);
}

/* What a worker said before it died tells which image it died of. */
static void what_a_side_said_is_heard_though_it_left_messages_unread(void **state)
{
	struct pair *pair = *state;
	struct decode_message unread = example(DECODE_SKIP), got;
	struct error err = ERROR_INIT;
	int fd = -1;

	for (enum decode_message_type type = DECODE_HASHED; type <= DECODE_DONE; type++) {
		struct decode_message said = example(type);

		assert_ok(decode_message_send(pair->a, &said, -1, &err), &err);
	}
	assert_ok(decode_message_send(pair->b, &unread, -1, &err), &err);
	close(pair->a);
	pair->a = -1;
	for (enum decode_message_type type = DECODE_HASHED; type <= DECODE_DONE; type++) {
		assert_ok(decode_message_receive(pair->b, &got, &fd, &err), &err);
		assert_int_equal(got.type, type);
	}
	assert_int_equal(decode_message_receive(pair->b, &got, &fd, &err), DECODE_CLOSED);
}

#define socket_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_message_comes_back_as_it_went),
	    cmocka_unit_test(every_field_comes_back_in_its_place),
	    cmocka_unit_test(the_bytes_of_a_header_are_those_of_the_layout),
	    cmocka_unit_test(every_beginning_of_every_message_is_refused),
	    cmocka_unit_test(a_byte_too_many_is_refused),
	    cmocka_unit_test(another_version_and_unknown_types_are_refused),
	    cmocka_unit_test(a_value_outside_its_enumeration_is_refused),
	    cmocka_unit_test(only_the_mode_for_pixels_has_a_slot),
	    cmocka_unit_test(a_size_of_zero_is_refused),
	    cmocka_unit_test(strings_longer_than_their_room_are_refused),
	    cmocka_unit_test(a_string_length_beyond_the_message_is_refused),
	    cmocka_unit_test(what_a_worker_says_is_utf8_without_control_bytes),
	    socket_test(a_message_crosses_the_socket_with_its_descriptor),
	    socket_test(a_message_without_a_descriptor_says_so),
	    socket_test(descriptors_beyond_the_first_are_closed),
	    socket_test(a_message_that_is_refused_leaves_no_descriptor),
	    socket_test(a_packet_longer_than_any_message_is_refused),
	    socket_test(nothing_there_yet_is_transient),
	    socket_test(a_side_that_is_gone_is_closed_after_its_last_message),
	    socket_test(what_a_side_said_is_heard_though_it_left_messages_unread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
