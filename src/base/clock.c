#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static int64_t clock_ms(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

int64_t clock_mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_steady_wall_ms(void)
{
	static _Atomic int64_t ahead = INT64_MIN; /* of the monotonic clock, at most so far */
	int64_t mono = clock_mono_ms(), now = clock_wall_ms() - mono, most = atomic_load(&ahead);

	while (now > most && !atomic_compare_exchange_weak(&ahead, &most, now))
		;
	return mono + (now > most ? now : most);
}
