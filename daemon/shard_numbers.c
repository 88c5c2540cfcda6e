#include "daemon/shard_numbers.h"

#include "daemon/catalog.h"

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	(void)bytes;
	spool_index_note_shard(arg, name);
	return 0;
}

int shard_numbers_read(struct queue *queue, struct store *store, int64_t dataset,
		       struct spool_index *out, struct error *err)
{
	cleanup_shard_list struct shard_list shards = CATALOG_LIST_INIT;
	cleanup_retired_list struct retired_list retired = CATALOG_LIST_INIT;

	if (shard_list_read(queue, dataset, &shards, err) < 0 ||
	    retired_list_read(queue, dataset, &retired, err) < 0)
		return -1;
	for (size_t i = 0; i < shards.n; i++)
		spool_index_note_shard(out, shards.rows[i].path);
	for (size_t i = 0; i < retired.n; i++)
		spool_index_note_shard(out, retired.rows[i].path);
	for (int area = 0; area < STORE_AREAS; area++) {
		if (store_list_area(store, (enum store_area)area, on_object, out, err) < 0)
			return -1;
	}
	return 0;
}
