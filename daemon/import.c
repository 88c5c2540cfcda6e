/*
 * A shard is sealed as an encode's is, read back, and its rows are what a rebuild would make of it; so what is in the
 * catalog has been verified twice, and a crash leaves at most one shard that the next run enters.
 */
#include "daemon/import.h"

#include "daemon/dataset_splits.h"
#include "daemon/dataset_store.h"
#include "daemon/index.h"
#include "daemon/replaced.h"
#include "daemon/shard_numbers.h"
#include "daemon/shard_rows.h"

#include "storage/seal.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define NOTHING SIZE_MAX

struct importing {
	const struct import_options *options;
	struct import_plan *plan;
	struct queue *queue;
	struct store *store;
	char *folder; /* OUT/NAME */
	int64_t dataset;
	struct recipe recipe;
	/* what the dataset has, sorted */
	char **shards, **keys;
	size_t n_shards, shards_capacity, n_keys, keys_capacity;
	struct spool_index numbers;
	size_t first;	/* item of the shard being sealed */
	size_t loading; /* the item whose record is being made, or could not be */
};

static void set_recipe(struct importing *m)
{
	const struct export_arch *arch = m->plan->arch;
	struct recipe *r = &m->recipe;

	vae_config_defaults(VAE_CLASS_KL, &r->vae);
	snprintf(r->declared, sizeof(r->declared), "%s", arch->name);
	r->imported = "kohya";
	r->vae.latent_channels = arch->channels;
	r->vae.scaling_factor = arch->scaling_factor;
	r->vae.has_shift_factor = arch->shift_factor != 0;
	r->vae.shift_factor = arch->shift_factor;
	r->posterior = POSTERIOR_DRAW;
	r->dtype = m->options->dtype;
	recipe_finish(r);
}

/* -- what is there -------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool have(char **texts, size_t n, const char *text)
{
	return n > 0 && bsearch(&text, texts, n, sizeof(*texts), by_text) != NULL;
}

static int on_sample(void *arg, const struct sample_row *row)
{
	struct importing *m = arg;

	ARRAY_GROW(m->keys, m->n_keys, m->keys_capacity);
	m->keys[m->n_keys++] = xstrdup(row->key);
	return 0;
}

struct shard_ids {
	struct importing *m;
	int64_t *ids;
	size_t n, capacity;
};

static int on_shard(void *arg, const struct shard_row *row)
{
	struct shard_ids *s = arg;

	ARRAY_GROW(s->ids, s->n, s->capacity);
	s->ids[s->n++] = row->id;
	ARRAY_GROW(s->m->shards, s->m->n_shards, s->m->shards_capacity);
	s->m->shards[s->m->n_shards++] = xstrdup(row->path);
	return 0;
}

/* A shard that was replaced and is still in sight must not be taken for one that was left. */
static int settle(struct importing *m, struct error *err)
{
	const struct replaced_options options = {.queue = m->queue,
						 .store = m->store,
						 .dataset = m->dataset,
						 .note = m->options->settled};

	return replaced_settle(&options, err);
}

static int read_catalog(struct importing *m, struct error *err)
{
	struct shard_ids s = {.m = m};
	int r = queue_shards(m->queue, m->dataset, on_shard, &s, err);

	if (r == 0)
		r = shard_numbers_read(m->queue, m->store, m->dataset, &m->numbers, err);
	for (size_t i = 0; i < s.n && r == 0; i++)
		r = queue_samples(m->queue, s.ids[i], on_sample, m, err);
	free(s.ids);
	if (m->n_shards > 0)
		qsort(m->shards, m->n_shards, sizeof(*m->shards), by_text);
	return r;
}

