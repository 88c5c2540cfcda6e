/*
 * Its images are files like those of a folder (folder_files.h), or URLs like those of a list.
 */
#include "source/source_manifest_parts.h"

#include "source/folder_files.h"
#include "source/source_path.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { NOTES_MAX = 20 }; /* of each kind, told of one by one */

static struct source_manifest *source_manifest_of(struct source *s)
{
	return (struct source_manifest *)s;
}

static void note(const struct source_manifest *s, uint64_t line, const char *what)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *text = NULL;

	if (!s->options.note)
		return;
	if (line > 0)
		text = xasprintf("%s line %llu: %s", text_quote(s->path, quoted),
				 (unsigned long long)line, what);
	else
		text = xasprintf("%s %s", text_quote(s->path, quoted), what);
	s->options.note(s->options.note_arg, text);
}

/* -- entries -------------------------------------------------------------------------------------- */

/* 48 bits that are not 0. */
static uint64_t stamp_of(const char *text)
{
	return (hash64_of(text, strlen(text), 0) >> 16) | 1;
}

/* Its file; a URL is one that nobody looks at now. SOURCE_GONE: it is not there. */
static int examine_file(struct source_manifest *s, const char *path, struct source_entry *entry,
			struct error *err)
{
	const struct companion_search search = {.read_json = s->options.need_captions};

	if (!source_path_is_url(path))
		return folder_examine(s->root, s->options.choice.links, path,
				      s->options.captions ? &search : NULL, entry, err);
	remote_files_describe(s->remote, path, entry);
	return 0;
}

/* The mask that a line names. ERR_DATA `mask`: it is no URL, and no file that is there. */
static int open_mask(struct source_manifest *s, const char *mask, struct error *err)
{
	const char *wrong = manifest_mask_is_url(mask) ? NULL : manifest_clean_mask(s, mask);
	struct error why = ERROR_INIT;
	char quoted[TEXT_QUOTE_SIZE];
	int fd = -1;

	text_quote(mask, quoted);
	if (wrong)
		return error_data(err, "mask", "%s: %s", quoted, wrong);
	if (manifest_mask_is_url(mask))
		return remote_files_open(s->remote, mask, err);
	fd = folder_open_file(s->root, s->options.choice.links, (const char *)s->mask.data, &why);
	if (fd < 0 && why.code == ERR_DATA)
		return error_data(err, "mask", "%s", why.message);
	if (fd < 0)
		*err = why;
	return fd;
}

/* 48 bits that change with the mask that the line names, and are not 0. A URL is one mask for good. */
static uint64_t mask_stamp(struct source_manifest *s, const char *mask)
{
	struct error ignored = ERROR_INIT;
	cleanup_close int fd = manifest_mask_is_url(mask) ? -1 : open_mask(s, mask, &ignored);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? folder_stamp(&st) : stamp_of(mask);
}

/* The file @path with what @item says of it. SOURCE_GONE: it is not there. */
static int examine(struct source_manifest *s, const char *path, const struct manifest_item *item,
		   struct source_entry *entry, struct error *err)
{
	struct source_entry found = {.path = path};
	int r = examine_file(s, path, &found, err);

	if (r != 0)
		return r;
	if (item->caption)
		found.caption = stamp_of(item->caption);
	if (item->meta)
		found.meta = stamp_of(item->meta);
	if (item->mask && s->base.masks_beside)
		found.mask = mask_stamp(s, item->mask);
	found.path = path;
	*entry = found;
	return 0;
}

static int begin_listing(struct source_manifest *s, struct error *err)
{
	struct source_entry entry = {.path = s->name};
	struct stat st;

	if (s->options.archive_waits && fstatat(s->folder, s->name, &st, 0) == 0) {
		entry.size = (uint64_t)st.st_size;
		entry.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
		entry.inode = st.st_ino;
		if (s->options.archive_waits(s->options.archive_arg, &entry))
			return SOURCE_END;
	}
	if (manifest_look(s, err) < 0)
		return -1;
	manifest_reader_rewind(s->reader);
	s->listing = true;
	return 0;
}

