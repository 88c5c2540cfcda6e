/*
 * A shard named by its file's path, as people name it: its store, its name in there and its format.
 */
#ifndef LATENTD_DAEMON_SHARD_PATH_H
#define LATENTD_DAEMON_SHARD_PATH_H

#include "storage/shard.h"
#include "storage/store.h"

struct shard_path {
	struct store *store;
	char *name;
	const struct shard_ops *format;
};

#define SHARD_PATH_INIT                                                                            \
	{                                                                                          \
		NULL, NULL, NULL                                                                   \
	}

/* ERR_CONFIG: no such file, or not a shard by its name. */
int shard_path_open(const char *path, struct shard_path *out, struct error *err);
void shard_path_close(struct shard_path *p);

#define cleanup_shard_path cleanup_with(shard_path_close)

#endif
