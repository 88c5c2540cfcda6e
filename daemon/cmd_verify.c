/*
 * Reads every shard of an output again: the file's hashes against the catalog, each record against its own
 * JSON, each latent's frame, shape, hash and finiteness, and the samples against the catalog's rows.
 */
#include "daemon/commands.h"
#include "daemon/record_build.h"

#include "storage/seal.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* A row of the catalog with its own memory: the queue must not be called from its callbacks. */
struct shard_item {
	struct shard_row row;
	char *path;
};

struct sample_item {
	char *key;
	struct hash128 latent;
	uint64_t offset, bytes;
};

struct verify {
	const struct opened_output *opened;
	struct store *store;
	const struct queue_dataset *dataset;
	char **objects; /* visible shard files, by name */
	size_t n_objects, objects_capacity;
	struct shard_item *shards; /* by path */
	size_t n_shards, shards_capacity;
	/* of the shard being read */
	struct sample_item *rows;
	size_t n_rows, rows_capacity;
	size_t seen;
	/* totals */
	size_t samples, damaged;
	uint64_t bytes;
	struct error *err;
};

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct verify *v = arg;

	(void)bytes;
	if (!shard_format_of_file(name))
		return 0;
	ARRAY_GROW(v->objects, v->n_objects, v->objects_capacity);
	v->objects[v->n_objects++] = xstrdup(name);
	return 0;
}

static int on_shard(void *arg, const struct shard_row *row)
{
	struct verify *v = arg;
	struct shard_item *item;

	ARRAY_GROW(v->shards, v->n_shards, v->shards_capacity);
	item = &v->shards[v->n_shards++];
	item->row = *row;
	item->path = xstrdup(row->path);
	return 0;
}

static int on_sample(void *arg, const struct sample_row *row)
{
	struct verify *v = arg;

	ARRAY_GROW(v->rows, v->n_rows, v->rows_capacity);
	v->rows[v->n_rows++] =
	    (struct sample_item){xstrdup(row->key), row->latent, row->offset, row->bytes};
	return 0;
}

static void forget_rows(struct verify *v)
{
	for (size_t i = 0; i < v->n_rows; i++)
		free(v->rows[i].key);
	v->n_rows = 0;
	v->seen = 0;
}

/* The record against the catalog's row for that place, and against itself. */
static int on_record(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	struct verify *v = arg;
	const struct sample_item *row = v->seen < v->n_rows ? &v->rows[v->seen] : NULL;
	struct record_facts facts;

	v->seen++;
	if (record_facts_read(record, &facts, err) < 0 ||
	    record_latent_read(record, &facts, NULL, err) < 0)
		return -1;
	if (strcmp(facts.recipe_id, v->dataset->recipe_id) != 0)
		return error_data(err, "verify", "%s is of another recipe", record->key);
	if (!row || strcmp(row->key, record->key) != 0 ||
	    !hash128_equal(&row->latent, &facts.latent) || row->offset != span->offset ||
	    row->bytes != span->bytes)
		return error_data(err, "verify", "%s is not what the catalog says", record->key);
	return 0;
}

static int check_file(struct verify *v, const struct shard_item *item, struct error *err)
{
	struct sha256 sha256;
	struct hash128 xxh3;
	uint64_t bytes;

	if (shard_file_hashes(v->store, item->path, &bytes, &sha256, &xxh3, err) < 0)
		return -1;
	if (bytes != item->row.bytes)
		return error_data(err, "verify", "has %llu bytes, the catalog says %llu",
				  (unsigned long long)bytes, (unsigned long long)item->row.bytes);
	if (memcmp(&sha256, &item->row.sha256, sizeof(sha256)) != 0 ||
	    !hash128_equal(&xxh3, &item->row.xxh3))
		return error_data(err, "verify", "its bytes are not those that were sealed");
	return 0;
}

