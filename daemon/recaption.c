#include "daemon/recaption_parts.h"

#include "daemon/record_copy.h"

#include "base/checked.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* -- one shard ------------------------------------------------------------------------------------ */

struct mark {
	int64_t job;
	uint64_t stamp;
	char *caption, *meta; /* meta NULL: stays */
	struct buffer mask;   /* the file; empty: there is none */
	bool has_source;      /* its metadata and mask are known */
	bool elsewhere, differs;
	bool bad; /* its mask is none: it stays on the list */
};

/* What goes on while captions are brought into shards. */
struct recaptioning {
	const struct recaption_options *options;
	json_t *given;
	struct mark *marks; /* of one shard, by job */
	size_t n, capacity;
	struct recaptioned *done; /* to be taken off the list */
	size_t n_done, done_capacity;
	struct recaptioned *later; /* the same, once all their shards are done */
	size_t n_later, later_capacity;
	struct recaption_stored
	    stored;	 /* ... and of which nobody could tell what else has changed */
	uint8_t *shards; /* a bit for each shard that has such samples, by id */
	size_t shards_size;
	size_t changed;
};

static void clear_marks(struct recaptioning *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->marks[i].caption);
		free(r->marks[i].meta);
		buffer_release(&r->marks[i].mask);
	}
	r->n = 0;
}

static void recaptioning_release(struct recaptioning *r)
{
	clear_marks(r);
	free(r->marks);
	free(r->done);
	free(r->later);
	free(r->stored.jobs);
	free(r->shards);
	json_decref(r->given);
}

static int add_mark(void *arg, const struct recaption_row *row)
{
	struct recaptioning *r = arg;
	const struct rewrite_options *rewrite = &r->options->rewrite;
	struct error why = ERROR_INIT;
	char quoted[TEXT_QUOTE_SIZE], line[1024];
	char *caption = NULL, *meta = NULL;
	cleanup_buffer struct buffer mask = BUFFER_INIT;

	/* Variants stand side by side, and have one caption. */
	if (row->spooled || (r->n > 0 && r->marks[r->n - 1].job == row->job))
		return 0;
	if (recaption_caption(r->options, r->given, row, &caption, &why) != 0 ||
	    recaption_meta(r->options, row, &meta, &why) == RECAPTION_UNREADABLE ||
	    recaption_mask(r->options, row, &mask, &why) == RECAPTION_UNREADABLE) {
		free(caption);
		free(meta);
		snprintf(line, sizeof(line),
			 "%s: its caption or mask changed, and cannot be read: %s",
			 text_quote(row->path, quoted), why.message);
		if (why.code != ERR_NONE)
			rewrite->note(rewrite->arg, line);
		return 0;
	}
	ARRAY_GROW(r->marks, r->n, r->capacity);
	r->marks[r->n++] =
	    (struct mark){.job = row->job,
			  .stamp = row->caption,
			  .caption = caption,
			  .meta = meta,
			  .mask = mask,
			  .has_source = recaption_source(r->options, row->root) != NULL,
			  .elsewhere = row->elsewhere};
	mask = (struct buffer)BUFFER_INIT;
	return 0;
}

static int by_job(const void *left, const void *right)
{
	const struct mark *a = left, *b = right;

	return a->job < b->job ? -1 : a->job > b->job;
}

static struct mark *find_mark(struct recaptioning *r, int64_t job)
{
	const struct mark wanted = {.job = job};

	return r->n > 0 ? bsearch(&wanted, r->marks, r->n, sizeof(wanted), by_job) : NULL;
}

/* Whether it has a mask to be brought in, and which can be: otherwise it is named, and stays on the list. */
static bool mask_differs(struct recaptioning *r, struct mark *mark, const struct record *record,
			 const struct sample_row *row, struct error *err)
{
	const struct rewrite_options *rewrite = &r->options->rewrite;
	char quoted[TEXT_QUOTE_SIZE], line[1024];
	struct error why = ERROR_INIT;
	bool same = true;

	if (!r->options->masks || !mark->has_source ||
	    mask_compare(r->options->masks, &mark->mask, record, &same, &why) == 0)
		return !same;
	if (why.code != ERR_DATA || strncmp(why.reason, "mask", 4) != 0) {
		*err = why;
		return false;
	}
	mark->bad = true;
	snprintf(line, sizeof(line), "%s: its mask changed, and cannot be used: %s",
		 text_quote(row->path, quoted), why.message);
	rewrite->note(rewrite->arg, line);
	return false;
}

