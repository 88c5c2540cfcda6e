/*
 * What an earlier run left, brought in order before anything new is claimed:
 *
 *	1. spooled records whose job still waits for them are marked `encoded`
 *	2. leases of dead owners are released: of a job that somebody is at, a scan takes nothing in
 *	3. rewrites that were cut off are completed or undone (replaced.h). Then: shards of the catalog that are gone or
 *	   have another size are dropped from it, and their jobs are available again; shards that are visible but not in
 *	   the catalog (a crash between publishing and the transaction) are verified and adopted, or else moved to the
 *	   quarantine folder
 *	4. records of jobs that are completed meanwhile, and older copies of a record, are dropped; jobs that are
 *	   `encoded` without a record become available again
 */
#ifndef LATENTD_DAEMON_RECOVERY_H
#define LATENTD_DAEMON_RECOVERY_H

#include "daemon/packer.h"

struct recovery_options {
	struct queue *queue;
	struct store *store; /* of the dataset */
	const struct recipe *recipe;
	int64_t dataset;
	const char *spool_dir;
	size_t segment_bytes; /* of the spool; 0: its default */
	const char *owner;
	const char
	    *node; /* of those that share queue and store: others' shards are theirs; NULL: one */
	bool
	    again; /* this process had the dataset open before: what runs in its name does not any more */
	/* NULL, or whether it is to end soon: ERR_TRANSIENT, and the next recovery does the rest */
	bool (*stop)(void *arg);
	/* One line for a person about what was found and done. */
	void (*note)(void *arg, const char *line);
	void *arg;
};

struct recovery {
	struct spool *spool;
	struct spooled *entries; /* live records of the dataset, for packer_restore */
	size_t n;
	size_t adopted; /* samples of adopted shards */
	size_t rescued; /* jobs that dead owners had */
	char **
	    shards; /* names of every shard seen, visible, retired or gone: their numbers are taken */
	size_t n_shards;
};

void recovery_release(struct recovery *recovered);

struct recoverer;

/*
 * Steps 1 and 2, before the sources are scanned: a record that was finished counts for the file as it was then, and the
 * scan notices what changed since. @options must outlive the recoverer.
 */
int recovery_begin(const struct recovery_options *options, struct recoverer **out,
		   struct error *err);
/*
 * Steps 3 and 4, after every source has been scanned. On success the spool and the entries are the caller's.
 */
int recovery_finish(struct recoverer *r, struct recovery *out, struct error *err);
/* Closes the spool too, unless finish gave it away. NULL is fine. */
void recovery_free(struct recoverer *r);

#endif
