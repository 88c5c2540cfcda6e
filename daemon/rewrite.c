#include "daemon/rewrite.h"

#include "daemon/replaced.h"
#include "daemon/spool_index.h"
#include "storage/seal.h"

#include "base/checked.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

struct rewriter {
	const struct rewrite_options *options;
	uint64_t full_samples, full_bytes;
	struct shard_list shards;   /* as they were when it was opened */
	struct spool_index numbers; /* of every shard that there is or was: never given again */
	struct rewritten done;
};

/* -- shard numbers -------------------------------------------------------------------------------- */

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	(void)bytes;
	spool_index_note_shard(arg, name);
	return 0;
}

static int note_numbers(struct rewriter *w, struct error *err)
{
	const struct rewrite_options *o = w->options;
	cleanup_retired_list struct retired_list retired = CATALOG_LIST_INIT;

	if (retired_list_read(o->queue, o->dataset, &retired, err) < 0)
		return -1;
	for (size_t i = 0; i < w->shards.n; i++)
		spool_index_note_shard(&w->numbers, w->shards.rows[i].path);
	for (size_t i = 0; i < retired.n; i++)
		spool_index_note_shard(&w->numbers, retired.rows[i].path);
	for (int area = 0; area < STORE_AREAS; area++) {
		if (store_list_area(o->store, (enum store_area)area, on_object, &w->numbers, err) <
		    0)
			return -1;
	}
	return 0;
}

int rewriter_open(const struct rewrite_options *options, struct rewriter **out, struct error *err)
{
	struct rewriter *w = xcalloc(1, sizeof(*w));

	w->options = options;
	w->full_samples = options->shard_samples > 0 ? options->shard_samples : UINT64_MAX;
	w->full_bytes = options->shard_bytes > 0 ? options->shard_bytes : UINT64_MAX;
	w->numbers = (struct spool_index)SPOOL_INDEX_INIT;
	if (shard_list_read(options->queue, options->dataset, &w->shards, err) < 0 ||
	    note_numbers(w, err) < 0) {
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
			r->carried[r->n_carried++] = (struct carried){shard, row};
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
		choose_samples(r, i);
		if (r->n_carried > before && !o->salvage && !o->dry_run &&
		    shard_check_file(o->store, &r->old[i], err) < 0)
			return error_wrap(err, "%s", r->old[i].path);
	}
	return 0;
}

