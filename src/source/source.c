#include "source/source.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"
#include "net/s3_request.h"
#include "source/folder_files.h"
#include "source/remote_fetch.h"
#include "source/source_path.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int path_check(const struct source *s, const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (!source_path_is_inside(path) && !(s->urls && source_path_is_url(path)))
		return error_data(err, "outside", "%s is not a path inside the source",
				  text_quote(path, quoted));
	return 0;
}

/* -- masks ---------------------------------------------------------------------------------------- */

/* What may be the mask of @path, the @i-th: "a/b-mask.png", or "a/b.png" in the folder of masks; to be freed. NULL: no more. */
static char *mask_path(const struct source *s, const char *path, size_t i)
{
	static const char *const in_folder[] = {".png", ".PNG"};
	const char *ending = s->masks_beside		 ? source_path_mask_ending(i)
			     : i < ARRAY_SIZE(in_folder) ? in_folder[i]
							 : NULL;

	return ending ? xasprintf("%.*s%s", (int)source_path_stem(path), path, ending) : NULL;
}

static bool is_gone(const struct error *why)
{
	return why->code == ERR_DATA && strcmp(why->reason, "gone") == 0;
}

static bool names_masks(const struct source *s)
{
	return s->masks_beside && s->ops->open_mask;
}

/* As source_ops.open_sample, of the mask of @path that has its name. */
static int open_mask_named_so(struct source *s, const char *path, struct error *err)
{
	struct error why = ERROR_INIT;
	int fd = -1;
	char *name;

	for (size_t i = 0; fd < 0 && (i == 0 || is_gone(&why)) && (name = mask_path(s, path, i));
	     i++) {
		error_clear(&why);
		fd = s->masks_beside ? s->ops->open_sample(s, name, &why)
				     : folder_open_file(s->mask_root, LINKS_ALL, name, &why);
		free(name);
	}
	if (fd < 0)
		*err = why;
	return fd;
}

/* As source_ops.open_sample, of the mask of @path. */
static int open_mask(struct source *s, const char *path, struct error *err)
{
	struct error why = ERROR_INIT;
	int fd;

	if (!names_masks(s))
		return open_mask_named_so(s, path, err);
	fd = s->ops->open_mask(s, path, &why);
	if (fd < 0 && is_gone(&why) && !source_is_remote(s, path))
		return open_mask_named_so(s, path, err);
	if (fd < 0)
		*err = why;
	return fd;
}

static bool has_masks(const struct source *s, const char *path)
{
	return names_masks(s) || (s->masks_beside && !source_is_remote(s, path)) ||
	       (s->has_mask_root && !source_path_is_url(path));
}

static bool is_mask(const struct source *s, const char *path)
{
	return s->masks_beside && source_path_is_mask(path) && !source_is_remote(s, path);
}

/* Of a member only the archive tells when it changes. */
static void look_for_mask(struct source *s, struct source_entry *entry)
{
	struct error ignored = ERROR_INIT;
	cleanup_close int fd = -1;
	struct stat st;

	if (!names_masks(s))
		entry->mask = 0;
	if (entry->mask != 0 || entry->archive > 0 || !has_masks(s, entry->path) ||
	    (s->masks_beside && source_is_remote(s, entry->path)))
		return;
	fd = open_mask_named_so(s, entry->path, &ignored);
	if (fd >= 0 && fstat(fd, &st) == 0)
		entry->mask = folder_stamp(&st);
}

/* An empty file is one that was not written, and none that says that all counts. */
static int read_mask(int fd, struct buffer *out, struct error *err)
{
	size_t before = out->size;

	if (fd_read_all(fd, SOURCE_MASK_MAX, out, err) < 0)
		return -1;
	return out->size > before ? 0 : error_data(err, "mask", "the file is empty");
}

