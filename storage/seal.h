/*
 * Sealing: records become a shard that is whole, verified and visible, or nothing.
 *
 *	write all records into a store writer -> flush (durable) -> read it back and compare every
 *	member with its record's hash -> publish as FOLDER/%06d.EXT, or FOLDER/%06d-NODE.EXT, without replacing
 *
 * A name that is taken (a crash left a shard without a row, or another writer) is passed over: the
 * next number is tried.
 */
#ifndef LATENTD_STORAGE_SEAL_H
#define LATENTD_STORAGE_SEAL_H

#include "storage/mds_columns.h"
#include "storage/shard.h"
#include "storage/store.h"

#define SEALED_NAME_SIZE 160

struct sealed_shard {
	char name[SEALED_NAME_SIZE]; /* "train/512x512/000000.tar" */
	uint64_t bytes;
	size_t samples;
	struct sha256 sha256;
	struct hash128 xxh3;
	struct shard_span
	    *spans; /* one a record, in the order given; freed by sealed_shard_release */
};

void sealed_shard_release(struct sealed_shard *sealed);

/*
 * Loads record @index of the shard being sealed, each once, in order; the caller of load releases
 * it.
 */
typedef int (*seal_load_fn)(void *arg, size_t index, struct record *out, struct error *err);

struct seal_target {
	struct store *store;
	const struct shard_ops *format;
	const char *columns;   /* of mds: shard.h */
	const char *folder;    /* "train/512x512" */
	unsigned first_number; /* the first one to try */
	const char *node;      /* that seals it, of several; NULL: there is one */
	enum store_area area;  /* STORE_STAGED: out of sight, until it takes the place of others */
};

/*
 * Seals @n records, which @load gives one by one (so that memory stays flat). On failure nothing is visible, except when
 * publishing itself failed: then the shard may be there, whole. ERR_DATA `verify`: what came back
 * from the store is not what was written. Other ERR_DATA are the format's (shard.h): a record that
 * it cannot hold.
 */
int seal_shard(const struct seal_target *target, seal_load_fn load, void *arg, size_t n,
	       struct sealed_shard *out, struct error *err);

/*
 * The same in two steps, of which the second may be another thread's (store.h): a made shard is whole, durable and verified,
 * and takes room on disk, but is not visible. Both get the same @target.
 */
struct made_shard;
int seal_make(const struct seal_target *target, seal_load_fn load, void *arg, size_t n,
	      struct made_shard **out, struct error *err);
/* Once; the made shard has still to be freed. */
int seal_publish(struct made_shard *made, const struct seal_target *target,
		 struct sealed_shard *out, struct error *err);
/* What was not published goes. NULL is fine. */
void made_shard_free(struct made_shard *made);

/* Whether a shard is this node's, by its name; every one is where @node is NULL. */
bool sealed_name_is_of(const char *name, const char *node);
/* Whether it is any node's. */
bool sealed_name_has_node(const char *name);

/* Size and hashes of a visible shard: for verify and adoption. */
int shard_file_hashes(struct store *store, const char *name, uint64_t *bytes, struct sha256 *sha256,
		      struct hash128 *xxh3, struct error *err);
/*
 * Every record of a visible shard, whose format its extension tells: ERR_DATA `shard` if it does
 * not.
 */
int shard_read_stored(struct store *store, const char *name, shard_record_fn fn, void *arg,
		      struct error *err);

/* The record at @span of a visible shard. ERR_DATA `shard`, `missing`, `truncated`. */
int shard_read_record(struct store *store, const char *name, const struct shard_span *span,
		      struct record *out, struct error *err);

/* What its columns were chosen by (mds_columns.h), "" where it has none. ERR_DATA as above. */
int shard_stored_columns(struct store *store, const char *name, char out[MDS_SPECIFICATION_SIZE],
			 struct error *err);

#endif
