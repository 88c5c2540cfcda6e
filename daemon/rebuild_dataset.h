/*
 * One dataset's shards into a queue that knows none of them.
 */
#ifndef LATENTD_DAEMON_REBUILD_DATASET_H
#define LATENTD_DAEMON_REBUILD_DATASET_H

#include "daemon/dataset_folders.h"
#include "daemon/rebuild.h"

int rebuild_dataset(struct queue *queue, const struct rebuild_options *options,
		    const struct dataset_folder *dataset, struct rebuild_result *result,
		    struct error *err);

#endif
