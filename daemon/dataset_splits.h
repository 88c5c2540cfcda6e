/*
 * The splits that a dataset's shards lie in: train/, and val/ where `latentctl repack --val` has made one.
 */
#ifndef LATENTD_DAEMON_DATASET_SPLITS_H
#define LATENTD_DAEMON_DATASET_SPLITS_H

#include "storage/store.h"

/* What is visible in all of them, by name. Anything but 0 from @fn ends it, and is returned. */
int splits_list(struct store *store, store_object_fn fn, void *arg, struct error *err);

/* Of a shard, by its path. */
const char *split_of(const char *path);
/* Of a sample: `val` for about @share (0 to 1) of all keys, and for the same keys always. */
const char *split_of_key(const char *key, double share);

#endif
