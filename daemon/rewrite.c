#include "daemon/rewrite_parts.h"

#include "daemon/dataset_splits.h"
#include "daemon/record_copy.h"
#include "daemon/replaced.h"
#include "daemon/shard_numbers.h"
#include "storage/seal.h"

#include "base/checked.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

/* Of shards that others change meanwhile. */
enum { TRIES = 3 };

int rewriter_open(const struct rewrite_options *options, struct rewriter **out, struct error *err)
{
	struct rewriter *w = xcalloc(1, sizeof(*w));

	w->options = options;
	w->full_samples = options->shard_samples > 0 ? options->shard_samples : UINT64_MAX;
	w->full_bytes = options->shard_bytes > 0 ? options->shard_bytes : UINT64_MAX;
	w->numbers = (struct spool_index)SPOOL_INDEX_INIT;
	if (shard_list_read(options->queue, options->dataset, &w->shards, err) < 0 ||
	    shard_numbers_read(options->queue, options->store, options->dataset, &w->numbers, err) <
		0) {
		rewriter_close(w);
		return -1;
	}
	*out = w;
	return 0;
}

void rewriter_close(struct rewriter *w)
{
	if (!w)
		return;
	shard_list_release(&w->shards);
	spool_index_release(&w->numbers);
	free(w);
}

const struct rewritten *rewriter_done(const struct rewriter *w)
{
	return &w->done;
}

/* -- what goes where ------------------------------------------------------------------------------ */

/* A live sample that is carried over. */
struct carried {
	const struct shard_row *from;
	const struct sample_row *row;
	const char *split; /* that it goes to */
	uint64_t rank;	   /* of a shuffled order */
};

/* A new shard: carried[first] and those behind it. */
struct chunk {
	size_t first, n;
	struct sealed_shard sealed;
	struct sample_row *rows; /* as the catalog gets them */
};

struct rewriting {
	struct rewriter *writer;
	const struct shard_row *old;
	size_t n_old;
	struct sample_list *samples; /* of each old shard */
	struct carried *carried;
	size_t n_carried, carried_capacity;
	struct sample_place *dropped;
	size_t n_dropped, dropped_capacity;
	struct chunk *chunks;
	size_t n_chunks, chunks_capacity;
	const struct chunk *sealing;
	bool unreadable; /* the chunk that is sealed */
	struct rewritten counts;
};

static void rewriting_release(struct rewriting *r)
{
	for (size_t i = 0; i < r->n_old; i++)
		sample_list_release(&r->samples[i]);
	free(r->samples);
	free(r->carried);
	free(r->dropped);
	for (size_t i = 0; i < r->n_chunks; i++) {
		sealed_shard_release(&r->chunks[i].sealed);
		free(r->chunks[i].rows);
	}
	free(r->chunks);
}

static void choose_samples(struct rewriting *r, size_t index)
{
	const struct rewrite_options *o = r->writer->options;
	const struct shard_row *shard = &r->old[index];
	const struct sample_list *list = &r->samples[index];

	for (size_t i = 0; i < list->n; i++) {
		const struct sample_row *row = &list->rows[i];

		if (row->dead) {
			r->counts.dead++;
		} else if (o->drop && o->drop(o->arg, row)) {
			ARRAY_GROW(r->dropped, r->n_dropped, r->dropped_capacity);
			r->dropped[r->n_dropped++] = (struct sample_place){shard->id, row->offset};
			r->counts.dead++;
		} else {
			ARRAY_GROW(r->carried, r->n_carried, r->carried_capacity);
			r->carried[r->n_carried++] = (struct carried){
			    shard, row,
			    o->split ? split_of_key(row->key, o->val_share) : split_of(shard->path),
			    hash64_of(row->key, strlen(row->key), 0)};
			r->counts.samples++;
		}
	}
	r->counts.retired++;
	r->counts.retired_bytes += shard->bytes;
}

