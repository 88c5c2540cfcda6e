/*
 * A bucket of an S3-compatible store, below a prefix. What is being written lies in a folder of this machine until it is whole
 * and verified; publishing uploads it, never over another object, and looks with HEAD at what is there then. Areas and
 * quarantine are below PREFIX/.latentd/ as in a folder; a move is a copy inside the store, so no object may be larger than the
 * 5 GiB that stores copy at once.
 *
 *	FOLDER/.latentd/partial/    being written
 *	FOLDER/.latentd/uploads/    uploads in parts that were begun: another life goes on with them, if it makes the same bytes
 *	PREFIX/.latentd/owner       who writes here
 *
 * A failure that passes is tried again for a while (s3.h), then it is ERR_TRANSIENT; publishing again is safe.
 */
#ifndef LATENTD_STORAGE_STORE_S3_H
#define LATENTD_STORAGE_STORE_S3_H

#include "storage/store.h"

#define STORE_S3_OBJECT_MAX ((uint64_t)5 << 30)

struct store_s3_options {
	const char *folder; /* local, as of store_local_open */
	bool readonly;	    /* likewise */
	const char *node;   /* as of store_local_open_shared */
	bool beside;	    /* as store_local_open_beside */
	const char *url;    /* "s3://BUCKET/PREFIX" */
	/* As of struct s3_place; NULL: as the environment and the profile say. */
	const char *endpoint, *region, *profile, *addressing;
	size_t part_bytes; /* up to so much goes in one request; 0: 16 MiB */
	/* A line that names the only one who writes below the prefix; another's: ERR_CONFIG. Of a readonly store NULL. */
	const char *owner;
	int64_t patience_ms; /* s3.h; 0: its own */
	bool (*stop)(void *arg);
	void (*on_wait)(void *arg);
	void *arg;
};

int store_s3_open(const struct store_s3_options *options, struct store **out, struct error *err);

#endif
