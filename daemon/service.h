/*
 * latentd: all datasets of a configuration, on one loop.
 *
 *	service_run(config, &options, err)      returns when it was told to stop, or with `once` when all is done
 *
 * The state folder and its lock, the database thread, the decode workers, the engines, the API and a lane for each
 * dataset. What fails in one dataset stays in its lane; only what all need (state folder, database, socket, workers)
 * is a reason not to start.
 *
 * SIGTERM and SIGINT end it in order: encoders stop in their middle, what is encoded is in the spool, everything else
 * goes back to the queue. What hangs by then (a network file system that is gone) is left behind after SERVICE_STOP_MS, as a
 * kill would leave it. A second one ends it at once. SIGHUP reads the configuration again. systemd is told of
 * readiness, state, reload and stopping, and its watchdog is fed only while the threads get on.
 */
#ifndef LATENTD_DAEMON_SERVICE_H
#define LATENTD_DAEMON_SERVICE_H

#include "config/daemon_config.h"
#include "daemon/exit_codes.h"

#define SERVICE_STOP_MS 20000
/* A model that is still being loaded then is not waited for: nothing depends on it. */
#define SERVICE_LOAD_MS 2000

struct service_options {
	bool once;	  /* encode and seal what is there, then end */
	const char *part; /* "2/3", for every dataset; NULL: as configured */
};

/*
 * Takes @config over. An exit code (EXIT_BUSY: another process has the state folder, and that has been said; with
 * `once` EXIT_QUARANTINED where images failed); below zero with *err where it could not start.
 */
int service_run(struct daemon_config *config, const struct service_options *options,
		struct error *err);

#endif