static int check_contents(struct verify *v, const struct shard_item *item, struct error *err)
{
	if (check_file(v, item, err) < 0 ||
	    shard_read_stored(v->store, item->path, on_record, v, err) < 0)
		return -1;
	if (v->seen != item->row.samples || v->n_rows != item->row.samples)
		return error_data(err, "verify", "holds %zu sample%s, the catalog says %llu",
				  v->seen, plural(v->seen), (unsigned long long)item->row.samples);
	return 0;
}

/* A shard whose bytes the disk does not give is damaged too; the others are still read. */
static int check_shard(struct verify *v, const struct shard_item *item)
{
	struct error why = ERROR_INIT;

	if (queue_samples(v->opened->queue, item->row.id, on_sample, v, v->err) < 0)
		return -1;
	if (check_contents(v, item, &why) < 0) {
		if (why.code != ERR_DATA && why.code != ERR_IO) {
			*v->err = why;
			return -1;
		}
		v->damaged++;
		printf("%s/%s: %s\n", v->dataset->name, item->path, why.message);
	}
	v->samples += v->seen;
	v->bytes += item->row.bytes;
	forget_rows(v);
	return 0;
}

static int compare_path(const void *path, const void *item)
{
	return strcmp(path, ((const struct shard_item *)item)->path);
}

/* While a run is at work, a shard is visible for a moment before it has its row. */
static void report_unknown(const struct verify *v)
{
	if (v->opened->running)
		return;
	for (size_t i = 0; i < v->n_objects; i++) {
		if (v->n_shards == 0 || !bsearch(v->objects[i], v->shards, v->n_shards,
						 sizeof(*v->shards), compare_path))
			printf("%s/%s: not in the catalog; the next encode adopts it\n",
			       v->dataset->name, v->objects[i]);
	}
}

/* Lists the files first: what is published after that has its row by the time that rows are read. */
static int check_dataset(struct verify *v)
{
	if (store_list(v->store, "train", on_object, v, v->err) < 0 ||
	    queue_shards(v->opened->queue, v->dataset->id, on_shard, v, v->err) < 0)
		return -1;
	report_unknown(v);
	for (size_t i = 0; i < v->n_shards; i++) {
		if (check_shard(v, &v->shards[i]) < 0)
			return -1;
	}
	return 0;
}

static void verify_release(struct verify *v)
{
	forget_rows(v);
	free(v->rows);
	for (size_t i = 0; i < v->n_shards; i++)
		free(v->shards[i].path);
	free(v->shards);
	for (size_t i = 0; i < v->n_objects; i++)
		free(v->objects[i]);
	free(v->objects);
	store_close(v->store);
}

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct verify *total = arg;
	struct verify v = {.opened = total->opened, .dataset = d, .err = total->err};
	cleanup_free char *folder = xasprintf("%s/%s", v.opened->output.root, d->name);
	char size[24];
	int r;

	if (!file_exists(folder)) {
		printf("%s: %s is not there\n", d->name, folder);
		total->damaged++;
		return 0;
	}
	if (store_local_open(folder, true, &v.store, v.err) < 0)
		return -1;
	r = check_dataset(&v);
	if (r == 0)
		printf("%s: %zu sample%s in %zu shard%s (%s) read and compared, %zu shard%s "
		       "damaged\n",
		       d->name, v.samples, plural(v.samples), v.n_shards, plural(v.n_shards),
		       text_bytes(v.bytes, size), v.damaged, plural(v.damaged));
	total->damaged += v.damaged;
	verify_release(&v);
	return r;
}

int cmd_verify(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {"out name", 0,
						    "verify --out DIR [--name NAME]"};
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	struct read_options options = {.out = NULL};
	struct verify total = {.opened = &opened, .err = err};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	if (opened_output_open(options.out, &opened, err) < 0 ||
	    each_dataset(opened.queue, options.name, on_dataset, &total, err) < 0)
		return -1;
	if (total.damaged == 0)
		return EXIT_OK;
	printf(
	    "delete or move away the shards named above and run the same encode again: it encodes "
	    "their images anew\n");
	return EXIT_DAMAGED;
}
