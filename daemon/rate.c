#include "daemon/rate.h"

#include <stddef.h>

/* Seconds in which nothing was counted become zeros. */
static void move_on(struct rate *r, int64_t second)
{
	int64_t from =
	    second - r->second < RATE_SECONDS ? r->second + 1 : second - RATE_SECONDS + 1;

	for (int64_t s = from; s <= second; s++)
		r->counts[s % RATE_SECONDS] = 0;
	if (second > r->second)
		r->second = second;
}

void rate_add(struct rate *r, int64_t now, uint32_t n)
{
	int64_t second = now / 1000;

	if (r->second == 0)
		*r = (struct rate){.second = second, .first = second};
	move_on(r, second);
	r->counts[second % RATE_SECONDS] += n;
}

double rate_per_second(struct rate *r, int64_t now)
{
	int64_t second = now / 1000, seconds;
	uint64_t sum = 0;

	if (r->second == 0)
		return 0;
	move_on(r, second);
	for (size_t i = 0; i < RATE_SECONDS; i++)
		sum += r->counts[i];
	seconds = second - r->first + 1;
	return (double)sum / (double)(seconds < RATE_SECONDS ? seconds : RATE_SECONDS);
}
