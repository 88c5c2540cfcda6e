/*
 * Counts what is spent on requests, and says when to pause. Times are milliseconds of any monotonic clock.
 *
 *	const struct cost_limits limits = {.requests_per_hour = 1000};
 *	cost_guard_init(&guard, &limits, now)
 *	cost_guard_hold(&guard, true)                              until that is known: nothing may be sent
 *	cost_guard_remember(&guard, now, age, requests, bytes)     what an earlier process spent
 *	if (cost_guard_take(&guard, now, bytes)) ... one request is sent ...
 *	cost_guard_spend(&guard, now, 0, more)                     what it took beyond that
 *	cost_guard_unsaved(&guard, &requests, &bytes)              what is to be written down for the next process
 *
 * The hour and the day are the last 60 minutes and 24 hours, in sixty steps each: what was spent leaves them up to a minute, or
 * 24 minutes, late. Several threads may share one: all is safe from any thread, and a guard that is NULL has no limits.
 */
#ifndef LATENTD_NET_COST_GUARD_H
#define LATENTD_NET_COST_GUARD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* One more than the steps: what was spent at the end of a step stays for all of them. */
enum { COST_STEPS = 60, COST_SLOTS = COST_STEPS + 1, COST_HELD_MS = 100 };

struct cost_window {
	uint64_t max; /* 0: no limit */
	int64_t step_ms;
	int64_t step; /* the current one, counted from two days before time 0 */
	uint64_t spent[COST_SLOTS], sum;
};

/* 0: no limit. */
struct cost_limits {
	uint64_t requests_per_hour, requests_per_day, bytes_per_day;
};

struct cost_guard {
	pthread_mutex_t lock;
	struct cost_window requests, daily, bytes; /* daily: requests, too */
	uint64_t unsaved_requests, unsaved_bytes;
	bool held;
};

struct cost_sums {
	uint64_t requests, bytes; /* of the last hour, and of the last day */
};

void cost_guard_init(struct cost_guard *guard, const struct cost_limits *limits, int64_t now);
void cost_guard_release(struct cost_guard *guard);
/* Others from now on; what was spent stays. */
void cost_guard_limit(struct cost_guard *guard, const struct cost_limits *limits);
/* While it is held nothing may be sent, and for how long nobody knows: the wait is COST_HELD_MS each time. */
void cost_guard_hold(struct cost_guard *guard, bool held);
/* Whether a request with a body of @bytes may be sent now; if so both are spent. */
bool cost_guard_take(struct cost_guard *guard, int64_t now, uint64_t bytes);
/* Without asking. */
void cost_guard_spend(struct cost_guard *guard, int64_t now, uint64_t requests, uint64_t bytes);
/* How long until the next request may be sent; 0: now. */
int64_t cost_guard_wait_ms(struct cost_guard *guard, int64_t now);
/* The same for so many at once. What no limit ever allows waits for the longest of all times. */
int64_t cost_guard_wait_for_ms(struct cost_guard *guard, int64_t now, uint64_t requests);
/* How many may be sent now, bytes aside; UINT64_MAX: as many as one likes. */
uint64_t cost_guard_left(struct cost_guard *guard, int64_t now);
struct cost_sums cost_guard_sums(struct cost_guard *guard, int64_t now);

/* Spent by an earlier process, @age_ms ago; that is saved. */
void cost_guard_remember(struct cost_guard *guard, int64_t now, int64_t age_ms, uint64_t requests,
			 uint64_t bytes);
/* What was spent since the last time that this was asked; false: nothing. It is taken to be saved. */
bool cost_guard_unsaved(struct cost_guard *guard, uint64_t *requests, uint64_t *bytes);
/* It could not be. */
void cost_guard_not_saved(struct cost_guard *guard, uint64_t requests, uint64_t bytes);

#endif
