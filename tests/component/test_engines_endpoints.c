/*
 * Encoders whose endpoints, and what they may spend there, become others while they compute.
 */
#include "tests/component/engines_rig.h"
#include "tests/component/vae_endpoint.h"

#include "base/clock.h"

#include <semaphore.h>
#include <string.h>
#include <unistd.h>

struct far {
	struct vae_endpoint servers[2];
	struct remote_endpoint endpoints[2];
	struct encoder_config config;
};

/* The first of its endpoints alone. */
static void far_open(struct far *far)
{
	for (size_t i = 0; i < 2; i++) {
		vae_endpoint_start(&far->servers[i]);
		far->endpoints[i] = (struct remote_endpoint){
		    .url = vae_endpoint_url(&far->servers[i]), .max_in_flight = 4};
	}
	far->config = (struct encoder_config){
	    .type = ENCODER_TYPE_REMOTE,
	    .name = "far",
	    .remote = {.endpoints = far->endpoints,
		       .n_endpoints = 1,
		       .model = {.name = "sdxl"},
		       .options = {.connect_timeout = 10000, .timeout = 120000, .retries = 8}}};
}

static void far_close(struct far *far)
{
	for (size_t i = 0; i < 2; i++)
		vae_endpoint_stop(&far->servers[i]);
}

static void submit_far(struct engine *e, size_t n)
{
	struct encode_batch *batch = rig_batch(n);

	batch->posterior = POSTERIOR_DRAW;
	rig_submit(engine_group(e), batch);
}

static enum endpoint_fault never(void *arg, size_t n)
{
	(void)arg;
	(void)n;
	return FAULT_NEVER;
}

static void wait_for_posts(const struct vae_endpoint *server, size_t n)
{
	while (atomic_load(&server->posts) < n)
		usleep(1000);
}

static void requests_to_an_endpoint_that_is_removed_go_to_others(void **state)
{
	struct far far = {.servers[0].script = never};
	const struct encode_driver *before;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	far_open(&far);
	rig_open(&f, &far.config, 1, 1000000);
	e = rig_wanted(&f, "declared:sdxl");
	before = engine_group(e)->drivers[0];
	submit_far(e, 2);
	submit_far(e, 1);
	wait_for_posts(&far.servers[0], 2);
	far.config.remote.endpoints = &far.endpoints[1];
	engines_reconfigure(f.engines, &far.config, 1);
	assert_ptr_equal(engine_group(e)->drivers[0], before);
	rig_settle(&f);
	assert_int_equal(f.batches, 2);
	assert_int_equal(f.lost, 0);
	assert_int_equal(atomic_load(&far.servers[0].posts), 2);
	assert_int_equal(atomic_load(&far.servers[1].posts), 3);
	rig_close(&f);
	far_close(&far);
}

static void an_endpoint_that_is_added_has_images_beside_those_of_the_others(void **state)
{
	struct far far = {.servers[0].script = never};
	struct engines_rig f;
	struct engine *e;

	(void)state;
	far_open(&far);
	far.endpoints[0].max_in_flight = 1;
	rig_open(&f, &far.config, 1, 1000000);
	e = rig_wanted(&f, "declared:sdxl");
	submit_far(e, 1);
	wait_for_posts(&far.servers[0], 1);
	far.config.remote.n_endpoints = 2;
	engines_reconfigure(f.engines, &far.config, 1);
	submit_far(e, 4);
	while (f.batches < 1)
		rig_turn(&f);
	assert_int_equal(f.lost, 0);
	assert_int_equal(f.images, 4);
	assert_int_equal(atomic_load(&far.servers[0].posts), 1); /* which is under way yet */
	assert_true(engines_busy(f.engines));
	engines_cancel(f.engines);
	rig_settle(&f);
	assert_int_equal(f.lost, 1);
	rig_close(&f);
	far_close(&far);
}

/* As many as all endpoints bear, though the driver was made for one request. */
static void an_encoder_that_gets_more_endpoints_takes_more(void **state)
{
	struct far far = {.servers[0].script = never, .servers[1].script = never};
	struct engines_rig f;
	struct engine *e;
	size_t before = 0, after = 0;

	(void)state;
	far_open(&far);
	far.endpoints[0].max_in_flight = 1;
	far.endpoints[1].max_in_flight = 100;
	rig_open(&f, &far.config, 1, 1000000);
	e = rig_wanted(&f, "declared:sdxl");
	for (; encode_group_pick(engine_group(e), 0); before++)
		submit_far(e, 1);
	far.config.remote.n_endpoints = 2;
	engines_reconfigure(f.engines, &far.config, 1);
	for (; encode_group_pick(engine_group(e), 0); after++)
		submit_far(e, 1);
	assert_int_equal(after, 100);
	far.config.remote.n_endpoints = 1;
	engines_reconfigure(f.engines, &far.config, 1);
	assert_null(encode_group_pick(engine_group(e), 0));
	engines_cancel(f.engines);
	rig_settle(&f);
	assert_int_equal(f.batches, before + after);
	rig_close(&f);
	far_close(&far);
}

static void endpoints_that_cannot_be_taken_are_said_and_can_be_mended(void **state)
{
	struct far far = {.config.hours = NULL};
	struct encoder_config configs[2];
	struct engines_rig f;
	struct encoder_view view;
	struct engine *e;

	(void)state;
	far_open(&far);
	configs[0] = configs[1] = far.config;
	configs[1].name = "other";
	rig_open(&f, configs, 2, 1000000);
	e = rig_wanted(&f, "declared:sdxl");
	far.endpoints[1].token_file = "/nowhere/token";
	configs[0].remote.endpoints = &far.endpoints[1];
	engines_reconfigure(f.engines, configs, 2);
	rig_settle(&f);
	engines_view(f.engines, 0, &view);
	assert_non_null(view.failure);
	assert_non_null(strstr(view.failure->message, "/nowhere/token"));
	assert_int_equal(engine_group(e)->n, 1);
	configs[0].remote.endpoints = far.endpoints;
	engines_reconfigure(f.engines, configs, 2);
	rig_settle(&f);
	rig_assert_no_failure(&f);
	assert_int_equal(engine_group(e)->n, 2);
	rig_close(&f);
	far_close(&far);
}

