/* An endpoint as it begins, and requests of it, for tests with a clock of their own. */
#ifndef LATENTD_TESTS_UNIT_ENDPOINT_RIG_H
#define LATENTD_TESTS_UNIT_ENDPOINT_RIG_H

#include "tests/testing.h"

#include "net/endpoint.h"

static const int64_t MINUTE = 60 * 1000, HOUR = 60 * 60 * 1000;

static struct retry_random rnd;

static inline struct endpoint fresh(size_t max, int64_t scale_up_ms)
{
	const struct endpoint_limits limits = {.max_in_flight = max, .scale_up_ms = scale_up_ms};
	struct endpoint e;

	rnd.state = 1;
	endpoint_init(&e, &limits, 0);
	return e;
}

/* A request that begins at @from and ends at @to. */
static inline void once(struct endpoint *e, int64_t from, int64_t to, enum endpoint_outcome outcome)
{
	struct endpoint_ticket ticket;

	assert_true(endpoint_room(e, from));
	endpoint_start(e, from, 0, &ticket);
	endpoint_done(e, &ticket, to, outcome, 0, &rnd);
}

#endif
