#include "source/unpacker.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <sys/mman.h>
#include <unistd.h>

struct unpack_local {
	struct unpack base;
	struct unpack_limits limits;
	struct unpacker *reading; /* of archive @number; NULL: none */
	uint64_t number;
	int fd;
};

static struct unpack_local *local_of(struct unpack *u)
{
	return (struct unpack_local *)u;
}

static int local_list(struct unpack *u, const struct unpack_input *in, unpack_member_fn on_member,
		      void *arg, struct error *err)
{
	struct unpacker *unpacker = NULL;
	struct unpack_member m;
	int r = unpacker_open(in, &local_of(u)->limits, &unpacker, err);

	while (r == 0 && (r = unpacker_next(unpacker, &m, err)) == 0) {
		if (on_member(arg, &m) != 0)
			r = UNPACK_STOPPED;
	}
	unpacker_close(unpacker);
	return r == UNPACK_END ? 0 : r;
}

static void forget(struct unpack_local *l)
{
	unpacker_close(l->reading);
	if (l->fd >= 0)
		close(l->fd);
	l->reading = NULL;
	l->fd = -1;
}

static int turn_to(struct unpack_local *l, const struct unpack_input *in, uint64_t number,
		   struct error *err)
{
	struct unpack_input own = *in;

	if (l->reading && l->number == number)
		return 0;
	forget(l);
	l->number = number;
	l->fd = own.fd = in->read ? -1 : dup(in->fd);
	if (!in->read && l->fd < 0)
		return error_set(err, ERR_TRANSIENT, "no descriptor left");
	return unpacker_open(&own, &l->limits, &l->reading, err);
}

static int fill(struct unpack_local *l, const struct unpack_member *m, int fd, size_t size,
		struct error *err)
{
	void *bytes = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ssize_t n;

	if (bytes == MAP_FAILED)
		return error_sys(err, "map a member");
	n = unpacker_read(l->reading, m, bytes, size, err);
	munmap(bytes, size + 1);
	if (n >= 0 && ftruncate(fd, n) < 0)
		return error_sys(err, "cut a member");
	return n < 0 ? -1 : 0;
}

static int local_read(struct unpack *u, const struct unpack_input *in, uint64_t number,
		      const struct unpack_member *m, struct error *err)
{
	struct unpack_local *l = local_of(u);
	size_t size = m->size != UNPACK_UNKNOWN ? m->size : l->limits.member_bytes;
	cleanup_close int fd = -1;

	if (size > l->limits.member_bytes)
		return error_data(err, "too_large", "%zu bytes are over the limit of %llu", size,
				  (unsigned long long)l->limits.member_bytes);
	fd = unpack_file_new(size + 1, err);
	if (fd < 0 || turn_to(l, in, number, err) < 0 || fill(l, m, fd, size, err) < 0)
		return -1;
	return TAKE_FD(fd);
}

static void local_close(struct unpack *u)
{
	forget(local_of(u));
	free(u);
}

static const struct unpack_ops local_ops = {
    .name = "local", .list = local_list, .read = local_read, .close = local_close};

int unpack_local_open(const struct unpack_limits *limits, struct unpack **out, struct error *err)
{
	struct unpack_local *l = xcalloc(1, sizeof(*l));

	(void)err;
	l->base.ops = &local_ops;
	l->limits = *limits;
	l->fd = -1;
	*out = &l->base;
	return 0;
}
