/*
 * The rules of a client, with a clock of our own and servers that are arithmetic. Statuses and their classes are those of
 * docs/decisions.md.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "net/cost_guard.h"
#include "net/endpoint_set.h"

#include <string.h>

static const int64_t MINUTE = 60 * 1000, HOUR = 60 * 60 * 1000;

static struct retry_random rnd;

static struct endpoint fresh(size_t max, int64_t scale_up_ms)
{
	const struct endpoint_limits limits = {.max_in_flight = max, .scale_up_ms = scale_up_ms};
	struct endpoint e;

	rnd.state = 1;
	endpoint_init(&e, &limits, 0);
	return e;
}

/* A request that begins at @from and ends at @to. */
static void once(struct endpoint *e, int64_t from, int64_t to, enum endpoint_outcome outcome)
{
	struct endpoint_ticket ticket;

	assert_true(endpoint_room(e, from));
	endpoint_start(e, from, 0, &ticket);
	endpoint_done(e, &ticket, to, outcome, 0, &rnd);
}

/* ---- classes, pauses, money --------------------------------------------------------------------------------------- */

static void a_status_has_its_class(void **state)
{
	static const struct {
		long status;
		int64_t after;
		enum retry_class want;
	} cases[] = {
	    {200, 0, RETRY_NOT_NEEDED}, {204, 0, RETRY_NOT_NEEDED}, {301, 0, RETRY_STOP},
	    {307, 0, RETRY_STOP},	{400, 0, RETRY_ELSEWHERE},  {401, 0, RETRY_STOP},
	    {403, 0, RETRY_STOP},	{404, 0, RETRY_STOP},	    {405, 0, RETRY_STOP},
	    {408, 0, RETRY_LATER},	{413, 0, RETRY_REFUSED},    {415, 0, RETRY_REFUSED},
	    {422, 0, RETRY_REFUSED},	{425, 0, RETRY_LATER},	    {429, 0, RETRY_THROTTLED},
	    {429, 9, RETRY_THROTTLED},	{500, 0, RETRY_LATER},	    {502, 0, RETRY_STARTING},
	    {503, 0, RETRY_STARTING},	{503, 9, RETRY_THROTTLED},  {504, 0, RETRY_TIMED_OUT},
	    {520, 0, RETRY_LATER},	{418, 0, RETRY_ELSEWHERE},  {501, 0, RETRY_STOP},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (retry_class_of(HTTP_REPLY, cases[i].status, cases[i].after) != cases[i].want)
			fail_msg("status %ld", cases[i].status);
	}
	assert_int_equal(retry_class_of(HTTP_NOT_REACHED, 0, 0), RETRY_LATER);
	assert_int_equal(retry_class_of(HTTP_BROKEN, 200, 0), RETRY_LATER);
	assert_int_equal(retry_class_of(HTTP_NO_HTTP, 0, 0), RETRY_LATER);
	assert_int_equal(retry_class_of(HTTP_WRONG_SCHEME, 0, 0), RETRY_STOP);
	assert_int_equal(retry_class_of(HTTP_PROXY_REFUSES, 407, 0), RETRY_STOP);
	assert_int_equal(retry_class_of(HTTP_PROXY_REFUSES, 403, 0), RETRY_STOP);
	assert_int_equal(retry_class_of(HTTP_PROXY_REFUSES, 429, 0), RETRY_LATER);
	assert_int_equal(retry_class_of(HTTP_PROXY_REFUSES, 503, 0), RETRY_LATER);
	assert_int_equal(retry_class_of(HTTP_TIMEOUT, 0, 0), RETRY_TIMED_OUT);
	assert_int_equal(retry_class_of(HTTP_UNTRUSTED, 0, 0), RETRY_STOP);
}

