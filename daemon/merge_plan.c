#include "daemon/merge.h"

#include "daemon/dataset_splits.h"
#include "daemon/dataset_store.h"

#include "storage/shard.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

/* The files of one part's dataset. */
struct part_names {
	char **names;
	size_t n, capacity;
};

/* A key and whose it is. */
struct keyed {
	const char *key;
	const struct merge_shard *shard;
};

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct part_names *found = arg;

	(void)bytes;
	if (!shard_format_of_file(name))
		return 0;
	ARRAY_GROW(found->names, found->n, found->capacity);
	found->names[found->n++] = xstrdup(name);
	return 0;
}

static struct merge_dataset *dataset_named(struct merge_plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->n; i++) {
		if (strcmp(plan->datasets[i].name, name) == 0)
			return &plan->datasets[i];
	}
	ARRAY_GROW(plan->datasets, plan->n, plan->capacity);
	plan->datasets[plan->n] = (struct merge_dataset){.name = xstrdup(name)};
	return &plan->datasets[plan->n++];
}

static int check_recipe(struct merge_dataset *d, const char *recipe_id, const char *part,
			struct error *err)
{
	if (!d->recipe_id[0]) {
		memcpy(d->recipe_id, recipe_id, sizeof(d->recipe_id));
		d->recipe_from = part;
	}
	if (strcmp(d->recipe_id, recipe_id) == 0)
		return 0;
	return error_set(err, ERR_CONFIG,
			 "%s has recipe %s in %s, but %s in %s: only parts of one recipe go "
			 "together",
			 d->name, d->recipe_id, d->recipe_from, recipe_id, part);
}

/* Of a part that has a dataset.json. */
static int check_form(struct merge_dataset *d, const struct dataset_form *form, const char *part,
		      struct error *err)
{
	cleanup_free char *first = NULL, *other = NULL;

	if (!d->form_from) {
		d->form = *form;
		d->form_from = part;
	}
	first = dataset_form_difference(&d->form, form);
	if (!first)
		return 0;
	other = dataset_form_difference(form, &d->form);
	return error_set(err, ERR_CONFIG,
			 "%s has %s in %s, but %s in %s: only parts of one form go together",
			 d->name, first, d->form_from, other, part);
}

static int read_shard(struct merge_plan *plan, struct merge_dataset *d, size_t part,
		      const struct shard_rows_options *options, const char *name, struct error *err)
{
	struct shard_rows rows = SHARD_ROWS_INIT;
	char recipe_id[RECIPE_ID_SIZE];
	struct error why = ERROR_INIT;

	if (shard_rows_read(options, name, recipe_id, &rows, &why) < 0) {
		if (why.code != ERR_DATA && why.code != ERR_IO) {
			*err = why;
			return -1;
		}
		printf("%s/%s: %s\n", options->folder, name, why.message);
		plan->damaged++;
		return 0;
	}
	ARRAY_GROW(d->shards, d->n, d->capacity);
	d->shards[d->n++] = (struct merge_shard){
	    .rows = rows, .part = part, .source = xasprintf("%s/%s", options->folder, name)};
	return check_recipe(d, recipe_id, plan->parts[part], err);
}

static int read_dataset(struct merge_plan *plan, size_t part, const struct dataset_folder *folder,
			struct error *err)
{
	struct merge_dataset *d = dataset_named(plan, folder->name);
	struct shard_rows_options options = {.folder = folder->folder};
	struct part_names found = {.n = 0};
	int r = 0;

	if (folder->id[0])
		r = check_recipe(d, folder->id, plan->parts[part], err);
	if (r == 0 && folder->id[0])
		r = check_form(d, &folder->form, plan->parts[part], err);
	if (r == 0 && folder->id[0] && !d->recipe_json)
		d->recipe_json = xstrdup(folder->recipe_json);
	if (r == 0)
		r = dataset_store_need_folder(folder->folder, "merge", err);
	if (r == 0)
		r = store_local_open(folder->folder, true, &options.store, err);
	if (r == 0)
		r = splits_list(options.store, on_object, &found, err);
	for (size_t i = 0; i < found.n; i++) {
		if (r == 0)
			r = read_shard(plan, d, part, &options, found.names[i], err);
		free(found.names[i]);
	}
	free(found.names);
	store_close(options.store);
	return r;
}

static int read_part(struct merge_plan *plan, size_t part, struct error *err)
{
	cleanup_dataset_folders struct dataset_folders folders = {.n = 0};

	if (dataset_folders_find(plan->parts[part], &folders, err) < 0)
		return -1;
	if (folders.n == 0)
		return error_set(err, ERR_CONFIG, "there is no dataset below %s",
				 plan->parts[part]);
	for (size_t i = 0; i < folders.n; i++) {
		if (read_dataset(plan, part, &folders.items[i], err) < 0)
			return -1;
	}
	return 0;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct keyed *)a)->key, ((const struct keyed *)b)->key);
}

static int check_disjoint(const struct merge_dataset *d, struct error *err)
{
	cleanup_free struct keyed *keys = NULL;
	size_t n = 0, total = 0;

	for (size_t i = 0; i < d->n; i++)
		total += d->shards[i].rows.shard.row.samples;
	keys = xcalloc(total + 1, sizeof(*keys));
	for (size_t i = 0; i < d->n; i++) {
		const struct new_shard *shard = &d->shards[i].rows.shard;

		for (size_t k = 0; k < shard->row.samples; k++)
			keys[n++] = (struct keyed){shard->samples[k].key, &d->shards[i]};
	}
	qsort(keys, n, sizeof(*keys), by_key);
	for (size_t i = 1; i < n; i++) {
		if (keys[i - 1].shard != keys[i].shard && strcmp(keys[i - 1].key, keys[i].key) == 0)
			return error_set(err, ERR_CONFIG, "%s is both in %s and in %s", keys[i].key,
					 keys[i - 1].shard->source, keys[i].shard->source);
	}
	return 0;
}

int merge_plan_read(struct merge_plan *plan, struct error *err)
{
	for (size_t i = 0; i < plan->n_parts; i++) {
		if (read_part(plan, i, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < plan->n; i++) {
		if (check_disjoint(&plan->datasets[i], err) < 0)
			return -1;
	}
	return 0;
}

void merge_plan_release(struct merge_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		struct merge_dataset *d = &plan->datasets[i];

		for (size_t k = 0; k < d->n; k++) {
			shard_rows_release(&d->shards[k].rows);
			free(d->shards[k].source);
			free(d->shards[k].name);
		}
		free(d->shards);
		free(d->name);
		free(d->recipe_json);
	}
	free(plan->datasets);
	plan->datasets = NULL;
	plan->n = 0;
}
