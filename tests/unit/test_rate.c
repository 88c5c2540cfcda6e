#include "daemon/rate.h"

#include "tests/testing.h"

static void nothing_counted_is_no_rate(void **state)
{
	struct rate r = {.second = 0};

	(void)state;
	assert_true(rate_per_second(&r, 5000) == 0);
}

static void a_young_rate_is_over_the_time_that_it_has(void **state)
{
	struct rate r = {.second = 0};

	(void)state;
	for (int64_t s = 100; s < 110; s++)
		rate_add(&r, s * 1000 + 999, 3);
	assert_true(rate_per_second(&r, 109 * 1000 + 999) == 3);
	assert_true(rate_per_second(&r, 119 * 1000) == 1.5);
}

static void what_is_older_than_a_minute_does_not_count(void **state)
{
	struct rate r = {.second = 0};

	(void)state;
	rate_add(&r, 100 * 1000, 600);
	rate_add(&r, 150 * 1000, 60);
	assert_true(rate_per_second(&r, 159 * 1000) == 11);
	assert_true(rate_per_second(&r, 160 * 1000) == 1);
	assert_true(rate_per_second(&r, 209 * 1000) == 1);
	assert_true(rate_per_second(&r, 210 * 1000) == 0);
}

static void a_long_silence_forgets_everything(void **state)
{
	struct rate r = {.second = 0};

	(void)state;
	for (int64_t s = 100; s < 200; s++)
		rate_add(&r, s * 1000, 1);
	assert_true(rate_per_second(&r, 1000 * 1000) == 0);
	rate_add(&r, 1000 * 1000, 60);
	assert_true(rate_per_second(&r, 1000 * 1000) == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_counted_is_no_rate),
	    cmocka_unit_test(a_young_rate_is_over_the_time_that_it_has),
	    cmocka_unit_test(what_is_older_than_a_minute_does_not_count),
	    cmocka_unit_test(a_long_silence_forgets_everything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
