#include "daemon/unpack_process.h"

#include "daemon/decode_process.h"
#include "daemon/packet.h"
#include "daemon/unpack_protocol.h"

#include "base/checked.h"
#include "base/clock.h"
#include "image/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

struct unpack_process {
	struct unpack base;
	struct unpack_process_options options;
	char *program;
	struct decode_process process;
	bool has_archive;
	uint64_t archive;	       /* its number */
	const struct unpack_input *in; /* of the question that is open */
	struct buffer text, bytes;
	uint8_t packet[UNPACK_MESSAGE_MAX + 1];
};

static struct unpack_process *process_of(struct unpack *u)
{
	return (struct unpack_process *)u;
}

static void end(struct unpack_process *p)
{
	char how[DECODE_PROCESS_END_SIZE];

	decode_process_end(&p->process, how);
	p->has_archive = false;
}

/* -- what it says --------------------------------------------------------------------------------- */

static int wait_for(const struct unpack_process *p)
{
	struct pollfd poll_fd = {.fd = p->process.socket, .events = POLLIN};
	int64_t until = clock_mono_ms() + p->options.silence_ms, left;
	int n;

	do {
		left = until - clock_mono_ms();
		n = poll(&poll_fd, 1, left > 0 ? (int)left : 0);
	} while (n < 0 && errno == EINTR);
	return n;
}

static int died(struct unpack_process *p, struct error *err)
{
	char how[DECODE_PROCESS_END_SIZE];

	decode_process_end(&p->process, how);
	p->has_archive = false;
	return error_data(err, "worker_died", "the process that reads it died: %s", how);
}

static int lied(struct unpack_process *p, struct error *err)
{
	end(p);
	return error_data(err, "worker_died", "the process that reads it broke the protocol");
}

/* It was asked, but is gone: it is heard how. */
static int tell(struct unpack_process *p, const struct unpack_message *m, int fd, struct error *err)
{
	struct error ignored = ERROR_INIT;

	return unpack_message_send(p->process.socket, m, fd, &ignored) < 0 ? died(p, err) : 0;
}

/* The next message, whatever it is. After an error the process is ended. */
static int hear_any(struct unpack_process *p, struct unpack_message *m, struct error *err)
{
	struct error failed = ERROR_INIT;
	int fd = -1, r;

	if (wait_for(p) <= 0) {
		end(p);
		return error_data(err, "timeout", "nothing came of it for %d ms",
				  p->options.silence_ms);
	}
	r = unpack_message_receive(p->process.socket, p->packet, m, &fd, &failed);
	if (fd >= 0)
		close(fd); /* it has none to give */
	if (r == PACKET_CLOSED)
		return died(p, err);
	return r < 0 ? lied(p, err) : 0;
}

/* Where they cannot be had it waits for them in vain: it is ended. */
static int give_bytes(struct unpack_process *p, uint64_t offset, size_t size, struct error *err)
{
	const struct unpack_input *in = p->in;
	struct unpack_message m = {.type = UNPACK_SAYS_BYTES};

	if (!in || !in->read || size > in->size || offset > in->size - size)
		return lied(p, err);
	buffer_reset(&p->bytes);
	buffer_append_zeros(&p->bytes, size);
	if (in->read(in->arg, offset, p->bytes.data, size, err) < 0) {
		end(p);
		return -1;
	}
	m.text.bytes = p->bytes.data;
	m.text.size = size;
	return tell(p, &m, -1, err);
}

/* The next message that is no wish for bytes. */
static int hear(struct unpack_process *p, struct unpack_message *m, struct error *err)
{
	int r = hear_any(p, m, err);

	while (r == 0 && m->type == UNPACK_SAYS_WANT) {
		r = give_bytes(p, m->want.offset, m->want.size, err);
		if (r == 0)
			r = hear_any(p, m, err);
	}
	return r;
}

/* -- starting ------------------------------------------------------------------------------------- */

