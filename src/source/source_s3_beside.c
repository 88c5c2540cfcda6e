/*
 * Whoever lists a bucket is not whoever reads its images: what the list says of one is kept in a table beside the lists of archives.
 * Where that has nothing, the list is asked for the image's name alone.
 */
#include "source/source_s3_parts.h"

#include "source/companions.h"
#include "source/folder_archives.h"
#include "source/source_path.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"

#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

enum { BEHIND = 1, PUT_OFF_MS = 5000 };

/* -- one name of the list -------------------------------------------------------------------------- */

struct look {
	const struct source_s3 *source;
	struct bucket_beside *beside;
	const char *stem; /* a key: behind "stem/" nothing belongs to it */
};

static int on_item(void *arg, const struct s3_item *item, struct error *err)
{
	struct look *l = arg;
	const char *path = item->key + strlen(l->source->prefix);
	size_t n = strlen(l->stem);

	(void)err;
	if (strncmp(item->key, l->stem, n) == 0 && (unsigned char)item->key[n] > '.')
		return BEHIND;
	bucket_beside_put(l->beside, bucket_kind_of(l->source, path), path, item->size,
			  bucket_stamp(item->etag));
	return 0;
}

int bucket_look(struct source_s3 *s, const char *path, struct bucket_image *out, struct error *err)
{
	cleanup_free char *stem = xasprintf("%s%.*s", s->prefix, (int)source_path_stem(path), path);
	struct look look = {.source = s, .beside = bucket_beside_new(), .stem = stem};
	struct bucket_image image;
	bool found = false;
	int r;

	s->asked_at = clock_mono_ms();
	r = s3_list(s->s3, stem, NULL, on_item, &look, err);
	bucket_beside_end(look.beside);
	while (r >= 0 && !found && bucket_beside_take(look.beside, &image)) {
		found = strcmp(image.path, path) == 0;
		if (found)
			*out = image;
		else
			free(image.path);
	}
	bucket_beside_free(look.beside);
	if (r < 0)
		return -1;
	return found ? 0 : SOURCE_GONE;
}

/* -- what is known of an image --------------------------------------------------------------------- */

/* Of a .json whether it has a caption, as remote_fact.modified: a number that changes with it, and a letter. */
static void write_json_fact(uint64_t stamp, bool has_caption, char out[REMOTE_MODIFIED_SIZE])
{
	snprintf(out, REMOTE_MODIFIED_SIZE, "%016" PRIx64 "%c", stamp, has_caption ? 'y' : 'n');
}

/* Whether the .json beside @image has a caption, which is asked once of each. False also where it cannot be read. */
static bool json_has_caption(struct source_s3 *s, const struct bucket_image *image,
			     const struct remote_fact *known, char out[REMOTE_MODIFIED_SIZE])
{
	cleanup_free char *url = NULL;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct error ignored = ERROR_INIT;
	cleanup_close int fd = -1;
	bool has = false;

	for (int i = 0; i < 2; i++) {
		write_json_fact(image->beside.json, i == 1, out);
		if (strcmp(known->modified, out) == 0)
			return i == 1;
	}
	url = bucket_url(s, image->path, source_path_stem(image->path), ".json");
	fd = remote_files_open(s->files, url, &ignored);
	if (fd < 0 || fd_read_all(fd, SOURCE_CAPTION_MAX, &bytes, &ignored) < 0) {
		out[0] = '\0';
		return false;
	}
	companions_of_json(&bytes, NULL, &has, NULL);
	write_json_fact(image->beside.json, has, out);
	return has;
}

static uint64_t caption_stamp(struct source_s3 *s, const struct bucket_image *image,
			      const struct remote_fact *known, char modified[REMOTE_MODIFIED_SIZE])
{
	const struct beside *beside = &image->beside;

	if (beside->text || beside->caption)
		return beside->text ? beside->text : beside->caption;
	if (beside->json && s->options.need_captions &&
	    !json_has_caption(s, image, known, modified))
		return 0;
	return beside->json;
}

void bucket_describe(struct source_s3 *s, const struct bucket_image *image,
		     struct source_entry *entry)
{
	cleanup_free char *url = bucket_url(s, image->path, strlen(image->path), "");
	struct remote_fact known = {.version = 0}, now = {.version = REMOTE_VERSION_FIRST};
	bool wanted = s->options.captions;

