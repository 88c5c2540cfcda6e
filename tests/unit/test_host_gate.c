#include "tests/testing.h"

#include "net/host_gate.h"

#define ORIGIN "http://example.org:80"

static void count(void *arg)
{
	++*(size_t *)arg;
}

static struct host_pass *pass_of(size_t limit, double interval_ms, size_t *woken)
{
	const struct host_pass_options options = {limit, interval_ms, count, woken};

	return host_pass_open(ORIGIN, &options);
}

static void limits_are_of_all_passes_together_and_the_strictest_counts(void **state)
{
	size_t woken = 0;
	struct host_pass *wide = pass_of(3, 0, &woken), *narrow = pass_of(2, 0, &woken);
	const struct host_pass_options options = {1, 0, count, &woken};
	struct host_pass *elsewhere = host_pass_open("http://example.org:81", &options);

	(void)state;
	assert_true(host_pass_take(wide, 0));
	assert_true(host_pass_take(wide, 0)); /* nobody else is at it */
	assert_false(host_pass_take(narrow, 0));
	assert_true(host_pass_next(narrow, 0) == INT64_MAX);
	assert_false(host_pass_take(wide, 0));
	assert_true(host_pass_take(elsewhere, 0));
	host_pass_give(wide, 0);
	assert_int_equal(woken, 1);
	assert_false(host_pass_take(wide, 0)); /* the other asked earlier */
	assert_true(host_pass_next(narrow, 0) == 0);
	assert_true(host_pass_take(narrow, 0));
	assert_int_equal(woken, 2);
	host_pass_give(narrow, 0);
	host_pass_give(wide, 0);
	host_pass_give(elsewhere, 0);
	host_pass_close(wide);
	host_pass_close(narrow);
	host_pass_close(elsewhere);
}

static void who_does_not_ask_any_more_holds_nobody_up(void **state)
{
	size_t woken = 0;
	struct host_pass *first = pass_of(1, 0, &woken), *second = pass_of(1, 0, &woken);

	(void)state;
	assert_true(host_pass_take(first, 0));
	assert_false(host_pass_take(second, 0));
	host_pass_give(first, 0);
	assert_false(host_pass_take(first, HOST_GATE_STALE_MS - 1));
	assert_true(host_pass_take(first, HOST_GATE_STALE_MS));
	host_pass_give(first, HOST_GATE_STALE_MS);
	host_pass_close(first);
	assert_true(host_pass_take(second, HOST_GATE_STALE_MS));
	host_pass_give(second, HOST_GATE_STALE_MS);
	host_pass_close(second);
}

static void requests_of_all_keep_the_longest_interval(void **state)
{
	size_t woken = 0, taken = 0;
	struct host_pass *slow = pass_of(64, 2.5, &woken), *fast = pass_of(64, 0, &woken);

	(void)state;
	for (int64_t now = 0; now < 100; now++) {
		taken += host_pass_take(slow, now);
		taken += host_pass_take(fast, now);
	}
	assert_int_equal(taken, 40);
	assert_true(host_pass_next(slow, 99) > 99 || host_pass_next(fast, 99) > 99);
	for (; taken > 0; taken--) /* no matter whose */
		host_pass_give(taken % 2 ? slow : fast, 100);
	host_pass_close(slow);
	host_pass_close(fast);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(limits_are_of_all_passes_together_and_the_strictest_counts),
	    cmocka_unit_test(who_does_not_ask_any_more_holds_nobody_up),
	    cmocka_unit_test(requests_of_all_keep_the_longest_interval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