static int greet(struct unpack_process *p, struct error *err)
{
	struct unpack_message m = {.type = UNPACK_SAYS_START, .limits = p->options.limits};

	if (tell(p, &m, -1, err) < 0 || hear(p, &m, err) < 0)
		return -1;
	return m.type == UNPACK_SAYS_READY ? 0 : lied(p, err);
}

/* A program that cannot run is no fault of an archive. */
static int start(struct unpack_process *p, struct error *err)
{
	struct error failed = ERROR_INIT;

	if (p->process.pid > 0)
		return 0;
	if (decode_process_start(&p->process, p->program, 0, &failed) == 0 &&
	    greet(p, &failed) == 0)
		return 0;
	end(p);
	return error_set(err, ERR_IO, "archives cannot be read, no process %s: %s", p->program,
			 failed.message);
}

static int turn_to(struct unpack_process *p, const struct unpack_input *in, struct error *err)
{
	const struct unpack_message m = {.type = UNPACK_SAYS_OPEN, .size = in->read ? in->size : 0};

	p->has_archive = false;
	if (in->read && in->size == 0)
		return error_data(err, "truncated", "it is empty");
	return start(p, err) < 0 ? -1 : tell(p, &m, in->read ? -1 : in->fd, err);
}

/* -- listing -------------------------------------------------------------------------------------- */

/* The text of @m, of @size bytes, into p->text. */
static int hear_text(struct unpack_process *p, size_t size, struct error *err)
{
	struct unpack_message m;

	buffer_reset(&p->text);
	if (size > p->options.limits.text_bytes)
		return lied(p, err);
	while (p->text.size < size) {
		if (hear(p, &m, err) < 0)
			return -1;
		if (m.type != UNPACK_SAYS_TEXT || m.text.size > size - p->text.size)
			return lied(p, err);
		buffer_append(&p->text, m.text.bytes, m.text.size);
	}
	return 0;
}

struct list {
	unpack_member_fn on_member;
	void *arg;
	uint64_t members, texts;
};

static int hear_member(struct unpack_process *p, struct list *l, const struct unpack_message *m,
		       struct error *err)
{
	cleanup_free char *name = xstrdup(m->member.name); /* out of the packet */
	struct unpack_member member = m->member;
	bool has_text = m->has_text;

	if (member.place != l->members || ++l->members > p->options.limits.members)
		return lied(p, err);
	if (has_text) {
		if (hear_text(p, member.text_size, err) < 0)
			return -1;
		l->texts += member.text_size;
		if (l->texts > p->options.limits.texts_bytes)
			return lied(p, err);
		member.text = p->text.data ? p->text.data : (const uint8_t *)"";
	}
	member.name = name;
	return l->on_member(l->arg, &member) != 0 ? UNPACK_STOPPED : 0;
}

static int hear_list(struct unpack_process *p, struct list *l, struct error *err)
{
	struct unpack_message m;
	int r = 0;

	while (r == 0) {
		r = hear(p, &m, err);
		if (r < 0)
			return r;
		if (m.type == UNPACK_SAYS_END)
			return 0;
		if (m.type == UNPACK_SAYS_MEMBER) {
			r = hear_member(p, l, &m, err);
		} else if (m.type == UNPACK_SAYS_TICK) {
			r = l->on_member(l->arg, NULL) != 0 ? UNPACK_STOPPED : 0;
		} else if (m.type == UNPACK_SAYS_FAILED) {
			*err = m.failed;
			return -1;
		} else {
			r = lied(p, err);
		}
	}
	if (r == UNPACK_STOPPED)
		end(p); /* it would go on */
	return r;
}

static int process_list(struct unpack *u, const struct unpack_input *in, unpack_member_fn on_member,
			void *arg, struct error *err)
{
	const struct unpack_message ask = {.type = UNPACK_SAYS_LIST};
	struct unpack_process *p = process_of(u);
	struct list l = {.on_member = on_member, .arg = arg};
	int r = turn_to(p, in, err) < 0 || tell(p, &ask, -1, err) < 0 ? -1 : 0;

	p->in = in;
	if (r == 0)
		r = hear_list(p, &l, err);
	p->in = NULL;
	return r;
}