static void a_pause_is_anything_between_nothing_and_its_double(void **state)
{
	static const int64_t most[] = {500,  500,   1000,  2000,  4000,
				       8000, 16000, 32000, 60000, 60000};

	(void)state;
	rnd.state = 3;
	for (size_t tries = 0; tries < ARRAY_SIZE(most); tries++) {
		int64_t low = INT64_MAX, high = 0;

		for (size_t i = 0; i < 500; i++) {
			int64_t ms = retry_pause_ms(tries, &rnd);

			low = ms < low ? ms : low;
			high = ms > high ? ms : high;
		}
		assert_true(low >= 0 && low < most[tries] / 20);
		assert_true(high < most[tries] && high > most[tries] * 9 / 10);
	}
	assert_true(retry_pause_ms(SIZE_MAX, &rnd) < MINUTE);
}

static void init_guard(struct cost_guard *guard, uint64_t requests_per_hour, uint64_t bytes_per_day,
		       int64_t now)
{
	const struct cost_limits limits = {.requests_per_hour = requests_per_hour,
					   .bytes_per_day = bytes_per_day};

	cost_guard_init(guard, &limits, now);
}

static void assert_sums(struct cost_guard *guard, int64_t now, uint64_t requests, uint64_t bytes)
{
	struct cost_sums sums = cost_guard_sums(guard, now);

	assert_int_equal(sums.requests, requests);
	assert_int_equal(sums.bytes, bytes);
}

static void the_guard_allows_what_is_left_of_an_hour_and_a_day(void **state)
{
	struct cost_guard guard;
	int64_t now = 5 * HOUR + 1234, wait;

	(void)state;
	init_guard(&guard, 10, 1000, now);
	for (size_t i = 0; i < 10; i++) {
		assert_int_equal(cost_guard_wait_ms(&guard, now), 0);
		assert_true(cost_guard_take(&guard, now, 10));
	}
	assert_false(cost_guard_take(&guard, now, 0));
	wait = cost_guard_wait_ms(&guard, now);
	assert_true(wait >= HOUR && wait <= HOUR + MINUTE);
	assert_true(cost_guard_wait_ms(&guard, now + wait - 1) > 0);
	assert_int_equal(cost_guard_wait_ms(&guard, now + wait), 0);
	assert_sums(&guard, now + wait, 0, 100);
	now += wait;
	assert_true(cost_guard_take(&guard, now, 900));
	cost_guard_spend(&guard, now, 0, 50);
	assert_sums(&guard, now, 1, 1050);
	wait = cost_guard_wait_ms(&guard, now);
	assert_true(wait >= 22 * HOUR && wait <= 24 * HOUR + 24 * MINUTE);
	assert_int_equal(cost_guard_wait_ms(&guard, now + 30 * 24 * HOUR), 0);
	assert_sums(&guard, now + 30 * 24 * HOUR, 0, 0);
	cost_guard_release(&guard);
}

static void a_guard_without_limits_only_counts(void **state)
{
	struct cost_guard guard;

	(void)state;
	init_guard(&guard, 0, 0, 0);
	assert_true(cost_guard_take(&guard, 1, 1u << 30));
	cost_guard_spend(&guard, 1, 0, UINT64_MAX / 4);
	assert_int_equal(cost_guard_wait_ms(&guard, 1), 0);
	assert_sums(&guard, 1, 1, UINT64_MAX / 4 + (1u << 30));
	cost_guard_release(&guard);
	assert_true(cost_guard_take(NULL, 1, 1));
	assert_int_equal(cost_guard_wait_ms(NULL, 1), 0);
}

