/*
 * Events of inotify become events of the tree. Those of files are passed on; those of folders change which folders
 * are watched. Where events were lost, everything begins anew: a fresh inotify instance, because taking down a
 * hundred thousand watches one by one would itself raise more events than its queue holds.
 */
#include "source/watch.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"
#include "source/folder_links.h"
#include "source/watch_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

enum { EVENTS_SIZE = 64 << 10 };

/* -- opening -------------------------------------------------------------------------------------- */

static int open_inotify(struct error *err)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0 && errno == EMFILE)
		return error_set(err, ERR_IO,
				 "no inotify instance or no descriptor is left (sysctl "
				 "fs.inotify.max_user_instances, RLIMIT_NOFILE)");
	if (fd < 0)
		return error_sys(err, "open inotify");
	return fd;
}

int watch_open(const char *path, const struct watch_options *options, struct watch **out,
	       struct error *err)
{
	cleanup_close int fd = -1;
	char quoted[TEXT_QUOTE_SIZE];
	struct watch *w;
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return error_set(err, ERR_CONFIG, "%s is not there", text_quote(path, quoted));
	fd = open_inotify(err);
	if (fd < 0)
		return -1;
	w = xcalloc(1, sizeof(*w));
	w->options = *options;
	w->options.choice = source_choice_copy(&options->choice);
	w->root = xstrdup(path);
	w->dev = st.st_dev;
	w->ino = st.st_ino;
	w->last_dev = (dev_t)-1;
	w->fd = TAKE_FD(fd);
	w->events = xmalloc(EVENTS_SIZE);
	walk_begin(w);
	*out = w;
	return 0;
}

int watch_fd(const struct watch *w)
{
	return w->fd;
}

size_t watch_folders(const struct watch *w)
{
	return w->watched;
}

size_t watch_unwatched(const struct watch *w)
{
	return w->unwatched;
}

const char *watch_note(const struct watch *w)
{
	return w->unwatched > 0 && w->note[0] ? w->note : NULL;
}

void watch_close(struct watch *w)
{
	if (!w)
		return;
	if (w->dir)
		closedir(w->dir);
	close(w->fd); /* and all watches with it */
	watch_tree_release(&w->tree);
	buffer_release(&w->path);
	source_choice_release(&w->options.choice);
	free(w->events);
	free(w->root);
	free(w);
}

/* -- events --------------------------------------------------------------------------------------- */

/* Events were lost: folders may have come and gone. The descriptor's number stays. */
static void begin_anew(struct watch *w)
{
	struct error err = ERROR_INIT;
	int fd = open_inotify(&err);

	if (fd < 0 || dup3(fd, w->fd, O_CLOEXEC) < 0)
		walk_lost(w, fd < 0 ? err.message : strerror(errno));
	if (fd >= 0)
		close(fd);
	if (w->dir)
		closedir(w->dir);
	w->dir = NULL;
	w->at = NULL;
	w->pending = NULL;
	w->watched = w->unwatched = 0;
	watch_tree_release(&w->tree);
	w->events_size = w->events_at = 0;
	walk_begin(w);
}

static int on_folder(struct watch *w, struct watch_folder *parent, const struct inotify_event *e,
		     struct watch_event *event)
{
	struct watch_folder *known = watch_tree_child(&w->tree, parent, e->name);

	if (e->mask & (IN_CREATE | IN_MOVED_TO))
		walk_add(w, parent, e->name);
	if (!(e->mask & (IN_DELETE | IN_MOVED_FROM)) || !w->options.recursive ||
	    !walk_enters(w, parent, e->name))
		return WATCH_AGAIN;
	if (known)
		walk_drop(w, known);
	walk_event(w, event, WATCH_VANISHED, parent, e->name);
	buffer_put_u8(&w->path, '/');
	event->path = (const char *)w->path.data;
	event->caption = false;
	return 0;
}

/*
 * What has got its name just now. A file that is opened to be written is empty at first and will be closed; a link to
 * a file that is finished raises no other event; whether one with some content is finished nobody can say.
 */
static int on_created(struct watch *w, struct watch_event *event)
{
	cleanup_free char *path = xasprintf("%s/%s", w->root, event->path);
	struct stat st;

	if (lstat(path, &st) < 0)
		return WATCH_AGAIN;
	if (S_ISREG(st.st_mode) && st.st_nlink == 1) {
		event->kind = WATCH_FOUND;
		return st.st_size > 0 ? 0 : WATCH_AGAIN;
	}
	return S_ISDIR(st.st_mode) ? WATCH_AGAIN : 0;
}

