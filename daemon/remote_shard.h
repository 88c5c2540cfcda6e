/*
 * The beginning of a shard on a web server, in memory under its own name, for who reads a few of its samples.
 *
 *	struct remote_shard shard = REMOTE_SHARD_INIT;
 *	remote_shard_open(url, most, &shard, err)
 *	... shard.store, shard.name ...
 *	remote_shard_close(&shard);
 */
#ifndef LATENTD_DAEMON_REMOTE_SHARD_H
#define LATENTD_DAEMON_REMOTE_SHARD_H

#include "storage/store.h"

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct remote_shard {
	struct store *store;
	char *name;
	bool whole; /* else it is cut off somewhere */
};

#define REMOTE_SHARD_INIT                                                                          \
	{                                                                                          \
		NULL, NULL, false                                                                  \
	}

/* At most @most bytes. ERR_CONFIG: the address's path, without what follows it ("?download=true"), names no shard; and the errors of http_fetch_begin(). */
int remote_shard_open(const char *url, size_t most, struct remote_shard *out, struct error *err);
void remote_shard_close(struct remote_shard *shard);

#define cleanup_remote_shard cleanup_with(remote_shard_close)

#endif