static void note_bad(struct source_manifest *s)
{
	if (s->bad++ < NOTES_MAX)
		note(s, s->place.line, s->place.bad);
}

static int end_listing(struct source_manifest *s)
{
	cleanup_free char *more = NULL;
	struct stat st;

	if (s->ended)
		return SOURCE_END;
	s->ended = true;
	if (s->bad > NOTES_MAX || s->missing > NOTES_MAX) {
		more = xasprintf(
		    "has %zu lines that cannot be used, and %zu whose files are not there", s->bad,
		    s->missing);
		note(s, 0, more);
	}
	if (fstat(s->fd, &st) < 0 || !manifest_is_same(&st, &s->known)) {
		note(s, 0, "has changed while it was read");
		s->bad++;
	}
	if (s->missing > 0 && folder_is_empty(s->root)) {
		note(s, 0, "names files below a root that is empty, as if it were not mounted");
		s->bad++;
	}
	if (s->bad > 0 && s->options.unread)
		++*s->options.unread;
	return SOURCE_END;
}

/* A later line has the same path. */
static bool is_replaced(struct source_manifest *s)
{
	struct manifest_item item;
	struct manifest_place place;
	cleanup_free char *path = NULL;

	if (!manifest_index_has_doubles(s->index))
		return false;
	path = xstrdup(manifest_cleaned(s));
	return manifest_find_line(s, path, strlen(path), &item, &place) &&
	       place.offset != s->place.offset;
}

/* The next line that can be used. */
static int next_item(struct source_manifest *s, struct error *err)
{
	for (uint64_t n = 1;; n++) {
		int r = manifest_reader_next(s->reader, false, &s->item, &s->place, err);

		if (r == MANIFEST_END)
			return end_listing(s);
		if (r < 0)
			return r;
		if (!s->place.bad)
			s->place.bad = manifest_clean_path(s, s->item.path);
		if (s->place.bad)
			note_bad(s);
		else if (!is_replaced(s))
			return 0;
		s->item.path = NULL;
		if (manifest_stops(s, n))
			return error_set(err, ERR_TRANSIENT, "stopped while reading a manifest");
	}
}

/* The file of the next line; entry->path NULL: it is not there. */
static int next_file(struct source_manifest *s, struct source_entry *entry, struct error *err)
{
	int r = s->item.path ? 0 : next_item(s, err);

	if (r != 0)
		return r;
	manifest_clean_path(s, s->item.path); /* another one may have been looked up since */
	r = examine(s, manifest_file_of(s), &s->item, entry, err);
	if (r < 0)
		return r;
	s->item.path = NULL;
	if (r == SOURCE_GONE && s->missing++ < NOTES_MAX)
		note(s, s->place.line, "its file is not there");
	return 0;
}

static int next_entry(void *arg, struct source_entry *entry, struct error *err)
{
	struct source_manifest *s = arg;
	struct source_entry next = {.path = NULL};
	int r = s->ended ? SOURCE_END : 0;

	if (r == 0 && !s->listing)
		r = begin_listing(s, err);
	while (r == 0 && !next.path)
		r = next_file(s, &next, err);
	if (r == SOURCE_END)
		s->ended = true;
	if (r == 0)
		*entry = next;
	return r;
}

static int source_manifest_next(struct source *base, struct source_entry *entry, struct error *err)
{
	struct source_manifest *s = source_manifest_of(base);

	return remote_window_next(s->window, next_entry, s, entry, err);
}

static int source_manifest_examine(struct source *base, const char *path,
				   struct source_entry *entry, struct error *err)
{
	struct source_manifest *s = source_manifest_of(base);
	struct manifest_item item;
	int r = manifest_find(s, path, &item, err);

	return r == 0 ? examine(s, path, &item, entry, err) : r;
}

