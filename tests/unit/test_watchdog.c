#include "tests/testing.h"

#include "daemon/service_watchdog.h"

enum { START = 1000, SECOND = 1000 };

static struct watchdog_mark started(void)
{
	return (struct watchdog_mark){.at = START};
}

/* Asks every second for @seconds; how often the answer was yes. */
static int fed(struct watchdog_mark *m, int64_t *now, int seconds, uint64_t step, bool busy)
{
	uint64_t steps = m->steps;
	int yes = 0;

	for (int i = 0; i < seconds; i++) {
		*now += SECOND;
		steps += step;
		yes += watchdog_gets_on(m, steps, busy, WATCHDOG_STUCK_MS, *now);
	}
	return yes;
}

static void an_idle_service_is_fed_for_ever(void **state)
{
	struct watchdog_mark m = started();
	int64_t now = START;

	(void)state;
	assert_int_equal(fed(&m, &now, 3600, 0, false), 3600);
}

static void an_encoder_that_gets_on_slowly_is_fed(void **state)
{
	struct watchdog_mark m = started();
	int64_t now = START;

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(fed(&m, &now, 1, 1, true), 1);
		assert_int_equal(fed(&m, &now, 119, 0, true), 119);
	}
}

static void an_encoder_that_keeps_a_batch_for_two_minutes_is_not_fed_until_it_gets_on(void **state)
{
	struct watchdog_mark m = started();
	int64_t now = START;

	(void)state;
	assert_int_equal(fed(&m, &now, 119, 0, true), 119);
	assert_int_equal(fed(&m, &now, 60, 0, true), 0);
	assert_int_equal(fed(&m, &now, 1, 1, true), 1);
	assert_int_equal(fed(&m, &now, 119, 0, true), 119);
	assert_int_equal(fed(&m, &now, 1, 0, true), 0);
}

static void a_batch_after_hours_of_idleness_has_its_two_minutes(void **state)
{
	struct watchdog_mark m = started();
	int64_t now = START;

	(void)state;
	fed(&m, &now, 3600, 0, false);
	assert_int_equal(fed(&m, &now, 119, 0, true), 119);
	assert_int_equal(fed(&m, &now, 1, 0, true), 0);
}

static void a_disk_has_longer_than_an_encoder(void **state)
{
	struct watchdog_mark m = started();

	(void)state;
	assert_true(watchdog_gets_on(&m, 0, true, WATCHDOG_DISK_STUCK_MS,
				     START + WATCHDOG_DISK_STUCK_MS - 1));
	assert_false(
	    watchdog_gets_on(&m, 0, true, WATCHDOG_DISK_STUCK_MS, START + WATCHDOG_DISK_STUCK_MS));
	assert_true(
	    watchdog_gets_on(&m, 1, true, WATCHDOG_DISK_STUCK_MS, START + WATCHDOG_DISK_STUCK_MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_idle_service_is_fed_for_ever),
	    cmocka_unit_test(an_encoder_that_gets_on_slowly_is_fed),
	    cmocka_unit_test(
		an_encoder_that_keeps_a_batch_for_two_minutes_is_not_fed_until_it_gets_on),
	    cmocka_unit_test(a_batch_after_hours_of_idleness_has_its_two_minutes),
	    cmocka_unit_test(a_disk_has_longer_than_an_encoder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
