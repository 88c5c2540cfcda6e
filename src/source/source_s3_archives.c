/*
 * An archive in a bucket is listed through ranged reads, in the process that parses archives, and its list is kept as that of a file is.
 * A member of a plain tar is one ranged read of its header and bytes, among many others; of what is compressed members are read one after
 * the other. Each read is of the ETag that was listed: an archive that was replaced is listed again.
 */
#include "source/source_s3_parts.h"

#include "source/folder_archives.h"
#include "source/source_path.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <string.h>

enum { KEPT = 8, TRIES = 3 };

struct bucket_archives {
	struct archive_reading reading;
	struct archive_file *kept[KEPT]; /* the last used one first */
	char *etags[KEPT];
	char *none;		 /* the last path of which it is known that no archive is there */
	struct buffer path, key; /* of what was examined last */
};

struct bucket_archives *bucket_archives_new(const struct source_folder_options *options)
{
	struct bucket_archives *a = xcalloc(1, sizeof(*a));

	a->reading.options = options;
	return a;
}

static void drop(struct bucket_archives *a, size_t i)
{
	archive_file_close(a->kept[i]);
	free(a->etags[i]);
	a->kept[i] = NULL;
	a->etags[i] = NULL;
}

void bucket_archives_free(struct bucket_archives *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < KEPT; i++)
		drop(a, i);
	archive_reading_release(&a->reading);
	buffer_release(&a->path);
	buffer_release(&a->key);
	free(a->none);
	free(a);
}

void bucket_archives_keep_lists(struct bucket_archives *a, const char *folder)
{
	archive_lists_close(a->reading.lists);
	a->reading.lists = archive_lists_open(folder);
}

void bucket_archives_listed(struct bucket_archives *a)
{
	if (a->reading.lists)
		archive_lists_sweep(a->reading.lists);
}

/* -- which archive --------------------------------------------------------------------------------- */

/* Its place; KEPT: it is not there. */
static size_t place_of(const struct bucket_archives *a, const char *path)
{
	size_t i = 0;

	while (i < KEPT && !(a->kept[i] && strcmp(a->kept[i]->path, path) == 0))
		i++;
	return i;
}

/* @file and @etag, which are taken, to the front, in the place of what was at @i. */
static void keep(struct bucket_archives *a, size_t i, struct archive_file *file, char *etag)
{
	memmove(a->kept + 1, a->kept, i * sizeof(a->kept[0]));
	memmove(a->etags + 1, a->etags, i * sizeof(a->etags[0]));
	a->kept[0] = file;
	a->etags[0] = etag;
}

static void forget(struct bucket_archives *a, const char *path)
{
	size_t i = place_of(a, path);

	if (i < KEPT)
		drop(a, i);
}

static int list(struct source_s3 *s, const char *path, const struct s3_object *object,
		struct error *err)
{
	struct bucket_archives *a = s->archives;
	cleanup_free char *url = bucket_url(s, path, strlen(path), "");
	const struct archive_stamp stamp = {object->size, bucket_stamp(object->etag), 0};
	struct archive_file *file = NULL;
	size_t i;

	forget(a, path);
	if (archive_file_open_remote(
		remote_ranges_new(s->files, url, object->etag, object->size, &s->options), path,
		&stamp, NULL, &a->reading, &file, err) < 0)
		return -1;
	for (i = 0; i + 1 < KEPT && a->kept[i];)
		i++;
	drop(a, i);
	keep(a, i, file, xstrdup(object->etag));
	return 0;
}

static bool is_changed(const struct error *why)
{
	return why->code == ERR_DATA && strcmp(why->reason, "changed") == 0;
}

/* Archive @path comes to the front. @known: what is known of it; NULL: it is asked for. FOLDER_NO_ARCHIVE: it is not there. */
static int get(struct source_s3 *s, const char *path, const struct s3_object *known,
	       struct error *err)
{
	cleanup_free char *key = xasprintf("%s%s", s->prefix, path);
	struct s3_object object;
	int r = 0;

