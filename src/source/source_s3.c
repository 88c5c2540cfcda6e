/*
 * A page of the list at a time; the next one begins behind the last key, so nothing depends on a token that may have expired.
 */
#include "source/folder_archives.h"
#include "source/source_path.h"
#include "source/source_s3_parts.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum {
	DONE = 1,
	QUIET_MS = 5000,      /* until somebody is told that a page is waited for */
	AGAIN_MS = 60 * 1000, /* and until he is told again */
};

static void drop_page(struct source_s3 *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->page[i].key);
		free(s->page[i].etag);
	}
	s->n = s->at = 0;
}

uint64_t bucket_stamp(const char *etag)
{
	return (hash64_of(etag, strlen(etag), 0) >> 16) | 1;
}

/* The next page begins behind the last key: a list that does not go up would never end, or leave something out. */
static int out_of_order(const struct source_s3 *s, const char *key, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	return error_data(err, "protocol", "s3://%s: its list is not in order at %s", s->bucket,
			  text_quote(key, quoted));
}

static int on_item(void *arg, const struct s3_item *item, struct error *err)
{
	struct source_s3 *s = arg;

	if (s->after && strcmp(item->key, s->after) <= 0)
		return out_of_order(s, item->key, err);
	if (s->n > 0 && strcmp(item->key, s->page[s->n - 1].key) <= 0)
		s->disordered = true;
	s->page[s->n++] = (struct bucket_object){
	    .key = xstrdup(item->key),
	    .etag = source_path_is_archive(item->key) ? xstrdup(item->etag) : NULL,
	    .size = item->size,
	    .stamp = bucket_stamp(item->etag)};
	if (s->n < BUCKET_PAGE)
		return 0;
	return s->disordered ? out_of_order(s, item->key, err) : DONE;
}

static bool stops(void *arg)
{
	const struct source_s3 *s = arg;

	return s->options.stop && s->options.stop(s->options.stop_arg);
}

static void on_wait(void *arg)
{
	struct source_s3 *s = arg;
	int64_t now = clock_mono_ms();
	const char *trouble = s3_trouble(s->s3);
	char line[1024];

	if (!s->options.note || now - s->asked_at < QUIET_MS ||
	    (s->told_at > 0 && now - s->told_at < AGAIN_MS))
		return;
	s->told_at = now;
	snprintf(line, sizeof(line), "waiting for the list of s3://%s%s%s", s->bucket,
		 *trouble ? ": " : "", trouble);
	s->options.note(s->options.note_arg, line);
}

static int by_key(const void *left, const void *right)
{
	const struct bucket_object *a = left, *b = right;

	return strcmp(a->key, b->key);
}

/* The page behind the last one. */
static int next_page(struct source_s3 *s, struct error *err)
{
	int r;

	drop_page(s);
	s->disordered = false;
	s->asked_at = clock_mono_ms();
	r = s3_list(s->s3, s->prefix, s->after, on_item, s, err);
	if (r < 0) {
		drop_page(s); /* it is asked for again */
		return -1;
	}
	if (s->disordered) /* all of the list, then */
		qsort(s->page, s->n, sizeof(s->page[0]), by_key);
	s->ended = r != DONE;
	if (s->n > 0) {
		free(s->after);
		s->after = xstrdup(s->page[s->n - 1].key);
	}
	return 0;
}

static bool has_hidden(const char *path)
{
	return path[0] == '.' || strstr(path, "/.");
}

static void note_key(const struct source_s3 *s, const char *key)
{
	char quoted[TEXT_QUOTE_SIZE], line[512];

	if (!s->options.note)
		return;
	snprintf(line, sizeof(line), "s3://%s: %s is passed over: it is no path", s->bucket,
		 text_quote(key, quoted));
	s->options.note(s->options.note_arg, line);
}

static bool may_enter(const struct source_s3 *s, const char *path)
{
	return (s->options.recursive || !strchr(path, '/')) &&
	       (s->choice.hidden || !has_hidden(path)) && source_choice_enters(&s->choice, path);
}

static bool is_chosen(const struct source_s3 *s, const char *path)
{
	return (s->options.recursive || !strchr(path, '/')) &&
	       (s->choice.hidden || !has_hidden(path)) && source_choice_takes(&s->choice, path);
}

enum bucket_kind bucket_kind_of(const struct source_s3 *s, const char *path)
{
	if (s->base.masks_beside && source_path_is_mask(path))
		return BUCKET_MASK;
	if (source_path_is_image(path))
		return BUCKET_IMAGE;
	return source_path_is_caption(path) ? BUCKET_TEXT : BUCKET_OTHER;
}

/* The archive @path is listed from now on, unless it may not be. */
static int enter_archive(struct source_s3 *s, const char *path, const struct bucket_object *o,
			 struct error *err)
{
	const struct source_entry entry = {.path = path, .size = o->size, .inode = o->stamp};
	struct s3_object known = {.size = o->size};
	int r;

	if (!s->archives || !source_path_is_inside(path) || !may_enter(s, path) ||
	    (s->options.archive_waits && s->options.archive_waits(s->options.archive_arg, &entry)))
		return 0;
	snprintf(known.etag, sizeof(known.etag), "%s", o->etag);
	r = bucket_archives_get(s, path, &known, &s->archive, err);
	if (r != 0)
		return r == SOURCE_GONE ? 0 : -1;
	archive_file_count_unread(s->archive, &s->options);
	s->unread += s->archive->damage.code != ERR_NONE;
	s->archive_at = 0;
	return 0;
}

