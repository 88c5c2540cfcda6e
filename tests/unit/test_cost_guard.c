/* With a clock of our own. */
#include "tests/testing.h"

#include "net/cost_guard.h"

static const int64_t MINUTE = 60 * 1000, HOUR = 60 * 60 * 1000;

static void init_guard(struct cost_guard *guard, uint64_t requests_per_hour, uint64_t bytes_per_day,
		       int64_t now)
{
	const struct cost_limits limits = {.requests_per_hour = requests_per_hour,
					   .bytes_per_day = bytes_per_day};

	cost_guard_init(guard, &limits, now);
}

static void assert_sums(struct cost_guard *guard, int64_t now, uint64_t requests, uint64_t bytes)
{
	struct cost_sums sums = cost_guard_sums(guard, now);

	assert_int_equal(sums.requests, requests);
	assert_int_equal(sums.bytes, bytes);
}

static void the_guard_allows_what_is_left_of_an_hour_and_a_day(void **state)
{
	struct cost_guard guard;
	int64_t now = 5 * HOUR + 1234, wait;

	(void)state;
	init_guard(&guard, 10, 1000, now);
	for (size_t i = 0; i < 10; i++) {
		assert_int_equal(cost_guard_wait_ms(&guard, now), 0);
		assert_true(cost_guard_take(&guard, now, 10));
	}
	assert_false(cost_guard_take(&guard, now, 0));
	wait = cost_guard_wait_ms(&guard, now);
	assert_true(wait >= HOUR && wait <= HOUR + MINUTE);
	assert_true(cost_guard_wait_ms(&guard, now + wait - 1) > 0);
	assert_int_equal(cost_guard_wait_ms(&guard, now + wait), 0);
	assert_sums(&guard, now + wait, 0, 100);
	now += wait;
	assert_true(cost_guard_take(&guard, now, 900));
	cost_guard_spend(&guard, now, 0, 50);
	assert_sums(&guard, now, 1, 1050);
	wait = cost_guard_wait_ms(&guard, now);
	assert_true(wait >= 22 * HOUR && wait <= 24 * HOUR + 24 * MINUTE);
	assert_int_equal(cost_guard_wait_ms(&guard, now + 30 * 24 * HOUR), 0);
	assert_sums(&guard, now + 30 * 24 * HOUR, 0, 0);
	cost_guard_release(&guard);
}

static void a_guard_without_limits_only_counts(void **state)
{
	struct cost_guard guard;

	(void)state;
	init_guard(&guard, 0, 0, 0);
	assert_true(cost_guard_take(&guard, 1, 1u << 30));
	cost_guard_spend(&guard, 1, 0, UINT64_MAX / 4);
	assert_int_equal(cost_guard_wait_ms(&guard, 1), 0);
	assert_sums(&guard, 1, 1, UINT64_MAX / 4 + (1u << 30));
	cost_guard_release(&guard);
	assert_true(cost_guard_take(NULL, 1, 1));
	assert_int_equal(cost_guard_wait_ms(NULL, 1), 0);
}

static void a_guard_says_how_many_requests_are_left_of_a_day(void **state)
{
	const struct cost_limits ten = {.requests_per_day = 10}, twelve = {.requests_per_day = 12};
	struct cost_guard guard;
	int64_t now = MINUTE, wait;

	(void)state;
	cost_guard_init(&guard, &ten, now);
	cost_guard_remember(&guard, now, 20 * HOUR, 4, 0);
	assert_int_equal(cost_guard_left(&guard, now), 6);
	cost_guard_spend(&guard, now, 5, 1000);
	assert_int_equal(cost_guard_left(&guard, now), 1);
	assert_int_equal(cost_guard_wait_for_ms(&guard, now, 1), 0);
	wait = cost_guard_wait_for_ms(&guard, now, 2); /* until the four are forgotten */
	assert_true(wait >= 4 * HOUR - 24 * MINUTE && wait <= 4 * HOUR + 24 * MINUTE);
	now += wait;
	assert_int_equal(cost_guard_left(&guard, now), 5);
	wait = cost_guard_wait_for_ms(&guard, now, 10);
	assert_true(wait >= 19 * HOUR && wait <= 21 * HOUR);
	assert_true(cost_guard_wait_for_ms(&guard, now, 11) > wait); /* never */
	cost_guard_spend(&guard, now, 6, 0);
	assert_int_equal(cost_guard_left(&guard, now), 0);
	cost_guard_limit(&guard, &twelve);
	assert_int_equal(cost_guard_left(&guard, now), 1);
	assert_int_equal(cost_guard_left(NULL, now), UINT64_MAX);
	assert_int_equal(cost_guard_left(&guard, now + 25 * HOUR), 12);
	cost_guard_release(&guard);
}