	remote_known_find(s->known, url, &known);
	*entry = (struct source_entry){.path = image->path,
				       .size = image->size,
				       .inode = image->stamp,
				       .caption = SOURCE_UNSEEN};
	if (wanted) {
		entry->caption = caption_stamp(s, image, &known, now.modified);
		entry->meta = image->beside.json;
		entry->mask = image->beside.mask;
	}
	beside_write(&image->beside, now.etag);
	if (strcmp(known.etag, now.etag) != 0 || strcmp(known.modified, now.modified) != 0)
		remote_known_put(s->known, url, &now);
}

/* What lies beside @path: as when it was listed, or as the list says now. */
static int find(struct source_s3 *s, const char *path, struct beside *out, struct error *err)
{
	cleanup_free char *url = bucket_url(s, path, strlen(path), "");
	struct remote_fact known = {.version = 0};
	struct bucket_image image = {.path = NULL};
	int r;

	if (remote_known_find(s->known, url, &known) && beside_read(known.etag, out))
		return 0;
	r = bucket_look(s, path, &image, err);
	if (r < 0)
		return -1;
	*out = image.beside;
	free(image.path);
	return 0;
}

/* -- fetching -------------------------------------------------------------------------------------- */

static void add(const struct source_s3 *s, struct source_order *order, enum remote_which which,
		const char *ending)
{
	size_t n = ending ? source_path_stem(order->path) : strlen(order->path);
	cleanup_free char *url = bucket_url(s, order->path, n, ending ? ending : "");

	remote_fetch_add(order->fetch, which, &(struct remote_want){.url = url});
}

static bool wants_mask(const struct source_s3 *s, const struct source_order *order)
{
	return order->wants_mask && s->base.masks_beside;
}

static void add_beside(const struct source_s3 *s, struct source_order *order,
		       const struct beside *beside)
{
	bool text = beside->text || beside->caption;

	if (order->wants_caption && text)
		add(s, order, REMOTE_CAPTION, beside->text ? ".txt" : ".caption");
	if (beside->json && (order->wants_meta || (order->wants_caption && !text)))
		add(s, order, REMOTE_JSON, ".json");
	if (wants_mask(s, order) && beside->mask)
		add(s, order, REMOTE_MASK, source_path_mask_ending(beside->mask_ending));
}

/* With all that may lie beside the image, but for itself. */
static int prepare_beside(struct source_s3 *s, struct source_order *order, struct error *err)
{
	struct beside beside = {.text = 0};

	if ((order->wants_caption || order->wants_meta || wants_mask(s, order)) &&
	    find(s, order->path, &beside, err) < 0)
		return -1;
	order->fetch = remote_fetch_new(s->files);
	add_beside(s, order, &beside);
	return 0;
}

/* What cannot be asked now says nothing about the image. */
static int put_off(struct source_order *order, int r, const struct error *err)
{
	if (r < 0 && (err->code == ERR_TRANSIENT || err->code == ERR_CONFIG) &&
	    order->put_off_ms == 0)
		order->put_off_ms = PUT_OFF_MS;
	return r;
}

int bucket_prepare(struct source *base, struct source_order *order, struct error *err)
{
	struct source_s3 *s = (struct source_s3 *)base;
	int r = bucket_archives_prepare(s, order, err);

	if (r == FOLDER_NO_ARCHIVE) {
		r = prepare_beside(s, order, err);
		if (r == 0)
			add(s, order, REMOTE_IMAGE, NULL);
	}
	return put_off(order, r, err);
}

/* Whether a part came, which may have been deleted since. */
static bool came(const struct source_order *order, enum remote_which which)
{
	return remote_fetch_has(order->fetch, which) && !remote_fetch_is_gone(order->fetch, which);
}

static int take_text(struct source_order *order, struct error *err)
{
	if (!came(order, REMOTE_CAPTION))
		return 0;
	if (remote_fetch_read(order, REMOTE_CAPTION, SOURCE_CAPTION_MAX, &order->caption, err) < 0)
		return error_wrap(err, "its caption");
	order->has_caption = true;
	return 0;
}

/* One that is too large, or no object, is passed over. */
static int take_json(struct source_order *order, struct error *err)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	bool caption = order->wants_caption && !order->has_caption;
	struct error why = ERROR_INIT;

	if (!came(order, REMOTE_JSON))
		return 0;
	if (remote_fetch_read(order, REMOTE_JSON, SOURCE_CAPTION_MAX, &bytes, &why) == 0) {
		companions_of_json(&bytes, caption ? &order->caption : NULL,
				   caption ? &order->has_caption : NULL,
				   order->wants_meta ? &order->meta : NULL);
	} else if (why.code != ERR_DATA || strcmp(why.reason, "too_large") != 0) {
		*err = why;
		return error_wrap(err, "its .json");
	}
	return 0;
}

