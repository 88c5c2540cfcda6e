/*
 * Shards of the catalog that are no longer there, or have another size than they were sealed with.
 */
#ifndef LATENTD_DAEMON_LOST_SHARD_H
#define LATENTD_DAEMON_LOST_SHARD_H

#include "queue/queue.h"
#include "storage/store.h"

struct lost_shard_options {
	struct queue *queue;
	struct store *store; /* of the dataset */
	int64_t dataset;
	bool shared;  /* others may replace it since the catalog was read */
	bool dry_run; /* only says it */
	/* One line for a person about what was found and done. */
	void (*note)(void *arg, const char *line);
	void *arg;
};

/*
 * Drops it from the catalog if it is lost: its images are encoded again. What is left of it goes to the quarantine. Of @row id, path
 * and bytes count.
 */
int lost_shard_drop(const struct lost_shard_options *o, const struct shard_row *row,
		    struct error *err);

#endif
