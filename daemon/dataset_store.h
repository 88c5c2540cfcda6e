/*
 * Where the shards of a dataset are: in its folder OUT/NAME, or elsewhere, as OUT/NAME/.latentd/store.json says. Whoever reads
 * or writes shards of a dataset opens their store here.
 *
 *	dataset_store_begin(folder, name, &wanted, &use, &store, err)    notes it, or compares
 *	dataset_store_open(folder, true, &store, err)                    whatever it is
 *
 * The note has no secrets. A folder whose shards are elsewhere has an empty train/ all the same, by which a dataset is known.
 */
#ifndef LATENTD_DAEMON_DATASET_STORE_H
#define LATENTD_DAEMON_DATASET_STORE_H

#include "config/store_options.h"
#include "storage/store.h"

struct dataset_store_use {
	bool readonly;
	const char *
	    node; /* of those that share queue and output; NULL: there is one (store_local_open_shared) */
	bool beside; /* this process has it open already, and writes (store_local_open_beside) */
	const char *queue; /* with node: the database (queue_cluster()) */
	/* For stores that are waited for; see store_s3.h. NULL: not */
	bool (*stop)(void *arg);
	void (*on_wait)(void *arg);
	void *arg;
};

/*
 * For who owns the output: OUT/NAME, which is there and called @name, has its shards where @wanted says from now on; where that
 * says nothing they stay where they are. ERR_CONFIG: they are elsewhere already; nothing is noted then, nor where the store cannot
 * be opened.
 */
int dataset_store_begin(const char *folder, const char *name, const struct store_options *wanted,
			const struct dataset_store_use *use, struct store **out, struct error *err);
/* As it is noted. */
int dataset_store_open_for(const char *folder, const struct dataset_store_use *use,
			   struct store **out, struct error *err);
int dataset_store_open(const char *folder, bool readonly, struct store **out, struct error *err);

/* For what works on files alone, called @what: ERR_CONFIG unless the shards are in the folder. */
int dataset_store_need_folder(const char *folder, const char *what, struct error *err);

#endif
