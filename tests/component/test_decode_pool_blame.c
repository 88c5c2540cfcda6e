/*
 * A worker with several images that dies, lies, hangs or is cancelled: one of them is to blame, or none.
 */
#include "decode_rig.h"

#include "base/checked.h"

#include <string.h>

/* @shot came back, and is decoded by another process. */
static void assert_returned_and_works(struct rig *rig, struct shot *shot, char byte)
{
	rig_wait(rig, shot);
	assert_int_equal(shot->end, SHOT_RETURNED);
	rig_works(rig, byte);
}

static void an_image_that_kills_its_worker_costs_no_image_behind_it(void **state)
{
	static const struct {
		const char *lie, *reason, *words;
	} table[] = {{"exit_drawing", "worker_died", "exit status 5"},
		     {"hashed_drawing", "worker_died", "broke the protocol"},
		     {"hang_drawing", "timeout", "not decoded after 1000 ms"}};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const char *lie = table[i].lie;
		cleanup_shot struct shot bad = {.hold = true}, placed = {.hold = true};
		cleanup_shot struct shot seen = {.hold = true};

		rig_start_held(&rig, &bad, lie, strlen(lie));
		rig_start_held(&rig, &placed, "placed", 6);
		rig_start_held(&rig, &seen, "seen", 4);
		rig_place(&bad);
		rig_place(&placed);
		rig_wait(&rig, &bad);
		assert_int_equal(bad.end, SHOT_FAILED);
		assert_string_equal(bad.why.reason, table[i].reason);
		assert_non_null(strstr(bad.why.message, table[i].words));
		assert_returned_and_works(&rig, &placed, 'p');
		assert_returned_and_works(&rig, &seen, 's');
	}
	rig_close(&rig);
}

/* Its file was sent to a process that does not come to read it. */
static void an_image_that_is_not_read_yet_is_returned_too(void **state)
{
	cleanup_shot struct shot bad = {.hold = true}, next = {.skip = false};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 1000);
	rig_start_held(&rig, &bad, "hang_drawing", 12);
	rig_place(&bad);
	rig_start(&rig, &next, "next", 4);
	assert_int_equal(decode_pool_room(rig.pool), 0); /* until it is read */
	rig_wait(&rig, &bad);
	assert_string_equal(bad.why.reason, "timeout");
	assert_returned_and_works(&rig, &next, 'n');
	rig_close(&rig);
}

static void an_image_that_kills_its_worker_when_opened_costs_none_before_it(void **state)
{
	static const char *const lies[] = {"exit", "segv", "header_side", "hang",
					   "exit_after_header"};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		cleanup_shot struct shot held = {.hold = true}, bad = {.hold = true};

		rig_start_held(&rig, &held, "held", 4);
		rig_start(&rig, &bad, lies[i], strlen(lies[i]));
		rig_wait(&rig, &bad);
		assert_int_equal(bad.end, SHOT_FAILED);
		assert_int_equal(bad.why.code, ERR_DATA);
		assert_returned_and_works(&rig, &held, 'h');
	}
	rig_close(&rig);
}

/* What goes wrong when an image is done and nothing is asked is nobody's fault. */
static void what_follows_an_image_that_is_done_is_held_against_no_other(void **state)
{
	cleanup_shot struct shot done = {.hold = true}, held = {.hold = true};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 0);
	rig_start_held(&rig, &done, "done_twice", 10);
	rig_start_held(&rig, &held, "held", 4);
	rig_place(&done);
	rig_wait(&rig, &done);
	assert_int_equal(done.end, SHOT_DONE);
	assert_returned_and_works(&rig, &held, 'h');
	rig_close(&rig);
}

static void time_in_line_behind_another_image_does_not_count(void **state)
{
	cleanup_shot struct shot first = {.hold = true}, second = {.hold = true};
	cleanup_shot struct shot third = {.skip = false};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 1, 2000);
	rig_start_held(&rig, &first, "slow_drawing", 12);
	rig_start_held(&rig, &second, "slow_drawing", 12);
	rig_place(&first);
	rig_place(&second);
	rig_start(&rig, &third, "third", 5); /* is looked at after both: 2.4 s */
	rig_wait(&rig, &third);
	assert_int_equal(first.end, SHOT_DONE);
	assert_int_equal(second.end, SHOT_DONE);
	assert_int_equal(third.end, SHOT_DONE);
	rig_close(&rig);
}

static void an_image_without_memory_costs_none_that_its_worker_holds(void **state)
{
	cleanup_shot struct shot held = {.hold = true}, hog = {.hold = true};
	struct rig rig;

	(void)state;
	if (CONFINE_SANITIZED) {
		print_message("SKIPPED: memory is not limited under sanitizers\n");
		skip();
	}
	rig_open_liar(&rig, 1, 0);
	rig_start_held(&rig, &hog, "hog_drawing", 11);
	rig_start_held(&rig, &held, "held", 4);
	rig_place(&hog);
	rig_wait(&rig, &hog);
	assert_int_equal(hog.why.code, ERR_NOMEM);
	assert_returned_and_works(&rig, &held, 'h');
	rig_close(&rig);
}

static bool is_image(const void *image, const void *arg)
{
	return image == arg;
}

static void cancelling_an_image_returns_all_that_its_worker_has(void **state)
{
	cleanup_shot struct shot drawn = {.hold = true}, held = {.hold = true};
	cleanup_shot struct shot other = {.hold = true};
	struct rig rig;

	(void)state;
	rig_open_liar(&rig, 2, 0);
	rig_start_held(&rig, &drawn, "hang_drawing", 12);
	rig_start_held(&rig, &other, "other", 5);
	rig_start_held(&rig, &held, "held", 4); /* with the first: that has as many images */
	rig_place(&drawn);
	decode_pool_cancel_some(rig.pool, is_image, &held);
	assert_int_equal(drawn.end, SHOT_RETURNED);
	assert_int_equal(held.end, SHOT_RETURNED);
	assert_int_equal(drawn.ends + held.ends, 2);
	assert_int_equal(other.end, SHOT_RUNNING);
	rig_place(&other);
	rig_wait(&rig, &other);
	assert_int_equal(other.end, SHOT_DONE);
	rig_works(&rig, 'a');
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_image_that_kills_its_worker_costs_no_image_behind_it),
	    cmocka_unit_test(an_image_that_is_not_read_yet_is_returned_too),
	    cmocka_unit_test(an_image_that_kills_its_worker_when_opened_costs_none_before_it),
	    cmocka_unit_test(what_follows_an_image_that_is_done_is_held_against_no_other),
	    cmocka_unit_test(time_in_line_behind_another_image_does_not_count),
	    cmocka_unit_test(an_image_without_memory_costs_none_that_its_worker_holds),
	    cmocka_unit_test(cancelling_an_image_returns_all_that_its_worker_has),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
