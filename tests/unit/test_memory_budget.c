#include "daemon/memory_budget.h"

#include "tests/testing.h"

static const int small, large; /* two who want memory */

static void what_fits_is_allowed_and_what_does_not_waits(void **state)
{
	struct memory_budget b = {.limit = 100};

	(void)state;
	assert_true(memory_budget_allows(&b, &small, 60));
	b.used = 60;
	assert_true(memory_budget_allows(&b, &small, 40));
	assert_false(memory_budget_allows(&b, &small, 41));
	assert_false(memory_budget_allows(&b, &small, SIZE_MAX)); /* no overflow */
}

static void what_is_larger_than_the_limit_is_allowed_alone(void **state)
{
	struct memory_budget b = {.limit = 100, .used = 1};

	(void)state;
	assert_false(memory_budget_allows(&b, &large, 1000));
	b.used = 0;
	assert_true(memory_budget_allows(&b, &large, 1000));
	assert_null(b.turn);
}

static void a_large_one_that_waits_is_not_overtaken_for_ever(void **state)
{
	struct memory_budget b = {.limit = 100, .used = 50};

	(void)state;
	assert_false(memory_budget_allows(&b, &large, 80));
	assert_false(memory_budget_allows(&b, &small, 10)); /* although it would fit */
	b.used = 20;
	assert_true(memory_budget_allows(&b, &large, 80));
	b.used = 50;
	assert_true(memory_budget_allows(&b, &small, 10));
}

static void who_does_not_wait_any_more_passes_the_turn_on(void **state)
{
	struct memory_budget b = {.limit = 100, .used = 50};

	(void)state;
	assert_false(memory_budget_allows(&b, &large, 80));
	memory_budget_pass(&b, &small); /* it was not his */
	assert_false(memory_budget_allows(&b, &small, 10));
	memory_budget_pass(&b, &large);
	assert_true(memory_budget_allows(&b, &small, 10));
}

static void what_can_wait_leaves_half_for_others(void **state)
{
	struct memory_budget b = {.limit = 100, .used = 20};

	(void)state;
	assert_true(memory_budget_spares(&b, &small, 30));
	assert_false(memory_budget_spares(&b, &small, 31));
	assert_false(memory_budget_spares(&b, &small, SIZE_MAX));
	assert_null(b.turn); /* and it takes no turn */
	assert_false(memory_budget_allows(&b, &large, 90));
	assert_false(memory_budget_spares(&b, &small, 10));
	assert_true(memory_budget_spares(&b, &large, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_fits_is_allowed_and_what_does_not_waits),
	    cmocka_unit_test(what_is_larger_than_the_limit_is_allowed_alone),
	    cmocka_unit_test(a_large_one_that_waits_is_not_overtaken_for_ever),
	    cmocka_unit_test(what_can_wait_leaves_half_for_others),
	    cmocka_unit_test(who_does_not_wait_any_more_passes_the_turn_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
