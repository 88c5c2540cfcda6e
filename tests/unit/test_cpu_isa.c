#include "base/cpu_isa.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <stdlib.h>

enum { IMPOSSIBLE, PLAIN, SAME, LAST };

/* No machine has the feature of the first one. */
static const struct cpu_variant variants[] = {[IMPOSSIBLE] = {"future", 1u << 31},
					      [PLAIN] = {"plain", 0},
					      [SAME] = {"same", 0},
					      [LAST] = {"last", 0}};

static size_t choice(const char *wanted)
{
	if (wanted)
		setenv("LATENTD_ISA", wanted, 1);
	else
		unsetenv("LATENTD_ISA");
	return cpu_isa_choose(variants, ARRAY_SIZE(variants));
}

static void the_first_one_that_runs_is_chosen_unless_another_is_named(void **state)
{
	(void)state;
	assert_int_equal(choice(NULL), PLAIN);
	assert_int_equal(choice("last"), LAST);
	assert_int_equal(choice("same"), SAME);
}

static void a_name_that_does_not_run_or_is_unknown_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(choice("future"), PLAIN);
	assert_int_equal(choice("mmx"), PLAIN);
	assert_int_equal(choice(""), PLAIN);
}

/* Sets build on each other on every processor there is. */
static void a_machine_with_the_larger_set_has_the_smaller_one(void **state)
{
	unsigned features = cpu_features();

	(void)state;
	if (features & CPU_AVX512_BF16)
		assert_true(features & CPU_AVX512F);
	if (features & CPU_AVX512F)
		assert_true(features & CPU_AVX2 && features & CPU_FMA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_one_that_runs_is_chosen_unless_another_is_named),
	    cmocka_unit_test(a_name_that_does_not_run_or_is_unknown_changes_nothing),
	    cmocka_unit_test(a_machine_with_the_larger_set_has_the_smaller_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
