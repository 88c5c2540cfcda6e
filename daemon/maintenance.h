/*
 * What the commands that replace shards (repack, captions, attach) share: their options, the locks, and for each dataset its
 * store, with what earlier rewrites left settled before, and indexes and the list of removed samples written after.
 */
#ifndef LATENTD_DAEMON_MAINTENANCE_H
#define LATENTD_DAEMON_MAINTENANCE_H

#include "daemon/commands.h"
#include "daemon/replaced.h"

struct ctl_source;

struct maintenance {
	const struct read_options *options;
	const struct queue_dataset *dataset;
	const char *folder; /* OUT/NAME */
	const struct rewrite_options
	    *rewrite;		  /* of the rewriter, which knows the shards as they were before */
	struct dataset_form form; /* of the dataset; no format: dataset.json does not say */
	struct rewriter *rewriter;
	struct replaced_options replaced;
	bool shared; /* nodes share it, and work meanwhile */
	int ends;    /* the exit code, if all goes well: EXIT_OK, or what the function says */
};

typedef int (*maintenance_fn)(struct maintenance *m, struct error *err);

/*
 * An exit code, or -1. With --dry-run nothing is locked and nothing can be written. Where nodes share a dataset, with its turn
 * (queue_nodes.h) instead of the lock; EXIT_BUSY: another has it.
 */
int maintenance_run(int argc, char **argv, const struct read_command *command, maintenance_fn fn,
		    struct error *err);

/* The same through a daemon: an exit code, or -1. */
typedef int (*maintenance_daemon_fn)(struct ctl_source *source, const struct read_options *options,
				     struct error *err);

/*
 * By the daemon that works on the output; where none does, by ourselves. @shared: by ourselves also where nodes share it, whose
 * daemons do not do it.
 */
int maintenance_change(int argc, char **argv, const struct read_command *command, maintenance_fn fn,
		       maintenance_daemon_fn by_daemon, bool shared, struct error *err);

#endif
