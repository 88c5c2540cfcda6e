#include "tests/testing.h"

#include "daemon/service_request.h"
#include "daemon/service_status.h"

#include "base/checked.h"
#include "base/thread.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static struct service_status *status_of(int64_t at)
{
	struct service_status *s = service_status_new(2, 1);

	s->taken_at = at;
	s->version = xasprintf("v%lld", (long long)at);
	s->datasets[0].name = xstrdup("first");
	s->datasets[1].name = xstrdup("second");
	s->datasets[1].why = xasprintf("because of %lld", (long long)at);
	s->encoders[0].name = xstrdup("cpu");
	return s;
}

static void what_is_not_known_is_minus_one(void **state)
{
	struct service_status *s = service_status_new(1, 0);

	(void)state;
	assert_int_equal(s->datasets[0].eta.high_s, -1);
	service_status_unref(s);
}

static void a_dataset_is_found_by_its_name(void **state)
{
	struct service_status *s = status_of(1);

	(void)state;
	assert_ptr_equal(service_status_dataset(s, "second"), &s->datasets[1]);
	assert_null(service_status_dataset(s, "secon"));
	service_status_unref(s);
}

static void a_board_without_a_picture_says_so(void **state)
{
	struct status_board *board = status_board_new();

	(void)state;
	assert_null(status_board_get(board));
	status_board_free(board);
}

static void a_picture_that_is_held_outlives_the_next_one_and_the_board(void **state)
{
	struct status_board *board = status_board_new();
	const struct service_status *held;

	(void)state;
	status_board_publish(board, status_of(1));
	held = status_board_get(board);
	status_board_publish(board, status_of(2));
	status_board_free(board);
	assert_int_equal(held->taken_at, 1);
	assert_string_equal(held->datasets[1].why, "because of 1");
	service_status_unref(held);
}

struct readers {
	struct status_board *board;
	atomic_bool end;
	atomic_int wrong;
};

static void *read_until_the_end(void *arg)
{
	struct readers *r = arg;
	int64_t last = 0;

	while (!r->end) {
		const struct service_status *s = status_board_get(r->board);
		char version[32];

		snprintf(version, sizeof(version), "v%lld", (long long)s->taken_at);
		if (strcmp(version, s->version) != 0 || s->taken_at < last)
			r->wrong++;
		last = s->taken_at;
		service_status_unref(s);
	}
	return NULL;
}

static void readers_see_whole_pictures_in_order_while_others_are_published(void **state)
{
	struct readers r = {.board = status_board_new()};
	struct thread threads[3] = {THREAD_INIT, THREAD_INIT, THREAD_INIT};
	struct error err = ERROR_INIT;

	(void)state;
	status_board_publish(r.board, status_of(1));
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_ok(thread_start(&threads[i], "reader", read_until_the_end, &r, &err), &err);
	for (int64_t at = 2; at < 2000; at++)
		status_board_publish(r.board, status_of(at));
	r.end = true;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		thread_join(&threads[i]);
	assert_int_equal(r.wrong, 0);
	status_board_free(r.board);
}

static void every_command_and_state_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < SERVICE_COMMANDS; i++) {
		assert_string_not_equal(service_command_name((enum service_command)i), "unknown");
		for (int j = 0; j < i; j++)
			assert_string_not_equal(service_command_name(i), service_command_name(j));
	}
	assert_string_equal(service_state_name(SERVICE_STOPPING), "stopping");
	assert_string_equal(dataset_state_name(DATASET_BLOCKED), "blocked");
	assert_string_equal(watch_mode_name(WATCH_POLLING), "polling");
	assert_string_equal(encoder_state_name(ENCODER_FAILED), "failed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_not_known_is_minus_one),
	    cmocka_unit_test(a_dataset_is_found_by_its_name),
	    cmocka_unit_test(a_board_without_a_picture_says_so),
	    cmocka_unit_test(a_picture_that_is_held_outlives_the_next_one_and_the_board),
	    cmocka_unit_test(readers_see_whole_pictures_in_order_while_others_are_published),
	    cmocka_unit_test(every_command_and_state_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
