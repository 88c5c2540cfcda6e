/*
 * The queue database of an output from its shards alone, when the state folder is lost or on another machine.
 *
 * Every shard is read and verified. A damaged one goes to the quarantine; the next encode encodes its images again.
 * Shards come in by age (shards.jsonl says it, or the file's time), so that of two samples of one image the younger is
 * the live one; last those that a rewrite left staged, if they have what no visible shard has. The first scan that
 * meets a job's file has its content compared with the record's.
 *
 * The database is made beside its place and moved there when it is whole: a rebuild that was killed is begun again.
 */
#ifndef LATENTD_DAEMON_REBUILD_H
#define LATENTD_DAEMON_REBUILD_H

#include "daemon/output.h"
#include "daemon/shard_rows.h"

struct rebuild_options {
	const struct output *output; /* owned by the caller */
	bool force;		     /* an old state is moved aside */
	const struct shard_rows_root *roots;
	size_t n_roots;
};

struct rebuild_result {
	size_t datasets, shards, samples;
	size_t damaged; /* shards, in the quarantine now */
};

/*
 * Prints a line for each shard that is damaged. ERR_CONFIG: there is a state with jobs, or one that cannot be read;
 * there is no dataset; a shard is of another recipe than its dataset.
 */
int rebuild_output(const struct rebuild_options *options, struct rebuild_result *result,
		   struct error *err);

/*
 * The same for a daemon, whose @queue has other datasets too: does nothing where it knows one of that name. Prints a
 * line for each shard that is damaged.
 */
int rebuild_dataset_if_lost(struct queue *queue, const struct rebuild_options *options,
			    const char *name, struct rebuild_result *result, struct error *err);

/*
 * For a run that finds no database: without one visible shards are adopted, but what a rewrite left staged in dataset
 * @name can only be placed by a rebuild. Does nothing where there is a database, or nothing is staged.
 */
int rebuild_if_lost(const struct rebuild_options *options, const char *name,
		    struct rebuild_result *result, struct error *err);

#endif
