#include "daemon/index.h"

#include "daemon/dataset_store.h"
#include "daemon/variants.h"
#include "storage/seal.h"

#include "base/checked.h"
#include "base/files.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

const struct index_writer index_writers[INDEX_WRITERS] = {
    {".latentd/shards.jsonl", index_shards_write, true, NULL, false},
    {".latentd/shards.txt", index_paths_write, true, NULL, false},
    {".latentd/wids.json", index_wids_write, true, "wds", false},
    {".latentd/webshart", index_webshart_write, true, "wds", false},
    {".latentd/energon/.nv-meta/.info.json", index_energon_write, true, "wds", true},
    {"train/index.json", index_mds_write, true, "mds", false},
    {"README.md", index_readme_write, false, NULL, false},
    {".latentd/dataset.json", index_dataset_write, false, NULL, false},
};

static bool has_shards_of(const struct index_pass *pass, const char *format)
{
	for (size_t i = 0; i < pass->n_shards; i++) {
		if (strcmp(pass->shards[i].format, format) == 0)
			return true;
	}
	return false;
}

bool index_writer_applies(const struct index_pass *pass, const struct index_writer *w)
{
	cleanup_free char *path = xasprintf("%s/%s", pass->folder, w->file);

	if (w->links && store_is_elsewhere(pass->store))
		return false;
	return !w->format || strcmp(dataset_form_format(&pass->form)->name, w->format) == 0 ||
	       has_shards_of(pass, w->format) || file_exists(path);
}

int index_writer_run(const struct index_pass *pass, const struct index_writer *w, struct error *err)
{
	cleanup_free struct index_shard *shards = xcalloc(pass->n_shards + 1, sizeof(*shards));
	struct index_pass part = *pass;

	if (!w->format)
		return w->write(pass, err);
	if (!index_writer_applies(pass, w))
		return 0;
	part.shards = shards;
	part.n_shards = 0;
	for (size_t i = 0; i < pass->n_shards; i++) {
		if (strcmp(pass->shards[i].format, w->format) == 0)
			shards[part.n_shards++] = pass->shards[i];
	}
	return w->write(&part, err);
}

/* -- what writers use ----------------------------------------------------------------------------- */

static int on_sample(void *arg, const struct sample_row *row)
{
	struct index_samples *s = arg;
	char key[SAMPLE_KEY_SIZE];

	variant_key(row->key, row->variant, key);
	ARRAY_GROW(s->items, s->n, s->capacity);
	s->items[s->n++] = (struct index_sample){xstrdup(key), row->offset, row->bytes, row->dead};
	return 0;
}

int index_samples(const struct index_pass *pass, const struct index_shard *shard,
		  struct index_samples *out, struct error *err)
{
	if (pass->stop && pass->stop(pass->stop_arg))
		return error_set(err, ERR_TRANSIENT, "the indexes are not finished");
	return queue_samples(pass->queue, shard->row.id, on_sample, out, err);
}

void index_samples_release(struct index_samples *samples)
{
	for (size_t i = 0; i < samples->n; i++)
		free(samples->items[i].key);
	free(samples->items);
	*samples = (struct index_samples){.n = 0};
}

void index_put_string(struct buffer *out, const char *text)
{
	json_t *string = json_string(text);
	char *quoted = json_dumps(string, JSON_ENCODE_ANY);

	json_decref(string);
	buffer_append_string(out, quoted ? quoted : "null");
	free(quoted);
}

bool index_file_is(const char *path, const struct buffer *contents)
{
	cleanup_buffer struct buffer now = BUFFER_INIT;
	struct error ignored = ERROR_INIT;

	return file_exists(path) && file_read_all(path, contents->size, &now, &ignored) == 0 &&
	       now.size == contents->size &&
	       (now.size == 0 || memcmp(now.data, contents->data, now.size) == 0);
}

bool index_link_is(const char *path, const char *target)
{
	char now[PATH_MAX];
	ssize_t n = readlink(path, now, sizeof(now));

	return n >= 0 && (size_t)n == strlen(target) && memcmp(now, target, (size_t)n) == 0;
}

/* -- the pass ------------------------------------------------------------------------------------- */

