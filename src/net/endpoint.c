#include "net/endpoint.h"

#include <assert.h>

enum {
	FIRST_LIMIT = 2,
	SLACK_MS = 20,
	ROW_OPENS = 5,
	RECENT = 20,
	RECENT_ENOUGH = 10,
	OPEN_MS = 5000,
	OPEN_MOST_MS = 300000,
	WARM_MS = 1000,
	WARM_MOST_MS = 15000,
	BUDGET = 100,
	RETRY_COST = 2,
	TIMEOUT_COST = 4,
	FAILURE_MS = 250,
	STUCK_LEAST_MS = 1000,
	STUCK_UNKNOWN_MS = 30000,
};

static const double lowering = 0.7, least_ms = 0.5;

static void enter(struct endpoint *e, enum endpoint_phase phase, int64_t now)
{
	if (e->phase != phase)
		e->phase_since = now;
	e->phase = phase;
	e->probing = false;
}

/* As if nothing had happened, but for what is in flight. */
static void begin_anew(struct endpoint *e, int64_t now)
{
	enter(e, ENDPOINT_OK, now);
	e->not_before = now;
	e->limit =
	    FIRST_LIMIT < e->limits.max_in_flight ? FIRST_LIMIT : (double)e->limits.max_in_flight;
	e->quick = true;
	e->failures_in_row = e->n_recent = 0;
	e->recent = 0;
}

void endpoint_init(struct endpoint *e, const struct endpoint_limits *limits, int64_t now)
{
	assert(limits->max_in_flight > 0);
	*e = (struct endpoint){.limits = *limits, .budget = BUDGET, .phase_since = now};
	e->lowered = now;
	begin_anew(e, now);
}

void endpoint_limit(struct endpoint *e, const struct endpoint_limits *limits)
{
	assert(limits->max_in_flight > 0);
	e->limits = *limits;
	if (e->limit > (double)limits->max_in_flight)
		e->limit = (double)limits->max_in_flight;
}

bool endpoint_room(const struct endpoint *e, int64_t now)
{
	if (now < e->not_before)
		return false;
	switch (e->phase) {
	case ENDPOINT_OK:
		return (double)e->in_flight + 1 <= e->limit;
	case ENDPOINT_OPEN:
	case ENDPOINT_WARMING:
		return !e->probing;
	case ENDPOINT_STOPPED:
		break;
	}
	return false;
}

int64_t endpoint_next(const struct endpoint *e, int64_t now)
{
	bool waits = e->phase != ENDPOINT_STOPPED && !e->probing && e->not_before > now;

	return waits ? e->not_before : INT64_MAX;
}