static int source_manifest_open_sample(struct source *base, const char *path, struct error *err)
{
	struct source_manifest *s = source_manifest_of(base);

	if (source_path_is_url(path))
		return remote_files_open(s->remote, path, err);
	return folder_open_file(s->root, s->options.choice.links, path, err);
}

static void source_manifest_drop_at_hand(struct source *base, const char *path)
{
	remote_files_drop(source_manifest_of(base)->remote, path);
}

static int source_manifest_caption(struct source *base, const char *path, struct buffer *out,
				   struct error *err)
{
	struct source_manifest *s = source_manifest_of(base);
	struct manifest_item item;
	char quoted[TEXT_QUOTE_SIZE];
	int r = manifest_find(s, path, &item, err);

	if (r < 0)
		return r;
	if (source_path_is_url(path) && (r == SOURCE_GONE || !item.caption))
		return SOURCE_NO_CAPTION;
	if (r == SOURCE_GONE || !item.caption)
		return companions_caption(s->root, s->options.choice.links, path, out, err);
	if (strlen(item.caption) > SOURCE_CAPTION_MAX)
		return error_data(err, "too_large", "the caption of %s is over %zu bytes",
				  text_quote(path, quoted), SOURCE_CAPTION_MAX);
	buffer_append_string(out, item.caption);
	return 0;
}

static int source_manifest_meta(struct source *base, const char *path, struct buffer *out,
				struct error *err)
{
	struct source_manifest *s = source_manifest_of(base);
	struct manifest_item item;
	int r = manifest_find(s, path, &item, err);

	if (r < 0)
		return r;
	if (source_path_is_url(path) && (r == SOURCE_GONE || !item.meta))
		return SOURCE_NO_META;
	if (r == SOURCE_GONE || !item.meta)
		return companions_meta(s->root, s->options.choice.links, path, out, err);
	buffer_append_string(out, item.meta);
	return 0;
}

static int source_manifest_open_mask(struct source *base, const char *path, struct error *err)
{
	struct source_manifest *s = source_manifest_of(base);
	struct manifest_item item;
	char quoted[TEXT_QUOTE_SIZE];
	int r = manifest_find(s, path, &item, err);

	if (r < 0)
		return r;
	if (r == SOURCE_GONE || !item.mask)
		return error_data(err, "gone", "no mask is named for %s", text_quote(path, quoted));
	return open_mask(s, item.mask, err);
}

/* A mask that is a file here is read when all is there. */
static int source_manifest_prepare(struct source *base, struct source_order *order,
				   struct error *err)
{
	struct source_manifest *s = source_manifest_of(base);
	const struct remote_want image = {.url = order->path};
	struct manifest_item item;
	int r = order->wants_mask && base->masks_beside ? manifest_find(s, order->path, &item, err)
							: SOURCE_GONE;

	if (r < 0)
		return r;
	order->fetch = remote_fetch_new(s->remote);
	if (source_path_is_url(order->path))
		remote_fetch_add(order->fetch, REMOTE_IMAGE, &image);
	if (r == 0 && item.mask && manifest_mask_is_url(item.mask))
		remote_fetch_add(order->fetch, REMOTE_MASK,
				 &(struct remote_want){.url = item.mask});
	return 0;
}

static int take_texts(struct source *base, struct source_order *order, struct error *err)
{
	int r = order->wants_caption
		    ? source_manifest_caption(base, order->path, &order->caption, err)
		    : SOURCE_NO_CAPTION;

	if (r < 0)
		return error_wrap(err, "its caption");
	order->has_caption = r == 0;
	return order->wants_meta && source_manifest_meta(base, order->path, &order->meta, err) < 0
		   ? -1
		   : 0;
}

static int source_manifest_finish(struct source *base, struct source_order *order,
				  struct error *err)
{
	if (take_texts(base, order, err) < 0)
		return -1;
	if (remote_fetch_has(order->fetch, REMOTE_MASK) && remote_fetch_mask(order, err) < 0)
		return -1;
	if (remote_fetch_has(order->fetch, REMOTE_IMAGE))
		return remote_fetch_image(order, err);
	order->fd = source_manifest_open_sample(base, order->path, err);
	return order->fd < 0 ? -1 : 0;
}

