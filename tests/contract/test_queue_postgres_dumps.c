/*
 * Dumps that are restored in the place of the tables, by PostgreSQL's own programs, and what a node hears of it.
 */
#include "base/checked.h"
#include "queue/queue_nodes.h"
#include "tests/contract/contract_queue.h"
#include "tests/contract/postgres_server.h"

static struct node_pulse beat(struct fixture *f)
{
	const struct node_beat beat = {
	    .instance = "i", .place = "p", .host = "h", .version = "v", .timeout_ms = 3600000};
	struct node_pulse pulse;

	assert_ok(queue_node_beat(f->q, &beat, &pulse, &f->err), &f->err);
	return pulse;
}

static void dump_and_restore(void)
{
	assert_int_equal(
	    system("\"$LATENTD_TEST_POSTGRES_BIN\"/pg_dump -d \"$LATENTD_TEST_POSTGRES\" -n latentd"
		   " >\"$LATENTD_TEST_DUMP\" && PGOPTIONS=--client-min-messages=error"
		   " \"$LATENTD_TEST_POSTGRES_BIN\"/psql -d \"$LATENTD_TEST_POSTGRES\" -qX -o "
		   "/dev/null"
		   " -v ON_ERROR_STOP=1 -1 -c 'DROP SCHEMA latentd CASCADE' -f "
		   "\"$LATENTD_TEST_DUMP\""),
	    0);
}

static void a_dump_that_knows_of_the_last_sign_of_life_is_noticed_too(void **state)
{
	struct fixture *f = *state;
	char *dir = testing_tempdir();
	cleanup_free char *file = xasprintf("%s/dump.sql", dir);

	setenv("LATENTD_TEST_DUMP", file, 1);
	add_job(f, "a");
	beat(f);
	assert_false(beat(f).set_back);
	dump_and_restore();
	assert_true(beat(f).set_back);
	assert_false(beat(f).set_back);
	testing_tempdir_remove(dir);
}

int main(void)
{
	static const struct queue_backend backend = {"postgres", postgres_open_fresh, false};
	const struct CMUnitTest tests[] = {
	    contract_test(a_dump_that_knows_of_the_last_sign_of_life_is_noticed_too),
	};

	postgres_empty();
	fixture_use(&backend);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
