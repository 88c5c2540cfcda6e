#include "tests/contract/contract_queue.h"

#include <inttypes.h>

static void keep(struct fixture *f, const struct history_row *rows, size_t n)
{
	assert_ok(queue_keep_history(f->q, rows, n, &f->err), &f->err);
	fixture_after(f);
}

static int note_row(void *arg, const struct history_row *row)
{
	buffer_appendf(arg, "%u %u: %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 "\n", row->series,
		       row->place, row->at, row->ms, row->images, row->todo);
	return 0;
}

static void assert_history(struct fixture *f, const char *want)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	assert_ok(queue_history(f->q, note_row, &text, &f->err), &f->err);
	assert_string_equal(text.data ? (const char *)text.data : "", want);
}

static void a_row_takes_the_place_of_the_one_before(void **state)
{
	struct fixture *f = *state;
	const struct history_row rows[] = {
	    {1, 0, 300000, 9000, 5, 70}, {0, 2, 20000, 10000, 3, 80}, {0, 1, 10000, 10000, 2, 90}};
	const struct history_row later[] = {{0, 2, 3620000, 400, 1, UINT32_MAX}};

	assert_history(f, "");
	keep(f, rows, 3);
	assert_history(f, "0 1: 10000 10000 2 90\n0 2: 20000 10000 3 80\n1 0: 300000 9000 5 70\n");
	keep(f, later, 1);
	keep(f, later, 0);
	assert_history(
	    f, "0 1: 10000 10000 2 90\n0 2: 3620000 400 1 4294967295\n1 0: 300000 9000 5 70\n");
}

static int count_row(void *arg, const struct history_row *row)
{
	size_t *n = arg;

	assert_int_equal(row->place, *n);
	return ++*n == 1100;
}

static void more_rows_than_a_batch_come_in_order_until_the_callback_ends_it(void **state)
{
	struct fixture *f = *state;
	struct history_row rows[1200];
	size_t n = 0;

	for (uint32_t i = 0; i < 1200; i++)
		rows[i] = (struct history_row){.place = i};
	keep(f, rows, 1200);
	assert_ok(queue_history(f->q, count_row, &n, &f->err), &f->err);
	assert_int_equal(n, 1100);
}

int contract_queue_history(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(a_row_takes_the_place_of_the_one_before),
	    contract_test(more_rows_than_a_batch_come_in_order_until_the_callback_ends_it),
	};

	fixture_use(backend);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