void endpoint_start(struct endpoint *e, int64_t now, size_t class, struct endpoint_ticket *ticket)
{
	assert(class < ENDPOINT_CLASSES);
	if (e->in_flight++ == 0)
		e->heard = now;
	*ticket = (struct endpoint_ticket){
	    .started = now,
	    .class = class,
	    .in_flight = e->in_flight,
	    .probe = e->phase != ENDPOINT_OK,
	    .wake = e->phase == ENDPOINT_WARMING,
	};
	e->probing = ticket->probe;
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

/* At most once a round trip: what was sent before the limit was lowered says nothing new. */
static void lower_limit(struct endpoint *e, const struct endpoint_ticket *ticket, int64_t now)
{
	e->quick = false;
	if (ticket->started < e->lowered)
		return;
	e->limit = e->limit * lowering < 1 ? 1 : e->limit * lowering;
	e->lowered = now;
}

static void learn_latency(struct endpoint *e, const struct endpoint_ticket *ticket, double ms)
{
	double *fastest = &e->fastest[ticket->class];
	double pace, off;
	bool timely;

	if (ms < least_ms) /* 0 is for unknown */
		ms = least_ms;
	pace = ms / (double)ticket->in_flight;
	if (*fastest == 0 || ms < *fastest)
		*fastest = ms;
	off = ms > e->latency ? ms - e->latency : e->latency - ms;
	e->deviation = e->latency == 0 ? ms / 2 : e->deviation + (off - e->deviation) / 4;
	e->latency = e->latency == 0 ? ms : e->latency + (ms - e->latency) / 8;
	e->pace = e->pace == 0 ? pace : e->pace + (pace - e->pace) / 8;
	timely = ms <= 2 * *fastest + SLACK_MS;
	if (!timely)
		e->quick = false;
	else if ((double)ticket->in_flight * 2 >= e->limit)
		e->limit = least(e->limit + (e->quick ? 1 : 1 / e->limit),
				 (double)e->limits.max_in_flight);
}

static void note_recent(struct endpoint *e, bool failure)
{
	e->recent = (e->recent << 1 | failure) & ((1u << RECENT) - 1);
	e->n_recent += e->n_recent < RECENT;
	e->failures_in_row = failure ? e->failures_in_row + 1 : 0;
}

static void open_breaker(struct endpoint *e, int64_t now, struct retry_random *random)
{
	int64_t pause = OPEN_MS;

	for (size_t i = 0; i < e->opened && pause < OPEN_MOST_MS; i++)
		pause *= 2;
	if (pause > OPEN_MOST_MS)
		pause = OPEN_MOST_MS;
	e->opened++;
	enter(e, ENDPOINT_OPEN, now);
	e->not_before = now + pause - (int64_t)((double)pause / 2 * retry_random(random));
}

static void warm(struct endpoint *e, int64_t now, struct retry_random *random)
{
	int64_t pause = WARM_MS;

	if (e->phase != ENDPOINT_WARMING)
		e->warm_tries = 0;
	for (size_t i = 0; i < e->warm_tries && pause < WARM_MOST_MS; i++)
		pause *= 2;
	if (pause > WARM_MOST_MS)
		pause = WARM_MOST_MS;
	e->warm_tries++;
	enter(e, ENDPOINT_WARMING, now);
	e->not_before = now + pause - (int64_t)((double)pause / 2 * retry_random(random));
}

/* Something other than an answer. */
static void failed(struct endpoint *e, const struct endpoint_ticket *ticket, int64_t now,
		   bool starts, struct retry_random *random)
{
	bool waits = e->phase == ENDPOINT_OPEN || e->phase == ENDPOINT_WARMING;

	if (waits && !ticket->probe) /* from before: known already */
		return;
	if (e->phase == ENDPOINT_WARMING) {
		if (now - e->phase_since < e->limits.scale_up_ms)
			warm(e, now, random);
		else
			open_breaker(e, now, random);
		return;
	}
	if (starts && e->limits.scale_up_ms > 0) {
		warm(e, now, random);
		return;
	}
	note_recent(e, true);
	if (e->phase == ENDPOINT_OPEN || e->failures_in_row >= ROW_OPENS ||
	    (e->n_recent >= RECENT_ENOUGH &&
	     (size_t)__builtin_popcount(e->recent) * 2 > e->n_recent))
		open_breaker(e, now, random);
}

/* An answer, whatever it was. */
static void alive(struct endpoint *e, int64_t now)
{
	if (e->phase == ENDPOINT_OPEN || e->phase == ENDPOINT_WARMING)
		begin_anew(e, now);
	note_recent(e, false);
}

static void throttled(struct endpoint *e, const struct endpoint_ticket *ticket, int64_t now,
		      int64_t retry_after_ms, struct retry_random *random)
{
	int64_t pause = retry_after_ms > 0 ? retry_after_ms : WARM_MS / 2;

	if (e->phase == ENDPOINT_OPEN || e->phase == ENDPOINT_WARMING)
		begin_anew(e, now);
	lower_limit(e, ticket, now);
	pause += (int64_t)((double)pause / 10 * retry_random(random));
	if (e->not_before < now + pause)
		e->not_before = now + pause;
}

void endpoint_done(struct endpoint *e, const struct endpoint_ticket *ticket, int64_t now,
		   enum endpoint_outcome outcome, int64_t retry_after_ms,
		   struct retry_random *random)
{
	assert(e->in_flight > 0);
	e->in_flight--;
	e->heard = now;
	if (ticket->probe)
		e->probing = false;
	if (e->phase == ENDPOINT_STOPPED || outcome == ENDPOINT_UNASKED)
		return;
	switch (outcome) {
	case ENDPOINT_GOOD:
		alive(e, now);
		e->opened = 0;
		e->budget = least(e->budget + 1, BUDGET);
		if (!ticket->probe) /* that one may have waited for the server to start */
			learn_latency(e, ticket, (double)(now - ticket->started));
		break;
	case ENDPOINT_ALIVE:
		alive(e, now);
		break;
	case ENDPOINT_TIMES_OUT:
		lower_limit(e, ticket, now);
		failed(e, ticket, now, false, random);
		break;
	case ENDPOINT_FAILS:
		failed(e, ticket, now, false, random);
		break;
	case ENDPOINT_STARTS:
		lower_limit(e, ticket, now);
		failed(e, ticket, now, true, random);
		break;
	case ENDPOINT_THROTTLES:
		throttled(e, ticket, now, retry_after_ms, random);
		break;
	case ENDPOINT_STOPS:
		enter(e, ENDPOINT_STOPPED, now);
		break;
	case ENDPOINT_UNASKED:
		break;
	}
}

bool endpoint_may_retry(struct endpoint *e, bool timed_out)
{
	double cost = timed_out ? TIMEOUT_COST : RETRY_COST;

	if (e->budget < cost)
		return false;
	e->budget -= cost;
	return true;
}

void endpoint_resume(struct endpoint *e, int64_t now)
{
	begin_anew(e, now);
	e->opened = 0;
}

double endpoint_finish_ms(const struct endpoint *e, int64_t now, size_t before)
{
	double silence = e->in_flight > 0 ? (double)(now - e->heard) : 0;

	return e->pace * (double)(e->in_flight + before + 1) +
	       (silence > e->latency ? silence : 0) + (double)(e->failures_in_row * FAILURE_MS);
}

int64_t endpoint_stuck_ms(const struct endpoint *e)
{
	double ms = 2 * (e->latency + 4 * e->deviation);

	if (e->latency == 0)
		return STUCK_UNKNOWN_MS;
	return ms < STUCK_LEAST_MS ? STUCK_LEAST_MS : (int64_t)ms;
}

size_t endpoint_class_of(size_t pixels)
{
	size_t class = 0;

	for (pixels >>= 16; pixels > 1 && class < ENDPOINT_CLASSES - 1; pixels >>= 1)
		class ++;
	return class;
}