static bool is_guarded(struct engines_rig *f)
{
	struct encoder_view view;

	engines_view(f->engines, 0, &view);
	return view.health == ENCODE_REMOTE_GUARDED;
}

static void other_limits_hold_at_once_and_what_was_spent_stays(void **state)
{
	struct far far = {.config.hours = NULL};
	const struct encode_driver *before;
	struct engines_rig f;
	struct engine *e;

	(void)state;
	far_open(&far);
	rig_open(&f, &far.config, 1, 1000000);
	e = rig_wanted(&f, "declared:sdxl");
	before = engine_group(e)->drivers[0];
	submit_far(e, 2); /* without a limit: it is counted all the same */
	while (f.batches == 0)
		rig_turn(&f);
	assert_int_equal(f.lost, 0);
	far.config.remote.options.max_requests_per_hour = 2;
	engines_reconfigure(f.engines, &far.config, 1);
	assert_true(is_guarded(&f));
	submit_far(e, 1);
	while (f.batches < 2)
		rig_turn(&f);
	assert_int_equal(f.lost, 1);
	assert_int_equal(atomic_load(&far.servers[0].posts), 2);
	assert_null(encode_group_pick(engine_group(e), 0));
	far.config.remote.options.max_requests_per_hour = 3;
	engines_reconfigure(f.engines, &far.config, 1);
	assert_false(is_guarded(&f));
	while (!encode_group_pick(engine_group(e), 0))
		rig_turn(&f);
	submit_far(e, 1);
	while (f.batches < 3)
		rig_turn(&f);
	assert_int_equal(f.lost, 1);
	assert_true(is_guarded(&f));
	assert_ptr_equal(engine_group(e)->drivers[0], before);
	rig_close(&f);
	far_close(&far);
}

static void be_held(struct queue *queue, void *arg)
{
	(void)queue;
	sem_wait(arg);
}

static void nothing(struct queue *queue, void *arg)
{
	(void)queue;
	(void)arg;
}

/* One that is back before the others are given. */
static void submit_far_and_wait(struct engines_rig *f, struct engine *e)
{
	size_t batches = f->batches;

	while (!encode_group_pick(engine_group(e), 0))
		rig_turn(f);
	submit_far(e, 1);
	while (f->batches == batches)
		rig_turn(f);
}

static void one_that_is_added_sends_nothing_before_it_knows_what_was_spent(void **state)
{
	struct far far = {.config.hours = NULL};
	const struct encoder_config here = {.type = ENCODER_TYPE_CPU, .name = "here"};
	struct engines_rig f;
	struct engine *e;
	sem_t held;

	(void)state;
	far_open(&far);
	far.config.remote.options.max_requests_per_hour = 2;
	rig_open_spending(&f, &here, 1);
	assert_ok(queue_spend(f.queue, "far", 1, 1, clock_wall_ms(), &f.err), &f.err);
	sem_init(&held, 0, 0);
	db_post(f.db, be_held, &held);
	engines_reconfigure(f.engines, &far.config, 1);
	e = rig_wanted(&f, "declared:sdxl");
	submit_far_and_wait(&f, e);
	assert_int_equal(f.lost, 1);
	assert_int_equal(atomic_load(&far.servers[0].posts), 0);
	assert_false(is_guarded(&f));
	sem_post(&held);
	db_call(f.db, nothing, NULL);
	submit_far_and_wait(&f, e);
	assert_int_equal(f.lost, 1);
	submit_far(e, 1);
	rig_settle(&f);
	assert_int_equal(f.lost, 2);
	assert_true(is_guarded(&f));
	assert_int_equal(atomic_load(&far.servers[0].posts), 1);
	rig_close(&f);
	sem_destroy(&held);
	far_close(&far);
}

static void one_that_takes_a_name_over_knows_what_the_other_has_just_spent(void **state)
{
	struct far far = {.config.hours = NULL};
	struct engines_rig f;
	struct engine *e;

	(void)state;
	far_open(&far);
	far.config.remote.options.max_requests_per_hour = 1;
	rig_open_spending(&f, &far.config, 1);
	e = rig_wanted(&f, "declared:sdxl");
	submit_far_and_wait(&f, e);
	assert_int_equal(f.lost, 0);
	far.config.remote.model.size_multiple = 16; /* so it is another encoder */
	engines_reconfigure(f.engines, &far.config, 1);
	rig_settle(&f);
	assert_true(is_guarded(&f));
	rig_close(&f);
	far_close(&far);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(requests_to_an_endpoint_that_is_removed_go_to_others),
	    cmocka_unit_test(an_endpoint_that_is_added_has_images_beside_those_of_the_others),
	    cmocka_unit_test(an_encoder_that_gets_more_endpoints_takes_more),
	    cmocka_unit_test(endpoints_that_cannot_be_taken_are_said_and_can_be_mended),
	    cmocka_unit_test(other_limits_hold_at_once_and_what_was_spent_stays),
	    cmocka_unit_test(one_that_is_added_sends_nothing_before_it_knows_what_was_spent),
	    cmocka_unit_test(one_that_takes_a_name_over_knows_what_the_other_has_just_spent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