/* Its rows, made from the file alone. */
static int enter(struct importing *m, const char *name, struct error *err)
{
	const struct shard_rows_options options = {
	    .store = m->store, .folder = m->folder, .recipe_id = m->recipe.id};
	cleanup_shard_rows struct shard_rows rows = SHARD_ROWS_INIT;
	char recipe_id[RECIPE_ID_SIZE];
	int64_t id = 0;
	int r;

	if (shard_rows_read(&options, name, recipe_id, &rows, err) < 0)
		return error_wrap(err, "%s/%s", m->folder, name);
	rows.shard.row.dataset = m->dataset;
	for (size_t i = 0; i < rows.shard.row.samples; i++)
		on_sample(m, &rows.shard.samples[i]);
	r = queue_complete(m->queue, &rows.shard.row, rows.shard.samples, rows.shard.row.samples,
			   clock_wall_ms(), &id, err);
	if (r == QUEUE_CONFLICT)
		return error_set(err, ERR_CONFIG, "%s/%s has samples that are there already",
				 m->folder, name);
	m->plan->shards++;
	return r;
}

struct names {
	char **items;
	size_t n, capacity;
};

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct names *names = arg;

	(void)bytes;
	if (shard_format_of_file(name)) {
		ARRAY_GROW(names->items, names->n, names->capacity);
		names->items[names->n++] = xstrdup(name);
	}
	return 0;
}

/* Shards that a killed import sealed and did not enter. */
static int enter_left(struct importing *m, struct error *err)
{
	struct names names = {.n = 0};
	int r = splits_list(m->store, on_object, &names, err);

	for (size_t i = 0; i < names.n; i++) {
		if (r == 0 && !have(m->shards, m->n_shards, names.items[i]))
			r = enter(m, names.items[i], err);
		free(names.items[i]);
	}
	free(names.items);
	if (m->n_keys > 0)
		qsort(m->keys, m->n_keys, sizeof(*m->keys), by_text);
	return r;
}

/* -- sealing -------------------------------------------------------------------------------------- */

static int load_record(void *arg, size_t index, struct record *out, struct error *err)
{
	struct importing *m = arg;
	const struct import_item *item = &m->plan->items[m->first + index];
	cleanup_free char *caption = NULL;
	struct sample_facts facts = {
	    .key = item->key, .path = item->image, .captions = true, .engine = "import/kohya"};
	struct import_file file = {.flipped = 0};
	int r = import_file_read(m->options->folder, &item->name, &file, err);

	m->loading = m->first + index;
	if (r == 0)
		r = import_caption(m->options, m->plan, &item->name, &caption, err);
	facts.caption = caption;
	facts.header.width = item->name.width;
	facts.header.height = item->name.height;
	facts.header.orientation = 1;
	facts.content = file.content;
	facts.placement = file.placement;
	if (r == 0)
		r = record_build(&m->recipe, &facts, &file.latent, item->rank, out, err);
	import_file_release(&file);
	if (r == 0)
		m->loading = NOTHING;
	return r < 0 ? error_wrap(err, "%s", item->name.path) : 0;
}

/* How many of the items from m->first on make one shard. */
static size_t shard_length(const struct importing *m)
{
	const struct import_item *items = m->plan->items + m->first;
	size_t left = m->plan->n - m->first, n = 0, bytes = 0;

	while (n < left && n < m->options->shard_samples &&
	       strcmp(items[n].group, items[0].group) == 0 &&
	       (n == 0 || bytes + items[n].bytes <= m->options->shard_bytes))
		bytes += items[n++].bytes;
	return n;
}

static int seal_next(struct importing *m, size_t n, struct error *err)
{
	const char *group = m->plan->items[m->first].group;
	cleanup_free char *folder = xasprintf("train/%s", group);
	const struct seal_target target = {.store = m->store,
					   .format = dataset_form_format(&m->recipe.form),
					   .columns = m->recipe.form.columns,
					   .folder = folder,
					   .first_number =
					       spool_index_take_number(&m->numbers, group),
					   .area = STORE_VISIBLE};
	struct sealed_shard sealed = {.bytes = 0};
	int r = seal_shard(&target, load_record, m, n, &sealed, err);

	if (r == 0) {
		spool_index_note_shard(&m->numbers, sealed.name);
		r = enter(m, sealed.name, err);
	}
	sealed_shard_release(&sealed);
	if (r == 0)
		m->plan->done += n;
	return r;
}

