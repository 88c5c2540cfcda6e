/*
 * A dataset in another form, in shards of another size, order or split, without encoding: shard after shard takes the place
 * of others (rewrite.h). What is asked for stands in .latentd/repack.json until all is done, so the same command goes on where
 * one was stopped; dataset.json has the new form from the beginning.
 */
#ifndef LATENTD_DAEMON_REPACK_H
#define LATENTD_DAEMON_REPACK_H

#include "daemon/replaced.h"

struct repack_options {
	struct rewrite_options rewrite; /* form, order, share and sizes are what is asked for */
	struct dataset_form before;	/* as dataset.json says */
	const char *folder;		/* OUT/NAME */
};

struct repacked {
	struct rewritten shards;
	size_t kept;	/* shards that are as they should be */
	size_t damaged; /* that were left alone, and noted */
	size_t unfit;	/* the same, because a sample cannot have the new form */
	bool went_on;	/* where an earlier one was stopped */
};

/* The caller owns the output, and has settled what earlier rewrites left; the indexes are its, too. */
int repack(const struct repack_options *options, struct repacked *out, struct error *err);

#endif
