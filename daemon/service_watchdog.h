/*
 * Whether the threads of the service get on, so that systemd need not restart it. No clock and no threads of its own: whoever
 * calls says what time it is.
 *
 *	struct watchdog_mark mark = {steps, now};			at the start
 *	watchdog_gets_on(&mark, steps, busy, WATCHDOG_STUCK_MS, now);	every second
 */
#ifndef LATENTD_DAEMON_SERVICE_WATCHDOG_H
#define LATENTD_DAEMON_SERVICE_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

enum {
	/* Longer than any step of an encode or of the database takes, also on a slow machine. */
	WATCHDOG_STUCK_MS = 120 * 1000,
	/* Longer than a disk or a network needs for the fsync of a whole shard. */
	WATCHDOG_DISK_STUCK_MS = 10 * 60 * 1000,
};

struct watchdog_mark {
	uint64_t steps; /* of its thread, when they changed last */
	int64_t at;	/* when that was, or when it had nothing to do; clock_mono_ms() */
};

/*
 * @steps: a number that changes while a thread works; @busy: it has something to do. False: it has not got on for
 * @stuck_ms. It may be true again afterwards.
 */
bool watchdog_gets_on(struct watchdog_mark *m, uint64_t steps, bool busy, int64_t stuck_ms,
		      int64_t now);

#endif
