/*
 * A folder is opened part by part from the root's path, so that no link is followed and nothing is held open; the
 * watch is put on the descriptor that is listed afterwards.
 */
#include "source/watch_walk.h"

#include "base/checked.h"
#include "base/file_system.h"
#include "base/text.h"
#include "source/folder_links.h"
#include "source/source.h"
#include "source/source_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>

enum { ENTRIES_AT_ONCE = 256 };

#define FOLDER_EVENTS                                                                              \
	(IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR |       \
	 IN_EXCL_UNLINK)
#define ROOT_EVENTS (FOLDER_EVENTS | IN_DELETE_SELF | IN_MOVE_SELF)

/* -- what is said --------------------------------------------------------------------------------- */

void walk_lost(struct watch *w, const char *why)
{
	if (!w->lost[0])
		snprintf(w->lost, sizeof(w->lost), "%s", why);
}

static void note(struct watch *w, bool *noted, const char *line)
{
	snprintf(w->note, sizeof(w->note), "%s", line);
	*noted = w->note_is_new = true;
}

static void note_limit(struct watch *w)
{
	static const char file[] = "/proc/sys/fs/inotify/max_user_watches";
	cleanup_close int fd = w->noted_limit ? -1 : open(file, O_RDONLY | O_CLOEXEC);
	char now[32] = "", line[512];
	ssize_t n = fd < 0 ? 0 : read(fd, now, sizeof(now) - 1);

	if (w->noted_limit)
		return;
	now[n > 0 ? strcspn(now, "\n") : 0] = '\0';
	snprintf(
	    line, sizeof(line),
	    "the limit of inotify watches is reached: %zu folders are watched, the others are "
	    "looked through from time to time; sysctl fs.inotify.max_user_watches is %s: raise it",
	    w->watched, now[0] ? now : "too low");
	note(w, &w->noted_limit, line);
}

static void note_descriptors(struct watch *w)
{
	struct rlimit limit = {0, 0};
	char line[512];

	if (w->noted_descriptors)
		return;
	getrlimit(RLIMIT_NOFILE, &limit);
	snprintf(
	    line, sizeof(line),
	    "too many open files (limit %llu, RLIMIT_NOFILE): some folders are not watched and "
	    "looked through from time to time",
	    (unsigned long long)limit.rlim_cur);
	note(w, &w->noted_descriptors, line);
}

static void note_network(struct watch *w, const struct watch_folder *f, const char *name)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE], line[512];

	buffer_appendf(&path, "%s/", w->root);
	watch_tree_path(f, &path);
	snprintf(
	    line, sizeof(line),
	    "%s is on a network file system (%s), where changes made by other machines raise no "
	    "events: it is looked through from time to time",
	    text_quote((const char *)path.data, quoted), name);
	note(w, &w->noted_network, line);
}

char *walk_path(const struct watch *w, const struct watch_folder *f, const char *name)
{
	struct buffer path = BUFFER_INIT;

	buffer_appendf(&path, "%s/", w->root);
	watch_tree_path(f, &path);
	buffer_append_string(&path, name);
	return (char *)path.data;
}

static void note_link(struct watch *w, const struct watch_folder *f)
{
	cleanup_free char *path = walk_path(w, f->parent, f->name);
	char quoted[TEXT_QUOTE_SIZE], line[512];

	if (w->noted_link)
		return;
	snprintf(line, sizeof(line),
		 "%s is a link to a folder: what is in there is looked through from time to time",
		 text_quote(path, quoted));
	note(w, &w->noted_link, line);
}

static const char *path_of(struct watch *w, const struct watch_folder *f, const char *name)
{
	buffer_reset(&w->path);
	watch_tree_path(f, &w->path);
	buffer_append_string(&w->path, name);
	return (const char *)w->path.data;
}

void walk_event(struct watch *w, struct watch_event *event, enum watch_kind kind,
		const struct watch_folder *f, const char *name)
{
	*event = (struct watch_event){kind, path_of(w, f, name), source_path_is_caption(name)};
}

static bool is_choosy(const struct watch *w)
{
	return w->options.choice.include.n + w->options.choice.exclude.n > 0;
}

bool walk_wants(struct watch *w, const struct watch_folder *f, const char *name)
{
	const struct source_choice *choice = &w->options.choice;

	if (source_path_is_image(name))
		return !is_choosy(w) || source_choice_takes(choice, path_of(w, f, name));
	if (source_path_is_archive(name))
		return !is_choosy(w) || source_choice_enters(choice, path_of(w, f, name));
	return source_path_is_caption(name);
}

