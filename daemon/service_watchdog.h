/*
 * Whether the threads of the service get on, so that systemd need not restart it. No clock and no threads of its own: whoever
 * calls says what time it is.
 *
 *	marks.encoded_at = marks.answered_at = now;		at the start
 *	watchdog_gets_on(&marks, encoded, busy, now);		every second
 *	marks.answered_at = now;				whenever the database thread has answered
 */
#ifndef LATENTD_DAEMON_SERVICE_WATCHDOG_H
#define LATENTD_DAEMON_SERVICE_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

/* Longer than any step of an encode or of the database takes, also on a slow machine. */
enum { WATCHDOG_STUCK_MS = 120 * 1000 };

struct watchdog_marks {
	uint64_t encoded;   /* engines_progress() when it changed last */
	int64_t encoded_at; /* when that was, or when encoders had nothing to do; clock_mono_ms() */
	int64_t answered_at;
};

/*
 * @encoded and @busy as engines_progress() gives them. False: a batch has not got on, or the database thread has not
 * answered, for WATCHDOG_STUCK_MS. It may be true again afterwards.
 */
bool watchdog_gets_on(struct watchdog_marks *m, uint64_t encoded, bool busy, int64_t now);

#endif
