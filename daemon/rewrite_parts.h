/*
 * What the parts of rewrite.c share; nobody else includes it.
 *
 *	rewrite.c         shards take the place of others
 *	rewrite_which.c   which ones
 */
#ifndef LATENTD_DAEMON_REWRITE_PARTS_H
#define LATENTD_DAEMON_REWRITE_PARTS_H

#include "daemon/rewrite.h"
#include "daemon/spool_index.h"

struct rewriter {
	const struct rewrite_options *options;
	uint64_t full_samples, full_bytes;
	struct shard_list shards;   /* as they were when it was opened */
	struct spool_index numbers; /* shard_numbers.h */
	struct rewritten done;
	bool stopped; /* because options->stop said so */
	bool unfit; /* the last rewrite() failed at what was to be written, not at what was read */
	bool changed; /* or because others were faster: nothing was changed */
};

#endif
