#include "daemon/rebuild_dataset.h"

#include "daemon/dataset_splits.h"
#include "daemon/dataset_store.h"

#include "storage/shard.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct aged_shard {
	char *name;
	int64_t sealed_at;
	bool said; /* by shards.jsonl, for this file: */
	struct sha256 sha256;
};

/* A live sample that another shard replaces. */
struct replaced {
	int64_t shard;
	uint64_t offset;
	bool same; /* it is that sample */
};

struct rebuilding {
	struct queue *queue;
	const struct rebuild_options *options;
	const struct dataset_folder *dataset;
	struct rebuild_result *result;
	struct store *store;
	struct aged_shard *shards;
	size_t n, capacity;
	char **staged; /* names of shards that a rewrite left out of sight */
	size_t n_staged, staged_capacity;
	int64_t id; /* of the dataset; 0 before the first shard */
	char recipe_id[RECIPE_ID_SIZE];
	int64_t *entered;
	size_t n_entered, entered_capacity;
	/* while one shard replaces samples of others */
	const struct sample_row **keys;
	size_t n_keys;
	int64_t other;
	struct replaced *replaced;
	size_t n_replaced, replaced_capacity;
	bool foreign; /* one of these keys is another file's */
};

/* -- which shards, and how old -------------------------------------------------------------------- */

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct rebuilding *b = arg;
	cleanup_free char *path = xasprintf("%s/%s", b->dataset->folder, name);
	struct stat st;

	(void)bytes;
	if (!shard_format_of_file(name))
		return 0;
	ARRAY_GROW(b->shards, b->n, b->capacity);
	b->shards[b->n++] = (struct aged_shard){
	    .name = xstrdup(name),
	    .sealed_at = stat(path, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000 : 0};
	return 0;
}

static int on_staged(void *arg, const char *name, uint64_t bytes)
{
	struct rebuilding *b = arg;

	(void)bytes;
	if (!shard_format_of_file(name))
		return 0;
	ARRAY_GROW(b->staged, b->n_staged, b->staged_capacity);
	b->staged[b->n_staged++] = xstrdup(name);
	return 0;
}

static int compare_name(const void *name, const void *shard)
{
	return strcmp(name, ((const struct aged_shard *)shard)->name);
}

static void take_line(struct rebuilding *b, const char *line, size_t size)
{
	json_t *row = json_loadb(line, size, 0, NULL);
	const char *path = json_string_value(json_object_get(row, "path"));
	const char *hash = json_string_value(json_object_get(row, "sha256"));
	struct aged_shard *shard =
	    path && b->n > 0 ? bsearch(path, b->shards, b->n, sizeof(*b->shards), compare_name)
			     : NULL;

	if (shard && hash && sha256_parse(hash, &shard->sha256)) {
		shard->sealed_at = json_integer_value(json_object_get(row, "sealed_at"));
		shard->said = true;
	}
	json_decref(row);
}

/* A help only: a file that is missing or damaged says nothing. */
static void take_ages(struct rebuilding *b)
{
	cleanup_free char *path = xasprintf("%s/.latentd/shards.jsonl", b->dataset->folder);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error ignored = ERROR_INIT;
	const char *line, *end;

	if (!file_exists(path) || file_read_all(path, (size_t)1 << 30, &text, &ignored) < 0)
		return;
	for (line = (const char *)text.data; (end = line ? strchr(line, '\n') : NULL);
	     line = end + 1)
		take_line(b, line, (size_t)(end - line));
}

