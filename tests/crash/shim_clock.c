/* The time of day, with jumps. Monotonic clocks go on as they are: a jump does not touch them either. */
#include "tests/crash/shim.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { JUMPS = 16 };

static struct {
	unsigned long from;
	long seconds;
} jumps[JUMPS];
static size_t n_jumps;
static atomic_ulong asked;

void shim_clock_begin(const char *text)
{
	while (*text && n_jumps < JUMPS) {
		char *end;

		jumps[n_jumps].from = strtoul(text, &end, 10);
		if (*end != ':')
			break;
		jumps[n_jumps++].seconds = strtol(end + 1, &end, 10);
		text = *end == ',' ? end + 1 : end;
	}
}

static long jumped(void)
{
	unsigned long n;
	long seconds = 0;

	if (n_jumps == 0 || shim_fault_to_come())
		return 0;
	n = atomic_fetch_add(&asked, 1) + 1;
	for (size_t i = 0; i < n_jumps && jumps[i].from <= n; i++)
		seconds = jumps[i].seconds;
	return seconds;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	int r = (int)syscall(SYS_clock_gettime, id, t);

	if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) && shim_active())
		t->tv_sec += jumped();
	return r;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return -1;
	*t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
	return 0;
}

time_t time(time_t *out)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return -1;
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
