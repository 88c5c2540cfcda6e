/*
 * Numbers of a dataset's shards: none is given twice, because a shard's name never stands for other contents, and a retired
 * one's name is taken out of sight wherever it is seen.
 */
#ifndef LATENTD_DAEMON_SHARD_NUMBERS_H
#define LATENTD_DAEMON_SHARD_NUMBERS_H

#include "daemon/spool_index.h"
#include "storage/store.h"

/* Notes every shard that there is or was: of the catalog, retired ones too, and of every area of the store. */
int shard_numbers_read(struct queue *queue, struct store *store, int64_t dataset,
		       struct spool_index *out, struct error *err);

#endif