static void a_guard_says_how_many_requests_are_left_of_a_day(void **state)
{
	const struct cost_limits ten = {.requests_per_day = 10}, twelve = {.requests_per_day = 12};
	struct cost_guard guard;
	int64_t now = MINUTE, wait;

	(void)state;
	cost_guard_init(&guard, &ten, now);
	cost_guard_remember(&guard, now, 20 * HOUR, 4, 0);
	assert_int_equal(cost_guard_left(&guard, now), 6);
	cost_guard_spend(&guard, now, 5, 1000);
	assert_int_equal(cost_guard_left(&guard, now), 1);
	assert_int_equal(cost_guard_wait_for_ms(&guard, now, 1), 0);
	wait = cost_guard_wait_for_ms(&guard, now, 2); /* until the four are forgotten */
	assert_true(wait >= 4 * HOUR - 24 * MINUTE && wait <= 4 * HOUR + 24 * MINUTE);
	now += wait;
	assert_int_equal(cost_guard_left(&guard, now), 5);
	wait = cost_guard_wait_for_ms(&guard, now, 10);
	assert_true(wait >= 19 * HOUR && wait <= 21 * HOUR);
	assert_true(cost_guard_wait_for_ms(&guard, now, 11) > wait); /* never */
	cost_guard_spend(&guard, now, 6, 0);
	assert_int_equal(cost_guard_left(&guard, now), 0);
	cost_guard_limit(&guard, &twelve);
	assert_int_equal(cost_guard_left(&guard, now), 1);
	assert_int_equal(cost_guard_left(NULL, now), UINT64_MAX);
	assert_int_equal(cost_guard_left(&guard, now + 25 * HOUR), 12);
	cost_guard_release(&guard);
}

/* A machine that has been up for a minute only: what is remembered was before its clock began. */
static void a_guard_remembers_what_was_spent_before_it_began(void **state)
{
	struct cost_guard guard;
	int64_t now = MINUTE, wait;

	(void)state;
	init_guard(&guard, 10, 1000, now);
	cost_guard_remember(&guard, now, 50 * MINUTE, 6, 60);
	cost_guard_remember(&guard, now, 20 * MINUTE, 4, 40);
	cost_guard_remember(&guard, now, 2 * HOUR, 100, 300);
	cost_guard_remember(&guard, now, 25 * HOUR, 100, 1000);
	assert_sums(&guard, now, 10, 400);
	wait = cost_guard_wait_ms(&guard, now);
	assert_true(wait >= 10 * MINUTE && wait <= 11 * MINUTE);
	assert_sums(&guard, now + wait, 4, 400);
	assert_sums(&guard, now + 42 * MINUTE, 0, 400);
	assert_sums(&guard, now + 23 * HOUR, 0, 100);
	/* Where the wall clock was set back it seems to be in the future. */
	cost_guard_remember(&guard, now + 23 * HOUR, -5 * HOUR, 10, 1);
	assert_true(cost_guard_wait_ms(&guard, now + 23 * HOUR) >= HOUR);
	cost_guard_release(&guard);
}

static void a_guard_that_is_held_lets_nothing_through(void **state)
{
	const struct cost_limits none = {0, 0, 0};
	struct cost_guard guard;

	(void)state;
	cost_guard_init(&guard, &none, 0);
	cost_guard_hold(&guard, true);
	assert_false(cost_guard_take(&guard, 0, 1));
	assert_int_equal(cost_guard_wait_ms(&guard, 0), COST_HELD_MS);
	assert_int_equal(cost_guard_left(&guard, 0), 0);
	cost_guard_hold(&guard, false);
	assert_int_equal(cost_guard_wait_ms(&guard, 0), 0);
	assert_true(cost_guard_take(&guard, 0, 1));
	assert_sums(&guard, 0, 1, 1);
	cost_guard_release(&guard);
}

static void a_guard_tells_once_what_is_to_be_saved(void **state)
{
	struct cost_guard guard;
	uint64_t requests = 9, bytes = 9;

	(void)state;
	init_guard(&guard, 10, 0, 0);
	cost_guard_remember(&guard, 0, MINUTE, 1, 1);
	assert_false(cost_guard_unsaved(&guard, &requests, &bytes));
	assert_true(cost_guard_take(&guard, 0, 5));
	cost_guard_spend(&guard, 0, 0, 2);
	assert_true(cost_guard_unsaved(&guard, &requests, &bytes));
	assert_int_equal(requests, 1);
	assert_int_equal(bytes, 7);
	cost_guard_not_saved(&guard, requests, bytes);
	cost_guard_spend(&guard, 0, 0, 1);
	assert_true(cost_guard_unsaved(&guard, &requests, &bytes));
	assert_int_equal(requests, 1);
	assert_int_equal(bytes, 8);
	assert_false(cost_guard_unsaved(&guard, &requests, &bytes));
	cost_guard_release(&guard);
}

