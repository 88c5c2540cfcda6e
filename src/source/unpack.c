#include "source/unpack.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "source/source_path.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

bool unpack_wants_text(const char *name)
{
	static const char *const endings[] = {".txt", ".caption", ".json", ".cls"};
	const char *ending = name + source_path_stem(name);

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		if (strcasecmp(ending, endings[i]) == 0)
			return true;
	}
	return false;
}

int unpack_list(struct unpack *u, const struct unpack_input *in, unpack_member_fn on_member,
		void *arg, struct error *err)
{
	return u->ops->list(u, in, on_member, arg, err);
}

int unpack_read(struct unpack *u, const struct unpack_input *in, uint64_t number,
		const struct unpack_member *m, struct error *err)
{
	if (u->stop && u->stop(u->stop_arg))
		return error_set(err, ERR_TRANSIENT, "stopped before reading an archive");
	return u->ops->read(u, in, number, m, err);
}

void unpack_close(struct unpack *u)
{
	if (u)
		u->ops->close(u);
}

int unpack_file_new(size_t size, struct error *err)
{
	cleanup_close int fd = memfd_create("latentd-member", MFD_CLOEXEC);
	bool ok = fd >= 0 && ftruncate(fd, (off_t)size) == 0;

	if (!ok && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOSPC))
		return error_set(err, ERR_TRANSIENT, "no memory for a member of %zu bytes", size);
	return ok ? TAKE_FD(fd) : error_sys(err, "create shared memory");
}
