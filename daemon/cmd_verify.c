/*
 * Reads every shard of an output again: the file's hashes against the catalog, each record against its own
 * JSON, each latent's frame, shape, hash and finiteness, and the samples against the catalog's rows.
 */
#include "config/read_options.h"
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
	struct queue *queue;
	struct store *store;
	const struct queue_dataset *dataset;
	struct shard_item *shards;
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

static int check_shard(struct verify *v, const struct shard_item *item, struct error *err)
{
	if (queue_samples(v->queue, item->row.id, on_sample, v, err) < 0 ||
	    check_file(v, item, err) < 0 ||
	    shard_read_stored(v->store, item->path, on_record, v, err) < 0)
		return -1;
	if (v->seen != item->row.samples || v->n_rows != item->row.samples)
		return error_data(err, "verify", "holds %zu samples, the catalog says %llu",
				  v->seen, (unsigned long long)item->row.samples);
	return 0;
}

/* Visible shards that the catalog does not know: the next encode adopts them. */
static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct verify *v = arg;

	(void)bytes;
	if (!shard_format_of_file(name))
		return 0;
	for (size_t i = 0; i < v->n_shards; i++) {
		if (strcmp(v->shards[i].path, name) == 0)
			return 0;
	}
	printf("%s/%s: not in the catalog; the next encode adopts it\n", v->dataset->name, name);
	return 0;
}

static int check_dataset(struct verify *v)
{
	if (queue_shards(v->queue, v->dataset->id, on_shard, v, v->err) < 0 ||
	    store_list(v->store, "train", on_object, v, v->err) < 0)
		return -1;
	for (size_t i = 0; i < v->n_shards; i++) {
		struct error why = ERROR_INIT;
		int r = check_shard(v, &v->shards[i], &why);

		v->samples += v->seen;
		v->bytes += v->shards[i].row.bytes;
		forget_rows(v);
		if (r == 0)
			continue;
		if (why.code != ERR_DATA) {
			*v->err = why;
			return -1;
		}
		v->damaged++;
		printf("%s/%s: %s\n", v->dataset->name, v->shards[i].path, why.message);
	}
	return 0;
}

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct verify *total = arg;
	struct verify v = {.queue = total->queue, .dataset = d, .err = total->err};
	char size[24];
	int r;

	if (!file_exists(d->output)) {
		printf("%s: %s is not there\n", d->name, d->output);
		total->damaged++;
		return 0;
	}
	if (store_local_open(d->output, true, &v.store, v.err) < 0)
		return -1;
	r = check_dataset(&v);
	if (r == 0)
		printf("%s: %zu samples in %zu shards (%s) read and compared, %zu shards damaged\n",
		       d->name, v.samples, v.n_shards, text_bytes(v.bytes, size), v.damaged);
	total->damaged += v.damaged;
	forget_rows(&v);
	free(v.rows);
	for (size_t i = 0; i < v.n_shards; i++)
		free(v.shards[i].path);
	free(v.shards);
	store_close(v.store);
	return r;
}

int cmd_verify(int argc, char **argv, struct error *err)
{
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	cleanup_free const char **words = xcalloc((size_t)argc, sizeof(*words));
	struct read_options options = {.out = NULL};
	struct verify total = {.err = err};
	size_t n = 0;
	int code;

	if (read_options_parse(argc, argv, "out name", "verify --out DIR [--name NAME]", &options,
			       words, &n, &code))
		return code;
	if (opened_output_open(options.out, &opened, err) < 0)
		return -1;
	total.queue = opened.queue;
	if (each_dataset(opened.queue, options.name, on_dataset, &total, err) < 0)
		return -1;
	return total.damaged > 0 ? EXIT_DAMAGED : EXIT_OK;
}
