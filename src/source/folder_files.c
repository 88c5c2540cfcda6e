#include "source/folder_files.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

int folder_error(struct error *err, const char *what, const char *path)
{
	int saved = errno;
	char quoted[TEXT_QUOTE_SIZE];
	struct rlimit limit = {0, 0};

	text_quote(path, quoted);
	switch (saved) {
	case EMFILE:
		getrlimit(RLIMIT_NOFILE, &limit);
		return error_set(err, ERR_TRANSIENT, "%s %s: %s (limit %llu, RLIMIT_NOFILE)", what,
				 quoted, strerror(saved), (unsigned long long)limit.rlim_cur);
	case ENFILE:
	case ESTALE:
	case EAGAIN:
	case ETIMEDOUT:
		return error_set(err, ERR_TRANSIENT, "%s %s: %s", what, quoted, strerror(saved));
	default:
		errno = saved;
		return error_sys(err, "%s %s", what, quoted);
	}
}

int folder_open_at(int dir, const char *name, int flags)
{
	int fd;

	do
		fd = openat(dir, name, flags | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	return fd;
}

bool folder_is_empty(int dir)
{
	int fd = folder_open_at(dir, ".", O_RDONLY | O_DIRECTORY);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	bool empty = true;

	if (!list) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (empty && (entry = readdir(list)))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	closedir(list);
	return empty;
}

static int open_error(struct error *err, const char *path)
{
	int saved = errno;
	char quoted[TEXT_QUOTE_SIZE];

	text_quote(path, quoted);
	switch (saved) {
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
		return error_data(err, "gone", "%s is not there", quoted);
	case EACCES:
	case EPERM:
	case ELOOP:
		return error_data(err, "unreadable", "open %s: %s", quoted, strerror(saved));
	case ENXIO:
	case ENODEV:
		return error_data(err, "not_regular", "%s is not a regular file", quoted);
	default:
		errno = saved;
		return folder_error(err, "open", path);
	}
}

int folder_open_parent(int root, enum source_links links, char *path, const char **base)
{
	int flags = O_PATH | O_DIRECTORY | (links == LINKS_ALL ? 0 : O_NOFOLLOW);
	cleanup_close int dir = folder_open_at(root, ".", O_PATH | O_DIRECTORY);
	char *part = path, *slash;

	while (dir >= 0 && (slash = strchr(part, '/'))) {
		int next;

		*slash = '\0';
		next = folder_open_at(dir, part, flags);
		*slash = '/';
		close(dir);
		dir = next;
		part = slash + 1;
	}
	*base = part;
	return TAKE_FD(dir);
}

int folder_stat(int dir, enum source_links links, const char *name, struct stat *st)
{
	return fstatat(dir, name, st, links == LINKS_NONE ? AT_SYMLINK_NOFOLLOW : 0);
}

/*
 * Nothing but a regular file is opened: opening a FIFO wakes its writer, opening a device may do
 * anything. The second look is for what was put in its place in between.
 */
int folder_open_file(int root, enum source_links links, const char *path, struct error *err)
{
	cleanup_free char *copy = xstrdup(path);
	const char *base = NULL;
	cleanup_close int dir = folder_open_parent(root, links, copy, &base), fd = -1;
	char quoted[TEXT_QUOTE_SIZE];
	struct stat st;
	int flags;

	if (dir < 0 || folder_stat(dir, links, base, &st) < 0)
		return open_error(err, path);
	if (S_ISREG(st.st_mode)) {
		fd = folder_open_at(dir, base,
				    O_RDONLY | O_NONBLOCK | O_NOCTTY |
					(links == LINKS_NONE ? O_NOFOLLOW : 0));
		if (fd < 0 || fstat(fd, &st) < 0)
			return open_error(err, path);
	}
	if (!S_ISREG(st.st_mode))
		return error_data(err, "not_regular", "%s is not a regular file",
				  text_quote(path, quoted));
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return folder_error(err, "fcntl", path);
	return TAKE_FD(fd);
}

uint64_t folder_stamp(const struct stat *st)
{
	const uint64_t known[] = {(uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec,
				  (uint64_t)st->st_mtim.tv_nsec, st->st_ino};

	return (hash64_of(known, sizeof(known), 0) >> 16) | 1;
}

enum folder_found folder_look(int dir, enum source_links links, const char *name,
			      struct source_entry *entry)
{
	struct stat st;

	memset(entry, 0, sizeof(*entry));
	if (folder_stat(dir, links, name, &st) < 0)
		return errno == ENOENT && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0
			   ? FOLDER_NOTHING
			   : FOLDER_FILE;
	if (S_ISDIR(st.st_mode))
		return FOLDER_FOLDER;
	if (S_ISLNK(st.st_mode))
		return FOLDER_NOTHING;
	entry->size = (uint64_t)st.st_size;
	entry->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	entry->inode = st.st_ino;
	return FOLDER_FILE;
}

int folder_examine(int root, enum source_links links, const char *path,
		   const struct companion_search *companions, struct source_entry *entry,
		   struct error *err)
{
	cleanup_free char *copy = xstrdup(path);
	const char *base = NULL;
	cleanup_close int dir = folder_open_parent(root, links, copy, &base);
	struct source_entry found = {.path = NULL};
	struct error why = ERROR_INIT;

	if (dir < 0)
		open_error(&why, path);
	if (dir < 0 && why.code != ERR_DATA) {
		*err = why;
		return -1;
	}
	/* What may not be reached is there, as far as anybody knows. */
	if (dir < 0 ? strcmp(why.reason, "unreadable") != 0
		    : folder_look(dir, links, base, &found) != FOLDER_FILE)
		return SOURCE_GONE;
	found.path = path;
	found.caption = SOURCE_UNSEEN;
	if (companions && dir >= 0)
		companions_look(dir, links, base, companions, &found);
	*entry = found;
	return 0;
}
