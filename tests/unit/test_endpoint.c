/* The rules of a client of one endpoint, with a clock of our own. */
#include "tests/unit/endpoint_rig.h"

static void five_failures_in_a_row_open_the_breaker_and_a_probe_closes_it(void **state)
{
	struct endpoint e = fresh(8, 0);
	int64_t now = 0, due;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(e.phase, ENDPOINT_OK);
		once(&e, now, now, ENDPOINT_FAILS);
	}
	assert_int_equal(e.phase, ENDPOINT_OPEN);
	assert_false(endpoint_room(&e, now));
	due = endpoint_next(&e, now);
	assert_true(due >= 2500 && due <= 5000);
	assert_false(endpoint_room(&e, due - 1));
	once(&e, due, due + 10, ENDPOINT_GOOD);
	assert_int_equal(e.phase, ENDPOINT_OK);
	assert_true(endpoint_room(&e, due + 10));
}

static void only_one_probe_is_under_way_and_pauses_double(void **state)
{
	struct endpoint e = fresh(8, 0);
	struct endpoint_ticket ticket;
	int64_t now = 0, most = 5000;

	(void)state;
	for (size_t i = 0; i < 5; i++)
		once(&e, 0, 0, ENDPOINT_FAILS);
	for (size_t i = 0; i < 10; i++) {
		int64_t pause = endpoint_next(&e, now) - now;

		assert_true(pause >= most / 2 && pause <= most);
		now += pause;
		endpoint_start(&e, now, 0, &ticket);
		assert_true(ticket.probe);
		assert_false(endpoint_room(&e, now + HOUR));
		assert_true(endpoint_next(&e, now) == INT64_MAX);
		endpoint_done(&e, &ticket, now, ENDPOINT_FAILS, 0, &rnd);
		most = most * 2 < 300000 ? most * 2 : 300000;
	}
}

static void more_than_half_of_the_last_opens_it_too(void **state)
{
	struct endpoint e = fresh(8, 0);

	(void)state;
	for (size_t i = 0; i < 40; i++)
		once(&e, 0, 0, i % 2 ? ENDPOINT_FAILS : ENDPOINT_GOOD);
	assert_int_equal(e.phase, ENDPOINT_OK);
	for (size_t i = 0; i < 3 && e.phase == ENDPOINT_OK; i++)
		once(&e, 0, 0, ENDPOINT_FAILS);
	assert_int_equal(e.phase, ENDPOINT_OPEN);
}

static void failures_that_were_sent_before_it_opened_change_nothing(void **state)
{
	struct endpoint e = fresh(64, 0);
	struct endpoint_ticket tickets[10];
	int64_t due;

	(void)state;
	e.limit = 10;
	for (size_t i = 0; i < 10; i++)
		endpoint_start(&e, 0, 0, &tickets[i]);
	for (size_t i = 0; i < 5; i++)
		endpoint_done(&e, &tickets[i], 1, ENDPOINT_FAILS, 0, &rnd);
	due = endpoint_next(&e, 1);
	for (size_t i = 5; i < 9; i++)
		endpoint_done(&e, &tickets[i], 2, ENDPOINT_FAILS, 0, &rnd);
	assert_true(endpoint_next(&e, 2) == due);
	endpoint_done(&e, &tickets[9], 3, ENDPOINT_GOOD, 0, &rnd);
	assert_int_equal(e.phase, ENDPOINT_OK);
}

static void what_it_refuses_says_that_it_is_alive(void **state)
{
	struct endpoint e = fresh(8, 0);

	(void)state;
	for (size_t i = 0; i < 50; i++)
		once(&e, 0, 0, ENDPOINT_ALIVE);
	assert_int_equal(e.phase, ENDPOINT_OK);
	for (size_t i = 0; i < 4; i++)
		once(&e, 0, 0, ENDPOINT_FAILS);
	once(&e, 0, 0, ENDPOINT_ALIVE);
	once(&e, 0, 0, ENDPOINT_FAILS);
	assert_int_equal(e.phase, ENDPOINT_OK);
}

static void a_starting_server_gets_one_request_at_a_time_that_waits_for_it(void **state)
{
	struct endpoint e = fresh(8, 10 * MINUTE);
	struct endpoint_ticket ticket;
	int64_t now = 0;
	size_t asked = 0;

	(void)state;
	once(&e, 0, 0, ENDPOINT_STARTS);
	assert_int_equal(e.phase, ENDPOINT_WARMING);
	while (e.phase == ENDPOINT_WARMING && now < HOUR) {
		int64_t due = endpoint_next(&e, now);

		assert_true(due - now <= 15000);
		now = due;
		endpoint_start(&e, now, 0, &ticket);
		assert_true(ticket.probe && ticket.wake);
		assert_false(endpoint_room(&e, now));
		endpoint_done(&e, &ticket, now, ENDPOINT_STARTS, 0, &rnd);
		asked++;
	}
	assert_int_equal(e.phase, ENDPOINT_OPEN);
	assert_true(now >= 10 * MINUTE && now < 11 * MINUTE);
	assert_true(asked >= 40 && asked < 100);
	now = endpoint_next(&e, now);
	once(&e, now, now, ENDPOINT_STARTS);
	now = endpoint_next(&e, now);
	once(&e, now, now + 3 * MINUTE, ENDPOINT_GOOD);
	assert_int_equal(e.phase, ENDPOINT_OK);
	assert_true(e.latency == 0); /* three minutes were not its speed */
}

