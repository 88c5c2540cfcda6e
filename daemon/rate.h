/*
 * How many a second, over the last minute.
 */
#ifndef LATENTD_DAEMON_RATE_H
#define LATENTD_DAEMON_RATE_H

#include <stdint.h>

#define RATE_SECONDS 60

struct rate {
	uint32_t
	    counts[RATE_SECONDS]; /* of the second whose number modulo RATE_SECONDS is the index */
	int64_t second;		  /* the last one that was counted; 0: none yet */
	int64_t first;		  /* the first one */
};

/* @now: monotonic milliseconds. */
void rate_add(struct rate *r, int64_t now, uint32_t n);
/* Over the last minute, or since the first count where that is less. */
double rate_per_second(struct rate *r, int64_t now);

#endif
