/*
 * What captions, metadata and masks are now, and the list that tells readers of them.
 */
#include "daemon/recaption_parts.h"

#include "daemon/caption_list.h"
#include "daemon/variants.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define LIST_BUFFER ((size_t)64 << 10)

/* -- captions ------------------------------------------------------------------------------------- */

struct source *recaption_source(const struct recaption_options *o, uint32_t root)
{
	for (size_t i = 0; i < o->n_roots; i++) {
		if (o->roots[i].root == root)
			return o->roots[i].source;
	}
	return NULL;
}

int recaption_given(const struct recaption_options *o, json_t **out, struct error *err)
{
	cleanup_free char *path = given_captions_path(o->folder);

	*out = json_object();
	return caption_list_read(path, *out, err);
}

int recaption_caption(const struct recaption_options *o, const json_t *given,
		      const struct recaption_row *row, char **out, struct error *why)
{
	struct source *source = recaption_source(o, row->root);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	const char *caption = NULL;
	int r;

	*out = NULL;
	if (caption_list_find(given, row->key, &caption)) {
		*out = caption ? xstrdup(caption) : NULL;
		return 0;
	}
	if (!source)
		return RECAPTION_ELSEWHERE;
	r = source_caption(source, row->path, &text, why);
	if (r < 0)
		return RECAPTION_UNREADABLE;
	if (r == 0)
		*out = xstrdup(text.data ? (const char *)text.data : "");
	return 0;
}

int recaption_meta(const struct recaption_options *o, const struct recaption_row *row, char **out,
		   struct error *why)
{
	struct source *source = recaption_source(o, row->root);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int r;

	*out = NULL;
	if (!source)
		return RECAPTION_ELSEWHERE;
	r = source_meta(source, row->path, &text, why);
	if (r < 0)
		return RECAPTION_UNREADABLE;
	*out = xstrdup(r == 0 ? (const char *)text.data : "{}");
	return 0;
}

int recaption_mask(const struct recaption_options *o, const struct recaption_row *row,
		   struct buffer *out, struct error *why)
{
	struct source *source = recaption_source(o, row->root);

	if (!source || !o->masks)
		return RECAPTION_ELSEWHERE;
	return source_mask(source, row->path, out, why) < 0 ? RECAPTION_UNREADABLE : 0;
}

/* -- the list ------------------------------------------------------------------------------------- */

struct listing {
	const struct recaption_options *options;
	json_t *given, *before; /* before: the list as it is, for sources that are not looked at */
	struct atomic_file file;
	struct buffer text;
	size_t lines;
	const struct recaption_stored *stored; /* what need not be told; NULL: all is */
	struct error *err;
	bool failed;
};

static int flush(struct listing *l)
{
	if (fd_write_all(l->file.fd, l->text.data, l->text.size, l->err) < 0)
		l->failed = true;
	buffer_reset(&l->text);
	return l->failed;
}

static int list_caption(void *arg, const struct recaption_row *row)
{
	struct listing *l = arg;
	struct error ignored = ERROR_INIT;
	cleanup_free char *caption = NULL;
	const char *known = NULL;
	char key[SAMPLE_KEY_SIZE];
	int r;

	if (row->shard == 0 || (l->stored && recaption_is_stored(l->stored, row->job)))
		return 0;
	r = recaption_caption(l->options, l->given, row, &caption, &ignored);
	if (r == RECAPTION_ELSEWHERE && caption_list_find(l->before, row->key, &known))
		caption = known ? xstrdup(known) : NULL;
	else if (r != 0)
		return 0;
	variant_key(row->key, row->variant, key);
	caption_list_line(&l->text, key, caption);
	l->lines++;
	return l->text.size >= LIST_BUFFER ? flush(l) : 0;
}

static int list_all(struct listing *l, const char *path, struct error *err)
{
	const struct rewrite_options *rewrite = &l->options->rewrite;
	cleanup_free char *dir = xasprintf("%s/.latentd", l->options->folder);

	struct error ignored = ERROR_INIT; /* a list that is damaged is made anew */

	l->before = json_object();
	caption_list_read(path, l->before, &ignored);
	if (recaption_given(l->options, &l->given, err) < 0 ||
	    atomic_file_begin(&l->file, dir, err) < 0 ||
	    queue_recaptions(rewrite->queue, rewrite->dataset, 0, list_caption, l, err) < 0 ||
	    l->failed || flush(l))
		return -1;
	return l->lines > 0 ? atomic_file_commit(&l->file, path, ATOMIC_REPLACE, err) : 0;
}

int recaption_list_write(const struct recaption_options *o, const struct recaption_stored *stored,
			 struct error *err)
{
	struct listing l = {.options = o,
			    .file = ATOMIC_FILE_INIT,
			    .text = BUFFER_INIT,
			    .stored = stored,
			    .err = err};
	cleanup_free char *path = caption_list_path(o->folder);
	struct queue_counts counts;
	int r = 0;

	if (queue_counts(o->rewrite.queue, o->rewrite.dataset, &counts, err) < 0)
		return -1;
	if (counts.recaptions > 0)
		r = list_all(&l, path, err);
	atomic_file_abort(&l.file);
	buffer_release(&l.text);
	json_decref(l.given);
	json_decref(l.before);
	if (r == 0 && l.lines == 0 && unlink(path) < 0 && errno != ENOENT)
		return error_sys(err, "remove %s", path);
	return r;
}

int captions_list_write(const struct recaption_options *o, struct error *err)
{
	return recaption_list_write(o, NULL, err);
}
