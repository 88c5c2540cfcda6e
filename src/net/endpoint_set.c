#include "net/endpoint_set.h"

/* Works as far as known, perhaps after a pause that it asked for. */
static bool works(const struct endpoint *e)
{
	return e->phase == ENDPOINT_OK;
}

static bool another_works(const struct endpoint *const *set, size_t n, size_t but)
{
	for (size_t i = 0; i < n; i++) {
		if (i != but && works(set[i]))
			return true;
	}
	return false;
}

static size_t due_for_probe(const struct endpoint *const *set, size_t n, int64_t now, size_t avoid)
{
	for (size_t i = 0; i < n; i++) {
		if (i != avoid && !works(set[i]) && endpoint_room(set[i], now))
			return i;
	}
	return ENDPOINT_NOWHERE;
}

size_t endpoint_set_choose(const struct endpoint *const *set, size_t n, int64_t now, size_t waiting,
			   size_t avoid)
{
	size_t best = due_for_probe(set, n, now, avoid);
	double first = 0;

	if (best != ENDPOINT_NOWHERE)
		return best;
	if (avoid != ENDPOINT_NOWHERE && !another_works(set, n, avoid))
		avoid = ENDPOINT_NOWHERE;
	for (size_t i = 0; i < n; i++) {
		bool room = endpoint_room(set[i], now);
		double finish;

		/* Waited for is only who is full, and known to be worth it. */
		if (i == avoid ||
		    (!room && (!works(set[i]) || now < set[i]->not_before || set[i]->pace == 0)))
			continue;
		finish = endpoint_finish_ms(set[i], now, room ? 0 : waiting);
		if (best == ENDPOINT_NOWHERE || finish < first) {
			best = i;
			first = finish;
		}
	}
	return best != ENDPOINT_NOWHERE && endpoint_room(set[best], now) ? best : ENDPOINT_NOWHERE;
}

size_t endpoint_set_hedge(const struct endpoint *const *set, size_t n, int64_t now, size_t busy)
{
	size_t best = ENDPOINT_NOWHERE;

	for (size_t i = 0; i < n; i++) {
		if (i == busy || !works(set[i]) || !endpoint_room(set[i], now))
			continue;
		if (best == ENDPOINT_NOWHERE ||
		    endpoint_finish_ms(set[i], now, 0) < endpoint_finish_ms(set[best], now, 0))
			best = i;
	}
	return best;
}

bool endpoint_set_usable(const struct endpoint *const *set, size_t n, int64_t now)
{
	for (size_t i = 0; i < n; i++) {
		if (works(set[i]) || endpoint_room(set[i], now))
			return true;
	}
	return false;
}