/* ---- one endpoint --------------------------------------------------------------------------------------------------- */

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

/* ---- simulated servers ------------------------------------------------------------------------------------------------ */

enum { SERVERS = 3, FLYING = 256 };

struct sim_server {
	struct endpoint endpoint;
	double service_ms; /* of one request, one after another; 0: any number at once */
	double line_ms;	   /* there and back, added to each */
	double free_at;	   /* the server is */
	double fails;	   /* this part of the requests */
	size_t sent, good;
};

struct sim_request {
	struct endpoint_ticket ticket;
	size_t server;
	double end;
	bool good;
};

struct sim {
	struct sim_server servers[SERVERS];
	size_t n, waiting, done;
	struct sim_request flying[FLYING];
	size_t n_flying;
	int64_t now;
};

static void sim_send(struct sim *sim, size_t i)
{
	struct sim_server *s = &sim->servers[i];
	struct sim_request *r = &sim->flying[sim->n_flying++];
	double begin = (double)sim->now + s->line_ms / 2;

	assert_true(sim->n_flying < FLYING);
	endpoint_start(&s->endpoint, sim->now, 2, &r->ticket);
	r->server = i;
	r->good = retry_random(&rnd) >= s->fails;
	if (s->service_ms > 0 && r->good) {
		begin = begin > s->free_at ? begin : s->free_at;
		s->free_at = begin + s->service_ms;
		begin = s->free_at;
	}
	r->end = begin + s->line_ms / 2;
	s->sent++;
	sim->waiting--;
}

static void sim_start_all(struct sim *sim)
{
	const struct endpoint *set[SERVERS];
	size_t i;

	for (i = 0; i < sim->n; i++)
		set[i] = &sim->servers[i].endpoint;
	while (sim->waiting > 0 && (i = endpoint_set_choose(set, sim->n, sim->now, sim->waiting - 1,
							    ENDPOINT_NOWHERE)) != ENDPOINT_NOWHERE)
		sim_send(sim, i);
}

/* The time of the next event. */
static int64_t sim_next(const struct sim *sim)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < sim->n_flying; i++) {
		int64_t end = (int64_t)sim->flying[i].end + 1;

		next = end < next ? end : next;
	}
	for (size_t i = 0; i < sim->n; i++) {
		int64_t due = endpoint_next(&sim->servers[i].endpoint, sim->now);

		next = due < next ? due : next;
	}
	return next;
}

static void sim_finish(struct sim *sim)
{
	for (size_t i = 0; i < sim->n_flying;) {
		struct sim_request *r = &sim->flying[i];
		struct sim_server *s = &sim->servers[r->server];

		if (r->end > (double)sim->now) {
			i++;
			continue;
		}
		endpoint_done(&s->endpoint, &r->ticket, sim->now,
			      r->good ? ENDPOINT_GOOD : ENDPOINT_FAILS, 0, &rnd);
		s->good += r->good;
		sim->done += r->good;
		sim->waiting += !r->good;
		*r = sim->flying[--sim->n_flying];
	}
}

/* Until @images are done or it is @until. */
static void sim_run(struct sim *sim, size_t images, int64_t until)
{
	sim->waiting = images;
	sim->done = 0;
	rnd.state = 11;
	while (sim->done < images && sim->now < until) {
		int64_t next;

		sim_start_all(sim);
		next = sim_next(sim);
		sim->now = next > sim->now ? next : sim->now + 1;
		sim_finish(sim);
	}
}

