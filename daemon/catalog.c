#include "daemon/catalog.h"

#include "daemon/record_facts.h"
#include "daemon/variants.h"
#include "storage/seal.h"

#include "base/checked.h"
#include "base/files.h"

#include <string.h>

static int on_shard(void *arg, const struct shard_row *row)
{
	struct shard_list *list = arg;
	struct shard_row *copy;

	ARRAY_GROW(list->rows, list->n, list->capacity);
	copy = &list->rows[list->n++];
	*copy = *row;
	copy->path = xstrdup(row->path);
	copy->format = xstrdup(row->format);
	copy->group = xstrdup(row->group);
	return 0;
}

static int on_sample(void *arg, const struct sample_row *row)
{
	struct sample_list *list = arg;
	struct sample_row *copy;

	ARRAY_GROW(list->rows, list->n, list->capacity);
	copy = &list->rows[list->n++];
	*copy = *row;
	copy->key = xstrdup(row->key);
	copy->path = xstrdup(row->path);
	return 0;
}

static int on_retired(void *arg, const struct retired_row *row)
{
	struct retired_list *list = arg;

	ARRAY_GROW(list->rows, list->n, list->capacity);
	list->rows[list->n] = *row;
	list->rows[list->n++].path = xstrdup(row->path);
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct retired_row *)a)->path, ((const struct retired_row *)b)->path);
}

int shard_list_read(struct queue *q, int64_t dataset, struct shard_list *out, struct error *err)
{
	return queue_shards(q, dataset, on_shard, out, err);
}

int folder_state(struct queue *q, int64_t dataset, const char *folder, struct error *err)
{
	cleanup_shard_list struct shard_list shards = CATALOG_LIST_INIT;

	if (file_exists(folder))
		return FOLDER_THERE;
	if (shard_list_read(q, dataset, &shards, err) < 0)
		return -1;
	return shards.n > 0 ? FOLDER_LOST : FOLDER_NOT_YET;
}

int sample_list_read(struct queue *q, int64_t shard, struct sample_list *out, struct error *err)
{
	return queue_samples(q, shard, on_sample, out, err);
}

int retired_list_read(struct queue *q, int64_t dataset, struct retired_list *out, struct error *err)
{
	if (queue_retired(q, dataset, on_retired, out, err) < 0)
		return -1;
	if (out->n > 0)
		qsort(out->rows, out->n, sizeof(*out->rows), by_path);
	return 0;
}

void shard_list_release(struct shard_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free((char *)list->rows[i].path);
		free((char *)list->rows[i].format);
		free((char *)list->rows[i].group);
	}
	free(list->rows);
	*list = (struct shard_list)CATALOG_LIST_INIT;
}

void sample_list_release(struct sample_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free((char *)list->rows[i].key);
		free((char *)list->rows[i].path);
	}
	free(list->rows);
	*list = (struct sample_list)CATALOG_LIST_INIT;
}

void retired_list_release(struct retired_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free((char *)list->rows[i].path);
	free(list->rows);
	*list = (struct retired_list)CATALOG_LIST_INIT;
}

static int compare_path(const void *path, const void *row)
{
	return strcmp(path, ((const struct shard_row *)row)->path);
}

const struct shard_row *shard_list_find(const struct shard_list *list, const char *path)
{
	return list->n == 0 ? NULL
			    : bsearch(path, list->rows, list->n, sizeof(*list->rows), compare_path);
}

const struct retired_row *retired_list_find(const struct retired_list *list, const char *path)
{
	const struct retired_row wanted = {.path = path};

	return list->n == 0 ? NULL
			    : bsearch(&wanted, list->rows, list->n, sizeof(*list->rows), by_path);
}

int shard_check_file(struct store *store, const struct shard_row *row, struct error *err)
{
	struct sha256 sha256;
	struct hash128 xxh3;
	uint64_t bytes;

	if (shard_file_hashes(store, row->path, &bytes, &sha256, &xxh3, err) < 0)
		return -1;
	if (bytes != row->bytes)
		return error_data(err, "verify", "has %llu bytes, the catalog says %llu",
				  (unsigned long long)bytes, (unsigned long long)row->bytes);
	if (memcmp(&sha256, &row->sha256, sizeof(sha256)) != 0 || !hash128_equal(&xxh3, &row->xxh3))
		return error_data(err, "verify", "its bytes are not those that were sealed");
	return 0;
}

int sample_check(const struct record *record, const struct sample_row *row, const char *recipe_id,
		 struct error *err)
{
	struct record_facts facts;
	char key[SAMPLE_KEY_SIZE];

	if (record_facts_read(record, &facts, err) < 0 ||
	    record_latent_read(record, &facts, NULL, err) < 0)
		return -1;
	variant_key(row->key, row->variant, key);
	if (strcmp(facts.recipe_id, recipe_id) != 0)
		return error_data(err, "verify", "%s is of another recipe", record->key);
	if (strcmp(key, record->key) != 0 || strcmp(row->path, facts.path) != 0 ||
	    row->variant != facts.variant || !hash128_equal(&row->content, &facts.content) ||
	    !hash128_equal(&row->latent, &facts.latent))
		return error_data(err, "verify", "%s is not what the catalog says", record->key);
	return 0;
}