bool walk_enters(struct watch *w, const struct watch_folder *f, const char *name)
{
	return source_choice_sees(&w->options.choice, name) &&
	       (!is_choosy(w) || source_choice_enters(&w->options.choice, path_of(w, f, name)));
}

/* -- the list of folders that wait ---------------------------------------------------------------- */

static void pend(struct watch *w, struct watch_folder *f)
{
	if (f->pending)
		return;
	f->next_pending = w->pending;
	f->pending = &w->pending;
	if (f->next_pending)
		f->next_pending->pending = &f->next_pending;
	w->pending = f;
}

static void unpend(struct watch_folder *f)
{
	if (!f->pending)
		return;
	*f->pending = f->next_pending;
	if (f->next_pending)
		f->next_pending->pending = f->pending;
	f->pending = NULL;
}

static void stop_listing(struct watch *w)
{
	if (w->dir)
		closedir(w->dir);
	w->dir = NULL;
	w->at = NULL;
}

static void set_unwatched(struct watch *w, struct watch_folder *f, bool unwatched, bool may_retry)
{
	w->unwatched += unwatched - f->unwatched;
	f->unwatched = unwatched;
	f->may_retry = may_retry;
	if (w->unwatched == 0)
		w->noted_limit = w->noted_descriptors = w->noted_link = false;
}

static void forget(struct watch *w, struct watch_folder *leaf)
{
	unpend(leaf);
	if (w->at == leaf)
		stop_listing(w);
	if (leaf->wd >= 0) {
		inotify_rm_watch(w->fd, leaf->wd);
		w->watched--;
	}
	set_unwatched(w, leaf, false, false);
	watch_tree_remove(&w->tree, leaf);
}

void walk_drop(struct watch *w, struct watch_folder *f)
{
	for (bool all = false; !all;) {
		struct watch_folder *leaf = f;

		while (leaf->children)
			leaf = leaf->children;
		all = leaf == f;
		forget(w, leaf);
	}
}

void walk_add(struct watch *w, struct watch_folder *parent, const char *name)
{
	if (!w->options.recursive || parent->depth >= SOURCE_FOLDER_DEPTH ||
	    watch_tree_child(&w->tree, parent, name) || !walk_enters(w, parent, name))
		return;
	pend(w, watch_tree_add(&w->tree, parent, name));
}

void walk_begin(struct watch *w)
{
	w->whole = true;
	pend(w, watch_tree_add(&w->tree, NULL, ""));
}

void watch_retry(struct watch *w)
{
	for (size_t i = 0; i < w->tree.buckets && w->unwatched > 0; i++) {
		for (struct watch_folder *f = w->tree.by_name[i]; f; f = f->next_name) {
			if (f->unwatched && f->may_retry)
				pend(w, f);
		}
	}
}

/* -- one folder ----------------------------------------------------------------------------------- */

