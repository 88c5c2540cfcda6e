/*
 * Forecasts of simulated runs, whose speed changes in ways that real ones know.
 */
#include "daemon/eta.h"

#include "tests/testing.h"

#include "base/checked.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* -- chance, the same every time --------------------------------------------------------------------- */

static uint64_t chance_state;

static double uniform(void)
{
	chance_state = chance_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (double)(chance_state >> 11) / 9007199254740992.0;
}

static double between(double low, double high)
{
	return low + (high - low) * uniform();
}

static double normal(void)
{
	return sqrt(-2 * log(uniform() + 1e-12)) * cos(2 * 3.14159265358979 * uniform());
}

/* -- runs -------------------------------------------------------------------------------------------- */

enum kind {
	STEADY,
	NOISY,
	STEP,	   /* another speed from some moment on: other images, a GPU more */
	DRIFT,	   /* slower or faster all the time */
	IN_TURNS,  /* folders of small and of large images */
	IN_LUMPS,  /* a batch every now and then */
	WANDERING, /* endpoints that others use too */
	KINDS,
};

struct run {
	enum kind kind;
	double speed, factor, at, period, level;
	size_t seconds; /* about */
	uint64_t images;
};

static struct run run_of(enum kind kind)
{
	struct run r = {.kind = kind, .level = 1};

	r.speed = exp(between(log(2), log(400)));
	r.seconds = (size_t)exp(between(log(300), log(20000)));
	r.images = (uint64_t)(r.speed * (double)r.seconds);
	r.factor = exp(between(-0.7, 0.7));
	r.at = uniform();
	r.period = (double)r.seconds * between(0.02, 0.3);
	return r;
}

/* Images a second, @t seconds after the beginning. */
static double speed_at(struct run *r, double t, double ended)
{
	switch (r->kind) {
	case STEADY:
		return r->speed * (1 + 0.02 * normal());
	case NOISY:
		return r->speed * exp(0.3 * normal());
	case STEP:
		return r->speed * exp(0.1 * normal()) * (ended < r->at ? 1 : r->factor);
	case DRIFT:
		return r->speed * exp(0.1 * normal() + log(r->factor) * ended);
	case IN_TURNS:
		return r->speed * (fmod(t, r->period) < r->period / 2 ? r->factor : 1 / r->factor);
	case IN_LUMPS:
		return fmod(t, 20) < 1 ? r->speed * 20 : 0;
	default:
		r->level *= exp(0.5 / sqrt((double)r->seconds) * normal());
		return r->speed * r->level;
	}
}

struct score {
	size_t asked, in_range, known;
	double width; /* sum of log(high / low) */
};

/* Runs @r to its end, asked at @n moments on the way. */
static void play(struct run *r, struct score *score)
{
	enum { ASKED = 6 };
	struct eta eta = ETA_INIT;
	struct eta_range ranges[ASKED];
	double done = 0, next = between(0.04, 0.16);
	int64_t asked_at[ASKED], now = 1000;
	size_t n = 0;

	for (; done < (double)r->images; now += 1000) {
		double ended = done / (double)r->images;

		eta_tick(&eta, now, (uint64_t)done, true);
		if (ended > next && n < ASKED) {
			score->asked++;
			next += 0.16;
			if (eta_forecast(&eta, r->images - (uint64_t)done, &ranges[n]))
				asked_at[n++] = now;
		}
		done += fmax(0, speed_at(r, (double)now / 1000, ended));
	}
	for (size_t i = 0; i < n; i++) {
		double took = (double)(now - asked_at[i]) / 1000;

		score->known++;
		score->in_range +=
		    took >= (double)ranges[i].low_s - 1 && took <= (double)ranges[i].high_s + 1;
		score->width += log((double)(ranges[i].high_s + 1) / (double)(ranges[i].low_s + 1));
	}
}