static int by_age(const void *a, const void *b)
{
	const struct aged_shard *x = a, *y = b;

	if (x->sealed_at != y->sealed_at)
		return x->sealed_at < y->sealed_at ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* -- one shard ------------------------------------------------------------------------------------ */

static int set_aside(struct rebuilding *b, const char *name, const char *why, struct error *err)
{
	printf("%s/%s: %s: moved to .latentd/quarantine\n", b->dataset->name, name, why);
	b->result->damaged++;
	return store_quarantine(b->store, name, err);
}

/* With the first shard, since only it tells the recipe where dataset.json does not. */
static int open_dataset(struct rebuilding *b, const char *name, const char *recipe_id,
			struct error *err)
{
	const struct dataset_folder *d = b->dataset;
	struct queue_dataset_spec spec = {d->name, d->folder, recipe_id, d->recipe_json};
	const char *wanted = d->id[0] ? d->id : b->recipe_id;

	if (wanted[0] && strcmp(recipe_id, wanted) != 0)
		return error_set(err, ERR_CONFIG,
				 "%s/%s is of recipe %s, but %s of %s: two latent spaces never "
				 "share a folder",
				 d->folder, name, recipe_id,
				 d->id[0] ? ".latentd/dataset.json" : "the shards before it",
				 wanted);
	memcpy(b->recipe_id, recipe_id, sizeof(b->recipe_id));
	return b->id != 0 ? 0 : queue_open_dataset(b->queue, &spec, &b->id, err);
}

static int by_key(const void *a, const void *b)
{
	const struct sample_row *const *x = a, *const *y = b;

	int order = strcmp((*x)->key, (*y)->key);

	return order != 0 ? order
			  : ((*x)->variant > (*y)->variant) - ((*x)->variant < (*y)->variant);
}

static int on_entered_sample(void *arg, const struct sample_row *row)
{
	struct rebuilding *b = arg;
	const struct sample_row **found =
	    row->dead ? NULL : bsearch(&row, b->keys, b->n_keys, sizeof(*b->keys), by_key);

	if (!found)
		return 0;
	b->foreign = b->foreign || strcmp(row->path, (*found)->path) != 0;
	ARRAY_GROW(b->replaced, b->n_replaced, b->replaced_capacity);
	b->replaced[b->n_replaced++] =
	    (struct replaced){b->other, row->offset,
			      hash128_equal(&row->content, &(*found)->content) &&
				  hash128_equal(&row->latent, &(*found)->latent)};
	return 0;
}

/* Which live samples the shard has again: a listing of all that came in before, but this is rare. */
static int find_replaced(struct rebuilding *b, const struct new_shard *shard, struct error *err)
{
	int r = 0;

	b->n_keys = shard->row.samples;
	b->keys = xcalloc(b->n_keys, sizeof(*b->keys));
	b->n_replaced = 0;
	b->foreign = false;
	for (size_t i = 0; i < b->n_keys; i++)
		b->keys[i] = &shard->samples[i];
	qsort(b->keys, b->n_keys, sizeof(*b->keys), by_key);
	for (size_t i = 0; i < b->n_entered && r == 0; i++) {
		b->other = b->entered[i];
		r = queue_samples(b->queue, b->other, on_entered_sample, b, err);
	}
	free(b->keys);
	b->keys = NULL;
	return r;
}

static int drop_replaced(struct rebuilding *b, struct error *err)
{
	for (size_t i = 0; i < b->n_replaced; i++) {
		size_t ignored = 0;

		if (queue_drop_samples(b->queue, b->replaced[i].shard, &b->replaced[i].offset, 1,
				       clock_wall_ms(), &ignored, err) < 0)
			return -1;
	}
	return 0;
}

/* 0; QUEUE_CONFLICT where it brings nothing new, or does not belong to the others; or -1. */
static int enter(struct rebuilding *b, const struct new_shard *shard, struct error *err)
{
	const struct shard_row *row = &shard->row;
	size_t same = 0;
	int64_t id;
	int r =
	    queue_complete(b->queue, row, shard->samples, row->samples, row->sealed_at, &id, err);

	if (r == QUEUE_CONFLICT) {
		if (find_replaced(b, shard, err) < 0)
			return -1;
		for (size_t i = 0; i < b->n_replaced; i++)
			same += b->replaced[i].same;
		if (b->foreign || b->n_replaced == 0 || same == row->samples)
			return QUEUE_CONFLICT;
		if (drop_replaced(b, err) < 0)
			return -1;
		r = queue_complete(b->queue, row, shard->samples, row->samples, row->sealed_at, &id,
				   err);
	}
	if (r != 0)
		return r;
	ARRAY_GROW(b->entered, b->n_entered, b->entered_capacity);
	b->entered[b->n_entered++] = id;
	b->result->shards++;
	b->result->samples += row->samples;
	return 0;
}

static int take_shard(struct rebuilding *b, const struct aged_shard *aged, struct error *err)
{
	const struct shard_rows_options options = {.store = b->store,
						   .folder = b->dataset->folder,
						   .roots = b->options->roots,
						   .n_roots = b->options->n_roots};
	cleanup_shard_rows struct shard_rows rows = SHARD_ROWS_INIT;
	char recipe_id[RECIPE_ID_SIZE];
	struct error why = ERROR_INIT;

	if (shard_rows_read(&options, aged->name, recipe_id, &rows, &why) < 0) {
		if (why.code == ERR_DATA || why.code == ERR_IO)
			return set_aside(b, aged->name, why.message, err);
		*err = why;
		return -1;
	}
	if (open_dataset(b, aged->name, recipe_id, err) < 0)
		return -1;
	rows.shard.row.dataset = b->id;
	if (aged->said && memcmp(&aged->sha256, &rows.shard.row.sha256, sizeof(aged->sha256)) == 0)
		rows.shard.row.sealed_at = aged->sealed_at;
	return enter(b, &rows.shard, err);
}

/* One of which every sample is in older shards, byte for byte, is no damage: encoded again before the state was lost, or a copy. */
static int take_visible(struct rebuilding *b, const struct aged_shard *aged, struct error *err)
{
	int r = take_shard(b, aged, err);

	if (r != QUEUE_CONFLICT)
		return r;
	if (b->foreign)
		return set_aside(b, aged->name, "keys of it are those of other files", err);
	if (b->n_replaced == 0)
		return set_aside(b, aged->name, "its samples are in other shards", err);
	printf("%s/%s: other shards have the same samples: moved to .latentd/quarantine\n",
	       b->dataset->name, aged->name);
	return store_quarantine(b->store, aged->name, err);
}

/*
 * Of a rewrite that was cut off. Whether its transaction was made nobody knows any more, and it does not matter: if the
 * shard has a sample that no visible one has, its old shards are out of sight already, and it comes into sight. What
 * it has besides makes the older samples dead, and the end of the next run takes them out. Otherwise the old ones are
 * all there, and it is not wanted.
 */
static int take_staged(struct rebuilding *b, const char *name, struct error *err)
{
	const struct aged_shard aged = {.name = (char *)name};
	int r = store_move(b->store, name, STORE_STAGED, STORE_VISIBLE, err);

	/* Where a move is link and unlink it may be in both places: then it has been taken. */
	if (r == STORE_EXISTS)
		return store_remove(b->store, STORE_STAGED, name, err);
	if (r == 0)
		r = take_shard(b, &aged, err);
	if (r != QUEUE_CONFLICT)
		return r;
	r = store_move(b->store, name, STORE_VISIBLE, STORE_STAGED, err);
	return r < 0 ? -1 : store_remove(b->store, STORE_STAGED, name, err);
}

/* -- the dataset ---------------------------------------------------------------------------------- */

static int take_all(struct rebuilding *b, struct error *err)
{
	if (splits_list(b->store, on_object, b, err) < 0)
		return -1;
	take_ages(b);
	if (b->n > 0)
		qsort(b->shards, b->n, sizeof(*b->shards), by_age);
	for (size_t i = 0; i < b->n; i++) {
		if (take_visible(b, &b->shards[i], err) < 0)
			return -1;
	}
	if (store_list_area(b->store, STORE_STAGED, on_staged, b, err) < 0)
		return -1;
	for (size_t i = 0; i < b->n_staged; i++) {
		if (take_staged(b, b->staged[i], err) < 0)
			return -1;
	}
	return 0;
}

int rebuild_dataset(struct queue *queue, const struct rebuild_options *options,
		    const struct dataset_folder *dataset, struct rebuild_result *result,
		    struct error *err)
{
	struct rebuilding b = {
	    .queue = queue, .options = options, .dataset = dataset, .result = result};
	int r = dataset_store_open(dataset->folder, false, &b.store, err);

	if (r == 0)
		r = take_all(&b, err);
	result->datasets += b.id != 0;
	for (size_t i = 0; i < b.n; i++)
		free(b.shards[i].name);
	free(b.shards);
	for (size_t i = 0; i < b.n_staged; i++)
		free(b.staged[i]);
	free(b.staged);
	free(b.entered);
	free(b.replaced);
	store_close(b.store);
	return r;
}
