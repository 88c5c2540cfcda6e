#include "tests/testing.h"

#include "daemon/service_watchdog.h"

enum { START = 1000, SECOND = 1000 };

static struct watchdog_marks started(void)
{
	return (struct watchdog_marks){.encoded_at = START, .answered_at = START};
}

/* Asks every second for @seconds, with a database that answers at once; how often the answer was yes. */
static int fed(struct watchdog_marks *m, int64_t *now, int seconds, uint64_t step, bool busy)
{
	uint64_t encoded = m->encoded;
	int yes = 0;

	for (int i = 0; i < seconds; i++) {
		*now += SECOND;
		m->answered_at = *now;
		encoded += step;
		yes += watchdog_gets_on(m, encoded, busy, *now);
	}
	return yes;
}

static void an_idle_service_is_fed_for_ever(void **state)
{
	struct watchdog_marks m = started();
	int64_t now = START;

	(void)state;
	assert_int_equal(fed(&m, &now, 3600, 0, false), 3600);
}

static void an_encoder_that_gets_on_slowly_is_fed(void **state)
{
	struct watchdog_marks m = started();
	int64_t now = START;

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(fed(&m, &now, 1, 1, true), 1);
		assert_int_equal(fed(&m, &now, 119, 0, true), 119);
	}
}

static void an_encoder_that_keeps_a_batch_for_two_minutes_is_not_fed_until_it_gets_on(void **state)
{
	struct watchdog_marks m = started();
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
	struct watchdog_marks m = started();
	int64_t now = START;

	(void)state;
	fed(&m, &now, 3600, 0, false);
	assert_int_equal(fed(&m, &now, 119, 0, true), 119);
	assert_int_equal(fed(&m, &now, 1, 0, true), 0);
}

static void a_database_that_does_not_answer_for_two_minutes_is_not_fed_until_it_does(void **state)
{
	struct watchdog_marks m = started();

	(void)state;
	/* encoders get on or are idle: it does not help */
	assert_true(watchdog_gets_on(&m, 7, true, START + WATCHDOG_STUCK_MS - 1));
	assert_false(watchdog_gets_on(&m, 8, true, START + WATCHDOG_STUCK_MS));
	assert_false(watchdog_gets_on(&m, 8, false, START + WATCHDOG_STUCK_MS + SECOND));
	m.answered_at = START + WATCHDOG_STUCK_MS + SECOND;
	assert_true(watchdog_gets_on(&m, 8, false, START + WATCHDOG_STUCK_MS + 2 * SECOND));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_idle_service_is_fed_for_ever),
	    cmocka_unit_test(an_encoder_that_gets_on_slowly_is_fed),
	    cmocka_unit_test(
		an_encoder_that_keeps_a_batch_for_two_minutes_is_not_fed_until_it_gets_on),
	    cmocka_unit_test(a_batch_after_hours_of_idleness_has_its_two_minutes),
	    cmocka_unit_test(
		a_database_that_does_not_answer_for_two_minutes_is_not_fed_until_it_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
