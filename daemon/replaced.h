/*
 * What rewriting leaves: files out of sight, whose transaction may have been cut off by a crash; retired files,
 * until nobody can want them any more; and dead samples that still lie in visible shards.
 */
#ifndef LATENTD_DAEMON_REPLACED_H
#define LATENTD_DAEMON_REPLACED_H

#include "daemon/rewrite.h"

#define REPLACED_GRACE_MS ((int64_t)24 * 3600 * 1000)

struct replaced_options {
	struct queue *queue;
	struct store *store; /* of the dataset */
	int64_t dataset;
	/* One line for a person about what was found and done. */
	void (*note)(void *arg, const char *line);
	void *arg;
};

/*
 * Completes rewrites that a crash cut off after their transaction, and undoes those cut off before it: retired
 * shards that are still in sight go out of it; then new ones that are still staged come into it, if their bytes
 * are those that were sealed; staged files that no row names are removed. Before orphans are adopted: a
 * retired shard must not come back.
 */
int replaced_settle(const struct replaced_options *options, struct error *err);

/*
 * Takes a retired shard out of sight; its row is there. A file of that name among the retired is the same one, where a
 * move is link and unlink, or one that a lost catalog knew: no row has its path, and it goes. ERR_DATA `missing`.
 */
int replaced_hide(struct store *store, const char *name, struct error *err);

struct replaced_swept {
	size_t removed, kept; /* retired shards */
	uint64_t removed_bytes, kept_bytes;
};

/*
 * Removes retired files that were retired before @before, and forgets them; also files in that folder that no row
 * names (of a state folder that was lost). @dry_run: only counts.
 */
int replaced_sweep(const struct replaced_options *options, int64_t before, bool dry_run,
		   struct replaced_swept *out, struct error *err);

/*
 * FOLDER/.latentd/removed.txt: for readers, the dead samples that still lie in visible shards, one on a line:
 * "train/512x512/000000.tar" TAB key. There is no such file where there is no such sample.
 */
int removed_list_write(struct queue *queue, int64_t dataset, const char *folder, struct error *err);

/*
 * At the end of a run: shards with dead samples are rewritten (unless options->stop says so), retired files past
 * the grace time removed, and the list of removed samples brought up to date. @folder: of the dataset.
 */
int replaced_tidy(const struct rewrite_options *options, const char *folder, struct error *err);

#endif