/* In the order they have: up to a full shard, and of one group. */
static void cut(struct rewriting *r)
{
	const struct rewriter *w = r->writer;

	for (size_t i = 0; i < r->n_carried;) {
		struct chunk c = {.first = i};
		const char *group = r->carried[i].from->group;
		uint64_t bytes = 0;

		while (i < r->n_carried && c.n < w->full_samples && bytes < w->full_bytes &&
		       strcmp(r->carried[i].from->group, group) == 0) {
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

static int load(void *arg, size_t index, struct record *out, struct error *err)
{
	const struct rewriting *r = arg;
	const struct rewrite_options *o = r->writer->options;
	const struct carried *c = &r->carried[r->sealing->first + index];
	const struct shard_span span = {c->row->offset, c->row->bytes};
	cleanup_record struct record record = RECORD_INIT;

	if (shard_read_record(o->store, c->from->path, &span, &record, err) < 0 ||
	    sample_check(&record, c->row, o->recipe_id, err) < 0)
		return error_wrap(err, "%s", c->from->path);
	if (o->edit && o->edit(o->arg, c->row, &record, err) < 0)
		return -1;
	*out = record;
	record = (struct record)RECORD_INIT;
	return 0;
}

static int seal_chunk(struct rewriting *r, struct chunk *c, struct error *err)
{
	const struct rewrite_options *o = r->writer->options;
	const struct carried *carried = &r->carried[c->first];
	const char *group = carried[0].from->group;
	cleanup_free char *folder = xasprintf("train/%s", group);
	const struct seal_target target = {.store = o->store,
					   .format = dataset_form_format(&o->form),
					   .columns = o->form.columns,
					   .folder = folder,
					   .first_number =
					       spool_index_next_shard(&r->writer->numbers, group),
					   .area = STORE_STAGED};

	r->sealing = c;
	if (seal_shard(&target, load, r, c->n, &c->sealed, err) < 0)
		return -1;
	spool_index_note_shard(&r->writer->numbers, c->sealed.name);
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
					  .format = dataset_form_format(&o->form)->name,
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
	if (result == QUEUE_CONFLICT) {
		unstage(r);
		return error_set(err, ERR_BUG, "%s changed while it was rewritten", r->old[0].path);
	}
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

static void add_counts(struct rewritten *sum, const struct rewritten *add)
{
	sum->retired += add->retired;
	sum->shards += add->shards;
	sum->samples += add->samples;
	sum->dead += add->dead;
	sum->retired_bytes += add->retired_bytes;
	sum->bytes += add->bytes;
}

int rewrite(struct rewriter *w, const struct shard_row *rows, size_t n, struct error *err)
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
		add_counts(&w->done, &r.counts);
	rewriting_release(&r);
	return result;
}

/* -- which shards --------------------------------------------------------------------------------- */

static bool stopped(const struct rewriter *w)
{
	return w->options->stop && w->options->stop(w->options->arg);
}

/* What is damaged is left to `verify --deep`. */
int rewrite_if_whole(struct rewriter *w, const struct shard_row *rows, size_t n, struct error *err)
{
	struct error why = ERROR_INIT;
	char line[1024];

	if (rewrite(w, rows, n, &why) == 0)
		return 0;
	if (why.code != ERR_DATA) {
		*err = why;
		return -1;
	}
	snprintf(line, sizeof(line),
		 "%s: not rewritten (latentctl verify --deep says what is damaged)", why.message);
	w->options->note(w->options->arg, line);
	return 1;
}

int rewrite_dead(struct rewriter *w, struct error *err)
{
	for (size_t i = 0; i < w->shards.n; i++) {
		const struct shard_row *row = &w->shards.rows[i];

		if (row->dead == 0)
			continue;
		if (stopped(w))
			break;
		if (rewrite_if_whole(w, row, 1, err) < 0)
			return -1;
	}
	return 0;
}

static uint64_t live_bytes(const struct shard_row *row)
{
	return row->samples == 0 ? 0 : row->bytes / row->samples * (row->samples - row->dead);
}

static bool is_small(const struct rewriter *w, const struct shard_row *row)
{
	return row->samples - row->dead < (w->full_samples + 1) / 2 &&
	       live_bytes(row) < w->full_bytes / 2;
}

/* Small shards of one group that fit into one full shard together. */
struct batch {
	struct shard_row *rows;
	size_t n;
	uint64_t samples, bytes;
};

static int batch_write(struct rewriter *w, struct batch *b, struct error *err)
{
	size_t n = b->n;

	b->n = 0;
	b->samples = b->bytes = 0;
	return n > 1 && rewrite_if_whole(w, b->rows, n, err) < 0 ? -1 : 0;
}

static bool batch_takes(const struct rewriter *w, const struct batch *b,
			const struct shard_row *row)
{
	return b->n == 0 || (strcmp(b->rows[0].group, row->group) == 0 &&
			     b->samples + row->samples - row->dead <= w->full_samples &&
			     b->bytes + live_bytes(row) <= w->full_bytes);
}

int rewrite_small(struct rewriter *w, struct error *err)
{
	struct batch b = {.rows = xcalloc(w->shards.n + 1, sizeof(*b.rows))};
	int r = 0;

	for (size_t i = 0; i < w->shards.n && r == 0 && !stopped(w); i++) {
		const struct shard_row *row = &w->shards.rows[i];

		if (!is_small(w, row))
			continue;
		if (!batch_takes(w, &b, row))
			r = batch_write(w, &b, err);
		b.rows[b.n++] = *row;
		b.samples += row->samples - row->dead;
		b.bytes += live_bytes(row);
	}
	if (r == 0 && !stopped(w))
		r = batch_write(w, &b, err);
	free(b.rows);
	return r;
}
