/*
 * How latentctl ends; the same table is in README.md.
 */
#ifndef LATENTD_DAEMON_EXIT_CODES_H
#define LATENTD_DAEMON_EXIT_CODES_H

enum exit_code {
	EXIT_OK = 0,	 /* everything that was asked for is done */
	EXIT_FAILED = 1, /* it could not go on: disk, model, output; the message says what */
	EXIT_USAGE = 2,	 /* the command line is wrong; latentd: or its configuration */
	EXIT_QUARANTINED =
	    3,		    /* done, but some images could not be encoded: see `latentctl failed` */
	EXIT_DAMAGED = 4,   /* a shard is damaged: found by verify, inspect or extract */
	EXIT_BUSY = 5,	    /* another process works on this output */
	EXIT_NO_DAEMON = 6, /* the command is for a daemon, and none answers */
	EXIT_INTERRUPTED = 130 /* stopped by a signal; the same command goes on */
};

#endif
