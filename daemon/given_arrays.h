/*
 * Arrays that a person gave to a daemon (`latentctl attach`): the name and the file are kept in OUT/NAME/.latentd until they are
 * in the shards, which happens where the daemon rewrites them.
 */
#ifndef LATENTD_DAEMON_GIVEN_ARRAYS_H
#define LATENTD_DAEMON_GIVEN_ARRAYS_H

#include "daemon/foreign_keys.h"
#include "daemon/rewrite.h"

struct given_arrays {
	struct queue *queue;
	int64_t dataset;
	const char *folder; /* OUT/NAME */
};

/*
 * Keeps @name and @path, a .safetensors file or a folder, in the place of an earlier one of that name; *n: how many images of the
 * dataset get an array. Keys of others are in *foreign, which the caller releases. @dry_run: nothing is kept. ERR_CONFIG,
 * ERR_DATA, ERR_IO: it cannot be attached.
 */
int given_arrays_add(const struct given_arrays *g, const char *name, const char *path, bool dry_run,
		     size_t *n, struct foreign_keys *foreign, struct error *err);
/*
 * Attaches what is kept, with @options of the same dataset; a line for each goes to their note. What was stopped stays kept, what
 * cannot be read any more does not.
 */
int given_arrays_attach(const struct given_arrays *g, const struct rewrite_options *options,
			struct error *err);

#endif