/* Items that are there already leave the plan. */
static void leave_known(struct importing *m)
{
	struct import_plan *plan = m->plan;
	size_t n = 0;

	for (size_t i = 0; i < plan->n; i++) {
		if (have(m->keys, m->n_keys, plan->items[i].key)) {
			import_item_release(&plan->items[i]);
			plan->known++;
		} else {
			plan->items[n++] = plan->items[i];
		}
	}
	plan->n = n;
}

/* Its file was read once and is another since, or is gone: the others come in. */
static void leave_changed(struct importing *m, const struct error *why)
{
	struct import_plan *plan = m->plan;
	struct import_item *item = &plan->items[m->loading];

	m->options->note(why->message);
	plan->bad++;
	import_item_release(item);
	plan->n--;
	memmove(item, item + 1, (plan->n - m->loading) * sizeof(*item));
}

static int seal_all(struct importing *m, struct error *err)
{
	while (m->first < m->plan->n) {
		size_t n = shard_length(m);
		struct error why = ERROR_INIT;

		m->loading = NOTHING;
		if (seal_next(m, n, &why) == 0) {
			m->first += n;
		} else if (m->loading != NOTHING) {
			leave_changed(m, &why);
		} else {
			*err = why;
			return -1;
		}
	}
	return 0;
}

/* -- the whole ------------------------------------------------------------------------------------ */

static int open_dataset(struct importing *m, const struct output *output, struct error *err)
{
	const struct queue_dataset_spec spec = {m->options->name, m->folder, m->recipe.id,
						m->recipe.json};
	cleanup_index_dataset struct index_dataset said = {.there = false};
	bool there = false;
	int r;

	if (index_dataset_read(m->folder, &said, err) < 0)
		return -1;
	m->recipe.form = said.form; /* that `latentctl repack` gave it */
	if (output_check_dataset(output, m->options->name, &m->recipe, &there, err) < 0)
		return -1;
	r = queue_open_dataset(m->queue, &spec, &m->dataset, err);
	if (r == QUEUE_OTHER_RECIPE)
		return error_set(err, ERR_CONFIG,
				 "%s is there with another recipe: give another --name", m->folder);
	if (r < 0 || (!there && output_make_dataset(output, m->options->name, &m->recipe, err) < 0))
		return -1;
	return dataset_store_open(m->folder, false, &m->store, err);
}

static void release(struct importing *m)
{
	for (size_t i = 0; i < m->n_shards; i++)
		free(m->shards[i]);
	for (size_t i = 0; i < m->n_keys; i++)
		free(m->keys[i]);
	free(m->shards);
	free(m->keys);
	free(m->folder);
	spool_index_release(&m->numbers);
	store_close(m->store);
	recipe_release(&m->recipe);
}

int import_run(const struct import_options *options, struct import_plan *plan,
	       const struct output *output, struct queue *queue, struct error *err)
{
	struct importing m = {.options = options,
			      .plan = plan,
			      .queue = queue,
			      .folder = xasprintf("%s/%s", output->root, options->name),
			      .numbers = SPOOL_INDEX_INIT};
	int r;

	set_recipe(&m);
	r = open_dataset(&m, output, err);
	if (r == 0)
		r = settle(&m, err);
	if (r == 0)
		r = read_catalog(&m, err);
	if (r == 0)
		r = enter_left(&m, err);
	if (r == 0) {
		leave_known(&m);
		r = seal_all(&m, err);
	}
	if (r == 0)
		r = index_write_all(queue, m.dataset, output->root, false, err);
	release(&m);
	return r;
}