/* -- open and close ------------------------------------------------------------------------------- */

static void source_manifest_keep_lists(struct source *base, const char *folder)
{
	struct source_manifest *s = source_manifest_of(base);

	free(s->lists);
	s->lists = xstrdup(folder);
	remote_files_keep(s->remote, folder);
}

static void source_manifest_close(struct source *base)
{
	struct source_manifest *s = source_manifest_of(base);

	remote_files_close(s->remote);
	remote_window_close(s->window);
	manifest_forget(s);
	if (s->root >= 0)
		close(s->root);
	if (s->folder >= 0)
		close(s->folder);
	buffer_release(&s->clean);
	buffer_release(&s->found);
	buffer_release(&s->mask);
	free(s->roots[0]);
	free(s->roots[1]);
	free(s->asked[0]);
	free(s->asked[1]);
	free(s->lists);
	free(s->path);
	free(s);
}

static const struct source_ops source_manifest_ops = {
    .name = "manifest",
    .next = source_manifest_next,
    .examine = source_manifest_examine,
    .open_sample = source_manifest_open_sample,
    .prepare = source_manifest_prepare,
    .finish = source_manifest_finish,
    .drop_at_hand = source_manifest_drop_at_hand,
    .caption = source_manifest_caption,
    .meta = source_manifest_meta,
    .open_mask = source_manifest_open_mask,
    .keep_lists = source_manifest_keep_lists,
    .close = source_manifest_close,
};

static int open_folders(struct source_manifest *s, struct error *err)
{
	cleanup_free char *parent = dir_of(s->path);
	const char *root = s->options.manifest.root ? s->options.manifest.root : parent;
	char quoted[TEXT_QUOTE_SIZE];
	struct error why = ERROR_INIT;
	int fd;

	s->folder = folder_open_at(AT_FDCWD, parent, O_PATH | O_DIRECTORY);
	s->root = folder_open_at(AT_FDCWD, root, O_PATH | O_DIRECTORY);
	s->roots[0] = xstrdup(root);
	s->roots[1] = realpath(root, NULL);
	if (s->root < 0 || !s->roots[1])
		return error_set(err, ERR_CONFIG,
				 "source %s: its root %s is no folder that is there", s->path,
				 text_quote(root, quoted));
	fd = s->folder < 0 ? -1 : folder_open_file(s->folder, LINKS_FILES, s->name, &why);
	if (fd < 0)
		return error_set(err, ERR_CONFIG, "source %s: %s", text_quote(s->path, quoted),
				 s->folder < 0 ? "is not there" : why.message);
	close(fd);
	return 0;
}

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

int source_manifest_open(const char *path, const struct source_folder_options *options,
			 struct source **out, struct error *err)
{
	struct source_manifest *s = xcalloc(1, sizeof(*s));
	const char *slash;

	s->base.ops = &source_manifest_ops;
	s->base.urls = true;
	s->options = *options;
	s->remote = remote_files_new(options);
	s->window = remote_window_new(s->remote);
	s->base.ahead = remote_files_ahead(s->remote);
	s->path = xstrdup(path);
	slash = strrchr(s->path, '/');
	s->name = slash ? slash + 1 : s->path;
	s->asked[0] = copy(options->manifest.path_column);
	s->asked[1] = copy(options->manifest.caption_column);
	s->columns = (struct manifest_columns){s->asked[0], s->asked[1]};
	s->fd = s->folder = s->root = -1;
	if (!manifest_format_of(path, &s->format) || open_folders(s, err) < 0 ||
	    remote_files_begin(s->remote, err) < 0) {
		source_manifest_close(&s->base);
		return -1;
	}
	*out = &s->base;
	return 0;
}