/* The next entry of the archive that is being listed; false: that was all. What is said of the archive itself is one always. */
static bool list_archive(struct source_s3 *s, struct source_entry *entry)
{
	while (archive_file_entry(s->archive, s->archive_at, entry)) {
		s->archive_at++;
		buffer_reset(&s->archive_path);
		buffer_append_string(&s->archive_path, s->archive->path);
		folder_archives_place(&s->archive_path, &s->archive_key, entry);
		if (!entry->key || (source_choice_takes(&s->choice, entry->path) &&
				    !(s->base.masks_beside && source_path_is_mask(entry->path))))
			return true;
	}
	archive_file_close(TAKE(s->archive));
	return false;
}

/* The next key of the page. After an error it is taken again. */
static int take_key(struct source_s3 *s, struct error *err)
{
	const struct bucket_object *o = &s->page[s->at];
	const char *path = o->key + strlen(s->prefix);
	enum bucket_kind kind = bucket_kind_of(s, path);

	if (kind != BUCKET_OTHER && !source_path_is_inside(path)) {
		if (kind == BUCKET_IMAGE)
			note_key(s, o->key);
		kind = BUCKET_OTHER;
	}
	if (kind == BUCKET_IMAGE && !is_chosen(s, path))
		kind = BUCKET_OTHER;
	if (kind == BUCKET_OTHER && o->etag && enter_archive(s, path, o, err) < 0)
		return -1;
	bucket_beside_put(s->beside, kind, path, o->size, o->stamp);
	s->at++;
	return 0;
}

static int source_s3_next(struct source *base, struct source_entry *entry, struct error *err)
{
	struct source_s3 *s = (struct source_s3 *)base;

	free(TAKE(s->image.path));
	while (!bucket_beside_take(s->beside, &s->image)) {
		if (s->archive) {
			if (list_archive(s, entry))
				return 0;
		} else if (s->at < s->n) {
			if (take_key(s, err) < 0)
				return -1;
		} else if (s->finished) {
			return SOURCE_END;
		} else if (s->ended) {
			bucket_beside_end(s->beside);
			s->finished = true;
			if (s->archives && s->unread == 0)
				bucket_archives_listed(s->archives);
		} else if (next_page(s, err) < 0) {
			return -1;
		}
	}
	bucket_describe(s, &s->image, entry);
	return 0;
}

static int source_s3_examine(struct source *base, const char *path, struct source_entry *entry,
			     struct error *err)
{
	struct source_s3 *s = (struct source_s3 *)base;
	struct bucket_image image;
	int r = bucket_archives_examine(s, path, entry, err);

	if (r == FOLDER_NO_ARCHIVE)
		r = bucket_look(s, path, &image, err);
	else
		return r;
	if (r != 0)
		return r;
	bucket_describe(s, &image, entry);
	entry->path = path;
	free(image.path);
	return 0;
}

char *bucket_url(const struct source_s3 *s, const char *path, size_t n, const char *ending)
{
	return xasprintf("s3://%s/%s%.*s%s", s->bucket, s->prefix, (int)n, path, ending);
}

static int source_s3_open_sample(struct source *base, const char *path, struct error *err)
{
	struct source_s3 *s = (struct source_s3 *)base;
	cleanup_free char *url = bucket_url(s, path, strlen(path), "");
	int fd = -1, r = bucket_archives_open_sample(s, path, &fd, err);

	if (r != FOLDER_NO_ARCHIVE)
		return r < 0 ? -1 : fd;
	return remote_files_open(s->files, url, err);
}

static void source_s3_keep_lists(struct source *base, const char *folder)
{
	struct source_s3 *s = (struct source_s3 *)base;

	remote_known_close(s->known);
	s->known = remote_known_open(folder);
	if (s->archives)
		bucket_archives_keep_lists(s->archives, folder);
}

static void source_s3_close(struct source *base)
{
	struct source_s3 *s = (struct source_s3 *)base;

	archive_file_close(s->archive);
	bucket_archives_free(s->archives);
	buffer_release(&s->archive_path);
	buffer_release(&s->archive_key);
	remote_files_close(s->files);
	s3_close(s->s3);
	remote_known_close(s->known);
	bucket_beside_free(s->beside);
	free(s->image.path);
	drop_page(s);
	source_choice_release(&s->choice);
	free(s->after);
	free(s->bucket);
	free(s->prefix);
	free(s);
}

static const struct source_ops source_s3_ops = {
    .name = "s3",
    .next = source_s3_next,
    .examine = source_s3_examine,
    .open_sample = source_s3_open_sample,
    .prepare = bucket_prepare,
    .finish = bucket_finish,
    .caption = bucket_caption,
    .meta = bucket_meta,
    .open_mask = bucket_open_mask,
    .keep_lists = source_s3_keep_lists,
    .close = source_s3_close,
};

int source_s3_open(const char *url, const struct source_folder_options *options,
		   struct source **out, struct error *err)
{
	struct source_s3 *s = xcalloc(1, sizeof(*s));
	cleanup_free char *prefix = NULL;
	size_t n;

	s->base.ops = &source_s3_ops;
	s->base.remote = true;
	s->options = *options;
	s->choice = source_choice_copy(&options->choice);
	s->files = remote_files_new(options);
	s->beside = bucket_beside_new();
	s->archives = options->unpack ? bucket_archives_new(&s->options) : NULL;
	s->base.ahead = remote_files_ahead(s->files);
	if (s3_url_parse(url, &s->bucket, &prefix, err) < 0) {
		source_s3_close(&s->base);
		return -1;
	}
	n = strlen(prefix);
	s->prefix = xasprintf("%s%s", prefix, n > 0 && prefix[n - 1] != '/' ? "/" : "");
	const struct s3_options s3 = {
	    .place = {.bucket = s->bucket}, .stop = stops, .on_wait = on_wait, .arg = s};
	if (s3_open(&s3, &s->s3, err) < 0) {
		source_s3_close(&s->base);
		return -1;
	}
	*out = &s->base;
	return 0;
}
