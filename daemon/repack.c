/*
 * Shards of the beginning have numbers up to the largest of then; those that came since have the new form. Shards of a group are
 * taken together until they fill one new shard; where order or split change, all of the group, because any sample may go anywhere.
 */
#include "daemon/repack.h"

#include "daemon/dataset_splits.h"
#include "daemon/output.h"
#include "daemon/shard_form.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

struct repacking {
	const struct repack_options *options;
	struct rewriter *rewriter;
	struct shard_list shards; /* that there are; those that are new in between do not come */
	int64_t last;		  /* number of the last one that is to be repacked */
	bool changed;		  /* some may have another form than the one that is asked for */
	bool whole;		  /* groups are taken as a whole */
	struct repacked *done;
};

/* -- what was asked for --------------------------------------------------------------------------- */

static char *state_path(const struct repack_options *o)
{
	return xasprintf("%s/.latentd/repack.json", o->folder);
}

/* To be compared, and for a person who finds the file. To be freed. */
static char *wish(const struct repack_options *o)
{
	const struct rewrite_options *w = &o->rewrite;

	return xasprintf(
	    "format %s, codec %s, columns '%s', %zu samples, %zu bytes, order %d, val %g",
	    dataset_form_format(&w->form)->name, dataset_form_codec(w->form.codec), w->form.columns,
	    w->shard_samples, w->shard_bytes, (int)w->order, w->split ? w->val_share : -1.0);
}

enum { NONE_BEFORE, SAME_BEFORE, OTHER_BEFORE };

/* Whether an earlier one was stopped: SAME_BEFORE asked for the same, its *last. */
static int read_state(const struct repack_options *o, const char *wanted, int64_t *last,
		      struct error *err)
{
	cleanup_free char *path = state_path(o);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	const char *asked;
	json_t *root;
	int r = OTHER_BEFORE;

	if (!file_exists(path))
		return NONE_BEFORE;
	if (file_read_all(path, 1 << 16, &text, err) < 0)
		return -1;
	root = json_loadb((const char *)text.data, text.size, 0, NULL);
	asked = json_string_value(json_object_get(root, "asked"));
	if (asked && strcmp(asked, wanted) == 0) {
		*last = json_integer_value(json_object_get(root, "last"));
		r = SAME_BEFORE;
	}
	json_decref(root);
	return r;
}

static int write_state(const struct repack_options *o, const char *wanted, int64_t last,
		       struct error *err)
{
	cleanup_free char *path = state_path(o);
	json_t *root = json_pack("{s:s, s:I}", "asked", wanted, "last", (json_int_t)last);
	char *text = json_dumps(root, JSON_INDENT(1));
	int r;

	json_decref(root);
	if (!text)
		return error_set(err, ERR_BUG, "%s cannot be written as JSON", path);
	r = atomic_file_write(path, text, strlen(text), err);
	free(text);
	return r;
}

static int remove_state(const struct repack_options *o, struct error *err)
{
	cleanup_free char *path = state_path(o);

	return unlink(path) < 0 && errno != ENOENT ? error_sys(err, "remove %s", path) : 0;
}

/* Finds the work, and says on disk that it is begun. */
static int begin(struct repacking *r, struct error *err)
{
	const struct repack_options *o = r->options;
	cleanup_free char *wanted = wish(o);
	cleanup_free char *other = dataset_form_difference(&o->before, &o->rewrite.form);
	int state = read_state(o, wanted, &r->last, err);

	if (state < 0 || shard_list_read(o->rewrite.queue, o->rewrite.dataset, &r->shards, err) < 0)
		return -1;
	r->done->went_on = state == SAME_BEFORE;
	/* One that was stopped left shards of an older form, whatever dataset.json says by now. */
	r->changed = other || state != NONE_BEFORE;
	r->whole = o->rewrite.order != REWRITE_KEEP || o->rewrite.split;
	for (size_t i = 0; state != SAME_BEFORE && i < r->shards.n; i++)
		r->last = r->shards.rows[i].id > r->last ? r->shards.rows[i].id : r->last;
	if (o->rewrite.dry_run)
		return 0;
	if (state != SAME_BEFORE && write_state(o, wanted, r->last, err) < 0)
		return -1;
	return other ? output_change_form(o->folder, &o->rewrite.form, err) : 0;
}

/* -- shards together ------------------------------------------------------------------------------ */