	for (size_t i = 0; i < TRIES; i++) {
		struct error why = ERROR_INIT;

		if (known)
			object = *known;
		else
			r = s3_head(s->s3, key, &object, err);
		if (r != 0)
			return r == S3_NOT_THERE ? FOLDER_NO_ARCHIVE : -1;
		if (list(s, path, &object, &why) == 0)
			return 0;
		if (!is_changed(&why)) {
			*err = why;
			return -1;
		}
		known = NULL;
	}
	return error_set(err, ERR_TRANSIENT, "s3://%s/%s is replaced again and again", s->bucket,
			 key);
}

int bucket_archives_get(struct source_s3 *s, const char *path, const struct s3_object *known,
			struct archive_file **out, struct error *err)
{
	struct bucket_archives *a = s->archives;
	size_t i = place_of(a, path);
	int r = i < KEPT && strcmp(a->etags[i], known->etag) == 0 ? 0 : get(s, path, known, err);

	if (r != 0)
		return r == FOLDER_NO_ARCHIVE ? SOURCE_GONE : r;
	i = place_of(a, path);
	*out = a->kept[i];
	(*out)->users++;
	return 0;
}

/* The archive that @path leads into; *inside is the rest, NULL where it is the archive's own path. */
static int find(struct source_s3 *s, const char *path, struct archive_file **out,
		const char **inside, struct error *err)
{
	struct bucket_archives *a = s->archives;
	cleanup_free char *part = xstrdup(path);

	for (size_t end = strcspn(path, "/"); a; end += 1 + strcspn(path + end + 1, "/")) {
		size_t i;
		int r;

		memcpy(part, path, end);
		part[end] = '\0';
		if (source_path_is_archive(part) && !(a->none && strcmp(a->none, part) == 0)) {
			i = place_of(a, part);
			if (i < KEPT)
				keep(a, i, a->kept[i], a->etags[i]);
			r = i < KEPT ? 0 : get(s, part, NULL, err);
			*inside = path[end] == '/' ? path + end + 1 : NULL;
			*out = a->kept[0];
			if (r != FOLDER_NO_ARCHIVE)
				return r;
			free(a->none);
			a->none = TAKE(part);
			part = xstrdup(path);
		}
		if (path[end] == '\0')
			break;
	}
	return FOLDER_NO_ARCHIVE;
}

void bucket_archives_look_again(struct bucket_archives *a)
{
	if (a)
		free(TAKE(a->none));
}

/* -- entries --------------------------------------------------------------------------------------- */

int bucket_archives_examine(struct source_s3 *s, const char *path, struct source_entry *entry,
			    struct error *err)
{
	struct bucket_archives *a = s->archives;
	struct archive_file *file = NULL;
	struct source_entry found;
	const char *inside = NULL;
	int r = find(s, path, &file, &inside, err);

	if (r == 0)
		r = archive_file_examine(file, inside, &found);
	if (r != 0)
		return r;
	if (found.path) {
		buffer_reset(&a->path);
		buffer_append_string(&a->path, file->path);
		folder_archives_place(&a->path, &a->key, &found);
	}
	found.path = path;
	*entry = found;
	return 0;
}

int bucket_archives_caption(struct source_s3 *s, const char *path, struct buffer *out,
			    struct error *err)
{
	struct archive_file *file = NULL;
	const char *inside = NULL;
	int r = find(s, path, &file, &inside, err);

	return r != 0 ? r : archive_file_caption(file, inside, out, err);
}

int bucket_archives_meta(struct source_s3 *s, const char *path, struct buffer *out,
			 struct error *err)
{
	struct archive_file *file = NULL;
	const char *inside = NULL;
	int r = find(s, path, &file, &inside, err);

	return r != 0 ? r : archive_file_meta(file, inside, out);
}

/* -- bytes ----------------------------------------------------------------------------------------- */

/* What is to be fetched for member @path. False: it cannot be fetched alone. */
static bool want(const struct source_s3 *s, const struct archive_file *file, const char *path,
		 struct remote_want *out)
{
	const char *inside = path + strlen(file->path) + 1;

	if (!archive_file_span(file, inside, &out->offset, &out->size))
		return false;
	out->etag = *s->archives->etags[0] ? s->archives->etags[0] : NULL;
	return true;
}