int source_mask(struct source *s, const char *path, struct buffer *out, struct error *err)
{
	struct error why = ERROR_INIT;
	cleanup_close int fd = -1;

	if (path_check(s, path, err) < 0)
		return -1;
	if (!has_masks(s, path))
		return SOURCE_NO_MASK;
	fd = open_mask(s, path, &why);
	if (fd >= 0)
		return read_mask(fd, out, err);
	if (is_gone(&why))
		return SOURCE_NO_MASK;
	*err = why;
	return -1;
}

bool source_mask_follows(struct source *s, const char *path)
{
	struct error ignored = ERROR_INIT;
	struct source_entry entry;
	bool found = false, follows = false;
	uint64_t place;
	char *name;

	if (!s->masks_beside || !has_masks(s, path) ||
	    s->ops->examine(s, path, &entry, &ignored) != 0 || entry.place == 0)
		return false;
	place = entry.place;
	for (size_t i = 0; !found && (name = mask_path(s, path, i)); i++) {
		error_clear(&ignored);
		found = s->ops->examine(s, name, &entry, &ignored) == 0;
		follows = found && entry.place > place;
		free(name);
	}
	return follows;
}

/* -- listing and opening -------------------------------------------------------------------------- */

int source_next(struct source *s, struct source_entry *entry, struct error *err)
{
	int r;

	do {
		r = s->ops->next(s, entry, err);
	} while (r == 0 && is_mask(s, entry->path));
	assert(r != 0 || source_path_is_inside(entry->path) || source_is_remote(s, entry->path));
	if (r == 0)
		look_for_mask(s, entry);
	return r;
}

int source_examine(struct source *s, const char *path, struct source_entry *entry,
		   struct error *err)
{
	int r;

	if (path_check(s, path, err) < 0)
		return -1;
	if (is_mask(s, path))
		return SOURCE_GONE;
	r = s->ops->examine(s, path, entry, err);
	if (r == 0)
		look_for_mask(s, entry);
	return r;
}

int source_open_sample(struct source *s, const char *path, struct error *err)
{
	if (path_check(s, path, err) < 0)
		return -1;
	return s->ops->open_sample(s, path, err);
}

bool source_is_remote(const struct source *s, const char *path)
{
	return s->remote || (s->urls && source_path_is_url(path));
}

size_t source_ahead(const struct source *s)
{
	return s->ahead;
}

void source_drop_at_hand(struct source *s, const char *path)
{
	if (s->ops->drop_at_hand)
		s->ops->drop_at_hand(s, path);
}

