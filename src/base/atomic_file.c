#include "base/atomic_file.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int atomic_file_begin(struct atomic_file *f, const char *dir, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *path = xasprintf("%s/XXXXXX.tmp", dir);
	mode_t mask;
	int fd = mkostemps(path, 4, O_CLOEXEC);

	if (fd < 0)
		return error_sys(err, "create a file in %s", text_quote(dir, quoted));
	mask = umask(0);
	umask(mask);
	if (fchmod(fd, 0666 & ~mask) < 0) {
		error_sys(err, "chmod %s", text_quote(path, quoted));
		unlink(path);
		close(fd);
		return -1;
	}
	*f = (struct atomic_file){.fd = fd, .path = TAKE(path), .synced = false};
	return 0;
}

int atomic_file_sync(struct atomic_file *f, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (fsync(f->fd) < 0)
		return error_sys(err, "fsync %s", text_quote(f->path, quoted));
	f->synced = true;
	return 0;
}

static void atomic_file_forget(struct atomic_file *f)
{
	close(f->fd);
	free(f->path);
	*f = (struct atomic_file)ATOMIC_FILE_INIT;
}

/* 0, ATOMIC_EXISTS, or -1 with errno. */
static int rename_no_replace(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EINVAL || errno == ENOSYS) {
		if (link(from, to) == 0)
			return unlink(from);
	}
	return errno == EEXIST ? ATOMIC_EXISTS : -1;
}

int atomic_file_commit(struct atomic_file *f, const char *target, enum atomic_mode mode,
		       struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *folder = dir_of(target);
	int r;

	if (!f->synced && atomic_file_sync(f, err) < 0)
		return -1;
	r = mode == ATOMIC_REPLACE ? rename(f->path, target) : rename_no_replace(f->path, target);
	if (r < 0)
		return error_sys(err, "rename to %s", text_quote(target, quoted));
	if (r == ATOMIC_EXISTS)
		return ATOMIC_EXISTS;
	atomic_file_forget(f);
	return dir_sync(folder, err);
}

int atomic_file_appear(struct atomic_file *f, const char *target, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (rename(f->path, target) < 0)
		return error_sys(err, "rename to %s", text_quote(target, quoted));
	atomic_file_forget(f);
	return 0;
}

void atomic_file_abort(struct atomic_file *f)
{
	if (f->fd < 0)
		return;
	unlink(f->path);
	atomic_file_forget(f);
}

int atomic_file_write(const char *target, const void *data, size_t size, struct error *err)
{
	cleanup_free char *folder = dir_of(target);
	struct atomic_file f = ATOMIC_FILE_INIT;
	int r;

	if (atomic_file_begin(&f, folder, err) < 0)
		return -1;
	r = fd_write_all(f.fd, data, size, err);
	if (r == 0)
		r = atomic_file_commit(&f, target, ATOMIC_REPLACE, err);
	atomic_file_abort(&f);
	return r;
}

int atomic_file_move(const char *from, const char *to, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *source = dir_of(from), *target = dir_of(to);
	int r = rename_no_replace(from, to);

	if (r < 0)
		return error_sys(err, "rename to %s", text_quote(to, quoted));
	if (r == ATOMIC_EXISTS)
		return ATOMIC_EXISTS;
	if (dir_sync(target, err) < 0)
		return -1;
	return dir_sync(source, err);
}

/* INT64_MAX: whatever its age. */
static int sweep_before(const char *dir, int64_t before, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct dirent *entry;
	DIR *d = opendir(dir);
	struct stat st;
	int r = 0;

	if (!d && errno == ENOENT)
		return 0;
	if (!d)
		return error_sys(err, "open folder %s", text_quote(dir, quoted));
	while (r == 0 && (entry = readdir(d))) {
		size_t n = strlen(entry->d_name);

		if (n < 4 || strcmp(entry->d_name + n - 4, ".tmp") != 0)
			continue;
		if (before != INT64_MAX &&
		    (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		     st.st_mtime >= before))
			continue;
		if (unlinkat(dirfd(d), entry->d_name, 0) < 0 && errno != ENOENT)
			r = error_sys(err, "remove %s in %s", entry->d_name,
				      text_quote(dir, quoted));
	}
	closedir(d);
	return r;
}

int atomic_file_sweep(const char *dir, struct error *err)
{
	return sweep_before(dir, INT64_MAX, err);
}

int atomic_file_sweep_old(const char *dir, struct error *err)
{
	struct atomic_file now = ATOMIC_FILE_INIT;
	struct stat st;
	int r;

	if (atomic_file_begin(&now, dir, err) < 0)
		return -1;
	r = fstat(now.fd, &st) < 0 ? error_sys(err, "stat %s", now.path) : 0;
	atomic_file_abort(&now);
	return r < 0 ? -1 : sweep_before(dir, st.st_mtime - ATOMIC_FILE_OLD_S, err);
}
