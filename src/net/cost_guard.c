#include "net/cost_guard.h"

#define HOUR_MS ((int64_t)3600 * 1000)
/* So that steps that were before the clock began, and are remembered, are not negative. */
#define BEFORE_MS (48 * HOUR_MS)

static void window_init(struct cost_window *w, uint64_t max, int64_t span_ms, int64_t now)
{
	*w = (struct cost_window){.max = max, .step_ms = span_ms / COST_STEPS};
	w->step = (now + BEFORE_MS) / w->step_ms;
}

/* What was spent in step @i. */
static uint64_t *slot(struct cost_window *w, int64_t i)
{
	return &w->spent[(size_t)i % COST_SLOTS];
}

static void window_advance(struct cost_window *w, int64_t now)
{
	int64_t to = (now + BEFORE_MS) / w->step_ms;

	for (size_t i = 0; w->step < to && i < COST_SLOTS; i++) {
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

static void window_remember(struct cost_window *w, int64_t now, int64_t age_ms, uint64_t amount)
{
	int64_t step;

	window_advance(w, now);
	if (age_ms >= COST_SLOTS * w->step_ms)
		return;
	step = age_ms > 0 ? (now + BEFORE_MS - age_ms) / w->step_ms : w->step;
	if (step <= w->step - COST_SLOTS)
		return;
	*slot(w, step) += amount;
	w->sum += amount;
}

static bool has_room(const struct cost_window *w, uint64_t sum, uint64_t amount)
{
	return w->max == 0 || (sum < w->max && amount <= w->max - sum);
}

/* Until @amount may be spent. */
static int64_t window_wait_ms(struct cost_window *w, int64_t now, uint64_t amount)
{
	uint64_t sum;

	window_advance(w, now);
	sum = w->sum;
	if (has_room(w, sum, amount))
		return 0;
	/* The oldest step leaves first: it has the slot of the step that comes. */
	for (int64_t i = 1; i <= COST_SLOTS; i++) {
		sum -= *slot(w, w->step + i);
		if (has_room(w, sum, amount))
			return (w->step + i) * w->step_ms - BEFORE_MS - now;
	}
	return COST_SLOTS * w->step_ms;
}

static uint64_t window_left(struct cost_window *w, int64_t now)
{
	window_advance(w, now);
	if (w->max == 0)
		return UINT64_MAX;
	return w->sum < w->max ? w->max - w->sum : 0;
}

/* ---- under the lock ----------------------------------------------------------------------------- */

static int64_t longer(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t wait_ms(struct cost_guard *guard, int64_t now, uint64_t requests)
{
	int64_t wait = guard->held ? COST_HELD_MS : 0;

	wait = longer(wait, window_wait_ms(&guard->requests, now, requests));
	wait = longer(wait, window_wait_ms(&guard->daily, now, requests));
	return longer(wait, window_wait_ms(&guard->bytes, now, 1));
}

static void spend(struct cost_guard *guard, int64_t now, uint64_t requests, uint64_t bytes)
{
	window_spend(&guard->requests, now, requests);
	window_spend(&guard->daily, now, requests);
	window_spend(&guard->bytes, now, bytes);
	guard->unsaved_requests += requests;
	guard->unsaved_bytes += bytes;
}

/* ---- for everybody ------------------------------------------------------------------------------ */

void cost_guard_init(struct cost_guard *guard, const struct cost_limits *limits, int64_t now)
{
	*guard = (struct cost_guard){.unsaved_requests = 0};
	pthread_mutex_init(&guard->lock, NULL);
	window_init(&guard->requests, limits->requests_per_hour, HOUR_MS, now);
	window_init(&guard->daily, limits->requests_per_day, 24 * HOUR_MS, now);
	window_init(&guard->bytes, limits->bytes_per_day, 24 * HOUR_MS, now);
}

void cost_guard_release(struct cost_guard *guard)
{
	pthread_mutex_destroy(&guard->lock);
}

void cost_guard_limit(struct cost_guard *guard, const struct cost_limits *limits)
{
	pthread_mutex_lock(&guard->lock);
	guard->requests.max = limits->requests_per_hour;
	guard->daily.max = limits->requests_per_day;
	guard->bytes.max = limits->bytes_per_day;
	pthread_mutex_unlock(&guard->lock);
}

void cost_guard_hold(struct cost_guard *guard, bool held)
{
	pthread_mutex_lock(&guard->lock);
	guard->held = held;
	pthread_mutex_unlock(&guard->lock);
}

bool cost_guard_take(struct cost_guard *guard, int64_t now, uint64_t bytes)
{
	bool may;

	if (!guard)
		return true;
	pthread_mutex_lock(&guard->lock);
	may = wait_ms(guard, now, 1) == 0;
	if (may)
		spend(guard, now, 1, bytes);
	pthread_mutex_unlock(&guard->lock);
	return may;
}

void cost_guard_spend(struct cost_guard *guard, int64_t now, uint64_t requests, uint64_t bytes)
{
	if (!guard)
		return;
	pthread_mutex_lock(&guard->lock);
	spend(guard, now, requests, bytes);
	pthread_mutex_unlock(&guard->lock);
}

int64_t cost_guard_wait_ms(struct cost_guard *guard, int64_t now)
{
	return cost_guard_wait_for_ms(guard, now, 1);
}

int64_t cost_guard_wait_for_ms(struct cost_guard *guard, int64_t now, uint64_t requests)
{
	int64_t wait;

	if (!guard)
		return 0;
	pthread_mutex_lock(&guard->lock);
	wait = wait_ms(guard, now, requests);
	pthread_mutex_unlock(&guard->lock);
	return wait;
}

uint64_t cost_guard_left(struct cost_guard *guard, int64_t now)
{
	uint64_t hour, day;

	if (!guard)
		return UINT64_MAX;
	pthread_mutex_lock(&guard->lock);
	hour = guard->held ? 0 : window_left(&guard->requests, now);
	day = window_left(&guard->daily, now);
	pthread_mutex_unlock(&guard->lock);
	return hour < day ? hour : day;
}

struct cost_sums cost_guard_sums(struct cost_guard *guard, int64_t now)
{
	struct cost_sums sums = {0, 0};

	if (!guard)
		return sums;
	pthread_mutex_lock(&guard->lock);
	window_advance(&guard->requests, now);
	window_advance(&guard->bytes, now);
	sums = (struct cost_sums){guard->requests.sum, guard->bytes.sum};
	pthread_mutex_unlock(&guard->lock);
	return sums;
}

void cost_guard_remember(struct cost_guard *guard, int64_t now, int64_t age_ms, uint64_t requests,
			 uint64_t bytes)
{
	pthread_mutex_lock(&guard->lock);
	window_remember(&guard->requests, now, age_ms, requests);
	window_remember(&guard->daily, now, age_ms, requests);
	window_remember(&guard->bytes, now, age_ms, bytes);
	pthread_mutex_unlock(&guard->lock);
}

bool cost_guard_unsaved(struct cost_guard *guard, uint64_t *requests, uint64_t *bytes)
{
	pthread_mutex_lock(&guard->lock);
	*requests = guard->unsaved_requests;
	*bytes = guard->unsaved_bytes;
	guard->unsaved_requests = guard->unsaved_bytes = 0;
	pthread_mutex_unlock(&guard->lock);
	return *requests > 0 || *bytes > 0;
}

void cost_guard_not_saved(struct cost_guard *guard, uint64_t requests, uint64_t bytes)
{
	pthread_mutex_lock(&guard->lock);
	guard->unsaved_requests += requests;
	guard->unsaved_bytes += bytes;
	pthread_mutex_unlock(&guard->lock);
}