/* False with *@err: it cannot be told. */
static bool differs_from(struct recaptioning *r, struct mark *mark, const struct record *record,
			 const struct sample_row *row, struct error *err)
{
	bool texts = !record_has_texts(record, &(struct record_texts){mark->caption, mark->meta});

	return !mark->bad && (mask_differs(r, mark, record, row, err) || (texts && !mark->bad));
}

/* Holds what is stored in the shard against the captions: *differs of its samples. */
static int compare(struct recaptioning *r, const struct shard_row *shard, size_t *differs,
		   struct error *err)
{
	const struct rewrite_options *rewrite = &r->options->rewrite;
	cleanup_sample_list struct sample_list samples = CATALOG_LIST_INIT;

	if (sample_list_read(rewrite->queue, shard->id, &samples, err) < 0)
		return -1;
	for (size_t i = 0; i < samples.n; i++) {
		const struct sample_row *row = &samples.rows[i];
		const struct shard_span span = {row->offset, row->bytes};
		struct mark *mark = row->dead ? NULL : find_mark(r, row->job);
		cleanup_record struct record record = RECORD_INIT;

		if (!mark)
			continue;
		if (shard_read_record(rewrite->store, shard->path, &span, &record, err) < 0)
			return error_wrap(err, "%s", shard->path);
		if (!differs_from(r, mark, &record, row, err)) {
			if (err->code != ERR_NONE)
				return -1;
			continue;
		}
		mark->differs = true;
		++*differs;
	}
	return 0;
}

static int edit(void *arg, const struct sample_row *row, struct record *record, struct error *err)
{
	struct recaptioning *r = arg;
	const struct mark *mark = find_mark(r, row->job);

	if (!mark || !mark->differs || mark->bad)
		return 0;
	if (record_retext(record, &(struct record_texts){mark->caption, mark->meta}, err) < 0)
		return -1;
	return r->options->masks && mark->has_source
		   ? mask_put(r->options->masks, &mark->mask, record, err)
		   : 0;
}

static int settle(struct recaptioning *r, struct error *err)
{
	size_t n = r->n_done;

	r->n_done = 0;
	return n > 0 ? queue_recaptioned(r->options->rewrite.queue, r->done, n, err) : 0;
}

/*
 * One whose source was not looked at has the caption that was given for it; it may be on the list for its mask or its metadata,
 * too, and stays there until somebody has compared these.
 */
static int settle_marks(struct recaptioning *r, struct error *err)
{
	struct recaption_stored *s = &r->stored;

	for (size_t i = 0; i < r->n; i++) {
		const struct mark *mark = &r->marks[i];
		const struct recaptioned done = {mark->job, mark->stamp};

		if (mark->bad)
			continue;
		if (!mark->has_source) {
			ARRAY_GROW(s->jobs, s->n, s->capacity);
			s->jobs[s->n++] = (struct stored_job){mark->job, mark->elsewhere};
		} else if (mark->elsewhere) {
			ARRAY_GROW(r->later, r->n_later, r->later_capacity);
			r->later[r->n_later++] = done;
		} else {
			ARRAY_GROW(r->done, r->n_done, r->done_capacity);
			r->done[r->n_done++] = done;
		}
	}
	return settle(r, err);
}

static void note_damage(const struct recaptioning *r, const struct error *why)
{
	const struct rewrite_options *rewrite = &r->options->rewrite;
	char line[1024];

	snprintf(line, sizeof(line),
		 "%s: captions not changed (latentctl verify --deep says what is damaged)",
		 why->message);
	rewrite->note(rewrite->arg, line);
}

static int recaption_shard(struct recaptioning *r, struct rewriter *w,
			   const struct shard_row *shard, struct error *err)
{
	const struct rewrite_options *rewrite = &r->options->rewrite;
	struct error why = ERROR_INIT;
	size_t differs = 0;

	clear_marks(r);
	if (queue_recaptions(rewrite->queue, rewrite->dataset, shard->id, add_mark, r, err) < 0)
		return -1;
	if (r->n > 0)
		qsort(r->marks, r->n, sizeof(*r->marks), by_job);
	if (compare(r, shard, &differs, &why) < 0) {
		if (why.code == ERR_DATA) {
			note_damage(r, &why);
			r->stored.left = true;
			return 0;
		}
		*err = why;
		return -1;
	}
	if (differs > 0) {
		int result = rewrite_if_whole(w, shard, 1, err);

		if (result != 0) {
			r->stored.left = true;
			return result < 0 ? -1 : 0;
		}
		r->changed += differs;
	}
	return settle_marks(r, err);
}

