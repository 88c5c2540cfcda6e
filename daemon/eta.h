/*
 * When a run will be done, as a range: from how fast it was, and from how well that foretold how fast it became.
 *
 *	struct eta eta = ETA_INIT;
 *	once a second: eta_tick(&eta, clock_mono_ms(), images_ended, works)
 *	if (eta_forecast(&eta, images_left, &range)) ... range.low_s to range.high_s, range.likely_s
 *
 * History is kept in at most ETA_BLOCKS blocks of equal length, which double when there are more: a run of a minute
 * is known by the second, one of days by the hour. Time in which the run does not work (paused, nothing to do) is
 * left out. What new files bring is not foreseen.
 */
#ifndef LATENTD_DAEMON_ETA_H
#define LATENTD_DAEMON_ETA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ETA_BLOCKS 96

struct eta {
	double images[ETA_BLOCKS]; /* oldest first */
	size_t n;
	int64_t block_ms;
	double open_images; /* of the block that is not full */
	int64_t open_ms;
	int64_t ticked_at; /* monotonic ms; 0: never */
	uint64_t done;
	bool works;
};

#define ETA_INIT                                                                                   \
	{                                                                                          \
		.block_ms = 1000                                                                   \
	}

/* Seconds from now. The true end lies between low and high nine times of ten (tests/unit/test_eta.c). */
struct eta_range {
	int64_t low_s, likely_s, high_s;
};

/* @done: images that have ended since any moment; @works: from now until the next tick time counts. */
void eta_tick(struct eta *e, int64_t now, uint64_t done, bool works);
/* False: not known yet. */
bool eta_forecast(const struct eta *e, uint64_t left, struct eta_range *out);

#endif
