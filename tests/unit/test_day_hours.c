#include "base/day_hours.h"
#include "tests/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Central Europe: forward on the last Sunday of March at 2:00, back on that of October at 3:00. */
#define ZONE "CET-1CEST,M3.5.0,M10.5.0/3"

/* "2026-03-29T00:59Z", seconds may follow */
static int64_t at(const char *utc)
{
	struct tm t = {0};
	const char *end = strptime(utc, "%Y-%m-%dT%H:%M", &t);

	assert_non_null(end);
	if (*end == ':')
		t.tm_sec = atoi(end + 1);
	return (int64_t)timegm(&t) * 1000;
}

static struct day_hours hours_of(const char *text)
{
	struct day_hours h = {0, 0};

	assert_true(day_hours_parse(text, &h));
	return h;
}

static void only_two_different_times_are_hours(void **state)
{
	static const char *const good[] = {"20:00-08:00", "00:00-24:00", "23:59-00:00",
					   "08:30-24:00", "00:01-00:00"};
	static const char *const bad[] = {"",
					  "8:00-20:00",
					  "20:00",
					  "20:00-",
					  "20:00-08:00 ",
					  " 20:00-08:00",
					  "20:00-20:00",
					  "24:00-08:00",
					  "20:60-08:00",
					  "20:00-24:01",
					  "20:00-25:00",
					  "20.00-08.00",
					  "20:00--08:00",
					  "-1:00-08:00",
					  "20:00-08:0x"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(day_hours_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(day_hours_valid(bad[i]));
	assert_int_equal(hours_of("20:15-08:30").from, 20 * 60 + 15);
	assert_int_equal(hours_of("20:15-08:30").until, 8 * 60 + 30);
}

static void the_local_clock_says_whether_they_hold_and_when_that_changes(void **state)
{
	static const struct {
		const char *hours, *now;
		bool hold;
		const char *change; /* NULL: none */
	} cases[] = {
	    /* in winter, UTC+1: by day, over midnight, to its end, all day */
	    {"08:00-20:00", "2026-01-15T06:59", false, "2026-01-15T07:00"},
	    {"08:00-20:00", "2026-01-15T07:00", true, "2026-01-15T19:00"},
	    {"08:00-20:00", "2026-01-15T18:59:59", true, "2026-01-15T19:00"},
	    {"08:00-20:00", "2026-01-15T19:00", false, "2026-01-16T07:00"},
	    {"20:00-08:00", "2026-01-15T18:59", false, "2026-01-15T19:00"},
	    {"20:00-08:00", "2026-01-15T19:00", true, "2026-01-16T07:00"},
	    {"20:00-08:00", "2026-01-15T23:30", true, "2026-01-16T07:00"},
	    {"20:00-08:00", "2026-01-16T07:00", false, "2026-01-16T19:00"},
	    {"20:00-24:00", "2026-01-15T22:59", true, "2026-01-15T23:00"},
	    {"00:00-24:00", "2026-01-15T12:00", true, NULL},
	    {"23:59-00:00", "2026-01-15T22:59:30", true, "2026-01-15T23:00"},
	    /* in summer, UTC+2 */
	    {"20:00-08:00", "2026-07-15T17:59", false, "2026-07-15T18:00"},
	    {"20:00-08:00", "2026-07-15T18:00", true, "2026-07-16T06:00"},
	    /* the night that is an hour short: from 20:00 CET to 08:00 CEST are eleven hours */
	    {"20:00-08:00", "2026-03-28T19:00", true, "2026-03-29T06:00"},
	    /* it begins in the hour that is left out: with the clock's next time; or not at all */
	    {"02:30-04:00", "2026-03-29T00:59", false, "2026-03-29T01:00"},
	    {"02:10-02:50", "2026-03-29T00:30", false, "2026-03-30T00:10"},
	    {"01:00-02:30", "2026-03-29T00:30", true, "2026-03-29T01:00"},
	    /* the night that is an hour longer: thirteen hours */
	    {"20:00-08:00", "2026-10-24T18:00", true, "2026-10-25T07:00"},
	    /* 02:00 to 03:00 comes twice */
	    {"02:15-02:45", "2026-10-25T00:20", true, "2026-10-25T00:45"},
	    {"02:15-02:45", "2026-10-25T00:50", false, "2026-10-25T01:15"},
	    {"02:15-02:45", "2026-10-25T01:20", true, "2026-10-25T01:45"},
	    {"02:30-04:00", "2026-10-25T00:59", true, "2026-10-25T01:00"},
	    {"02:30-04:00", "2026-10-25T01:00", false, "2026-10-25T01:30"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct day_hours h = hours_of(cases[i].hours);
		int64_t change = cases[i].change ? at(cases[i].change) : 0;

		print_message("%s at %sZ\n", cases[i].hours, cases[i].now);
		assert_int_equal(day_hours_hold(&h, at(cases[i].now)), cases[i].hold);
		assert_int_equal(day_hours_change(&h, at(cases[i].now)), change);
	}
}

/* Minute by minute through a year, against the definition. */
static void whatever_the_day_a_change_is_the_first_minute_that_is_otherwise(void **state)
{
	struct day_hours h = hours_of("22:10-02:20");
	int64_t from = at("2026-01-01T00:00"), next = 0;
	bool held = day_hours_hold(&h, from);

	(void)state;
	next = day_hours_change(&h, from);
	for (int64_t t = from; t < from + (int64_t)365 * 24 * 3600 * 1000; t += 60 * 1000) {
		bool holds = day_hours_hold(&h, t);

		assert_int_equal(holds != held, t == next);
		if (holds != held)
			next = day_hours_change(&h, t);
		held = holds;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_two_different_times_are_hours),
	    cmocka_unit_test(the_local_clock_says_whether_they_hold_and_when_that_changes),
	    cmocka_unit_test(whatever_the_day_a_change_is_the_first_minute_that_is_otherwise),
	};

	setenv("TZ", ZONE, 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