/* -- all ------------------------------------------------------------------------------------------ */

static int note_shard(void *arg, const struct recaption_row *row)
{
	struct recaptioning *r = arg;
	size_t at = (size_t)row->shard / 8;

	if (row->shard == 0 && !row->spooled) { /* nothing of it is stored any more */
		ARRAY_GROW(r->done, r->n_done, r->done_capacity);
		r->done[r->n_done++] = (struct recaptioned){row->job, row->caption};
	}
	if (row->shard == 0 || row->spooled)
		return 0;
	if (at >= r->shards_size) {
		size_t size = 2 * at + 64;

		r->shards = xrealloc(r->shards, size, 1);
		memset(r->shards + r->shards_size, 0, size - r->shards_size);
		r->shards_size = size;
	}
	r->shards[at] |= (uint8_t)(1 << (row->shard & 7));
	return 0;
}

static bool is_noted(const struct recaptioning *r, int64_t shard)
{
	size_t at = (size_t)shard / 8;

	return at < r->shards_size && r->shards[at] >> (shard & 7) & 1;
}

static int recaption_shards(struct recaptioning *r, struct rewriter *w, struct error *err)
{
	const struct rewrite_options *rewrite = &r->options->rewrite;
	cleanup_shard_list struct shard_list shards = CATALOG_LIST_INIT;

	if (shard_list_read(rewrite->queue, rewrite->dataset, &shards, err) < 0)
		return -1;
	for (size_t i = 0; i < shards.n; i++) {
		if (!is_noted(r, shards.rows[i].id))
			continue;
		if (rewrite->stop && rewrite->stop(rewrite->arg)) {
			r->stored.left = true;
			break;
		}
		if (recaption_shard(r, w, &shards.rows[i], err) < 0)
			return -1;
	}
	return r->stored.left || r->n_later == 0
		   ? 0
		   : queue_recaptioned(rewrite->queue, r->later, r->n_later, err);
}

static void pass_note(void *arg, const char *line)
{
	const struct rewrite_options *rewrite = &((struct recaptioning *)arg)->options->rewrite;

	rewrite->note(rewrite->arg, line);
}

static int recaption_all(struct recaptioning *r, struct error *err)
{
	const struct rewrite_options *rewrite = &r->options->rewrite;
	struct rewrite_options options = *rewrite;
	struct rewriter *w = NULL;
	int result;

	if (recaption_given(r->options, &r->given, err) < 0 ||
	    queue_recaptions(rewrite->queue, rewrite->dataset, 0, note_shard, r, err) < 0 ||
	    settle(r, err) < 0)
		return -1;
	if (r->shards_size == 0)
		return 0;
	options.drop = NULL;
	options.edit = edit;
	options.stop = NULL;
	options.note = pass_note;
	options.arg = r;
	result = rewriter_open(&options, &w, err);
	if (result == 0)
		result = recaption_shards(r, w, err);
	rewriter_close(w);
	return result;
}

static int by_stored_job(const void *left, const void *right)
{
	const struct stored_job *a = left, *b = right;

	return a->job < b->job ? -1 : a->job > b->job;
}

bool recaption_is_stored(const struct recaption_stored *stored, int64_t job)
{
	const struct stored_job wanted = {.job = job}, *found;

	found = stored->n > 0
		    ? bsearch(&wanted, stored->jobs, stored->n, sizeof(wanted), by_stored_job)
		    : NULL;
	return found && !(found->elsewhere && stored->left);
}

int recaption(const struct recaption_options *o, size_t *changed, struct error *err)
{
	cleanup_with(recaptioning_release) struct recaptioning r = {.options = o};
	struct queue_counts counts;

	*changed = 0;
	if (queue_counts(o->rewrite.queue, o->rewrite.dataset, &counts, err) < 0)
		return -1;
	if (counts.recaptions > 0 && recaption_all(&r, err) < 0)
		return -1;
	*changed = r.changed;
	if (r.stored.n > 0)
		qsort(r.stored.jobs, r.stored.n, sizeof(*r.stored.jobs), by_stored_job);
	return recaption_list_write(o, &r.stored, err);
}
