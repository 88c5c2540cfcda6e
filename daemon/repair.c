#include "daemon/repair.h"

#include "storage/seal.h"

#include "base/checked.h"
#include "base/clock.h"

#include <string.h>

/* The live samples of a shard that is damaged. */
struct survey {
	struct sample_list samples;
	bool *damaged;	/* of each of them */
	uint64_t *lost; /* offsets */
	size_t n_lost, n_live;
};

static void survey_release(struct survey *s)
{
	sample_list_release(&s->samples);
	free(s->damaged);
	free(s->lost);
}

static int check_at(const struct replaced_options *o, const char *recipe_id,
		    const struct shard_row *shard, const struct sample_row *row, struct error *err)
{
	const struct shard_span span = {row->offset, row->bytes};
	cleanup_record struct record record = RECORD_INIT;

	if (shard_read_record(o->store, shard->path, &span, &record, err) < 0)
		return -1;
	return sample_check(&record, row, recipe_id, err);
}

/* The variants of an image stand side by side, and are encoded together: where one is damaged all are lost. */
static void lose_damaged(struct survey *s)
{
	const struct sample_row *rows = s->samples.rows;

	for (size_t i = 0, end = 0; i < s->samples.n; i = end) {
		bool damaged = false;

		for (end = i; end < s->samples.n && rows[end].job == rows[i].job; end++)
			damaged = damaged || s->damaged[end];
		for (size_t k = i; damaged && k < end; k++) {
			if (!rows[k].dead)
				s->lost[s->n_lost++] = rows[k].offset;
		}
	}
}

/* Each by its own place, so that damage in one does not hide the others. */
static int survey_shard(const struct replaced_options *o, const char *recipe_id,
			const struct shard_row *shard, struct survey *s, struct error *err)
{
	if (sample_list_read(o->queue, shard->id, &s->samples, err) < 0)
		return -1;
	s->lost = xcalloc(s->samples.n + 1, sizeof(*s->lost));
	s->damaged = xcalloc(s->samples.n + 1, sizeof(*s->damaged));
	for (size_t i = 0; i < s->samples.n; i++) {
		const struct sample_row *row = &s->samples.rows[i];
		struct error why = ERROR_INIT;

		if (row->dead)
			continue;
		s->n_live++;
		if (check_at(o, recipe_id, shard, row, &why) == 0)
			continue;
		if (why.code == ERR_IO || strcmp(why.reason, "missing") == 0)
			return REPAIR_LEFT;
		if (why.code != ERR_DATA) {
			*err = why;
			return -1;
		}
		s->damaged[i] = true;
	}
	lose_damaged(s);
	return 0;
}

static int rewrite_rest(const struct replaced_options *o, const char *recipe_id,
			const struct dataset_form *form, const struct shard_row *row,
			struct error *err)
{
	const struct rewrite_options options = {.queue = o->queue,
						.store = o->store,
						.dataset = o->dataset,
						.recipe_id = recipe_id,
						.form = *form,
						.salvage = true,
						.note = o->note,
						.arg = o->arg};
	struct rewriter *w = NULL;
	int r = rewriter_open(&options, &w, err);

	if (r == 0)
		r = rewrite(w, row, 1, err);
	rewriter_close(w);
	return r;
}

int repair_shard(const struct replaced_options *o, const char *recipe_id,
		 const struct dataset_form *form, const struct shard_row *row, size_t *requeued,
		 struct error *err)
{
	cleanup_with(survey_release) struct survey s = {.samples = CATALOG_LIST_INIT};
	size_t n = 0;
	int r = survey_shard(o, recipe_id, row, &s, err);

	if (r != 0)
		return r;
	if (s.n_lost == 0 || s.n_lost == s.n_live) {
		if (store_quarantine(o->store, row->path, err) < 0 ||
		    queue_drop_shard(o->queue, row->id, clock_wall_ms(), &n, err) < 0)
			return -1;
	} else if (queue_drop_samples(o->queue, row->id, s.lost, s.n_lost, clock_wall_ms(), &n,
				      err) < 0 ||
		   rewrite_rest(o, recipe_id, form, row, err) < 0) {
		return -1;
	}
	*requeued += n;
	return 0;
}
