#include "daemon/busy_window.h"
#include "daemon/stage_meter.h"

#include "tests/testing.h"

#include "base/clock.h"
#include "base/thread.h"

#define MS INT64_C(1000000)

static void images_fall_into_the_bucket_of_their_time(void **state)
{
	struct stage_meter *m = stage_meter_new();
	struct stage_sums sums;

	(void)state;
	stage_meter_did(m, STAGE_WRITE, 1, 1 * MS); /* the bound belongs to its bucket */
	stage_meter_did(m, STAGE_WRITE, 1, 1 * MS + 1);
	stage_meter_did(m, STAGE_WRITE, 16, 61000 * MS); /* a batch */
	stage_meter_sums(m, STAGE_WRITE, &sums);
	assert_int_equal(sums.buckets[0], 1);
	assert_int_equal(sums.buckets[1], 1);
	assert_int_equal(sums.buckets[STAGE_BUCKETS - 1], 1);
	assert_int_equal(sums.images, 18);
	assert_int_equal(sums.took_ns, 61002 * MS + 1);
	stage_meter_free(m);
}

/* From the clock outside: never more than was there, never less than passed in between. */
static void busy_time_is_counted_for_each_worker_also_while_it_works(void **state)
{
	struct stage_meter *m = stage_meter_new();
	int64_t before = clock_mono_ns(), entered, read;
	struct stage_sums sums;

	(void)state;
	stage_meter_enter(m, STAGE_READ);
	stage_meter_enter(m, STAGE_READ);
	entered = clock_mono_ns();
	while (clock_mono_ns() < entered + 2 * MS)
		;
	read = clock_mono_ns();
	stage_meter_sums(m, STAGE_READ, &sums);
	assert_int_equal(sums.active, 2);
	assert_true((int64_t)sums.busy_ns >= 2 * (read - entered));
	assert_true((int64_t)sums.busy_ns <= 2 * (clock_mono_ns() - before));
	stage_meter_leave(m, STAGE_READ);
	stage_meter_leave(m, STAGE_READ);
	stage_meter_sums(m, STAGE_READ, &sums);
	assert_int_equal(sums.active, 0);
	stage_meter_free(m);
}

static void what_was_resizing_is_taken_from_decoding_and_nothing_goes_back(void **state)
{
	struct stage_meter *m = stage_meter_new();
	struct stage_sums before, decode, resize;
	int64_t began = clock_mono_ns(), end;

	(void)state;
	stage_meter_enter(m, STAGE_DECODE);
	while (clock_mono_ns() < began + 2 * MS)
		;
	stage_meter_sums(m, STAGE_DECODE, &before); /* a reader sees all of it as decoding */
	stage_meter_shift(m, STAGE_DECODE, STAGE_RESIZE, 1 * MS);
	stage_meter_leave(m, STAGE_DECODE);
	end = clock_mono_ns();
	stage_meter_sums(m, STAGE_DECODE, &decode);
	stage_meter_sums(m, STAGE_RESIZE, &resize);
	assert_int_equal(resize.busy_ns, 1 * MS);
	assert_true(decode.busy_ns >= before.busy_ns);
	/* it is made up for by what comes */
	stage_meter_enter(m, STAGE_DECODE);
	while (clock_mono_ns() < end + 3 * MS)
		;
	stage_meter_leave(m, STAGE_DECODE);
	stage_meter_sums(m, STAGE_DECODE, &decode);
	assert_true((int64_t)decode.busy_ns <= clock_mono_ns() - began - 1 * MS);
	stage_meter_free(m);
}

static void *count_much(void *m)
{
	for (int i = 0; i < 1000; i++) {
		stage_meter_enter(m, STAGE_ENCODE);
		stage_meter_did(m, STAGE_ENCODE, 2, 5);
		stage_meter_leave(m, STAGE_ENCODE);
	}
	return NULL;
}

static void threads_do_not_lose_counts(void **state)
{
	struct stage_meter *m = stage_meter_new();
	struct error err = ERROR_INIT;
	struct stage_sums sums;
	struct thread threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_ok(thread_start(&threads[i], "count", count_much, m, &err), &err);
	for (int i = 0; i < 4; i++)
		thread_join(&threads[i]);
	stage_meter_sums(m, STAGE_ENCODE, &sums);
	assert_int_equal(sums.images, 8000);
	assert_int_equal(sums.active, 0);
	stage_meter_free(m);
}

static void no_meter_counts_nothing(void **state)
{
	struct stage_sums sums = {.images = 1};

	(void)state;
	stage_meter_enter(NULL, STAGE_OPEN);
	stage_meter_did(NULL, STAGE_OPEN, 1, 1);
	stage_meter_shift(NULL, STAGE_DECODE, STAGE_RESIZE, 1);
	stage_meter_leave(NULL, STAGE_OPEN);
	stage_meter_sums(NULL, STAGE_OPEN, &sums);
	assert_int_equal(sums.images, 0);
}

static void a_window_looks_only_so_far_back(void **state)
{
	struct busy_window w = {.n = 0};

	(void)state;
	assert_true(busy_window_busy(&w, 15) < 0);
	busy_window_add(&w, 0, 0, 0);
	assert_true(busy_window_rate(&w, 60) < 0);
	for (int64_t s = 1; s <= 100; s++) /* 2 workers and 10 images/s; at last 1 and 40 */
		busy_window_add(&w, s * 1000 * MS,
				(uint64_t)((s < 86 ? 2 * s : 85 + s) * 1000 * MS),
				(uint64_t)(s < 86 ? 10 * s : 850 + 40 * (s - 85)));
	assert_true(busy_window_busy(&w, BUSY_WINDOW_NOW) == 1);
	assert_true(busy_window_rate(&w, 15) == 40);
	assert_true(busy_window_rate(&w, BUSY_WINDOW_MINUTE) == (45 * 10 + 15 * 40) / 60.0);
	assert_true(busy_window_rate(&w, 1000) == busy_window_rate(&w, BUSY_WINDOW_MINUTE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(images_fall_into_the_bucket_of_their_time),
	    cmocka_unit_test(busy_time_is_counted_for_each_worker_also_while_it_works),
	    cmocka_unit_test(what_was_resizing_is_taken_from_decoding_and_nothing_goes_back),
	    cmocka_unit_test(threads_do_not_lose_counts),
	    cmocka_unit_test(no_meter_counts_nothing),
	    cmocka_unit_test(a_window_looks_only_so_far_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
