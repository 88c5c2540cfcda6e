#include "daemon/history.h"

#include "queue/queue_open.h"
#include "tests/testing.h"

#include "base/checked.h"

#define SECOND ((int64_t)1000)
#define HOUR   (3600 * SECOND)
#define START  (INT64_C(1700000100) * SECOND) /* the beginning of five minutes */

struct fixture {
	struct history *h;
	struct queue *q;
	struct history_row rows[HISTORY_PLACES];
	size_t n;
	struct error err;
};

static int open_history(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->h = history_new();
	assert_ok(queue_memory_open(&f->q, &f->err), &f->err);
	*state = f;
	return 0;
}

static int close_history(void **state)
{
	struct fixture *f = *state;

	history_free(f->h);
	queue_close(f->q);
	free(f);
	return 0;
}

/* @seconds of work from @wall on, @speed images in each. Returns how many images there are then. */
static uint64_t work(struct fixture *f, int64_t wall, int64_t seconds, uint64_t images,
		     uint64_t speed)
{
	static int64_t mono = 77000;

	for (int64_t i = 0; i < seconds; i++) {
		images += speed;
		mono += SECOND;
		history_note(f->h, wall + i * SECOND, mono, images, 1000 - images % 1000);
	}
	return images;
}

static void read_at(struct fixture *f, enum history_series series, int64_t wall)
{
	history_read(f->h, series, wall, f->rows, &f->n);
	for (size_t i = 0; i < f->n; i++) {
		assert_int_equal(f->rows[i].at % history_step_ms(series), 0);
		assert_true(i == 0 || f->rows[i].at > f->rows[i - 1].at);
	}
}

static void restart(struct fixture *f)
{
	history_flush(f->h, f->q);
	history_free(f->h);
	f->h = history_new();
	assert_ok(history_restore(f->h, f->q, &f->err), &f->err);
}

static void seconds_become_stretches_of_ten_and_of_three_hundred(void **state)
{
	struct fixture *f = *state;

	work(f, START, 615, 0, 4);
	read_at(f, HISTORY_HOUR, START + 615 * SECOND);
	assert_int_equal(f->n, 62);
	assert_int_equal(f->rows[0].at, START);
	assert_int_equal(f->rows[0].ms, 9 * SECOND); /* the first second only begins it */
	assert_int_equal(f->rows[0].images, 36);
	assert_int_equal(f->rows[1].ms, 10 * SECOND);
	assert_int_equal(f->rows[1].images, 40);
	assert_int_equal(f->rows[1].todo, 1000 - 80);
	assert_int_equal(f->rows[61].ms, 5 * SECOND);
	read_at(f, HISTORY_DAY, START + 615 * SECOND);
	assert_int_equal(f->n, 3);
	assert_int_equal(f->rows[1].at, START + 300 * SECOND);
	assert_int_equal(f->rows[1].ms, 300 * SECOND);
	assert_int_equal(f->rows[1].images, 1200);
}

static void a_series_shows_its_hour_or_its_day_and_no_more(void **state)
{
	struct fixture *f = *state;

	work(f, START, 26 * 3600, 0, 1);
	read_at(f, HISTORY_HOUR, START + 26 * HOUR - SECOND);
	assert_int_equal(f->n, 360);
	assert_int_equal(f->rows[0].at, START + 25 * HOUR);
	read_at(f, HISTORY_DAY, START + 26 * HOUR - SECOND);
	assert_int_equal(f->n, 288);
	assert_int_equal(f->rows[0].at, START + 2 * HOUR);
	for (size_t i = 0; i < f->n; i++)
		assert_int_equal(f->rows[i].images, 300);
	/* long afterwards nothing is shown that is older */
	read_at(f, HISTORY_DAY, START + 49 * HOUR);
	assert_int_equal(f->n, 11);
	read_at(f, HISTORY_DAY, START + 80 * HOUR);
	assert_int_equal(f->n, 0);
}

static void a_restart_goes_on_in_the_same_stretch(void **state)
{
	struct fixture *f = *state;

	work(f, START, 25, 0, 2);
	restart(f);
	read_at(f, HISTORY_HOUR, START + 25 * SECOND);
	assert_int_equal(f->n, 3);
	assert_int_equal(f->rows[2].images, 10);
	/* counters begin anew with the process */
	work(f, START + 26 * SECOND, 3, 0, 2);
	read_at(f, HISTORY_HOUR, START + 29 * SECOND);
	assert_int_equal(f->n, 3);
	assert_int_equal(f->rows[2].images, 14);
	assert_int_equal(f->rows[2].ms, 7 * SECOND);
	read_at(f, HISTORY_DAY, START + 29 * SECOND);
	assert_int_equal(f->n, 1);
	assert_int_equal(f->rows[0].images, 48 + 4);
}

