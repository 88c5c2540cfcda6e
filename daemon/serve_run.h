/*
 * `latentd serve`: the server alone, without datasets, state and queue.
 *
 *	serve_main(argc, argv, err)      returns when it was told to stop
 */
#ifndef LATENTD_DAEMON_SERVE_RUN_H
#define LATENTD_DAEMON_SERVE_RUN_H

#include "base/error.h"

/* argv[0] is "serve". An exit code; below zero with *err where it could not start. */
int serve_main(int argc, char **argv, struct error *err);

#endif