static struct sim_server server(double service_ms, double line_ms, double fails)
{
	return (struct sim_server){
	    .endpoint = fresh(64, 0), .service_ms = service_ms, .line_ms = line_ms, .fails = fails};
}

static void a_server_that_does_one_after_another_is_kept_busy_without_a_queue(void **state)
{
	struct sim sim = {.n = 1, .servers = {server(100, 10, 0)}};

	(void)state;
	sim_run(&sim, 1000, HOUR);
	assert_true(sim.now < 1000 * 100 * 1.02);
	assert_true(sim.servers[0].endpoint.limit < 6);
}

static void a_long_line_is_filled_within_seconds(void **state)
{
	struct sim sim = {.n = 1, .servers = {server(0, 200, 0)}};

	(void)state;
	sim_run(&sim, 2000, HOUR);
	assert_true(sim.servers[0].endpoint.limit == 64);
	assert_true(sim.now < 2000 / 64 * 200 + 2500);
}

static void work_is_shared_by_speed_and_ends_together(void **state)
{
	struct sim sim = {.n = 3,
			  .servers = {server(50, 5, 0), server(200, 5, 0), server(800, 5, 0)}};
	/* images a second of all three */
	double rate = 1000.0 / 50 + 1000.0 / 200 + 1000.0 / 800;

	(void)state;
	sim_run(&sim, 2000, HOUR);
	assert_true((double)sim.now < 2000 / rate * 1000 * 1.04 + 800);
	assert_true(sim.servers[0].good > 1450 && sim.servers[0].good < 1650);
	assert_true(sim.servers[1].good > 330 && sim.servers[1].good < 450);
}

static void the_last_image_is_not_given_to_the_slow_one(void **state)
{
	struct sim sim = {.n = 2, .servers = {server(50, 5, 0), server(5000, 5, 0)}};
	size_t slow;

	(void)state;
	sim_run(&sim, 300, HOUR); /* learns */
	slow = sim.servers[1].sent;
	sim_run(&sim, 20, HOUR);
	assert_int_equal(sim.servers[1].sent, slow);
}

static void a_dead_server_costs_the_others_nothing_and_is_found_again(void **state)
{
	struct sim sim = {.n = 2, .servers = {server(50, 5, 0), server(50, 5, 1)}};
	size_t tried;

	(void)state;
	sim_run(&sim, 4000, HOUR);
	tried = sim.servers[1].sent;
	assert_true(sim.now < 4000 * 50 * 1.02);
	assert_true(tried >= 8 && tried < 30); /* 200 s: 5, and a probe after 5, 10, 20 s ... */
	sim.servers[1].fails = 0;
	sim_run(&sim, 20000, HOUR);
	assert_true(sim.servers[1].good > 6000);
}

static void three_that_fail_every_third_time_get_everything_done(void **state)
{
	struct sim sim = {.n = 3,
			  .servers = {server(20, 5, 0.3), server(20, 5, 0.3), server(20, 5, 0.3)}};

	(void)state;
	sim_run(&sim, 2000, HOUR);
	assert_int_equal(sim.done, 2000);
	assert_true(sim.now < 60 * 1000);
}

static void a_full_server_that_fell_silent_is_not_waited_for(void **state)
{
	struct endpoint fast = fresh(8, 0), slow = fresh(8, 0);
	const struct endpoint *const set[] = {&fast, &slow};
	struct endpoint_ticket ticket;

	(void)state;
	for (int64_t i = 0; i < 10; i++) {
		once(&fast, i * 100, i * 100 + 10, ENDPOINT_GOOD);
		once(&slow, i * 1000, i * 1000 + 900, ENDPOINT_GOOD);
	}
	fast.limit = slow.limit = 1;
	endpoint_start(&fast, 10000, 0, &ticket);
	assert_true(endpoint_set_choose(set, 2, 10001, 0, ENDPOINT_NOWHERE) == ENDPOINT_NOWHERE);
	assert_int_equal(endpoint_set_choose(set, 2, 12000, 0, ENDPOINT_NOWHERE), 1);
}

