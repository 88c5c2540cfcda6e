/*
 * What a client knows of one server, and when it may send it the next request. No clock, no network: times are milliseconds
 * of any monotonic clock, given by the caller.
 *
 *	endpoint_init(&e, &limits, now)
 *	if (endpoint_room(&e, now)) endpoint_start(&e, now, class, &ticket)       send the request
 *	endpoint_done(&e, &ticket, now, outcome, retry_after_ms, &random)         what came of it
 *
 * How many at once. The limit begins at 2. While it is used and answers come nearly as fast as the fastest of their
 * class did (twice the time and 20 ms), it grows: by one with each answer until that first ends, later by one a round trip.
 * "Too many", "too late" and a proxy without its server multiply it by 0.7, at most once a round trip. So a server that does one
 * request after another has a few waiting, and a fast one behind a long line as many as fill the line.
 *
 * When it fails. Five failures in a row, or more than half of the last 20, open the breaker: nothing for 5 s, doubled each time
 * up to 5 min, less up to half of it at random; then one request is the probe. A server that may be starting (502, 503)
 * gets one request at a time, asked again after 1 s, 2 s, ... 15 s, for scale_up_ms; after that it is a failing one.
 *
 * Retries have a budget: 100 at most; each costs 2, after a timeout 4; each success gives 1. Whoever fails more than every
 * third time runs out of it, and its images go back to where they came from instead of being sent and sent again.
 */
#ifndef LATENTD_NET_ENDPOINT_H
#define LATENTD_NET_ENDPOINT_H

#include "net/retry.h"

#include <stdbool.h>

enum { ENDPOINT_CLASSES = 8 };

enum endpoint_phase {
	ENDPOINT_OK,
	ENDPOINT_OPEN,	  /* the breaker: fails, one probe at a time */
	ENDPOINT_WARMING, /* may be starting, one request at a time */
	ENDPOINT_STOPPED, /* until endpoint_resume */
};

enum endpoint_outcome {
	ENDPOINT_GOOD,
	ENDPOINT_ALIVE, /* it answers, but says nothing of its speed: refuses this one */
	ENDPOINT_FAILS,
	ENDPOINT_TIMES_OUT,
	ENDPOINT_THROTTLES,
	ENDPOINT_STARTS,  /* 502, 503: nobody behind the proxy */
	ENDPOINT_STOPS,	  /* nothing will work there */
	ENDPOINT_UNASKED, /* cancelled by us: says nothing about it */
};

struct endpoint_limits {
	size_t max_in_flight; /* at least 1 */
	int64_t scale_up_ms;  /* 0: never waited for to start */
};

struct endpoint {
	struct endpoint_limits limits;
	enum endpoint_phase phase;
	int64_t phase_since;
	int64_t not_before; /* nothing is started earlier */
	size_t in_flight;
	int64_t heard; /* the last end of a request, or a start after none was under way */
	bool probing;  /* of OPEN and WARMING: the one request is under way */
	size_t opened, warm_tries; /* in a row */
	double limit;
	bool quick;	 /* the limit still grows with each answer */
	int64_t lowered; /* when the limit was */
	size_t failures_in_row;
	uint32_t recent; /* the last outcomes, newest in bit 0; 1: a failure */
	size_t n_recent;
	double budget;
	double fastest[ENDPOINT_CLASSES]; /* ms; 0: none yet */
	double latency, deviation;	  /* ms, smoothed as TCP does; 0: unknown */
	double pace;			  /* ms a request, while several are under way */
};

/* A request under way. */
struct endpoint_ticket {
	int64_t started;
	size_t class;	  /* requests of about the same size */
	size_t in_flight; /* with this one, when it started */
	bool probe;
	bool wake; /* the server may be starting: wait for it */
};

void endpoint_init(struct endpoint *e, const struct endpoint_limits *limits, int64_t now);
/* Others from now on; what is known of it stays. */
void endpoint_limit(struct endpoint *e, const struct endpoint_limits *limits);
/* Whether one more may be started now. */
bool endpoint_room(const struct endpoint *e, int64_t now);
/* The next time at which endpoint_room may change by itself; INT64_MAX: never. */
int64_t endpoint_next(const struct endpoint *e, int64_t now);
void endpoint_start(struct endpoint *e, int64_t now, size_t class, struct endpoint_ticket *ticket);
void endpoint_done(struct endpoint *e, const struct endpoint_ticket *ticket, int64_t now,
		   enum endpoint_outcome outcome, int64_t retry_after_ms,
		   struct retry_random *random);
/* Takes a retry out of its budget; false: there is none left. */
bool endpoint_may_retry(struct endpoint *e, bool timed_out);
/* Begins anew after ENDPOINT_STOPPED. */
void endpoint_resume(struct endpoint *e, int64_t now);

/*
 * When a request that is started after @before others will be answered, in ms from now: by its pace, and later where it has
 * been silent for longer than usual, or has failed just now. 0: unknown.
 */
double endpoint_finish_ms(const struct endpoint *e, int64_t now, size_t before);
/* A request that takes longer than this is stuck. */
int64_t endpoint_stuck_ms(const struct endpoint *e);

/* 0 to ENDPOINT_CLASSES - 1, by powers of two: 64 Ki pixels and less, 128 Ki, ... */
size_t endpoint_class_of(size_t pixels);

#endif