static void the_true_end_lies_in_the_range_nine_times_of_ten(void **state)
{
	static const char *const names[KINDS] = {"steady",   "noisy",	 "step",     "drift",
						 "in turns", "in lumps", "wandering"};
	struct score all = {.asked = 0};

	(void)state;
	chance_state = 12;
	for (int kind = 0; kind < KINDS; kind++) {
		struct score score = {.asked = 0};

		for (int i = 0; i < 120; i++) {
			struct run r = run_of((enum kind)kind);

			play(&r, &score);
		}
		printf("%-10s %3zu of %3zu in range, high / low %.2f\n", names[kind],
		       score.in_range, score.known, exp(score.width / (double)score.known));
		assert_true((double)score.in_range >= 0.75 * (double)score.known);
		all.asked += score.asked;
		all.known += score.known;
		all.in_range += score.in_range;
		all.width += score.width;
	}
	printf("%-10s %3zu of %3zu in range, high / low %.2f\n", "all", all.in_range, all.known,
	       exp(all.width / (double)all.known));
	assert_true((double)all.in_range >= 0.9 * (double)all.known);
	assert_int_equal(all.known, all.asked);
	/* A range that says nothing would be right too. */
	assert_true(exp(all.width / (double)all.known) < 2.2);
}

/* -- what is certain --------------------------------------------------------------------------------- */

static void run_steadily(struct eta *e, int64_t from, int64_t to, uint64_t *done, uint64_t rate)
{
	for (int64_t s = from; s <= to; s++, *done += rate)
		eta_tick(e, s * 1000, *done, true);
}

static void nothing_is_foretold_of_nothing(void **state)
{
	struct eta e = ETA_INIT;
	struct eta_range range;
	uint64_t done = 0;

	(void)state;
	assert_false(eta_forecast(&e, 10, &range));
	run_steadily(&e, 1, 30, &done, 0);
	assert_false(eta_forecast(&e, 10, &range));
}

static void what_is_done_has_no_time_left(void **state)
{
	struct eta e = ETA_INIT;
	struct eta_range range = {1, 1, 1};

	(void)state;
	assert_true(eta_forecast(&e, 0, &range));
	assert_int_equal(range.low_s + range.likely_s + range.high_s, 0);
}

static void a_long_steady_run_is_foretold_closely(void **state)
{
	struct eta e = ETA_INIT;
	struct eta_range range;
	uint64_t done = 0;

	(void)state;
	run_steadily(&e, 1, 40000, &done, 7);
	assert_true(eta_forecast(&e, 7 * 1000, &range));
	assert_in_range(range.likely_s, 995, 1005);
	assert_in_range(range.low_s, 700, 999);
	assert_in_range(range.high_s, 1001, 1400);
}

static void a_pause_is_no_slow_time(void **state)
{
	struct eta e = ETA_INIT, paused = ETA_INIT;
	struct eta_range range, after;
	uint64_t done = 0, same = 0;

	(void)state;
	run_steadily(&e, 1, 200, &done, 5);
	run_steadily(&paused, 1, 100, &same, 5);
	eta_tick(&paused, 100 * 1000 + 1, same, false);
	run_steadily(&paused, 5000, 5100, &same, 5);
	assert_true(eta_forecast(&e, 1000, &range));
	assert_true(eta_forecast(&paused, 1000, &after));
	assert_in_range(after.likely_s, range.likely_s - 2, range.likely_s + 2);
	assert_in_range(after.high_s, range.high_s - 20, range.high_s + 20);
}

static void a_loop_that_was_late_has_lost_nothing(void **state)
{
	struct eta e = ETA_INIT;
	struct eta_range range;

	(void)state;
	eta_tick(&e, 1000, 0, true);
	eta_tick(&e, 301 * 1000, 3000, true); /* five minutes later */
	assert_true(eta_forecast(&e, 1000, &range));
	assert_in_range(range.likely_s, 99, 102);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_true_end_lies_in_the_range_nine_times_of_ten),
	    cmocka_unit_test(nothing_is_foretold_of_nothing),
	    cmocka_unit_test(what_is_done_has_no_time_left),
	    cmocka_unit_test(a_long_steady_run_is_foretold_closely),
	    cmocka_unit_test(a_pause_is_no_slow_time),
	    cmocka_unit_test(a_loop_that_was_late_has_lost_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