static void the_one_to_avoid_is_chosen_only_if_no_other_works(void **state)
{
	struct endpoint a = fresh(8, 0), b = fresh(8, 0);
	const struct endpoint *const set[] = {&a, &b};
	struct endpoint_ticket ticket;

	(void)state;
	assert_int_equal(endpoint_set_choose(set, 2, 0, 0, 0), 1);
	assert_int_equal(endpoint_set_choose(set, 2, 0, 0, 1), 0);
	b.limit = 1;
	endpoint_start(&b, 0, 0, &ticket); /* full, but works: it is waited for */
	assert_true(endpoint_set_choose(set, 2, 0, 0, 0) == ENDPOINT_NOWHERE);
	endpoint_done(&b, &ticket, 0, ENDPOINT_STOPS, 0, &rnd);
	assert_int_equal(endpoint_set_choose(set, 2, 0, 0, 0), 0);
}

static void a_hedge_goes_to_another_that_works_and_has_room(void **state)
{
	struct endpoint a = fresh(8, 0), b = fresh(8, 0);
	const struct endpoint *const set[] = {&a, &b};

	(void)state;
	assert_int_equal(endpoint_set_hedge(set, 2, 0, 0), 1);
	assert_int_equal(endpoint_set_hedge(set, 2, 0, 1), 0);
	once(&b, 0, 0, ENDPOINT_STOPS);
	assert_true(endpoint_set_hedge(set, 2, 0, 0) == ENDPOINT_NOWHERE);
	assert_true(endpoint_set_hedge(set, 1, 0, 0) == ENDPOINT_NOWHERE);
}

static void a_set_is_usable_while_one_works_or_may_be_tried(void **state)
{
	struct endpoint a = fresh(8, 0), b = fresh(8, 0);
	const struct endpoint *const set[] = {&a, &b};

	(void)state;
	assert_true(endpoint_set_usable(set, 2, 0));
	once(&a, 0, 0, ENDPOINT_STOPS);
	for (size_t i = 0; i < 5; i++)
		once(&b, 0, 0, ENDPOINT_FAILS);
	assert_false(endpoint_set_usable(set, 2, 0));
	assert_true(endpoint_set_usable(set, 2, endpoint_next(&b, 0)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_status_has_its_class),
	    cmocka_unit_test(a_pause_is_anything_between_nothing_and_its_double),
	    cmocka_unit_test(the_guard_allows_what_is_left_of_an_hour_and_a_day),
	    cmocka_unit_test(a_guard_without_limits_only_counts),
	    cmocka_unit_test(a_guard_says_how_many_requests_are_left_of_a_day),
	    cmocka_unit_test(a_guard_remembers_what_was_spent_before_it_began),
	    cmocka_unit_test(a_guard_that_is_held_lets_nothing_through),
	    cmocka_unit_test(a_guard_tells_once_what_is_to_be_saved),
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
	    cmocka_unit_test(a_server_that_does_one_after_another_is_kept_busy_without_a_queue),
	    cmocka_unit_test(a_long_line_is_filled_within_seconds),
	    cmocka_unit_test(work_is_shared_by_speed_and_ends_together),
	    cmocka_unit_test(the_last_image_is_not_given_to_the_slow_one),
	    cmocka_unit_test(a_dead_server_costs_the_others_nothing_and_is_found_again),
	    cmocka_unit_test(three_that_fail_every_third_time_get_everything_done),
	    cmocka_unit_test(a_full_server_that_fell_silent_is_not_waited_for),
	    cmocka_unit_test(the_one_to_avoid_is_chosen_only_if_no_other_works),
	    cmocka_unit_test(a_hedge_goes_to_another_that_works_and_has_room),
	    cmocka_unit_test(a_set_is_usable_while_one_works_or_may_be_tried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