static int by_group(const void *a, const void *b)
{
	const struct shard_row *x = a, *y = b;
	int order = strcmp(x->group, y->group);

	return order != 0 ? order : strcmp(x->path, y->path);
}

struct together {
	const struct shard_row *rows;
	size_t n;
	uint64_t samples, bytes, dead;
	bool foreign; /* one has another form: finished before an earlier repack, adopted since */
};

/* What cannot be read is not told apart here: its damage is met where it is rewritten. */
static int is_foreign(const struct repacking *r, const struct shard_row *row, bool *foreign,
		      struct error *err)
{
	const struct rewrite_options *o = &r->options->rewrite;
	cleanup_sample_list struct sample_list samples = CATALOG_LIST_INIT;
	cleanup_free char *other = NULL;
	struct dataset_form form;
	struct error why = ERROR_INIT;

	if (sample_list_read(o->queue, row->id, &samples, err) < 0)
		return -1;
	if (samples.n == 0)
		return 0;
	if (shard_form_read(o->store, row->path,
			    &(struct shard_span){samples.rows[0].offset, samples.rows[0].bytes},
			    &form, &why) < 0) {
		if (why.code == ERR_DATA)
			return 0;
		*err = why;
		return -1;
	}
	other = dataset_form_difference(&form, &o->form);
	*foreign = other != NULL;
	return 0;
}

static int take(const struct repacking *r, struct together *t, const struct shard_row *row,
		struct error *err)
{
	uint64_t live = row->samples - row->dead;

	t->n++;
	t->samples += live;
	t->dead += row->dead;
	t->bytes += row->samples > 0 ? row->bytes / row->samples * live : 0;
	return r->changed || r->whole || t->foreign ? 0 : is_foreign(r, row, &t->foreign, err);
}

static bool goes_with(const struct repacking *r, const struct together *t,
		      const struct shard_row *row)
{
	const struct rewrite_options *o = &r->options->rewrite;

	if (t->n == 0)
		return true;
	if (strcmp(t->rows->group, row->group) != 0)
		return false;
	return r->whole || (split_of(t->rows->path) == split_of(row->path) &&
			    t->samples < o->shard_samples && t->bytes < o->shard_bytes);
}

/* Nothing but their numbers would change. */
static bool is_so_already(const struct repacking *r, const struct together *t)
{
	const struct rewrite_options *o = &r->options->rewrite;

	return !r->changed && !r->whole && !t->foreign && t->dead == 0 &&
	       t->n == rewrite_shards_for(o, t->samples, t->bytes);
}

static int repack_together(struct repacking *r, const struct together *t, struct error *err)
{
	int result;

	if (is_so_already(r, t)) {
		r->done->kept += t->n;
		return 0;
	}
	result = rewrite_if_whole(r->rewriter, t->rows, t->n, err);
	if (result == REWRITE_DAMAGED)
		r->done->damaged += t->n;
	if (result == REWRITE_UNFIT)
		r->done->unfit += t->n;
	return result < 0 ? -1 : 0;
}

static int repack_all(struct repacking *r, struct error *err)
{
	/* The list's own memory is not to be moved about. */
	cleanup_free struct shard_row *rows = xcalloc(r->shards.n + 1, sizeof(*rows));
	size_t n = 0;

	for (size_t i = 0; i < r->shards.n; i++) {
		if (r->shards.rows[i].id <= r->last)
			rows[n++] = r->shards.rows[i];
	}
	if (n > 0)
		qsort(rows, n, sizeof(*rows), by_group);
	for (size_t i = 0; i < n;) {
		struct together t = {.rows = rows + i};

		while (i < n && goes_with(r, &t, &rows[i])) {
			if (take(r, &t, &rows[i++], err) < 0)
				return -1;
		}
		if (repack_together(r, &t, err) < 0)
			return -1;
	}
	return 0;
}

int repack(const struct repack_options *options, struct repacked *out, struct error *err)
{
	struct repacked done = {.kept = 0};
	struct repacking r = {.options = options, .done = &done};
	int result = begin(&r, err);

	if (result == 0)
		result = rewriter_open(&options->rewrite, &r.rewriter, err);
	if (result == 0)
		result = repack_all(&r, err);
	if (result == 0)
		done.shards = *rewriter_done(r.rewriter);
	rewriter_close(r.rewriter);
	shard_list_release(&r.shards);
	if (result == 0 && !options->rewrite.dry_run && done.damaged + done.unfit == 0)
		result = remove_state(options, err);
	if (result == 0)
		*out = done;
	return result;
}