static int take_beside(struct source_order *order, struct error *err)
{
	if (take_text(order, err) < 0 || take_json(order, err) < 0)
		return -1;
	return came(order, REMOTE_MASK) ? remote_fetch_mask(order, err) : 0;
}

/* Whether @order was prepared as an object of its own, and not as a member of an archive. */
static bool is_object(const struct source_order *order)
{
	return remote_fetch_has(order->fetch, REMOTE_IMAGE) &&
	       !remote_fetch_has_piece(order->fetch, REMOTE_IMAGE);
}

static int finish_member(struct source_s3 *s, struct source_order *order, struct error *err)
{
	int r = bucket_archives_finish(s, order, err);

	return r == FOLDER_NO_ARCHIVE ? error_data(err, "gone", "its archive is not there any more")
				      : r;
}

/* One that is not there may have become a member of an archive. */
static int finish_object(struct source_s3 *s, struct source_order *order, struct error *err)
{
	int r = FOLDER_NO_ARCHIVE;

	if (remote_fetch_is_gone(order->fetch, REMOTE_IMAGE)) {
		bucket_archives_look_again(s->archives);
		r = bucket_archives_finish(s, order, err);
	}
	if (r != FOLDER_NO_ARCHIVE)
		return r;
	return take_beside(order, err) < 0 ? -1 : remote_fetch_image(order, err);
}

int bucket_finish(struct source *base, struct source_order *order, struct error *err)
{
	struct source_s3 *s = (struct source_s3 *)base;
	int r = is_object(order) ? finish_object(s, order, err) : finish_member(s, order, err);

	return put_off(order, r, err);
}

/* -- one by one ------------------------------------------------------------------------------------ */

static void on_fetched(struct source_order *order)
{
	sem_post(order->arg);
}

/* Fetches what @order wants beside its image, and waits for it. */
static int fetch_beside(struct source_s3 *s, struct source_order *order, struct error *err)
{
	sem_t came_all;

	if (prepare_beside(s, order, err) < 0)
		return -1;
	if (source_order_waits(order)) {
		sem_init(&came_all, 0, 0);
		order->done = on_fetched;
		order->arg = &came_all;
		source_order_start(order);
		while (sem_wait(&came_all) < 0)
			continue;
		sem_destroy(&came_all);
	}
	return 0;
}

int bucket_caption(struct source *base, const char *path, struct buffer *out, struct error *err)
{
	struct source_order order = {.path = path, .fd = -1, .wants_caption = true};
	struct source_s3 *s = (struct source_s3 *)base;
	int r = bucket_archives_caption(s, path, out, err);

	if (r != FOLDER_NO_ARCHIVE)
		return r;
	r = fetch_beside(s, &order, err);
	if (r == 0)
		r = take_beside(&order, err);
	if (r == 0 && order.has_caption)
		buffer_append(out, order.caption.data, order.caption.size);
	else if (r == 0)
		r = SOURCE_NO_CAPTION;
	source_order_release(&order);
	return r;
}

int bucket_meta(struct source *base, const char *path, struct buffer *out, struct error *err)
{
	struct source_order order = {.path = path, .fd = -1, .wants_meta = true};
	struct source_s3 *s = (struct source_s3 *)base;
	int r = bucket_archives_meta(s, path, out, err);

	if (r != FOLDER_NO_ARCHIVE)
		return r;
	r = fetch_beside(s, &order, err);
	if (r == 0)
		r = take_beside(&order, err);
	if (r == 0 && order.meta.size > 0)
		buffer_append(out, order.meta.data, order.meta.size);
	else if (r == 0)
		r = SOURCE_NO_META;
	source_order_release(&order);
	return r;
}

int bucket_open_mask(struct source *base, const char *path, struct error *err)
{
	struct source_order order = {.path = path, .fd = -1, .wants_mask = true};
	struct source_s3 *s = (struct source_s3 *)base;
	char quoted[TEXT_QUOTE_SIZE];
	int fd = -1, r = bucket_archives_open_mask(s, path, &fd, err);

	if (r != FOLDER_NO_ARCHIVE)
		return r < 0 ? -1 : fd;
	if (fetch_beside(s, &order, err) == 0) {
		if (came(&order, REMOTE_MASK))
			fd = remote_fetch_take(&order, REMOTE_MASK, err);
		else
			error_data(err, "gone", "no mask lies beside %s", text_quote(path, quoted));
	}
	source_order_release(&order);
	return fd;
}
