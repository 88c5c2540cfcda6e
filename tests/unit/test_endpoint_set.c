/* Which endpoint gets the next image, with a clock of our own and servers that are arithmetic. */
#include "tests/unit/endpoint_rig.h"

#include "net/endpoint_set.h"

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
