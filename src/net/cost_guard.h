/*
 * Counts what is spent on requests, and says when to pause. Times are milliseconds of any monotonic clock.
 *
 * The hour and the day are the last 60 minutes and 24 hours, in sixty steps each: what was spent leaves them up to a minute, or
 * 24 minutes, late. Nothing is remembered beyond the process.
 */
#ifndef LATENTD_NET_COST_GUARD_H
#define LATENTD_NET_COST_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COST_STEPS = 60 };

struct cost_window {
	uint64_t max; /* 0: no limit */
	int64_t step_ms;
	int64_t step; /* the current one, counted from time 0 */
	uint64_t spent[COST_STEPS], sum;
};

struct cost_guard {
	struct cost_window requests, bytes;
};

/* 0: no limit. */
void cost_guard_init(struct cost_guard *guard, uint64_t requests_per_hour, uint64_t bytes_per_day,
		     int64_t now);
void cost_guard_spend(struct cost_guard *guard, int64_t now, uint64_t requests, uint64_t bytes);
/* How long until the next request may be sent; 0: now. */
int64_t cost_guard_wait_ms(struct cost_guard *guard, int64_t now);

#endif
