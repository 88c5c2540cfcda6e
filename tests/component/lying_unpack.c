/*
 * A latentd-unpack that does what the archive tells it, whose contents are the name of a lie; "fine" is listed as one member,
 * "a.jpg", whose bytes are "hello". It shows what unpack_process does when the process that parses was taken over.
 */
#include "daemon/packet.h"
#include "daemon/unpack_protocol.h"

#include "base/cleanup.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

enum { SOCKET_FD = 3 };

static char lie[64];

static void say(const struct unpack_message *m)
{
	struct error err = ERROR_INIT;

	if (unpack_message_send(SOCKET_FD, m, -1, &err) < 0)
		_exit(1);
}

static void say_type(enum unpack_message_type type)
{
	const struct unpack_message m = {.type = type};

	say(&m);
}

static void say_member(uint64_t place, size_t text_size)
{
	const struct unpack_message m = {.type = UNPACK_SAYS_MEMBER,
					 .member = {.name = "a.jpg",
						    .size = 5,
						    .place = place,
						    .offset = 0,
						    .regular = true,
						    .text_size = text_size},
					 .has_text = text_size > 0};

	say(&m);
}

static void say_want(void)
{
	const struct unpack_message m = {.type = UNPACK_SAYS_WANT, .want = {0, 4}};

	say(&m);
}

static bool tells(const char *name)
{
	return strcmp(lie, name) == 0;
}

/* What goes wrong whatever it is asked. */
static void go_wrong(void)
{
	struct error err = ERROR_INIT;

	if (tells("die"))
		raise(SIGKILL);
	if (tells("be silent"))
		for (;;)
			pause();
	if (tells("garbage"))
		packet_send(SOCKET_FD, "\1\377nonsense", 10, -1, &err);
	if (tells("ready again"))
		say_type(UNPACK_SAYS_READY);
}

static void list(void)
{
	const struct unpack_message text = {.type = UNPACK_SAYS_TEXT,
					    .text = {(uint8_t *)"text", 4}};

	go_wrong();
	if (tells("want of a file"))
		say_want();
	if (tells("another place"))
		say_member(5, 0);
	if (tells("a long text"))
		say_member(0, (size_t)2 << 20);
	if (tells("more text than said")) {
		say_member(0, 3);
		say(&text);
	}
	if (tells("text of nobody"))
		say(&text);
	for (uint64_t i = 0; tells("no end") && i < 100; i++)
		say_member(i, 0);
	say_type(UNPACK_SAYS_TICK);
	say_member(0, 0);
	say_type(UNPACK_SAYS_END);
}

static void read_member(int fd, size_t size)
{
	struct unpack_message done = {.type = UNPACK_SAYS_DONE, .done = size};
	void *bytes = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	go_wrong();
	while (tells("read for ever"))
		say_type(UNPACK_SAYS_TICK);
	if (tells("more bytes"))
		done.done = size + 1;
	if (bytes == MAP_FAILED)
		_exit(1);
	memcpy(bytes, "hello", size < 5 ? size : 5);
	munmap(bytes, size + 1);
	say_type(UNPACK_SAYS_TICK);
	say(&done);
}

int main(void)
{
	static uint8_t packet[UNPACK_MESSAGE_MAX + 1];
	struct error err = ERROR_INIT;

	for (;;) {
		struct unpack_message m;
		cleanup_close int fd = -1;
		ssize_t n;

		if (unpack_message_receive(SOCKET_FD, packet, &m, &fd, &err) != 0)
			return 0;
		switch (m.type) {
		case UNPACK_SAYS_START:
			say_type(UNPACK_SAYS_READY);
			break;
		case UNPACK_SAYS_OPEN:
			n = pread(fd, lie, sizeof(lie) - 1, 0);
			lie[n > 0 ? n : 0] = '\0';
			break;
		case UNPACK_SAYS_LIST:
			list();
			break;
		case UNPACK_SAYS_READ:
			read_member(fd, m.member.size);
			break;
		default:
			return 1;
		}
	}
}
