#include "tests/contract/contract_queue.h"

#include <inttypes.h>

#define MINUTE ((int64_t)60000)
#define DAY    (24 * 60 * MINUTE)
#define START  (20000 * DAY) /* the start of a minute */

static void spend(struct fixture *f, const char *account, uint64_t requests, uint64_t bytes,
		  int64_t now)
{
	assert_ok(queue_spend(f->q, account, requests, bytes, now, &f->err), &f->err);
	fixture_after(f);
}

static int note_row(void *arg, const struct spent_row *row)
{
	buffer_appendf(arg, "%" PRId64 ": %" PRIu64 " %" PRIu64 "\n", row->minute - START / MINUTE,
		       row->requests, row->bytes);
	return 0;
}

static void assert_spent(struct fixture *f, const char *account, const char *want)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	assert_ok(queue_spent(f->q, account, note_row, &text, &f->err), &f->err);
	assert_string_equal(text.data ? (const char *)text.data : "", want);
}

static void what_is_spent_is_summed_by_account_and_minute(void **state)
{
	struct fixture *f = *state;

	assert_spent(f, "remote", "");
	spend(f, "remote", 1, 100, START + 2 * MINUTE);
	spend(f, "remote", 2, 50, START + MINUTE - 1);
	spend(f, "other", 7, 0, START);
	spend(f, "remote", 0, 5, START);
	assert_spent(f, "remote", "0: 2 55\n2: 1 100\n");
	assert_spent(f, "other", "0: 7 0\n");
	assert_spent(f, "remot", "");
}

static void what_was_spent_days_ago_is_forgotten(void **state)
{
	struct fixture *f = *state;

	spend(f, "old", 1, 1, START);
	spend(f, "remote", 1, 1, START);
	spend(f, "remote", 2, 2, START + MINUTE);
	spend(f, "remote", 3, 3, START + 2 * DAY + MINUTE - 1);
	assert_spent(f, "remote", "0: 1 1\n1: 2 2\n2880: 3 3\n");
	spend(f, "remote", 4, 4, START + 2 * DAY + MINUTE);
	assert_spent(f, "remote", "1: 2 2\n2880: 3 3\n2881: 4 4\n");
	assert_spent(f, "old", "");
}

static int count_row(void *arg, const struct spent_row *row)
{
	size_t *n = arg;

	assert_int_equal(row->minute - START / MINUTE, *n);
	return ++*n == 1500;
}

static void more_minutes_than_a_batch_come_in_order_until_the_callback_ends_it(void **state)
{
	struct fixture *f = *state;
	size_t n = 0;

	for (int64_t i = 0; i < 1600; i++)
		assert_ok(queue_spend(f->q, "remote", 1, 1, START + i * MINUTE, &f->err), &f->err);
	fixture_after(f);
	assert_ok(queue_spent(f->q, "remote", count_row, &n, &f->err), &f->err);
	assert_int_equal(n, 1500);
}

int contract_queue_spent(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(what_is_spent_is_summed_by_account_and_minute),
	    contract_test(what_was_spent_days_ago_is_forgotten),
	    contract_test(more_minutes_than_a_batch_come_in_order_until_the_callback_ends_it),
	};

	fixture_use(backend);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
