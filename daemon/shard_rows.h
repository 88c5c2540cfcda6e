/*
 * The catalog's rows of a shard, from its file alone: for shards that come from another catalog.
 *
 *	struct shard_rows rows = SHARD_ROWS_INIT;
 *	shard_rows_read(store, name, recipe_id, roots, n_roots, &rows, err)      every record is verified
 *	queue_complete(queue, &rows.shard.row, rows.shard.samples, rows.shard.row.samples, ...)
 *	shard_rows_release(&rows);
 *
 * A record names its source's path but not which source that is. The key tells where two sources have the same path
 * (scan.c: it carries a tail made from the source's number then); otherwise it is the first of the given folders
 * that has the file, or number 0.
 *
 * Some 300 bytes a sample.
 */
#ifndef LATENTD_DAEMON_SHARD_ROWS_H
#define LATENTD_DAEMON_SHARD_ROWS_H

#include "daemon/recipe.h"
#include "queue/queue.h"
#include "storage/store.h"

struct shard_rows {
	struct new_shard shard; /* of no dataset yet; sealed_at is the file's time of change */
	char **strings;		/* what the rows point to */
	size_t n_strings, capacity;
};

#define SHARD_ROWS_INIT                                                                            \
	{                                                                                          \
		.n_strings = 0                                                                     \
	}

/* A source folder that jobs may be of, with its number. */
struct shard_rows_root {
	const char *path;
	uint32_t number;
};

struct shard_rows_options {
	struct store *store;
	const char *folder;    /* of the store, for the file's time */
	const char *recipe_id; /* that every record must have; NULL: the first one's */
	const struct shard_rows_root *roots;
	size_t n_roots;
};

/*
 * Reads shard @name. @recipe_id receives what its records say. ERR_DATA: damaged, empty, of another recipe or of
 * several, or with samples of several sizes.
 */
int shard_rows_read(const struct shard_rows_options *options, const char *name,
		    char recipe_id[RECIPE_ID_SIZE], struct shard_rows *out, struct error *err);
void shard_rows_release(struct shard_rows *rows);

#define cleanup_shard_rows cleanup_with(shard_rows_release)

#endif
