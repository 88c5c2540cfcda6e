#include "base/clock.h"
#include "tests/testing.h"

#include <time.h>

static int64_t wall_s, mono_s;

int __wrap_clock_gettime(clockid_t id, struct timespec *t);

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	*t = (struct timespec){.tv_sec = id == CLOCK_REALTIME ? wall_s : mono_s};
	return 0;
}

static int64_t steady_s(int64_t wall, int64_t mono)
{
	wall_s = wall;
	mono_s = mono;
	return clock_steady_wall_ms() / 1000;
}

static void steady_time_follows_the_clock_forward_and_never_back(void **state)
{
	(void)state;
	assert_int_equal(steady_s(100000, 10), 100000);
	assert_int_equal(steady_s(100001, 11), 100001);
	assert_int_equal(steady_s(186401, 11), 186401); /* a day forward */
	assert_int_equal(steady_s(100002, 12), 186402); /* and back */
	assert_int_equal(steady_s(3, 13), 186403);
	assert_int_equal(steady_s(186500, 14), 186500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(steady_time_follows_the_clock_forward_and_never_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
