/*
 * `latentctl encode`: the whole pipeline for one dataset, from folders to sealed shards, in this process.
 */
#ifndef LATENTD_DAEMON_ENCODE_RUN_H
#define LATENTD_DAEMON_ENCODE_RUN_H

#include "config/encode_options.h"
#include "daemon/exit_codes.h"

/*
 * Encodes @sources as @options say and prints what happens. Below zero with *err where it could not go on;
 * else the exit code. Everything that was finished is kept either way, and the same call goes on from there.
 */
int encode_run(const struct encode_options *options, const char *const *sources, size_t n_sources,
	       struct error *err);

#endif
