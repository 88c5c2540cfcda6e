/*
 * A manifest is read twice: for an index of its paths, which answers what is asked of one of them and knows paths that
 * are there twice, and for the listing. Its images are files like those of a folder (folder_files.h).
 */
#include "source/folder_files.h"
#include "source/manifest_index.h"
#include "source/manifest_reader.h"
#include "source/remote_window.h"
#include "source/source.h"
#include "source/source_path.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/text.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A time that lies further ahead says nothing about when it was written. */
#define FUTURE_MS ((int64_t)60 * 60 * 1000)

enum {
	NOTES_MAX = 20, /* of each kind, told of one by one */
	STOP_EVERY = 1000,
	YOUNG_MS = 2000, /* one that has changed is not read again before */
};

struct source_manifest {
	struct source base;
	struct source_folder_options options;
	char *path;
	const char *name; /* its last part */
	int folder;	  /* that it is in */
	int root;	  /* that its paths are below */
	char *roots
	    [2]; /* what an absolute path begins with: the root as it was given, and where that leads */
	enum manifest_format format;
	struct manifest_columns columns;
	char *asked[2]; /* what these point to */
	char *lists;	/* where its index is kept; NULL: nowhere */

	int fd; /* -1: it was not looked at yet */
	struct stat known;
	bool stale; /* it is another by now, which may still be written */
	struct manifest_reader *reader, *lookup;
	struct manifest_index *index;
	struct buffer clean; /* the path of an item */
	struct buffer found; /* and of its file */
	struct remote_files *remote;
	struct remote_window *window;

	bool listing, ended;
	struct manifest_item item; /* that is being listed; path NULL: the next one is */
	struct manifest_place place;
	size_t bad, missing; /* lines that cannot be used; files that are not there */
};

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

static bool stops(const struct source_manifest *s, uint64_t n)
{
	return s->options.stop && n % STOP_EVERY == 0 && s->options.stop(s->options.stop_arg);
}

/* -- paths ---------------------------------------------------------------------------------------- */

/* What follows the root in an absolute path; NULL: it is not below it. */
static const char *below_root(const struct source_manifest *s, const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->roots); i++) {
		size_t n = strlen(s->roots[i]);

		while (n > 0 && s->roots[i][n - 1] == '/')
			n--;
		if (strncmp(path, s->roots[i], n) == 0 && path[n] == '/')
			return path + n + 1;
	}
	return NULL;
}

/* Of any scheme. */
static bool is_url(const char *path)
{
	size_t n = strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789+.-");

	return n > 0 && strncmp(path + n, "://", 3) == 0;
}

/* @path into s->clean, without empty and "." parts if it is no URL; or what is wrong with it. */
static const char *clean_path(struct source_manifest *s, const char *path)
{
	if (source_path_is_url(path) || is_url(path)) {
		buffer_reset(&s->clean);
		buffer_append_string(&s->clean, path);
		return remote_url_wrong(path);
	}
	if (*path == '/') {
		path = below_root(s, path);
		if (!path)
			return "its path is not below the root";
	}
	buffer_reset(&s->clean);
	for (; *path; path += *path == '/') {
		size_t n = strcspn(path, "/");

		if (n > 0 && !(n == 1 && *path == '.')) {
			if (s->clean.size > 0)
				buffer_put_u8(&s->clean, '/');
			buffer_append(&s->clean, path, n);
		}
		path += n;
	}
	if (s->clean.size == 0 || !source_path_is_inside((const char *)s->clean.data))
		return "its path leads out of the root";
	return NULL;
}

static const char *cleaned(const struct source_manifest *s)
{
	return (const char *)s->clean.data;
}

static uint64_t hash_of(const char *path, size_t n)
{
	return hash64_of(path, n, 0);
}

static bool is_file(const struct source_manifest *s, const char *path)
{
	struct source_entry entry;
	struct error ignored = ERROR_INIT;

	return folder_examine(s->root, s->options.choice.links, path, NULL, &entry, &ignored) == 0;
}

