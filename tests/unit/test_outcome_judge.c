#include "tests/testing.h"

#include "daemon/outcome_log.h"

static enum outcome_kind judge(const char *reason, uint32_t attempts)
{
	struct error why = ERROR_INIT;
	const char *word = "";
	enum outcome_kind kind;

	error_data(&why, reason, "something");
	kind = outcome_judge(&why, attempts, &word);
	assert_string_equal(word, reason);
	return kind;
}

static void what_is_wrong_with_a_file_is_wrong_at_once(void **state)
{
	struct error why = ERROR_INIT;

	(void)state;
	assert_int_equal(judge("not_found", 1), OUTCOME_QUARANTINE);
	assert_int_equal(judge("gone", 1), OUTCOME_GONE);
	error_data(&why, "not_found", "something");
	assert_int_equal(outcome_pause_ms(&why, 1), 0);
	assert_false(outcome_waits(OUTCOME_QUARANTINE, "not_found"));
}

static void a_server_without_an_address_is_asked_five_times_in_four_hours(void **state)
{
	struct error why = ERROR_INIT;
	int64_t waited = 0;
	uint32_t attempts = 1;

	(void)state;
	error_data(&why, "no_such_host", "something");
	for (; judge("no_such_host", attempts) == OUTCOME_RETRY; attempts++) {
		assert_true(outcome_waits(OUTCOME_RETRY, "no_such_host"));
		waited += outcome_pause_ms(&why, attempts);
	}
	assert_int_equal(attempts, 5);
	assert_int_equal(judge("no_such_host", attempts), OUTCOME_QUARANTINE);
	assert_int_equal(waited, (1 + 6 + 36 + 216) * 60000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_wrong_with_a_file_is_wrong_at_once),
	    cmocka_unit_test(a_server_without_an_address_is_asked_five_times_in_four_hours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