struct found_dataset {
	int64_t id;
	char *name, *recipe_id, *recipe_json;
};

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct found_dataset *found = arg;

	if (d->id != found->id)
		return 0;
	found->name = xstrdup(d->name);
	found->recipe_id = xstrdup(d->recipe_id);
	found->recipe_json = xstrdup(d->recipe_json);
	return 1;
}

struct shard_list {
	struct index_shard *items;
	size_t n, capacity;
};

static int on_shard(void *arg, const struct shard_row *row)
{
	struct shard_list *list = arg;
	struct index_shard *shard;

	ARRAY_GROW(list->items, list->n, list->capacity);
	shard = &list->items[list->n++];
	*shard = (struct index_shard){.row = *row,
				      .path = xstrdup(row->path),
				      .format = xstrdup(row->format),
				      .group = xstrdup(row->group)};
	shard->row.path = shard->path;
	shard->row.format = shard->format;
	shard->row.group = shard->group;
	return 0;
}

static void make_catalog_hash(struct index_pass *pass)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct hash128 hash;

	buffer_appendf(&text, "2 %s\n", pass->recipe_id);
	for (size_t i = 0; i < pass->n_shards; i++) {
		const struct shard_row *row = &pass->shards[i].row;
		char xxh3[HASH128_HEX_SIZE];

		hash128_hex(&row->xxh3, xxh3);
		buffer_appendf(&text, "%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %s %" PRIi64 "\n",
			       row->path, row->bytes, row->samples, row->dead, xxh3,
			       row->sealed_at);
	}
	hash = hash128_of(text.data, text.size);
	hash128_hex(&hash, pass->catalog);
}

static size_t last_pick(const struct index_pass *pass)
{
	size_t last = 0;

	for (size_t i = 1; i < pass->n_picks; i++)
		last = pass->picks[i].rank > pass->picks[last].rank ? i : last;
	return last;
}

/* *last: the pick that gives way next, kept between calls. */
static void pick(struct index_pass *pass, const struct index_pick *candidate, size_t *last)
{
	if (pass->n_picks < INDEX_SNR_SAMPLES)
		pass->picks[pass->n_picks++] = *candidate;
	else if (candidate->rank < pass->picks[*last].rank)
		pass->picks[*last] = *candidate;
	else
		return;
	*last = last_pick(pass);
}

static int load_keys(struct index_pass *pass, size_t at, size_t *last_pick, struct error *err)
{
	struct index_shard *shard = &pass->shards[at];
	cleanup_index_samples struct index_samples samples = {.n = 0};
	const struct index_sample *first = NULL, *last = NULL;

	if (index_samples(pass, shard, &samples, err) < 0)
		return -1;
	for (size_t i = 0; i < samples.n; i++) {
		const struct index_sample *s = &samples.items[i];
		struct index_pick candidate = {0, s->offset, s->bytes, at};

		if (s->dead)
			continue;
		first = first ? first : s;
		last = s;
		candidate.rank = hash64_of(s->key, strlen(s->key), 2);
		if (pass->picks)
			pick(pass, &candidate, last_pick);
	}
	if (!first)
		return 0;
	shard->first_key = xstrdup(first->key);
	shard->last_key = xstrdup(last->key);
	shard->first_offset = first->offset;
	shard->first_bytes = first->bytes;
	return 0;
}

/* Where dataset.json does not say it. */
static int form_of_shard(struct index_pass *pass, const struct index_shard *s, struct error *err)
{
	struct dataset_form form = {shard_format(s->format), pass->example.codec, ""};

	if (shard_stored_columns(pass->store, s->path, form.columns, err) < 0)
		return -1;
	pass->form = form;
	return 0;
}