/* -- reading -------------------------------------------------------------------------------------- */

/* It is on its way to the member, which may take as long as unpacking all that is before it. */
static int hear_end(struct unpack_process *p, struct unpack_message *m, struct error *err)
{
	const struct unpack *u = &p->base;

	do {
		if (hear(p, m, err) < 0)
			return -1;
		if (m->type == UNPACK_SAYS_TICK && u->stop && u->stop(u->stop_arg)) {
			end(p);
			return error_set(err, ERR_TRANSIENT, "stopped while reading an archive");
		}
	} while (m->type == UNPACK_SAYS_TICK);
	return 0;
}

static int hear_done(struct unpack_process *p, size_t size, int fd, struct error *err)
{
	struct unpack_message m;

	if (hear_end(p, &m, err) < 0)
		return -1;
	if (m.type == UNPACK_SAYS_FAILED) {
		*err = m.failed;
		return -1;
	}
	if (m.type != UNPACK_SAYS_DONE || m.done > size)
		return lied(p, err);
	if (ftruncate(fd, (off_t)m.done) < 0)
		return error_sys(err, "cut a member");
	return 0;
}

static int ask_for(struct unpack_process *p, const struct unpack_input *in,
		   const struct unpack_message *ask, int fd, struct error *err)
{
	int r;

	p->in = in;
	r = tell(p, ask, fd, err);
	if (r == 0)
		r = hear_done(p, ask->member.size, fd, err);
	p->in = NULL;
	return r;
}

static int process_read(struct unpack *u, const struct unpack_input *in, uint64_t number,
			const struct unpack_member *member, struct error *err)
{
	struct unpack_process *p = process_of(u);
	struct unpack_message ask = {.type = UNPACK_SAYS_READ, .member = *member};
	uint64_t most = p->options.limits.member_bytes;
	size_t size = member->size != UNPACK_UNKNOWN ? member->size : most;
	cleanup_close int fd = -1;

	if (size > most)
		return error_data(err, "too_large", "%zu bytes are over the limit of %llu", size,
				  (unsigned long long)most);
	fd = unpack_file_new(size + 1, err);
	if (fd < 0)
		return -1;
	if ((!p->has_archive || p->archive != number) && turn_to(p, in, err) < 0)
		return -1;
	p->has_archive = true;
	p->archive = number;
	ask.member.size = size;
	return ask_for(p, in, &ask, fd, err) < 0 ? -1 : TAKE_FD(fd);
}

/* -- open and close ------------------------------------------------------------------------------- */

static void process_close(struct unpack *u)
{
	struct unpack_process *p = process_of(u);

	end(p);
	buffer_release(&p->text);
	buffer_release(&p->bytes);
	free(p->program);
	free(p);
}

static const struct unpack_ops process_ops = {
    .name = "process", .list = process_list, .read = process_read, .close = process_close};

int unpack_process_open_with(const struct unpack_process_options *options, struct unpack **out,
			     struct error *err)
{
	struct unpack_process *p = xcalloc(1, sizeof(*p));

	(void)err;
	p->base.ops = &process_ops;
	p->options = *options;
	p->program = xstrdup(options->program);
	p->process = (struct decode_process)DECODE_PROCESS_NONE;
	*out = &p->base;
	return 0;
}

int unpack_process_open(struct unpack **out, struct error *err)
{
	const struct image_limits images = IMAGE_LIMITS_DEFAULT;
	struct unpack_process_options options = {.limits = UNPACK_LIMITS_DEFAULT,
						 .silence_ms = UNPACK_SILENCE_MS};
	cleanup_free char *program = decode_process_program("latentd-unpack");

	options.program = program;
	options.limits.member_bytes = images.max_file_bytes;
	return unpack_process_open_with(&options, out, err);
}