static void without_scale_up_it_is_a_failing_one(void **state)
{
	struct endpoint e = fresh(8, 0);

	(void)state;
	for (size_t i = 0; i < 5; i++)
		once(&e, 0, 0, ENDPOINT_STARTS);
	assert_int_equal(e.phase, ENDPOINT_OPEN);
}

static void retry_after_is_waited_for(void **state)
{
	struct endpoint e = fresh(8, 0);
	struct endpoint_ticket ticket;
	int64_t due;

	(void)state;
	endpoint_start(&e, 0, 0, &ticket);
	endpoint_done(&e, &ticket, 100, ENDPOINT_THROTTLES, 7000, &rnd);
	due = endpoint_next(&e, 100);
	assert_true(due >= 7100 && due <= 7800);
	assert_false(endpoint_room(&e, due - 1));
	assert_true(endpoint_room(&e, due));
	assert_int_equal(e.phase, ENDPOINT_OK);
	assert_true(e.limit < 2);
}

static void the_limit_falls_once_a_round_trip(void **state)
{
	struct endpoint e = fresh(64, 0);
	struct endpoint_ticket tickets[10];

	(void)state;
	e.limit = 10;
	for (size_t i = 0; i < 10; i++)
		endpoint_start(&e, 5, 0, &tickets[i]);
	for (size_t i = 0; i < 9; i++)
		endpoint_done(&e, &tickets[i], 100, ENDPOINT_THROTTLES, 0, &rnd);
	assert_true(e.limit == 7);
	for (size_t i = 0; i < 20; i++) {
		endpoint_start(&e, 200 + (int64_t)i, 0, &tickets[0]);
		endpoint_done(&e, &tickets[0], 200 + (int64_t)i, ENDPOINT_TIMES_OUT, 0, &rnd);
	}
	assert_true(e.limit >= 1);
}

static void a_stopped_one_stays_so_until_it_is_resumed(void **state)
{
	struct endpoint e = fresh(8, 0);
	struct endpoint_ticket late;

	(void)state;
	endpoint_start(&e, 0, 0, &late);
	once(&e, 0, 0, ENDPOINT_STOPS);
	endpoint_done(&e, &late, 5, ENDPOINT_GOOD, 0, &rnd);
	assert_int_equal(e.phase, ENDPOINT_STOPPED);
	assert_false(endpoint_room(&e, 1000 * HOUR));
	assert_true(endpoint_next(&e, 5) == INT64_MAX);
	endpoint_resume(&e, 10);
	assert_true(endpoint_room(&e, 10));
}

static void retries_run_out_where_more_than_every_third_fails(void **state)
{
	struct endpoint third = fresh(8, 0), half = fresh(8, 0);
	size_t refused = 0;

	(void)state;
	for (size_t i = 0; i < 3000; i++) {
		if (i % 10 < 3)
			assert_true(endpoint_may_retry(&third, false));
		else
			once(&third, 0, 0, ENDPOINT_GOOD);
		if (i % 2)
			refused += !endpoint_may_retry(&half, false);
		else
			once(&half, 0, 0, ENDPOINT_GOOD);
	}
	assert_true(refused > 600 && refused < 800);
	/* timeouts cost twice as much */
	half.budget = 4;
	assert_true(endpoint_may_retry(&half, true));
	assert_false(endpoint_may_retry(&half, false));
}

static void what_takes_far_longer_than_usual_is_stuck(void **state)
{
	struct endpoint e = fresh(8, 0);

	(void)state;
	assert_int_equal(endpoint_stuck_ms(&e), 30000);
	once(&e, 0, 0, ENDPOINT_GOOD); /* in less than a millisecond */
	assert_int_equal(endpoint_stuck_ms(&e), 1000);
	for (int64_t i = 0; i < 100; i++)
		once(&e, i * 10000, i * 10000 + 2000, ENDPOINT_GOOD);
	assert_true(endpoint_stuck_ms(&e) >= 4000 && endpoint_stuck_ms(&e) < 5000);
}

static void sizes_have_classes(void **state)
{
	(void)state;
	assert_int_equal(endpoint_class_of(1), 0);
	assert_int_equal(endpoint_class_of(256 * 256), 0);
	assert_int_equal(endpoint_class_of(512 * 512), 2);
	assert_int_equal(endpoint_class_of(1024 * 1024), 4);
	assert_int_equal(endpoint_class_of(SIZE_MAX), ENDPOINT_CLASSES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(five_failures_in_a_row_open_the_breaker_and_a_probe_closes_it),
	    cmocka_unit_test(only_one_probe_is_under_way_and_pauses_double),
	    cmocka_unit_test(more_than_half_of_the_last_opens_it_too),
	    cmocka_unit_test(failures_that_were_sent_before_it_opened_change_nothing),
	    cmocka_unit_test(what_it_refuses_says_that_it_is_alive),
	    cmocka_unit_test(a_starting_server_gets_one_request_at_a_time_that_waits_for_it),
	    cmocka_unit_test(without_scale_up_it_is_a_failing_one),
	    cmocka_unit_test(retry_after_is_waited_for),
	    cmocka_unit_test(the_limit_falls_once_a_round_trip),
	    cmocka_unit_test(a_stopped_one_stays_so_until_it_is_resumed),
	    cmocka_unit_test(retries_run_out_where_more_than_every_third_fails),
	    cmocka_unit_test(what_takes_far_longer_than_usual_is_stuck),
	    cmocka_unit_test(sizes_have_classes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