/* One record tells what all have in common. */
static int read_example(struct index_pass *pass, struct error *err)
{
	for (size_t i = 0; i < pass->n_shards; i++) {
		const struct index_shard *s = &pass->shards[i];
		const struct shard_span span = {s->first_offset, s->first_bytes};
		cleanup_record struct record record = RECORD_INIT;

		if (!s->first_key)
			continue;
		if (shard_read_record(pass->store, s->path, &span, &record, err) < 0)
			return error_wrap(err, "%s", s->path);
		if (record_facts_read(&record, &pass->example, err) < 0)
			return -1;
		pass->example_shard = s;
		if (!pass->form.format && form_of_shard(pass, s, err) < 0)
			return error_wrap(err, "%s", s->path);
		return 0;
	}
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct index_pick *x = a, *y = b;

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* What is damaged tells nothing here; `verify` names it. */
static int measure_pick(struct index_pass *pass, const struct index_pick *p, struct error *err)
{
	const struct index_shard *s = &pass->shards[p->shard];
	const struct shard_span span = {p->offset, p->bytes};
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts facts;
	struct error why = ERROR_INIT;

	if (shard_read_record(pass->store, s->path, &span, &record, &why) < 0 ||
	    record_facts_read(&record, &facts, &why) < 0) {
		if (why.code == ERR_DATA)
			return 0;
		*err = why;
		return error_wrap(err, "%s", s->path);
	}
	if (isnan(facts.snr_db))
		return 0;
	pass->snr.least =
	    pass->snr.n == 0 || facts.snr_db < pass->snr.least ? facts.snr_db : pass->snr.least;
	pass->snr.sum += facts.snr_db;
	pass->snr.n++;
	return 0;
}

static int measure_snr(struct index_pass *pass, struct error *err)
{
	if (pass->n_picks > 0)
		qsort(pass->picks, pass->n_picks, sizeof(*pass->picks), by_place);
	for (size_t i = 0; i < pass->n_picks; i++) {
		if (pass->stop && pass->stop(pass->stop_arg))
			return error_set(err, ERR_TRANSIENT, "the indexes are not finished");
		if (measure_pick(pass, &pass->picks[i], err) < 0)
			return -1;
	}
	return 0;
}

int index_pass_load(struct index_pass *pass, struct error *err)
{
	cleanup_free struct index_pick *picks = xcalloc(INDEX_SNR_SAMPLES, sizeof(*picks));
	size_t last = 0;
	int r = 0;

	pass->n_picks = 0;
	pass->picks = pass->recipe_json && strstr(pass->recipe_json, "\"round\":") ? picks : NULL;
	for (size_t i = 0; i < pass->n_shards && r == 0; i++)
		r = load_keys(pass, i, &last, err);
	if (r == 0)
		r = read_example(pass, err);
	if (r == 0)
		r = measure_snr(pass, err);
	pass->picks = NULL;
	return r;
}

static int run_pass(struct index_pass *pass, index_pass_fn fn, struct error *err)
{
	cleanup_index_dataset struct index_dataset before = {.there = false};
	struct shard_list list = {.n = 0};
	int r = index_dataset_read(pass->folder, &before, err);

	if (r == 0)
		r = queue_shards(pass->queue, pass->dataset, on_shard, &list, err);
	pass->shards = list.items;
	pass->n_shards = list.n;
	if (r == 0) {
		make_catalog_hash(pass);
		if (!pass->recipe_json[0] || strcmp(pass->recipe_json, "{}") == 0)
			pass->recipe_json = before.recipe_json;
		pass->form = before.form;
		r = fn(pass, &before, before.catalog && strcmp(before.catalog, pass->catalog) == 0,
		       err);
	}
	for (size_t i = 0; i < list.n; i++) {
		free(list.items[i].path);
		free(list.items[i].format);
		free(list.items[i].group);
		free(list.items[i].first_key);
		free(list.items[i].last_key);
	}
	free(list.items);
	return r;
}

int index_pass_run(struct index_pass *pass, const char *output, index_pass_fn fn, struct error *err)
{
	struct found_dataset found = {.id = pass->dataset};
	cleanup_free char *folder = NULL;
	int r;

	if (queue_datasets(pass->queue, on_dataset, &found, err) < 0)
		return -1;
	if (!found.name)
		return error_set(err, ERR_BUG, "no dataset %lld", (long long)pass->dataset);
	folder = xasprintf("%s/%s", output, found.name);
	const struct dataset_store_use use = {
	    .readonly = true, .stop = pass->stop, .arg = pass->stop_arg};
	r = dataset_store_open_for(folder, &use, &pass->store, err);
	if (r == 0) {
		pass->folder = folder;
		pass->name = found.name;
		pass->recipe_id = found.recipe_id;
		pass->recipe_json = found.recipe_json;
		r = run_pass(pass, fn, err);
	}
	store_close(pass->store);
	free(found.name);
	free(found.recipe_id);
	free(found.recipe_json);
	return r;
}