void source_caption_clean(const struct buffer *raw, struct buffer *out)
{
	size_t end = raw->size;
	size_t start = end >= 3 && memcmp(raw->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	while (end > start && memchr(" \t\r\n\v\f", raw->data[end - 1], 6))
		end--;
	if (end > start)
		utf8_append_clean(out, raw->data + start, end - start);
}

int source_caption(struct source *s, const char *path, struct buffer *out, struct error *err)
{
	cleanup_buffer struct buffer raw = BUFFER_INIT;
	int r;

	if (path_check(s, path, err) < 0)
		return -1;
	r = s->ops->caption(s, path, &raw, err);
	if (r != 0)
		return r;
	source_caption_clean(&raw, out);
	return 0;
}

int source_meta(struct source *s, const char *path, struct buffer *out, struct error *err)
{
	if (path_check(s, path, err) < 0)
		return -1;
	return s->ops->meta ? s->ops->meta(s, path, out, err) : SOURCE_NO_META;
}

/* -- orders --------------------------------------------------------------------------------------- */

bool source_takes_orders(const struct source *s)
{
	return s->ops->prepare != NULL;
}

int source_order_prepare(struct source *s, struct source_order *order, struct error *err)
{
	assert(s->ops->prepare && !order->fetch);
	return s->ops->prepare(s, order, err);
}

bool source_order_waits(const struct source_order *order)
{
	return order->fetch && remote_fetch_waits(order->fetch);
}

static void on_fetched(void *owner)
{
	struct source_order *order = owner;

	order->done(order);
}

void source_order_start(struct source_order *order)
{
	remote_fetch_start(order->fetch, on_fetched, order);
}

/* That of a remote sample may be a file here. */
static int take_mask(struct source *s, struct source_order *order, struct error *err)
{
	if (!order->wants_mask || order->mask.size > 0 || (s->remote && s->masks_beside))
		return 0;
	return source_mask(s, order->path, &order->mask, err) < 0 ? error_wrap(err, "its mask") : 0;
}

int source_order_finish(struct source *s, struct source_order *order, struct error *err)
{
	struct buffer raw;

	if (s->ops->finish(s, order, err) < 0)
		return -1;
	if (order->has_caption) {
		raw = order->caption;
		order->caption = (struct buffer)BUFFER_INIT;
		source_caption_clean(&raw, &order->caption);
		buffer_release(&raw);
	}
	return take_mask(s, order, err);
}

void source_order_release(struct source_order *order)
{
	remote_fetch_free(TAKE(order->fetch));
	if (order->fd >= 0)
		close(TAKE_FD(order->fd));
	buffer_release(&order->caption);
	buffer_release(&order->meta);
	buffer_release(&order->mask);
	order->has_caption = false;
}

/* -- open and close ------------------------------------------------------------------------------- */

static int open_kind(const char *path, const struct source_folder_options *options,
		     struct source **out, struct error *err)
{
	bool archive = options->unpack && source_path_is_archive(path);
	char quoted[TEXT_QUOTE_SIZE];
	struct stat st;
	int r;

	if (s3_is_url(path))
		return source_s3_open(path, options, out, err);
	r = stat(path, &st);
	if (r < 0 && errno == ENOENT && archive)
		return error_set(err, ERR_CONFIG, "source %s: there is no such archive",
				 text_quote(path, quoted));
	if (r == 0 && S_ISREG(st.st_mode) && archive)
		return source_archive_open(path, options, out, err);
	if (r == 0 && S_ISREG(st.st_mode) && source_path_is_manifest(path))
		return source_manifest_open(path, options, out, err);
	if (r == 0 && S_ISREG(st.st_mode) && source_path_is_list(path))
		return source_urls_open(path, options, out, err);
	if (r == 0 && S_ISREG(st.st_mode))
		return error_set(err, ERR_CONFIG,
				 "source %s is not a folder, and no archive, manifest or list of "
				 "URLs by its name",
				 text_quote(path, quoted));
	return source_folder_open(path, options, out, err);
}

int source_masks_open(const char *path, struct error *err)
{
	cleanup_close int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int saved = errno;
	char quoted[TEXT_QUOTE_SIZE];

	text_quote(path, quoted);
	if (root < 0)
		return error_set(err, ERR_CONFIG, "the folder of masks %s: %s", quoted,
				 strerror(saved));
	if (folder_is_empty(root))
		return error_set(err, ERR_CONFIG,
				 "the folder of masks %s is empty, as if its disk were not mounted",
				 quoted);
	return TAKE_FD(root);
}

int source_open(const char *path, const struct source_folder_options *options, struct source **out,
		struct error *err)
{
	bool beside = options->masks && strcmp(options->masks, SOURCE_MASKS_BESIDE) == 0;
	cleanup_close int root = -1;

	if (options->masks && !beside && (root = source_masks_open(options->masks, err)) < 0)
		return -1;
	if (open_kind(path, options, out, err) < 0)
		return -1;
	(*out)->masks_beside = beside;
	(*out)->has_mask_root = root >= 0;
	(*out)->mask_root = TAKE_FD(root);
	return 0;
}

void source_keep_lists(struct source *s, const char *folder)
{
	if (s->ops->keep_lists)
		s->ops->keep_lists(s, folder);
}

void source_close(struct source *s)
{
	if (s && s->has_mask_root)
		close(s->mask_root);
	if (s)
		s->ops->close(s);
}