/* A file whose hash is wrong may hold damage that no record shows: it is not sealed anew as if it were good. */
static int read_old(struct rewriting *r, struct error *err)
{
	const struct rewrite_options *o = r->writer->options;

	for (size_t i = 0; i < r->n_old; i++) {
		size_t before = r->n_carried;

		if (sample_list_read(o->queue, r->old[i].id, &r->samples[i], err) < 0)
			return -1;
		if (r->samples[i].n == 0 && o->shared) /* a node has dropped it */
			return QUEUE_CONFLICT;
		choose_samples(r, i);
		if (r->n_carried > before && !o->salvage && !o->dry_run &&
		    shard_check_file(o->store, &r->old[i], err) < 0)
			return error_wrap(err, "%s", r->old[i].path);
	}
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct carried *x = a, *y = b;
	int order = strcmp(x->from->group, y->from->group);

	return order != 0 ? order : strcmp(x->split, y->split);
}

/* The variants of an image have its key. */
static int by_key(const void *a, const void *b)
{
	const struct sample_row *x = ((const struct carried *)a)->row,
				*y = ((const struct carried *)b)->row;
	int order = strcmp(x->key, y->key);

	return order != 0 ? order : (x->variant > y->variant) - (x->variant < y->variant);
}

static int by_rank(const void *a, const void *b)
{
	const struct carried *x = a, *y = b;
	int order = by_place(a, b);

	if (order != 0)
		return order;
	return x->rank != y->rank ? (x->rank < y->rank ? -1 : 1) : by_key(a, b);
}

static int by_path(const void *a, const void *b)
{
	const struct carried *x = a, *y = b;
	int order = by_place(a, b);

	if (order == 0)
		order = strcmp(x->row->path, y->row->path);
	return order != 0 ? order : by_key(a, b);
}

/* As they were, but for the split. */
static int by_age(const void *a, const void *b)
{
	const struct carried *x = a, *y = b;
	int order = by_place(a, b);

	if (order == 0)
		order = strcmp(x->from->path, y->from->path);
	if (order != 0 || x->row->offset == y->row->offset)
		return order;
	return x->row->offset < y->row->offset ? -1 : 1;
}

static void put_in_order(struct rewriting *r)
{
	const struct rewrite_options *o = r->writer->options;
	int (*const compare)(const void *, const void *) = o->order == REWRITE_SHUFFLED ? by_rank
							   : o->order == REWRITE_SCAN	? by_path
											: by_age;

	if ((o->order != REWRITE_KEEP || o->split) && r->n_carried > 0)
		qsort(r->carried, r->n_carried, sizeof(*r->carried), compare);
}

static uint64_t parts_of(uint64_t n, uint64_t full)
{
	return n == 0 || full == 0 ? 1 : (n - 1) / full + 1;
}

size_t rewrite_shards_for(const struct rewrite_options *o, uint64_t samples, uint64_t bytes)
{
	uint64_t by_samples = parts_of(samples, o->shard_samples);
	uint64_t by_bytes = parts_of(bytes, o->shard_bytes);

	return samples == 0 ? 0 : by_samples > by_bytes ? by_samples : by_bytes;
}

/* Those behind carried[first] that belong into one folder; and so much of them as one shard is to have. */
static size_t measure(const struct rewriting *r, size_t first, uint64_t *samples, uint64_t *bytes)
{
	const struct rewriter *w = r->writer;
	uint64_t all = 0, n;
	size_t end = first;

	while (end < r->n_carried && by_place(&r->carried[first], &r->carried[end]) == 0)
		all += r->carried[end++].row->bytes;
	n = rewrite_shards_for(w->options, end - first, all);
	*samples = w->options->even ? parts_of(end - first, n) : w->full_samples;
	*bytes = w->options->even && n > 1 ? UINT64_MAX : w->full_bytes;
	return end;
}

/* Whether carried[i] is of the image of the one before it: they stay together. */
static bool is_variant(const struct rewriting *r, size_t i)
{
	return r->carried[i].row->job == r->carried[i - 1].row->job;
}

/* Up to a full shard, and of one group and split. */
static void cut(struct rewriting *r)
{
	uint64_t samples = 0, full = 0;
	size_t end = 0;

	put_in_order(r);
	for (size_t i = 0; i < r->n_carried;) {
		struct chunk c = {.first = i};
		uint64_t bytes = 0;

		if (i == end)
			end = measure(r, i, &samples, &full);
		while (i < end &&
		       ((c.n < samples && bytes < full) || (c.n > 0 && is_variant(r, i)))) {
			bytes += r->carried[i++].row->bytes;
			c.n++;
		}
		ARRAY_GROW(r->chunks, r->n_chunks, r->chunks_capacity);
		r->chunks[r->n_chunks++] = c;
		r->counts.shards++;
		r->counts.bytes += bytes;
	}
}

