/*
 * Other arrays join the samples of a dataset: shards that get some are rewritten, latents are copied byte for byte.
 */
#ifndef LATENTD_DAEMON_ATTACH_H
#define LATENTD_DAEMON_ATTACH_H

#include "daemon/attachments.h"
#include "daemon/rewrite.h"

struct attached {
	size_t same, missing; /* live samples that had it already, or for which there is none */
	size_t samples, shards;
	bool left;    /* a shard could not be rewritten: noted */
	bool unfit;   /* a shard has no room for it: noted */
	bool stopped; /* before the last shard; the same call goes on */
};

/* Of @options shard sizes and edit are not used. ERR_CONFIG: an array cannot be read. */
int attach(const struct rewrite_options *options, struct attachments *arrays, struct attached *out,
	   struct error *err);

#endif