static int on_file(struct watch *w, struct watch_folder *parent, const struct inotify_event *e,
		   struct watch_event *event)
{
	if (!walk_wants(w, parent, e->name))
		return WATCH_AGAIN;
	walk_event(w, event, e->mask & (IN_DELETE | IN_MOVED_FROM) ? WATCH_VANISHED : WATCH_SETTLED,
		   parent, e->name);
	return e->mask & IN_CREATE ? on_created(w, event) : 0;
}

/* The watch itself ended, or the root is no longer where it was. */
static int on_watch_end(struct watch *w, struct watch_folder *f, uint32_t mask)
{
	if (!f->parent) {
		walk_lost(w, mask & IN_UNMOUNT	   ? "it was unmounted"
			     : mask & IN_MOVE_SELF ? "it was moved"
						   : "it was deleted");
		return WATCH_AGAIN;
	}
	if (mask & IN_IGNORED) {
		watch_tree_set(&w->tree, f, -1);
		w->watched--;
		walk_drop(w, f);
	}
	return WATCH_AGAIN;
}

/* Whether @e tells of a folder, or of a link that is followed to one. */
static bool is_of_folder(struct watch *w, const struct watch_folder *parent,
			 const struct inotify_event *e)
{
	cleanup_free char *path = NULL;

	if (e->mask & IN_ISDIR || w->options.choice.links != LINKS_ALL)
		return e->mask & IN_ISDIR;
	if (watch_tree_child(&w->tree, parent, e->name))
		return true;
	path = walk_path(w, parent, e->name);
	return folder_links_lead_to_folder(LINKS_ALL, AT_FDCWD, path);
}

/* 0: @event is filled; otherwise WATCH_AGAIN. */
static int on_event(struct watch *w, const struct inotify_event *e, struct watch_event *event)
{
	struct watch_folder *f;

	if (e->mask & IN_Q_OVERFLOW) {
		begin_anew(w);
		return WATCH_AGAIN;
	}
	f = watch_tree_find(&w->tree, e->wd);
	if (!f)
		return WATCH_AGAIN;
	if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED))
		return on_watch_end(w, f, e->mask);
	if (e->len == 0 || !source_choice_sees(&w->options.choice, e->name))
		return WATCH_AGAIN;
	return is_of_folder(w, f, e) ? on_folder(w, f, e, event) : on_file(w, f, e, event);
}

/* What has been read: 0 or WATCH_EMPTY. */
static int take_events(struct watch *w, struct watch_event *event)
{
	while (w->events_at < w->events_size && !w->lost[0]) {
		const struct inotify_event *e =
		    (const struct inotify_event *)(w->events + w->events_at);

		w->events_at += sizeof(*e) + e->len;
		if (on_event(w, e, event) == 0)
			return 0;
	}
	return WATCH_EMPTY;
}

/* 0: there is something; WATCH_EMPTY. */
static int read_events(struct watch *w, struct error *err)
{
	ssize_t n;

	do
		n = read(w->fd, w->events, EVENTS_SIZE);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return error_sys(err, "read events of %s", w->root);
	w->events_at = 0;
	w->events_size = n > 0 ? (size_t)n : 0;
	return n > 0 ? 0 : WATCH_EMPTY;
}

static int next_event(struct watch *w, struct watch_event *event, struct error *err)
{
	int r = take_events(w, event);

	if (r == 0)
		return 0;
	r = read_events(w, err);
	if (r <= 0)
		return r < 0 ? r : take_events(w, event) == 0 ? 0 : WATCH_AGAIN;
	r = walk_next(w, event);
	if (r != WATCH_EMPTY || !w->whole)
		return r;
	w->whole = false;
	*event = (struct watch_event){WATCH_RESCAN, "", false};
	return 0;
}

int watch_next(struct watch *w, struct watch_event *event, struct error *err)
{
	if (w->lost[0]) {
		if (w->lost_told)
			return WATCH_EMPTY;
		w->lost_told = true;
		*event = (struct watch_event){WATCH_LOST, w->lost, false};
		return 0;
	}
	if (w->note_is_new) {
		w->note_is_new = false;
		*event = (struct watch_event){WATCH_NOTE, w->note, false};
		return 0;
	}
	return next_event(w, event, err);
}