/* The file that the cleaned path names: of kohya's keys without an ending the one that is there. */
static const char *file_of(struct source_manifest *s)
{
	const char *extension;

	if (s->format != MANIFEST_KOHYA || source_path_is_image(cleaned(s)) ||
	    source_path_is_url(cleaned(s)))
		return cleaned(s);
	for (size_t i = 0; (extension = source_path_image_extension(i)); i++) {
		for (int large = 0; large < 2; large++) {
			size_t stem = s->clean.size;

			buffer_reset(&s->found);
			buffer_appendf(&s->found, "%s%s", cleaned(s), extension);
			for (char *c = (char *)s->found.data + stem; large && *c; c++)
				*c = (char)toupper((unsigned char)*c);
			if (is_file(s, (const char *)s->found.data))
				return (const char *)s->found.data;
		}
	}
	return cleaned(s);
}

/* -- the index ------------------------------------------------------------------------------------ */

static void add_text(struct hash128_stream *h, const char *text)
{
	hash128_stream_update(h, text ? text : "", text ? strlen(text) + 1 : 0);
	hash128_stream_update(h, "/", 2);
}

/* Of all that decides what is in the index. */
static uint64_t key_of(const struct source_manifest *s)
{
	cleanup_hash128_stream struct hash128_stream *h = hash128_stream_new();
	const uint64_t known[] = {(uint64_t)s->known.st_size, s->known.st_ino,
				  (uint64_t)s->known.st_mtim.tv_sec,
				  (uint64_t)s->known.st_mtim.tv_nsec, s->format};
	struct hash128 hash;

	hash128_stream_update(h, known, sizeof(known));
	add_text(h, s->roots[0]);
	add_text(h, s->roots[1]);
	add_text(h, s->columns.path);
	hash = hash128_stream_value(h);
	return get_u64le(hash.bytes);
}

static int make_index(struct source_manifest *s, struct error *err)
{
	struct manifest_item item;
	struct manifest_place place;
	uint64_t n = 0;
	int r = manifest_index_begin(s->lists, &s->index, err);

	while (r == 0 && (r = manifest_reader_next(s->reader, true, &item, &place, err)) == 0) {
		if (stops(s, ++n))
			r = error_set(err, ERR_TRANSIENT, "stopped while reading a manifest");
		else if (!place.bad && !clean_path(s, item.path))
			r = manifest_index_add(s->index, hash_of(cleaned(s), s->clean.size),
					       place.offset, err);
	}
	return r < 0 ? r : manifest_index_end(s->index, key_of(s), err);
}

static void forget(struct source_manifest *s)
{
	manifest_reader_close(TAKE(s->reader));
	manifest_reader_close(TAKE(s->lookup));
	manifest_index_close(TAKE(s->index));
	if (s->fd >= 0)
		close(TAKE_FD(s->fd));
}