/* The root, if its path still leads to it. */
static int open_root(const struct watch *w)
{
	cleanup_close int fd = open(w->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	if (st.st_dev != w->dev || st.st_ino != w->ino) {
		errno = ENOENT;
		return -1;
	}
	return TAKE_FD(fd);
}

bool watch_is_there(const struct watch *w)
{
	cleanup_close int fd = open_root(w);

	return fd >= 0 && !w->lost[0];
}

/* -1 with errno; *root_failed: because of the root. */
static int open_folder(const struct watch *w, const struct watch_folder *f, bool *root_failed)
{
	const struct watch_folder *way[SOURCE_FOLDER_DEPTH + 1];
	cleanup_close int fd = open_root(w);
	size_t n = 0;

	*root_failed = fd < 0;
	for (; f->parent; f = f->parent)
		way[n++] = f;
	for (; fd >= 0 && n > 0; n--) {
		int flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | (n > 1 ? O_PATH : 0);
		int next = openat(fd, way[n - 1]->name, flags);

		close(fd);
		fd = next;
	}
	return TAKE_FD(fd);
}

/* Whether the folder at @fd is where events do not tell everything. */
static bool is_remote(struct watch *w, const struct watch_folder *f, int fd)
{
	struct statfs fs;
	struct stat st;
	const char *name;

	if (w->options.network || fstat(fd, &st) < 0)
		return false;
	if (w->last_dev == st.st_dev)
		return w->last_remote;
	name = fstatfs(fd, &fs) == 0 ? network_file_system((uint32_t)fs.f_type) : NULL;
	if (name)
		note_network(w, f, name);
	w->last_dev = st.st_dev;
	w->last_remote = name;
	return name;
}

static bool is_above(const struct watch_folder *above, const struct watch_folder *f)
{
	while (f && f != above)
		f = f->parent;
	return f;
}

/*
 * A folder that has been moved within the tree, or is mounted in it twice, has the descriptor that it had: it is
 * where it was met last. False: it is one that contains itself.
 */
static bool take_over(struct watch *w, struct watch_folder *f, int wd)
{
	struct watch_folder *before = watch_tree_find(&w->tree, wd);

	if (before == f)
		return true;
	if (before && is_above(before, f))
		return false;
	if (before) {
		watch_tree_set(&w->tree, before, -1);
		w->watched--;
		walk_drop(w, before);
	}
	watch_tree_set(&w->tree, f, wd);
	w->watched++;
	return true;
}

/* 0; or -1 with errno. */
static int put_watch(struct watch *w, struct watch_folder *f, int fd)
{
	char path[32];
	int wd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	wd = inotify_add_watch(w->fd, path, f->parent ? FOLDER_EVENTS : ROOT_EVENTS);
	if (wd < 0)
		return -1;
	if (take_over(w, f, wd))
		return 0;
	errno = ELOOP;
	return -1;
}

/* Whether @f is a link to a folder, and such are followed. */
static bool is_followed(struct watch *w, const struct watch_folder *f)
{
	cleanup_free char *path = NULL;
	struct stat st;

	if (!f->parent || w->options.choice.links != LINKS_ALL)
		return false;
	path = walk_path(w, f->parent, f->name);
	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

static void forget_folder(struct watch *w, struct watch_folder *f, int why)
{
	if (f->parent)
		walk_drop(w, f);
	else
		walk_lost(w, strerror(why));
}

/* What becomes of a folder that could not be opened or watched. */
static void refuse(struct watch *w, struct watch_folder *f, int why)
{
	switch (why) {
	case ENOSPC:
		note_limit(w);
		break;
	case EMFILE:
	case ENFILE:
		note_descriptors(w);
		break;
	case ENOTDIR:
	case ELOOP:
		if (is_followed(w, f)) {
			note_link(w, f);
			set_unwatched(w, f, true, false);
			return;
		}
		forget_folder(w, f, why);
		return;
	case ENOENT:
	case EACCES:
	case EPERM:
		forget_folder(w, f, why);
		return;
	default:
		break;
	}
	set_unwatched(w, f, true, true);
}

static void enter(struct watch *w, struct watch_folder *f)
{
	bool root_failed = false;
	cleanup_close int fd = open_folder(w, f, &root_failed);

	unpend(f);
	if (root_failed && errno != EMFILE && errno != ENFILE) {
		walk_lost(w, strerror(errno));
		return;
	}
	if (fd >= 0 && is_remote(w, f, fd)) {
		set_unwatched(w, f, true, false);
		return;
	}
	if (fd >= 0 && put_watch(w, f, fd) == 0) {
		w->dir = fdopendir(fd);
		if (w->dir) {
			set_unwatched(w, f, false, false);
			fd = -1;
			w->at = f;
			return;
		}
	}
	refuse(w, f, errno);
}

/* -- listing -------------------------------------------------------------------------------------- */

static bool is_folder(const struct watch *w, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type == DT_DIR ||
	    (entry->d_type == DT_LNK &&
	     folder_links_lead_to_folder(w->options.choice.links, dirfd(w->dir), entry->d_name)))
		return true;
	return entry->d_type == DT_UNKNOWN &&
	       fstatat(dirfd(w->dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(st.st_mode);
}

/* 0: @event tells of it. */
static int list_entry(struct watch *w, const struct dirent *entry, struct watch_event *event)
{
	if (!source_choice_sees(&w->options.choice, entry->d_name))
		return WATCH_AGAIN;
	if (is_folder(w, entry)) {
		walk_add(w, w->at, entry->d_name);
		return WATCH_AGAIN;
	}
	if (w->whole || !walk_wants(w, w->at, entry->d_name))
		return WATCH_AGAIN;
	walk_event(w, event, WATCH_FOUND, w->at, entry->d_name);
	return 0;
}

int walk_next(struct watch *w, struct watch_event *event)
{
	int r = WATCH_AGAIN;

	if (!w->dir && !w->pending)
		return WATCH_EMPTY;
	for (int i = 0; i < ENTRIES_AT_ONCE && r == WATCH_AGAIN && !w->note_is_new; i++) {
		const struct dirent *entry;

		if (!w->dir && !w->pending)
			break;
		if (!w->dir) {
			enter(w, w->pending);
			continue;
		}
		entry = readdir(w->dir);
		if (entry)
			r = list_entry(w, entry, event);
		else
			stop_listing(w);
	}
	return r;
}
