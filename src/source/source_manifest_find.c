/*
 * A manifest is read twice: for an index of its paths, which answers what is asked of one of them and knows paths that
 * are there twice, and for the listing.
 */
#include "source/source_manifest_parts.h"

#include "source/folder_files.h"
#include "source/source_path.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* A time that lies further ahead says nothing about when it was written. */
#define FUTURE_MS ((int64_t)60 * 60 * 1000)

enum {
	STOP_EVERY = 1000,
	YOUNG_MS = 2000, /* one that has changed is not read again before */
};

bool manifest_stops(const struct source_manifest *s, uint64_t n)
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

/* A path below the root without empty and "." parts into @out; or what is wrong with it. */
static const char *clean_file(const struct source_manifest *s, const char *path, struct buffer *out)
{
	if (*path == '/') {
		path = below_root(s, path);
		if (!path)
			return "its path is not below the root";
	}
	buffer_reset(out);
	for (; *path; path += *path == '/') {
		size_t n = strcspn(path, "/");

		if (n > 0 && !(n == 1 && *path == '.')) {
			if (out->size > 0)
				buffer_put_u8(out, '/');
			buffer_append(out, path, n);
		}
		path += n;
	}
	if (out->size == 0 || !source_path_is_inside((const char *)out->data))
		return "its path leads out of the root";
	return NULL;
}

const char *manifest_clean_path(struct source_manifest *s, const char *path)
{
	if (!source_path_is_url(path) && !is_url(path))
		return clean_file(s, path, &s->clean);
	buffer_reset(&s->clean);
	buffer_append_string(&s->clean, path);
	return remote_url_wrong(path);
}

bool manifest_mask_is_url(const char *mask)
{
	return source_path_is_url(mask) && !remote_url_wrong(mask);
}

const char *manifest_clean_mask(struct source_manifest *s, const char *path)
{
	return source_path_is_url(path) ? remote_url_wrong(path)
	       : is_url(path)		? "its mask is no URL of http, https or s3"
					: clean_file(s, path, &s->mask);
}

const char *manifest_cleaned(const struct source_manifest *s)
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

const char *manifest_file_of(struct source_manifest *s)
{
	const char *extension;

	if (s->format != MANIFEST_KOHYA || source_path_is_image(manifest_cleaned(s)) ||
	    source_path_is_url(manifest_cleaned(s)))
		return manifest_cleaned(s);
	for (size_t i = 0; (extension = source_path_image_extension(i)); i++) {
		for (int large = 0; large < 2; large++) {
			size_t stem = s->clean.size;

			buffer_reset(&s->found);
			buffer_appendf(&s->found, "%s%s", manifest_cleaned(s), extension);
			for (char *c = (char *)s->found.data + stem; large && *c; c++)
				*c = (char)toupper((unsigned char)*c);
			if (is_file(s, (const char *)s->found.data))
				return (const char *)s->found.data;
		}
	}
	return manifest_cleaned(s);
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
		if (manifest_stops(s, ++n))
			r = error_set(err, ERR_TRANSIENT, "stopped while reading a manifest");
		else if (!place.bad && !manifest_clean_path(s, item.path))
			r = manifest_index_add(s->index,
					       hash_of(manifest_cleaned(s), s->clean.size),
					       place.offset, err);
	}
	return r < 0 ? r : manifest_index_end(s->index, key_of(s), err);
}

void manifest_forget(struct source_manifest *s)
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

bool manifest_is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int manifest_look(struct source_manifest *s, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct stat st;
	int64_t age;

	text_quote(s->path, quoted);
	if (fstatat(s->folder, s->name, &st, 0) < 0)
		return error_set(err, ERR_TRANSIENT, "manifest %s is not there", quoted);
	s->stale = false;
	if (s->index && manifest_is_same(&s->known, &st))
		return 0;
	age = clock_wall_ms() - ((int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
	s->stale = s->index && ((s->listing && !s->ended) || (age < YOUNG_MS && age > -FUTURE_MS));
	if (s->stale)
		return 0;
	manifest_forget(s);
	if (read_manifest(s, err) < 0) {
		manifest_forget(s);
		return error_wrap(err, "%s", quoted);
	}
	return 0;
}

bool manifest_find_line(struct source_manifest *s, const char *path, size_t n,
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
		    !place->bad && !manifest_clean_path(s, item->path) && s->clean.size == n &&
		    memcmp(manifest_cleaned(s), path, n) == 0)
			return true;
	}
	return false;
}

int manifest_find(struct source_manifest *s, const char *path, struct manifest_item *item,
		  struct error *err)
{
	size_t stem = source_path_stem(path);
	struct manifest_place place;
	char quoted[TEXT_QUOTE_SIZE];

	if (manifest_look(s, err) < 0)
		return -1;
	if (manifest_find_line(s, path, strlen(path), item, &place) ||
	    (s->format == MANIFEST_KOHYA && source_path_is_image(path) &&
	     manifest_find_line(s, path, stem, item, &place)))
		return 0;
	if (s->stale)
		return error_set(err, ERR_TRANSIENT, "manifest %s is being written",
				 text_quote(s->path, quoted));
	return SOURCE_GONE;
}