/* Of a member over the limit no byte is asked for: whoever reads it says so. */
static bool is_too_large(const struct source_s3 *s, const struct remote_want *w)
{
	return w->size > remote_files_bytes_max(s->files) + UNPACK_NAME_MAX;
}

/* A descriptor, the caller's, of what @w wants of @file. */
static int fetch(const struct source_s3 *s, const struct archive_file *file,
		 const struct remote_want *w, struct error *err)
{
	cleanup_free char *url = bucket_url(s, file->path, strlen(file->path), "");
	cleanup_free char *etag = w->etag ? xstrdup(w->etag) : NULL;
	struct remote_part part = {.url = url, .offset = w->offset, .size = w->size, .etag = etag};

	return remote_files_fetch_now(s->files, &part, err) < 0 ? -1 : part.fd;
}

/* The descriptor *out. @piece: what was fetched of it, which is taken; -1: nothing yet. */
static int read_once(struct source_s3 *s, const char *path, int piece, int *out, struct error *err)
{
	cleanup_close int own = piece;
	struct archive_file *file = NULL;
	const char *inside = NULL;
	struct remote_want w;
	int r = find(s, path, &file, &inside, err);

	if (r != 0)
		return r;
	if (!inside || !want(s, file, path, &w)) {
		*out = archive_file_read(file, inside, &s->archives->reading, err);
		return *out < 0 ? -1 : 0;
	}
	if (is_too_large(s, &w))
		return error_data(err, "too_large", "%llu bytes are over the limit",
				  (unsigned long long)w.size);
	if (own < 0)
		own = fetch(s, file, &w, err);
	*out =
	    own < 0 ? -1 : archive_file_read_piece(file, inside, own, &s->archives->reading, err);
	return *out < 0 ? -1 : 0;
}

/* The archive that @path leads into is another by now. */
static void forget_found(struct source_s3 *s, const char *path)
{
	struct archive_file *file = NULL;
	struct error ignored = ERROR_INIT;
	const char *inside = NULL;

	if (find(s, path, &file, &inside, &ignored) == 0)
		drop(s->archives, 0);
}

/* @why: that of @piece, if it is not there: others may have found since what the archive is now. */
static int read_member(struct source_s3 *s, const char *path, int piece, struct error *why,
		       int *out, struct error *err)
{
	int r;

	if (is_changed(why))
		error_clear(why);
	r = why->code == ERR_NONE ? read_once(s, path, piece, out, why) : -1;
	if (r < 0 && is_changed(why)) {
		forget_found(s, path);
		error_clear(why);
		r = read_once(s, path, -1, out, why);
	}
	if (r < 0 && is_changed(why))
		return error_set(err, ERR_TRANSIENT, "%s", why->message);
	if (r < 0)
		*err = *why;
	return r;
}

int bucket_archives_open_sample(struct source_s3 *s, const char *path, int *out, struct error *err)
{
	struct error why = ERROR_INIT;

	return read_member(s, path, -1, &why, out, err);
}

/* The path of the mask of @path, to be freed; NULL: it has none. */
static char *mask_of(const struct archive_file *file, const char *path)
{
	struct source_entry entry;
	const char *ending;

	for (size_t i = 0; (ending = source_path_mask_ending(i)); i++) {
		char *mask = xasprintf("%.*s%s", (int)source_path_stem(path), path, ending);

		if (archive_file_examine(file, mask + strlen(file->path) + 1, &entry) == 0)
			return mask;
		free(mask);
	}
	return NULL;
}

int bucket_archives_open_mask(struct source_s3 *s, const char *path, int *out, struct error *err)
{
	struct archive_file *file = NULL;
	struct error why = ERROR_INIT;
	const char *inside = NULL;
	int r = find(s, path, &file, &inside, err);
	cleanup_free char *mask = r == 0 && inside ? mask_of(file, path) : NULL;
	char quoted[TEXT_QUOTE_SIZE];

	if (r != 0)
		return r;
	if (!mask)
		return error_data(err, "gone", "no mask lies beside %s", text_quote(path, quoted));
	return read_member(s, mask, -1, &why, out, err);
}