/* A machine that has been up for a minute only: what is remembered was before its clock began. */
static void a_guard_remembers_what_was_spent_before_it_began(void **state)
{
	struct cost_guard guard;
	int64_t now = MINUTE, wait;

	(void)state;
	init_guard(&guard, 10, 1000, now);
	cost_guard_remember(&guard, now, 50 * MINUTE, 6, 60);
	cost_guard_remember(&guard, now, 20 * MINUTE, 4, 40);
	cost_guard_remember(&guard, now, 2 * HOUR, 100, 300);
	cost_guard_remember(&guard, now, 25 * HOUR, 100, 1000);
	assert_sums(&guard, now, 10, 400);
	wait = cost_guard_wait_ms(&guard, now);
	assert_true(wait >= 10 * MINUTE && wait <= 11 * MINUTE);
	assert_sums(&guard, now + wait, 4, 400);
	assert_sums(&guard, now + 42 * MINUTE, 0, 400);
	assert_sums(&guard, now + 23 * HOUR, 0, 100);
	/* Where the wall clock was set back it seems to be in the future. */
	cost_guard_remember(&guard, now + 23 * HOUR, -5 * HOUR, 10, 1);
	assert_true(cost_guard_wait_ms(&guard, now + 23 * HOUR) >= HOUR);
	cost_guard_release(&guard);
}

static void a_guard_that_is_held_lets_nothing_through(void **state)
{
	const struct cost_limits none = {0, 0, 0};
	struct cost_guard guard;

	(void)state;
	cost_guard_init(&guard, &none, 0);
	cost_guard_hold(&guard, true);
	assert_false(cost_guard_take(&guard, 0, 1));
	assert_int_equal(cost_guard_wait_ms(&guard, 0), COST_HELD_MS);
	assert_int_equal(cost_guard_left(&guard, 0), 0);
	cost_guard_hold(&guard, false);
	assert_int_equal(cost_guard_wait_ms(&guard, 0), 0);
	assert_true(cost_guard_take(&guard, 0, 1));
	assert_sums(&guard, 0, 1, 1);
	cost_guard_release(&guard);
}

static void a_guard_tells_once_what_is_to_be_saved(void **state)
{
	struct cost_guard guard;
	uint64_t requests = 9, bytes = 9;

	(void)state;
	init_guard(&guard, 10, 0, 0);
	cost_guard_remember(&guard, 0, MINUTE, 1, 1);
	assert_false(cost_guard_unsaved(&guard, &requests, &bytes));
	assert_true(cost_guard_take(&guard, 0, 5));
	cost_guard_spend(&guard, 0, 0, 2);
	assert_true(cost_guard_unsaved(&guard, &requests, &bytes));
	assert_int_equal(requests, 1);
	assert_int_equal(bytes, 7);
	cost_guard_not_saved(&guard, requests, bytes);
	cost_guard_spend(&guard, 0, 0, 1);
	assert_true(cost_guard_unsaved(&guard, &requests, &bytes));
	assert_int_equal(requests, 1);
	assert_int_equal(bytes, 8);
	assert_false(cost_guard_unsaved(&guard, &requests, &bytes));
	cost_guard_release(&guard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_guard_allows_what_is_left_of_an_hour_and_a_day),
	    cmocka_unit_test(a_guard_without_limits_only_counts),
	    cmocka_unit_test(a_guard_says_how_many_requests_are_left_of_a_day),
	    cmocka_unit_test(a_guard_remembers_what_was_spent_before_it_began),
	    cmocka_unit_test(a_guard_that_is_held_lets_nothing_through),
	    cmocka_unit_test(a_guard_tells_once_what_is_to_be_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
