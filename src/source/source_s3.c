/*
 * A page of the list at a time; the next one begins behind the last key, so nothing depends on a token that may have expired.
 */
#include "source/remote_files.h"
#include "source/source_path.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"
#include "net/s3.h"

#include <stdio.h>
#include <string.h>

enum {
	PAGE = 1000,
	DONE = 1,
	QUIET_MS = 5000,      /* until somebody is told that a page is waited for */
	AGAIN_MS = 60 * 1000, /* and until he is told again */
};

struct object {
	char *key;
	uint64_t size, stamp;
};

struct source_s3 {
	struct source base;
	struct source_folder_options options;
	struct source_choice choice;
	struct remote_files *files;
	struct s3 *s3;
	char *bucket, *prefix; /* which ends in '/', or is empty */
	struct object page[PAGE];
	size_t n, at;
	char *after;	 /* the last key of the page; NULL: none was asked for */
	bool ended;	 /* no page follows */
	bool disordered; /* the page's keys do not go up */
	int64_t asked_at,
	    told_at; /* for the page, monotonic; told_at: 0: nobody was told that it is waited for */
};

static void drop_page(struct source_s3 *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->page[i].key);
	s->n = s->at = 0;
}

/* 48 bits that are not 0. */
static uint64_t stamp_of(const char *etag)
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
	s->page[s->n++] = (struct object){xstrdup(item->key), item->size, stamp_of(item->etag)};
	if (s->n < PAGE)
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

/* What is below the prefix in the key of an image that is wanted; NULL: it is none. */
static const char *path_of(const struct source_s3 *s, const char *key)
{
	size_t n = strlen(s->prefix);
	const char *path = key + n;

	if (strncmp(key, s->prefix, n) != 0 || !source_path_is_image(path))
		return NULL;
	if (!source_path_is_inside(path)) {
		note_key(s, key);
		return NULL;
	}
	if ((!s->options.recursive && strchr(path, '/')) ||
	    (!s->choice.hidden && has_hidden(path)) || !source_choice_takes(&s->choice, path))
		return NULL;
	return path;
}

static int source_s3_next(struct source *base, struct source_entry *entry, struct error *err)
{
	struct source_s3 *s = (struct source_s3 *)base;

	for (;;) {
		const struct object *o;
		const char *path;

		if (s->at == s->n && s->ended)
			return SOURCE_END;
		if (s->at == s->n && next_page(s, err) < 0)
			return -1;
		if (s->at == s->n)
			continue;
		o = &s->page[s->at++];
		path = path_of(s, o->key);
		if (!path)
			continue;
		*entry = (struct source_entry){.path = path, .size = o->size, .inode = o->stamp};
		return 0;
	}
}

static int source_s3_examine(struct source *base, const char *path, struct source_entry *entry,
			     struct error *err)
{
	struct source_s3 *s = (struct source_s3 *)base;
	cleanup_free char *key = xasprintf("%s%s", s->prefix, path);
	struct s3_object object;
	int r = s3_head(s->s3, key, &object, err);

	if (r != 0)
		return r == S3_NOT_THERE ? SOURCE_GONE : -1;
	*entry = (struct source_entry){
	    .path = path, .size = object.size, .inode = stamp_of(object.etag)};
	return 0;
}

/* To be freed. */
static char *url_of(const struct source_s3 *s, const char *path)
{
	return xasprintf("s3://%s/%s%s", s->bucket, s->prefix, path);
}

static int source_s3_open_sample(struct source *base, const char *path, struct error *err)
{
	struct source_s3 *s = (struct source_s3 *)base;
	cleanup_free char *url = url_of(s, path);

	return remote_files_open(s->files, url, err);
}

static void source_s3_open_later(struct source *base, struct source_order *order)
{
	struct source_s3 *s = (struct source_s3 *)base;
	cleanup_free char *url = url_of(s, order->path);

	remote_files_open_later(s->files, url, order);
}

static int source_s3_caption(struct source *base, const char *path, struct buffer *out,
			     struct error *err)
{
	(void)base;
	(void)path;
	(void)out;
	(void)err;
	return SOURCE_NO_CAPTION;
}

static void source_s3_close(struct source *base)
{
	struct source_s3 *s = (struct source_s3 *)base;

	remote_files_close(s->files);
	s3_close(s->s3);
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
    .open_later = source_s3_open_later,
    .caption = source_s3_caption,
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
