/*
 * What the commands that replace shards (gc, compact) share: their options, the locks, and for each dataset its
 * store, with what earlier rewrites left settled before, and indexes and the list of removed samples written after.
 */
#ifndef LATENTD_DAEMON_MAINTENANCE_H
#define LATENTD_DAEMON_MAINTENANCE_H

#include "daemon/commands.h"
#include "daemon/replaced.h"

struct maintenance {
	const struct read_options *options;
	const struct queue_dataset *dataset;
	struct rewriter *rewriter;
	struct replaced_options replaced;
};

typedef int (*maintenance_fn)(struct maintenance *m, struct error *err);

/* An exit code, or -1. With --dry-run nothing is locked and nothing can be written. */
int maintenance_run(int argc, char **argv, const struct read_command *command, maintenance_fn fn,
		    struct error *err);

#endif