/* -- orders ---------------------------------------------------------------------------------------- */

static void add(struct source_s3 *s, struct source_order *order, const struct archive_file *file,
		enum remote_which which, const char *path)
{
	cleanup_free char *url = bucket_url(s, file->path, strlen(file->path), "");
	struct remote_want w = {.url = url};

	if (want(s, file, path, &w) && !is_too_large(s, &w))
		remote_fetch_add(order->fetch, which, &w);
}

int bucket_archives_prepare(struct source_s3 *s, struct source_order *order, struct error *err)
{
	bool masks = order->wants_mask && s->base.masks_beside;
	struct archive_file *file = NULL;
	const char *inside = NULL;
	int r = find(s, order->path, &file, &inside, err);
	cleanup_free char *mask = r == 0 && inside && masks ? mask_of(file, order->path) : NULL;

	if (r != 0)
		return r;
	order->fetch = remote_fetch_new(s->files);
	if (inside)
		add(s, order, file, REMOTE_IMAGE, order->path);
	if (mask)
		add(s, order, file, REMOTE_MASK, mask);
	return 0;
}

/* The descriptor of member @path, of which a part of @order may have come. */
static int take(struct source_s3 *s, struct source_order *order, enum remote_which which,
		const char *path, struct error *err)
{
	struct error why = ERROR_INIT;
	int piece = remote_fetch_has_piece(order->fetch, which)
			? remote_fetch_take(order, which, &why)
			: -1;
	int fd = -1, r = read_member(s, path, piece, &why, &fd, err);

	if (r == FOLDER_NO_ARCHIVE)
		error_data(err, "gone", "its archive is not there any more");
	return r == 0 ? fd : -1;
}

static int take_texts(const struct archive_file *file, const char *inside,
		      struct source_order *order, struct error *err)
{
	int r = order->wants_caption ? archive_file_caption(file, inside, &order->caption, err)
				     : SOURCE_NO_CAPTION;

	if (r < 0)
		return error_wrap(err, "its caption");
	order->has_caption = r == 0;
	if (order->wants_meta && archive_file_meta(file, inside, &order->meta) < 0)
		return -1;
	return 0;
}

static int take_mask(struct source_s3 *s, struct source_order *order, const char *path,
		     struct error *err)
{
	cleanup_close int fd = take(s, order, REMOTE_MASK, path, err);

	if (fd >= 0 && fd_read_all(fd, SOURCE_MASK_MAX, &order->mask, err) == 0 &&
	    order->mask.size == 0)
		error_data(err, "mask", "the file is empty");
	return err->code == ERR_NONE ? 0 : error_wrap(err, "its mask");
}

static uint64_t place_in(const struct archive_file *file, const char *path)
{
	struct source_entry entry = {.place = 0};

	archive_file_examine(file, path + strlen(file->path) + 1, &entry);
	return entry.place;
}

/* In the order in which they stand, where that is the only fast one. */
static int take_bytes(struct source_s3 *s, struct source_order *order,
		      const struct archive_file *file, struct error *err)
{
	bool masks = order->wants_mask && s->base.masks_beside;
	cleanup_free char *mask = masks ? mask_of(file, order->path) : NULL;
	bool first = mask && place_in(file, mask) < place_in(file, order->path);

	if (first && take_mask(s, order, mask, err) < 0)
		return -1;
	order->fd = take(s, order, REMOTE_IMAGE, order->path, err);
	if (order->fd < 0)
		return -1;
	return mask && !first ? take_mask(s, order, mask, err) : 0;
}

/* Texts last: that the archive is another one by now shows when bytes of it are read. */
int bucket_archives_finish(struct source_s3 *s, struct source_order *order, struct error *err)
{
	struct archive_file *file = NULL;
	const char *inside = NULL;
	int r = find(s, order->path, &file, &inside, err);

	if (r != 0)
		return r;
	if (!inside)
		return archive_file_read(file, NULL, &s->archives->reading, err);
	if (take_bytes(s, order, file, err) < 0)
		return -1;
	r = find(s, order->path, &file, &inside, err);
	return r == 0 ? take_texts(file, inside, order, err) : r;
}
