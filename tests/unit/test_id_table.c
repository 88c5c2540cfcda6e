/*
 * Numbers in flight, against a plain array.
 */
#include "daemon/id_table.h"

#include "tests/testing.h"

enum { IDS = 300, STEPS = 20000 };

static void a_table_under_random_changes_is_what_an_array_is(void **state)
{
	struct id_table table = ID_TABLE_INIT;
	void *model[IDS] = {NULL};
	uint64_t random = 12345;
	size_t n = 0;

	(void)state;
	for (size_t step = 0; step < STEPS; step++) {
		uint64_t id, shown;

		random = random * 6364136223846793005u + 1442695040888963407u;
		id = (random >> 33) % IDS;
		/* far apart, so that some of them meet in one slot */
		shown = id << 26;
		assert_ptr_equal(id_table_get(&table, shown), model[id]);
		if (model[id]) {
			assert_ptr_equal(id_table_remove(&table, shown), model[id]);
			model[id] = NULL;
			n--;
		} else {
			model[id] = &model[id];
			id_table_add(&table, shown, model[id]);
			n++;
		}
		assert_int_equal(table.n, n);
	}
	for (uint64_t id = 0; id < IDS; id++)
		assert_ptr_equal(id_table_get(&table, id << 26), model[id]);
	id_table_release(&table);
}

static void an_empty_table_has_nothing(void **state)
{
	struct id_table table = ID_TABLE_INIT;

	(void)state;
	assert_null(id_table_get(&table, 7));
	assert_null(id_table_remove(&table, 7));
	id_table_release(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_table_under_random_changes_is_what_an_array_is),
	    cmocka_unit_test(an_empty_table_has_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
