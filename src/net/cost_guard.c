#include "net/cost_guard.h"

static void window_init(struct cost_window *w, uint64_t max, int64_t span_ms, int64_t now)
{
	*w = (struct cost_window){.max = max, .step_ms = span_ms / COST_STEPS};
	w->step = now / w->step_ms;
}

/* What was spent in the slot of step @i. */
static uint64_t *slot(struct cost_window *w, int64_t i)
{
	return &w->spent[(size_t)i % COST_STEPS];
}

static void window_advance(struct cost_window *w, int64_t now)
{
	int64_t to = now / w->step_ms;

	for (size_t i = 0; w->step < to && i < COST_STEPS; i++) {
		w->step++;
		w->sum -= *slot(w, w->step);
		*slot(w, w->step) = 0;
	}
	w->step = to > w->step ? to : w->step;
}

static void window_spend(struct cost_window *w, int64_t now, uint64_t amount)
{
	window_advance(w, now);
	*slot(w, w->step) += amount;
	w->sum += amount;
}

static int64_t window_wait_ms(struct cost_window *w, int64_t now)
{
	uint64_t sum;

	window_advance(w, now);
	sum = w->sum;
	if (w->max == 0 || sum < w->max)
		return 0;
	/* The oldest step leaves first: it has the slot of the step that comes. */
	for (int64_t i = 1; i <= COST_STEPS; i++) {
		sum -= *slot(w, w->step + i);
		if (sum < w->max)
			return (w->step + i) * w->step_ms - now;
	}
	return COST_STEPS * w->step_ms;
}

void cost_guard_init(struct cost_guard *guard, uint64_t requests_per_hour, uint64_t bytes_per_day,
		     int64_t now)
{
	window_init(&guard->requests, requests_per_hour, 3600 * 1000, now);
	window_init(&guard->bytes, bytes_per_day, 24 * 3600 * 1000, now);
}

void cost_guard_spend(struct cost_guard *guard, int64_t now, uint64_t requests, uint64_t bytes)
{
	window_spend(&guard->requests, now, requests);
	window_spend(&guard->bytes, now, bytes);
}

int64_t cost_guard_wait_ms(struct cost_guard *guard, int64_t now)
{
	int64_t requests = window_wait_ms(&guard->requests, now),
		bytes = window_wait_ms(&guard->bytes, now);

	return requests > bytes ? requests : bytes;
}