static int read_manifest(struct source_manifest *s, struct error *err)
{
	struct error failed = ERROR_INIT;

	s->fd = folder_open_file(s->folder, LINKS_FILES, s->name, &failed);
	if (s->fd < 0)
		return error_set(err, ERR_TRANSIENT, "%s", failed.message);
	if (fstat(s->fd, &s->known) < 0)
		return error_sys(err, "%s", s->path);
	if (manifest_reader_open(s->fd, s->format, &s->columns, &s->reader, err) < 0 ||
	    manifest_reader_open(s->fd, s->format, &s->columns, &s->lookup, err) < 0)
		return -1;
	s->index = s->lists ? manifest_index_open(s->lists, key_of(s)) : NULL;
	return s->index ? 0 : make_index(s, err);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/*
 * It is read if it is not what it was. A manifest that is not there is no empty one: ERR_TRANSIENT. One that is still being
 * written is taken as it was, and so is one that is being listed: lines were added, or the old file is still open; in a file
 * that is written anew nothing is found where it was.
 */
static int look(struct source_manifest *s, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct stat st;
	int64_t age;

	text_quote(s->path, quoted);
	if (fstatat(s->folder, s->name, &st, 0) < 0)
		return error_set(err, ERR_TRANSIENT, "manifest %s is not there", quoted);
	s->stale = false;
	if (s->index && is_same(&s->known, &st))
		return 0;
	age = clock_wall_ms() - ((int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
	s->stale = s->index && ((s->listing && !s->ended) || (age < YOUNG_MS && age > -FUTURE_MS));
	if (s->stale)
		return 0;
	forget(s);
	if (read_manifest(s, err) < 0) {
		forget(s);
		return error_wrap(err, "%s", quoted);
	}
	return 0;
}

/* The last line of the path whose hash is @hash; false: there is none. */
static bool find_hash(struct source_manifest *s, const char *path, size_t n,
		      struct manifest_item *item, struct manifest_place *place)
{
	uint64_t hash = hash_of(path, n), offset = 0;
	struct error ignored = ERROR_INIT;
	uint64_t first = manifest_index_find(s->index, hash), end = first;

	while (manifest_index_at(s->index, end, hash, &offset))
		end++;
	for (uint64_t i = end; i > first; i--) {
		if (!manifest_index_at(s->index, i - 1, hash, &offset))
			return false;
		manifest_reader_seek(s->lookup, offset);
		if (manifest_reader_next(s->lookup, false, item, place, &ignored) == 0 &&
		    !place->bad && !clean_path(s, item->path) && s->clean.size == n &&
		    memcmp(cleaned(s), path, n) == 0)
			return true;
	}
	return false;
}

/* SOURCE_GONE: it names no such path. */
static int find(struct source_manifest *s, const char *path, struct manifest_item *item,
		struct error *err)
{
	size_t stem = source_path_stem(path);
	struct manifest_place place;
	char quoted[TEXT_QUOTE_SIZE];

	if (look(s, err) < 0)
		return -1;
	if (find_hash(s, path, strlen(path), item, &place) ||
	    (s->format == MANIFEST_KOHYA && source_path_is_image(path) &&
	     find_hash(s, path, stem, item, &place)))
		return 0;
	if (s->stale)
		return error_set(err, ERR_TRANSIENT, "manifest %s is being written",
				 text_quote(s->path, quoted));
	return SOURCE_GONE;
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
	if (look(s, err) < 0)
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
	if (fstat(s->fd, &st) < 0 || !is_same(&st, &s->known)) {
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
	path = xstrdup(cleaned(s));
	return find_hash(s, path, strlen(path), &item, &place) && place.offset != s->place.offset;
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
			s->place.bad = clean_path(s, s->item.path);
		if (s->place.bad)
			note_bad(s);
		else if (!is_replaced(s))
			return 0;
		s->item.path = NULL;
		if (stops(s, n))
			return error_set(err, ERR_TRANSIENT, "stopped while reading a manifest");
	}
}

/* The file of the next line; entry->path NULL: it is not there. */
static int next_file(struct source_manifest *s, struct source_entry *entry, struct error *err)
{
	int r = s->item.path ? 0 : next_item(s, err);

	if (r != 0)
		return r;
	clean_path(s, s->item.path); /* another one may have been looked up since */
	r = examine(s, file_of(s), &s->item, entry, err);
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
	int r = find(s, path, &item, err);

	return r == 0 ? examine(s, path, &item, entry, err) : r;
}

static int source_manifest_open_sample(struct source *base, const char *path, struct error *err)
{
	struct source_manifest *s = source_manifest_of(base);

	if (source_path_is_url(path))
		return remote_files_open(s->remote, path, err);
	return folder_open_file(s->root, s->options.choice.links, path, err);
}

static void source_manifest_open_later(struct source *base, struct source_order *order)
{
	remote_files_open_later(source_manifest_of(base)->remote, order->path, order);
}

static int source_manifest_open_at_hand(struct source *base, const char *path)
{
	return remote_files_at_hand(source_manifest_of(base)->remote, path);
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
	int r = find(s, path, &item, err);

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
	int r = find(s, path, &item, err);

	if (r < 0)
		return r;
	if (source_path_is_url(path) && (r == SOURCE_GONE || !item.meta))
		return SOURCE_NO_META;
	if (r == SOURCE_GONE || !item.meta)
		return companions_meta(s->root, s->options.choice.links, path, out, err);
	buffer_append_string(out, item.meta);
	return 0;
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
	forget(s);
	if (s->root >= 0)
		close(s->root);
	if (s->folder >= 0)
		close(s->folder);
	buffer_release(&s->clean);
	buffer_release(&s->found);
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
    .open_later = source_manifest_open_later,
    .open_at_hand = source_manifest_open_at_hand,
    .drop_at_hand = source_manifest_drop_at_hand,
    .caption = source_manifest_caption,
    .meta = source_manifest_meta,
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