/* -- sealing -------------------------------------------------------------------------------------- */

/* Where nothing says what form a dataset has, its shards keep theirs. */
static const struct shard_ops *format_of(const struct rewriting *r, const struct chunk *c)
{
	const struct shard_ops *format = r->writer->options->form.format;

	return format ? format : shard_format(r->carried[c->first].from->format);
}

static int columns_of(const struct rewriting *r, const struct chunk *c,
		      char out[MDS_SPECIFICATION_SIZE], struct error *err)
{
	const struct rewrite_options *o = r->writer->options;
	const char *from = r->carried[c->first].from->path;

	if (!o->form.format)
		return shard_stored_columns(o->store, from, out, err) < 0
			   ? error_wrap(err, "%s", from)
			   : 0;
	snprintf(out, MDS_SPECIFICATION_SIZE, "%s", o->form.columns);
	return 0;
}

static int load_one(const struct rewriting *r, size_t index, struct record *out, struct error *err)
{
	const struct rewrite_options *o = r->writer->options;
	const struct carried *c = &r->carried[r->sealing->first + index];
	const struct shard_span span = {c->row->offset, c->row->bytes};
	cleanup_record struct record record = RECORD_INIT;

	if (shard_read_record(o->store, c->from->path, &span, &record, err) < 0 ||
	    sample_check(&record, c->row, o->recipe_id, err) < 0)
		return error_wrap(err, "%s", c->from->path);
	if (o->form.format && record_recode(&record, o->form.codec, err) < 0)
		return error_wrap(err, "%s", c->from->path);
	if (o->edit && o->edit(o->arg, c->row, &record, err) < 0)
		return -1;
	*out = record;
	record = (struct record)RECORD_INIT;
	return 0;
}

static int load(void *arg, size_t index, struct record *out, struct error *err)
{
	struct rewriting *r = arg;

	r->unreadable = load_one(r, index, out, err) < 0;
	return r->unreadable ? -1 : 0;
}

static int seal_chunk(struct rewriting *r, struct chunk *c, struct error *err)
{
	const struct rewrite_options *o = r->writer->options;
	const struct carried *carried = &r->carried[c->first];
	const char *group = carried[0].from->group;
	char columns[MDS_SPECIFICATION_SIZE] = "";
	cleanup_free char *folder = xasprintf("%s/%s", carried[0].split, group);
	const struct seal_target target = {.store = o->store,
					   .format = format_of(r, c),
					   .columns = columns,
					   .folder = folder,
					   .first_number =
					       spool_index_take_number(&r->writer->numbers, group),
					   .area = STORE_STAGED};

	if (columns_of(r, c, columns, err) < 0)
		return -1;
	r->sealing = c;
	if (seal_shard(&target, load, r, c->n, &c->sealed, err) < 0) {
		r->writer->unfit =
		    err->code == ERR_DATA && !r->unreadable && strcmp(err->reason, "verify") != 0;
		return r->unreadable ? -1 : error_wrap(err, "%s", carried[0].from->path);
	}
	spool_index_note_shard(&r->writer->numbers, c->sealed.name);
	r->counts.written += c->sealed.bytes;
	c->rows = xcalloc(c->n, sizeof(*c->rows));
	for (size_t i = 0; i < c->n; i++) {
		c->rows[i] = *carried[i].row;
		c->rows[i].offset = c->sealed.spans[i].offset;
		c->rows[i].bytes = c->sealed.spans[i].bytes;
	}
	return 0;
}

static int seal_all(struct rewriting *r, struct error *err)
{
	for (size_t i = 0; i < r->n_chunks; i++) {
		if (seal_chunk(r, &r->chunks[i], err) < 0)
			return -1;
	}
	return 0;
}

/* Nothing names these: the next settling removes what cannot be removed now. */
static void unstage(struct rewriting *r)
{
	struct error ignored = ERROR_INIT;

	for (size_t i = 0; i < r->n_chunks; i++) {
		if (r->chunks[i].sealed.name[0])
			store_remove(r->writer->options->store, STORE_STAGED,
				     r->chunks[i].sealed.name, &ignored);
		error_clear(&ignored);
	}
}

/* -- the transaction and the moves ---------------------------------------------------------------- */

