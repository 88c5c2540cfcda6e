/*
 * A folder is there as long as its path leads to the inode that it led to when it came. Nothing of it is held
 * open between scans, so that it may be unmounted.
 */
#include "daemon/intake_parts.h"

#include "daemon/sources.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "queue/queue_nodes.h"
#include "source/source_path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
	LOOK_MS = 2000, /* for folders that are missing, and at archives */
	EVENTS_AT_ONCE = 2000,
	POLL_MS = 5 * 60 * 1000,
	SAFETY_MS = 24 * 60 * 60 * 1000,
};

static char *copy_text(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static struct manifest_texts copy_manifest(struct source_manifest_options *o)
{
	const struct manifest_texts copy = {copy_text(o->root), copy_text(o->path_column),
					    copy_text(o->caption_column)};

	*o = (struct source_manifest_options){copy.root, copy.path_column, copy.caption_column};
	return copy;
}

void intake_folders_open(struct intake *in)
{
	in->folders = xcalloc(in->n, sizeof(*in->folders));
	for (size_t i = 0; i < in->n; i++) {
		struct intake_folder *f = &in->folders[i];

		f->source = in->options.sources[i];
		f->path = xstrdup(f->source.path);
		f->source.path = f->path;
		f->source.choice = source_choice_copy(&f->source.choice);
		f->manifest = copy_manifest(&f->source.manifest);
		f->cache = copy_text(f->source.remote.cache);
		f->source.remote.cache = f->cache;
		if (f->source.rescan_ms <= 0)
			f->source.rescan_ms = POLL_MS;
		if (f->source.safety_ms <= 0)
			f->source.safety_ms = SAFETY_MS;
	}
}

void intake_folders_close(struct intake *in)
{
	for (size_t i = 0; i < in->n; i++) {
		watch_close(in->folders[i].watch);
		free(in->folders[i].cache);
		free(in->folders[i].manifest.root);
		free(in->folders[i].manifest.path_column);
		free(in->folders[i].manifest.caption_column);
		source_choice_release(&in->folders[i].source.choice);
		free(in->folders[i].path);
	}
	free(in->folders);
}

void intake_keep_lists(const struct intake *in, const struct intake_folder *f,
		       struct source *source)
{
	cleanup_free char *lists = sources_lists(in->state_dir, in->name, f->number);

	source_keep_lists(source, lists);
}

/* -- coming and going ----------------------------------------------------------------------------- */

static void absent(struct intake_folder *f, const char *why)
{
	char quoted[TEXT_QUOTE_SIZE];

	snprintf(f->absent, sizeof(f->absent), "source %s: %s", text_quote(f->path, quoted), why);
}

static bool is_file(const char *path)
{
	struct stat st;

	return source_path_is_file(path) && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* It may be read; *st is what it is. NULL, or why it is not there. */
static const char *look_at(const struct intake_folder *f, struct stat *st)
{
	int flags = is_file(f->path) ? O_NONBLOCK | O_NOCTTY : O_DIRECTORY;
	cleanup_close int fd = open(f->path, O_RDONLY | O_CLOEXEC | flags);

	if (fd < 0 || fstat(fd, st) < 0)
		return strerror(errno);
	return NULL;
}

static int learn_number(struct intake *in, struct intake_folder *f, struct error *err)
{
	cleanup_free char *path = sources_real_path(f->path);
	struct sources_numbers numbers = {.numbers = &f->number, .root = f->source.manifest.root};
	uint32_t number = 0;

	if (!path)
		return error_sys(err, "%s", f->path);
	/* By its path as configured: a symbolic link may lead elsewhere on another machine. */
	if (in->options.shared) {
		if (queue_node_root(in->queue, in->options.dataset, f->path, &number, err) < 0)
			return -1;
		numbers.given = &number;
	}
	if (sources_number(in->state_dir, in->name, &path, 1, &numbers, err) < 0)
		return -1;
	f->known = true;
	f->moved_device = f->moved_device || numbers.moved_device;
	return 0;
}

static void listen_to(struct intake *in, struct intake_folder *f)
{
	const struct watch_options options = {.recursive = f->source.recursive,
					      .network = f->source.watch == INTAKE_INOTIFY,
					      .choice = f->source.choice};
	struct error err = ERROR_INIT;
	bool again = f->watch_failed;

	f->watch_failed = false;
	if (f->archive || source_path_is_url(f->path) || in->doing.following)
		return;
	if (f->source.watch != INTAKE_AUTO && f->source.watch != INTAKE_INOTIFY)
		return;
	if (watch_open(f->path, &options, &f->watch, &err) == 0)
		return;
	f->watch_failed = true;
	if (!again)
		intake_note(in, "%s: looked through from time to time instead", err.message);
}

static void keep(struct intake_folder *f, const struct stat *st)
{
	f->archive = S_ISREG(st->st_mode);
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->size = (uint64_t)st->st_size;
	f->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* Another archive in its place, or the same with other bytes, is a change like that of a file in a folder. */
static void look_for_change(struct intake *in, struct intake_folder *f, const struct stat *st)
{
	const struct intake_folder before = *f;

	keep(f, st);
	if (f->source.watch != INTAKE_OFF &&
	    (f->ino != before.ino || f->size != before.size || f->mtime_ns != before.mtime_ns))
		intake_want_scan(in, RESCAN_SOON);
}

static void come(struct intake *in, struct intake_folder *f, const struct stat *st)
{
	struct error err = ERROR_INIT;

	if (learn_number(in, f, &err) < 0) {
		absent(f, err.message);
		return;
	}
	if (f->absent[0] && in->state.scans > 0)
		intake_note(in, "source %s is there again", f->path);
	f->absent[0] = '\0';
	keep(f, st);
	f->there = true;
	f->came++;
	listen_to(in, f);
	f->ready = !f->watch;
	intake_want_scan(in, RESCAN_NOW);
}

static void leave(struct intake *in, struct intake_folder *f, const char *why)
{
	absent(f, why); /* which may be the watch's */
	watch_close(f->watch);
	f->watch = NULL;
	f->there = f->ready = false;
	in->look_due = 0;
	intake_note(in, "%s: nothing is done about its files until it is back", f->absent);
}

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool empty = true;

	while (dir && empty && (entry = readdir(dir)))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	if (dir)
		closedir(dir);
	return empty;
}

/* What lies below a disk that is not mounted: neither the folder nor the device that it was. */
static bool is_bare(const struct intake *in, const struct intake_folder *f, const struct stat *st)
{
	return !S_ISREG(st->st_mode) && f->ino != 0 && st->st_dev != f->dev &&
	       st->st_ino != f->ino && !in->doing.accept && is_empty(f->path);
}

/* Why the folder of masks is not there: without it no source is. ERR_NONE: it is, or none is wanted. */
static void look_at_masks(const struct intake *in, struct error *why)
{
	const char *masks = in->options.masks;
	cleanup_close int fd =
	    masks && strcmp(masks, SOURCE_MASKS_BESIDE) != 0 ? source_masks_open(masks, why) : -1;
}

static void look(struct intake *in, struct intake_folder *f, const char *masks)
{
	struct stat st = {0};
	/* Whether a bucket is there only a scan can tell. */
	const char *why = source_path_is_url(f->path) ? NULL : look_at(f, &st);

	why = why ? why : masks;
	if (!why && is_bare(in, f, &st))
		why = "it is empty and on another device than before, as if not mounted";
	if (f->there && f->archive && !why && S_ISREG(st.st_mode))
		look_for_change(in, f, &st);
	else if (f->there && (why || st.st_dev != f->dev || st.st_ino != f->ino))
		leave(in, f, why ? why : "it is another folder than before");
	if (f->there)
		return;
	if (why)
		absent(f, why);
	else
		come(in, f, &st);
}

void intake_folders_look(struct intake *in)
{
	size_t missing = 0, archives = 0;
	struct error masks = ERROR_INIT;
	bool news = false;

	look_at_masks(in, &masks);
	for (size_t i = 0; i < in->n; i++) {
		struct intake_folder *f = &in->folders[i];
		char before[sizeof(f->absent)];

		memcpy(before, f->absent, sizeof(before));
		look(in, f, masks.code == ERR_NONE ? NULL : masks.message);
		missing += !f->there;
		archives += f->archive;
		news = news || strcmp(before, f->absent) != 0;
	}
	in->look_due = missing + archives > 0 ? clock_mono_ms() + LOOK_MS : NEVER;
	if (news || missing != in->state.missing)
		intake_tell_state(in, true);
}

/* -- what is heard -------------------------------------------------------------------------------- */

static void on_event(struct intake *in, size_t folder, const struct watch_event *event)
{
	struct intake_folder *f = &in->folders[folder];

	switch (event->kind) {
	case WATCH_SETTLED:
	case WATCH_FOUND:
		intake_file_heard(in, folder, event->path, event->kind == WATCH_SETTLED,
				  event->caption);
		break;
	case WATCH_VANISHED:
		if (event->caption)
			intake_file_heard(in, folder, event->path, true, true);
		else
			intake_want_scan(in, RESCAN_LATER);
		break;
	case WATCH_RESCAN:
		if (f->ready)
			intake_want_scan(in, RESCAN_SOON);
		f->ready = true;
		break;
	case WATCH_NOTE:
		intake_note(in, "%s", event->path);
		break;
	case WATCH_LOST:
		leave(in, f, event->path);
		break;
	}
}

/* True: there is more. */
static bool hear(struct intake *in, size_t folder)
{
	struct intake_folder *f = &in->folders[folder];
	struct error err = ERROR_INIT;
	struct watch_event event;

	for (int i = 0; i < EVENTS_AT_ONCE && f->watch; i++) {
		int r = watch_next(f->watch, &event, &err);

		if (r == WATCH_EMPTY)
			return false;
		if (r == 0)
			on_event(in, folder, &event);
		if (r < 0)
			leave(in, f, err.message);
	}
	return f->watch;
}

bool intake_folders_hear(struct intake *in)
{
	bool more = false;

	for (size_t i = 0; i < in->n; i++)
		more = hear(in, i) || more;
	return more;
}

bool intake_folders_ready(const struct intake *in)
{
	size_t there = 0;

	for (size_t i = 0; i < in->n; i++) {
		if (in->folders[i].there && !in->folders[i].ready)
			return false;
		there += in->folders[i].there;
	}
	return there > 0;
}

void intake_folders_follow(struct intake *in)
{
	for (size_t i = 0; i < in->n; i++) {
		struct intake_folder *f = &in->folders[i];

		if (in->doing.following) {
			watch_close(f->watch);
			f->watch = NULL;
		} else if (f->there) {
			listen_to(in, f);
		}
		f->ready = f->there && !f->watch;
	}
	if (!in->doing.following)
		intake_want_scan(in, RESCAN_NOW);
}

void intake_folders_retry(struct intake *in)
{
	for (size_t i = 0; i < in->n; i++) {
		struct intake_folder *f = &in->folders[i];

		if (f->watch && watch_unwatched(f->watch) > 0)
			watch_retry(f->watch);
		if (f->there && f->watch_failed) {
			listen_to(in, f);
			f->ready = !f->watch;
		}
	}
}

bool intake_folder_is_polled(const struct intake_folder *f)
{
	if (!f->there || f->source.watch == INTAKE_OFF)
		return false;
	return !f->watch || watch_unwatched(f->watch) > 0;
}

int64_t intake_folders_period(const struct intake *in)
{
	int64_t period = NEVER;

	for (size_t i = 0; i < in->n; i++) {
		const struct intake_folder *f = &in->folders[i];
		int64_t ms = intake_folder_is_polled(f) ? f->source.rescan_ms : f->source.safety_ms;
		int64_t recheck = f->source.remote.recheck_ms;

		ms = recheck > 0 && recheck < ms ? recheck : ms;
		if (f->there && f->source.watch != INTAKE_OFF && ms < period)
			period = ms;
	}
	return period;
}
