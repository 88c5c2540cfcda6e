/*
 * What the catalog says, as lists with memory of their own (the queue must not be called from its callbacks),
 * and shards and samples held against it.
 */
#ifndef LATENTD_DAEMON_CATALOG_H
#define LATENTD_DAEMON_CATALOG_H

#include "queue/queue.h"
#include "storage/record.h"
#include "storage/store.h"

struct shard_list { /* by path */
	struct shard_row *rows;
	size_t n, capacity;
};

struct sample_list { /* of one shard by offset; dead ones too */
	struct sample_row *rows;
	size_t n, capacity;
};

struct retired_list { /* by path */
	struct retired_row *rows;
	size_t n, capacity;
};

#define CATALOG_LIST_INIT                                                                          \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

/* A dataset's folder, OUT/NAME. */
enum folder_state {
	FOLDER_THERE,
	FOLDER_NOT_YET, /* a run that ended before it made the folder has lost nothing */
	FOLDER_LOST,	/* the catalog has shards of it */
};

/* Or -1. */
int folder_state(struct queue *q, int64_t dataset, const char *folder, struct error *err);

/* Each into an empty list, which the caller releases, also after a failure. */
int shard_list_read(struct queue *q, int64_t dataset, struct shard_list *out, struct error *err);
int sample_list_read(struct queue *q, int64_t shard, struct sample_list *out, struct error *err);
int retired_list_read(struct queue *q, int64_t dataset, struct retired_list *out,
		      struct error *err);
void shard_list_release(struct shard_list *list);
void sample_list_release(struct sample_list *list);
void retired_list_release(struct retired_list *list);

/* By its path; NULL: the catalog has none. */
const struct shard_row *shard_list_find(const struct shard_list *list, const char *path);
const struct retired_row *retired_list_find(const struct retired_list *list, const char *path);

/* Size and hashes of the visible file. ERR_DATA `missing`, `verify`. */
int shard_check_file(struct store *store, const struct shard_row *row, struct error *err);
/*
 * The record against itself (JSON, frame checksum, shape, hash and finiteness of the latent) and against the row
 * for its place. ERR_DATA.
 */
int sample_check(const struct record *record, const struct sample_row *row, const char *recipe_id,
		 struct error *err);

#define cleanup_shard_list   cleanup_with(shard_list_release)
#define cleanup_sample_list  cleanup_with(sample_list_release)
#define cleanup_retired_list cleanup_with(retired_list_release)

#endif