static struct new_shard new_shard_of(const struct rewriting *r, const struct chunk *c)
{
	const struct rewrite_options *o = r->writer->options;

	return (struct new_shard){.row = {.dataset = o->dataset,
					  .path = c->sealed.name,
					  .format = format_of(r, c)->name,
					  .group = r->carried[c->first].from->group,
					  .bytes = c->sealed.bytes,
					  .samples = c->n,
					  .sha256 = c->sealed.sha256,
					  .xxh3 = c->sealed.xxh3,
					  .sealed_at = clock_wall_ms()},
				  .samples = c->rows};
}

static int swap(struct rewriting *r, struct error *err)
{
	cleanup_free struct new_shard *shards = xcalloc(r->n_chunks + 1, sizeof(*shards));
	cleanup_free int64_t *retired = xcalloc(r->n_old, sizeof(*retired));
	cleanup_free int64_t *ids = xcalloc(r->n_chunks + 1, sizeof(*ids));
	const struct queue_swap s = {.retired = retired,
				     .n_retired = r->n_old,
				     .dropped = r->dropped,
				     .n_dropped = r->n_dropped,
				     .shards = shards,
				     .n_shards = r->n_chunks};
	int result;

	for (size_t i = 0; i < r->n_old; i++)
		retired[i] = r->old[i].id;
	for (size_t i = 0; i < r->n_chunks; i++)
		shards[i] = new_shard_of(r, &r->chunks[i]);
	result = queue_swap(r->writer->options->queue, &s, clock_wall_ms(), ids, err);
	if (result == QUEUE_CONFLICT)
		unstage(r);
	return result;
}

/* Old ones first, so that no sample is in sight twice. */
static int exchange(struct rewriting *r, struct error *err)
{
	struct store *store = r->writer->options->store;

	for (size_t i = 0; i < r->n_old; i++) {
		struct error why = ERROR_INIT;

		/* One without a live sample may have been gone before. */
		if (replaced_hide(store, r->old[i].path, &why) < 0 && why.code != ERR_DATA) {
			*err = why;
			return -1;
		}
	}
	for (size_t i = 0; i < r->n_chunks; i++) {
		int moved =
		    store_move(store, r->chunks[i].sealed.name, STORE_STAGED, STORE_VISIBLE, err);

		if (moved == STORE_EXISTS)
			return error_set(err, ERR_IO, "%s is there already",
					 r->chunks[i].sealed.name);
		if (moved < 0)
			return -1;
	}
	return 0;
}

void rewritten_add(struct rewritten *sum, const struct rewritten *more)
{
	sum->retired += more->retired;
	sum->shards += more->shards;
	sum->samples += more->samples;
	sum->dead += more->dead;
	sum->retired_bytes += more->retired_bytes;
	sum->bytes += more->bytes;
	sum->written += more->written;
}

/* 0, QUEUE_CONFLICT or -1. */
static int try_once(struct rewriter *w, const struct shard_row *rows, size_t n, struct error *err)
{
	struct rewriting r = {.writer = w,
			      .old = rows,
			      .n_old = n,
			      .samples = xcalloc(n + 1, sizeof(struct sample_list))};
	int result = n > 0 ? read_old(&r, err) : 0;

	if (result == 0)
		cut(&r);
	if (result == 0 && n > 0 && !w->options->dry_run) {
		result = seal_all(&r, err);
		if (result < 0)
			unstage(&r);
		if (result == 0)
			result = swap(&r, err);
		if (result == 0)
			result = exchange(&r, err);
	}
	if (result == 0)
		rewritten_add(&w->done, &r.counts);
	rewriting_release(&r);
	return result;
}

int rewrite(struct rewriter *w, const struct shard_row *rows, size_t n, struct error *err)
{
	int r = QUEUE_CONFLICT;

	w->unfit = w->changed = false;
	for (int tries = 0; tries < (w->options->shared ? TRIES : 1) && r == QUEUE_CONFLICT;
	     tries++)
		r = try_once(w, rows, n, err);
	if (r != QUEUE_CONFLICT)
		return r;
	w->changed = w->options->shared;
	return error_set(err, w->changed ? ERR_TRANSIENT : ERR_BUG,
			 "%s changed while it was rewritten%s", rows[0].path,
			 w->changed ? ": it stays as it is until the next time" : "");
}