static void only_what_changed_is_written_again(void **state)
{
	struct fixture *f = *state;
	struct history_row other = {.series = 0,
				    .place = (uint32_t)(START / 10000 % 360),
				    .at = START,
				    .ms = 1,
				    .images = 5};

	work(f, START, 25, 0, 2);
	history_flush(f->h, f->q);
	assert_ok(queue_keep_history(f->q, &other, 1, &f->err), &f->err);
	work(f, START + 25 * SECOND, 2, 50, 2);
	restart(f);
	read_at(f, HISTORY_HOUR, START + 25 * SECOND);
	assert_int_equal(f->n, 3);
	assert_int_equal(f->rows[0].images, 5);
	assert_int_equal(f->rows[2].images, 14);
}

static void a_clock_that_jumps_costs_no_row_and_makes_no_image(void **state)
{
	struct fixture *f = *state;
	uint64_t images = work(f, START, 60, 0, 2);

	/* three days ahead, then back by three days and half an hour: the future is not shown */
	images = work(f, START + 72 * HOUR, 20, images, 2);
	read_at(f, HISTORY_HOUR, START + 72 * HOUR + 20 * SECOND);
	assert_int_equal(f->n, 2);
	images = work(f, START - HOUR / 2, 20, images, 2);
	read_at(f, HISTORY_HOUR, START - HOUR / 2 + 20 * SECOND);
	assert_int_equal(f->n, 2);
	assert_int_equal(f->rows[0].images, 20);
	read_at(f, HISTORY_HOUR, START + 70 * SECOND);
	assert_int_equal(f->n, 6);
	/* before 1970 there is nothing */
	work(f, -5 * HOUR, 20, images, 2);
	read_at(f, HISTORY_HOUR, -5 * HOUR + 20 * SECOND);
	assert_int_equal(f->n, 0);
	/* the same ten seconds ten times are still ten seconds */
	for (int i = 0; i < 10; i++)
		work(f, START + 100 * HOUR, 10, images, 0);
	read_at(f, HISTORY_HOUR, START + 100 * HOUR);
	assert_int_equal(f->rows[f->n - 1].ms, 10 * SECOND);
}

static void a_clock_that_is_set_back_doubles_no_speed(void **state)
{
	struct fixture *f = *state;
	uint64_t images = work(f, START, 600, 0, 2);

	images = work(f, START, 600, images, 3);
	for (int series = 0; series < HISTORY_SERIES; series++) {
		read_at(f, (enum history_series)series, START + 600 * SECOND - 1);
		assert_true(f->n > 1);
		for (size_t i = 0; i < f->n; i++)
			assert_int_equal(f->rows[i].images, 3 * f->rows[i].ms / SECOND);
	}
	/* but one that is put right by a little goes on where it was */
	work(f, START + 598 * SECOND, 2, images, 3);
	read_at(f, HISTORY_HOUR, START + 600 * SECOND - 1);
	assert_int_equal(f->rows[59].images, 36);
}

static void a_process_that_stood_still_has_a_gap_and_loses_no_image(void **state)
{
	struct fixture *f = *state;

	history_note(f->h, START, 1000, 0, 9);
	history_note(f->h, START + SECOND, 2000, 3, 6);
	history_note(f->h, START + HOUR, 2000 + HOUR, 5, 4);
	history_note(f->h, START + HOUR + SECOND, 3000 + HOUR, 7, 2);
	read_at(f, HISTORY_DAY, START + HOUR + SECOND);
	assert_int_equal(f->n, 2);
	assert_int_equal(f->rows[1].ms, 300 * SECOND);
	assert_int_equal(f->rows[1].images, 4);
}

static void rows_that_cannot_be_are_not_taken_over(void **state)
{
	struct fixture *f = *state;
	const struct history_row rows[] = {
	    {7, 0, START, 5, 5, 5},  {1, 288, START, 5, 5, 5},	     {1, 0, START + 1, 5, 5, 5},
	    {1, 1, 0, 5, 5, 5},	     {1, 2, START, 5, 5, 5},	     {0, 359, INT64_MIN, 5, 5, 5},
	    {0, 3, START, -1, 5, 5}, {1, UINT32_MAX, START, 5, 5, 5}};

	assert_int_not_equal(START / 300000 % 288, 2);
	assert_ok(queue_keep_history(f->q, rows, ARRAY_SIZE(rows), &f->err), &f->err);
	assert_ok(history_restore(f->h, f->q, &f->err), &f->err);
	for (int series = 0; series < HISTORY_SERIES; series++) {
		read_at(f, (enum history_series)series, START + 100 * SECOND);
		assert_int_equal(f->n, 0);
	}
}

#define history_test(name) cmocka_unit_test_setup_teardown(name, open_history, close_history)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    history_test(seconds_become_stretches_of_ten_and_of_three_hundred),
	    history_test(a_series_shows_its_hour_or_its_day_and_no_more),
	    history_test(a_restart_goes_on_in_the_same_stretch),
	    history_test(only_what_changed_is_written_again),
	    history_test(a_clock_that_jumps_costs_no_row_and_makes_no_image),
	    history_test(a_clock_that_is_set_back_doubles_no_speed),
	    history_test(a_process_that_stood_still_has_a_gap_and_loses_no_image),
	    history_test(rows_that_cannot_be_are_not_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
