/*
 * What the remote encoder keeps within: money, memory, time.
 */
#include "tests/testing.h"

#include "tests/component/remote_rig.h"

#include "base/checked.h"
#include "base/clock.h"

#include <poll.h>

/* ---- limits -------------------------------------------------------------------------------------------------- */

static void the_cost_guard_pauses_and_gives_back(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, false);
	struct encoder_remote_view view;
	struct encode_batch *batch;
	size_t good = 0;

	(void)state;
	remote_rig_guard(rig, 5, 0);
	remote_rig_open(rig);
	batch = remote_rig_encode(rig, 12, POSTERIOR_DRAW);
	for (size_t i = 0; i < 12; i++) {
		good += batch->items[i].error.code == ERR_NONE;
		if (batch->items[i].error.code)
			assert_int_equal(batch->items[i].error.code, ERR_TRANSIENT);
	}
	assert_int_equal(good, 5);
	assert_int_equal(rig->servers[0].posts, 5);
	assert_true(encoder_remote_view(rig->encoder, &view));
	assert_true(view.guarded && !view.usable && view.guard_ms > 50 * 60 * 1000);
	assert_int_equal(view.requests_last_hour, good);
	assert_int_equal(encoder_capacity(rig->encoder), 0);
	encode_batch_free(batch);
	remote_rig_free(rig);
}

static void the_cost_guard_counts_a_body_before_it_is_sent(void **state)
{
	struct remote_rig *rig = remote_rig_new(2, true);
	struct encode_batch *batch;

	(void)state;
	rig->options.send = ENCODER_REMOTE_FLOAT32;
	remote_rig_guard(rig, 0, 3 * 4 * sizeof(remote_rig_images[0]));
	for (size_t i = 0; i < 2; i++)
		atomic_store(&rig->servers[i].delay_ms, 50);
	remote_rig_open(rig);
	batch = remote_rig_encode(rig, 12, POSTERIOR_MEAN);
	assert_int_equal(rig->servers[0].posts + rig->servers[1].posts, 3);
	encode_batch_free(batch);
	remote_rig_free(rig);
}

static void encoders_of_two_models_share_a_guard(void **state)
{
	struct remote_rig *first = remote_rig_new(1, false), *second = remote_rig_new(1, false);

	(void)state;
	remote_rig_guard(first, 5, 0);
	second->options.guard = &first->guard;
	remote_rig_open(first);
	remote_rig_open(second);
	encode_batch_free(remote_rig_encode(first, 3, POSTERIOR_DRAW));
	encode_batch_free(remote_rig_encode(second, 12, POSTERIOR_DRAW));
	assert_int_equal(first->servers[0].posts, 3);
	assert_int_equal(second->servers[0].posts, 2);
	assert_int_equal(encoder_capacity(first->encoder), 0);
	remote_rig_free(second);
	remote_rig_free(first);
}

static void bodies_stay_within_the_memory_limit(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, true);
	struct encode_batch *batch;

	(void)state;
	rig->options.send = ENCODER_REMOTE_FLOAT32;
	rig->options.memory = 3 * (sizeof(remote_rig_images[0]) * 4 + RIG_C * RIG_PIXELS * 4) + 100;
	atomic_store(&rig->servers[0].delay_ms, 5);
	remote_rig_open(rig);
	batch = remote_rig_encode(rig, 40, POSTERIOR_MEAN);
	for (size_t i = 0; i < 40; i++)
		assert_rig_mean(&batch->items[i], i % RIG_IMAGES, ENCODER_REMOTE_FLOAT32);
	assert_true(loopback_most_at_once(rig->servers[0].server) <= 3);
	encode_batch_free(batch);
	rig->options.memory = 1; /* one alone goes all the same */
	remote_rig_free(rig);
}

static void an_image_larger_than_the_limit_goes_alone(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, true);
	struct encode_batch *batch;

	(void)state;
	rig->options.memory = 1;
	remote_rig_open(rig);
	batch = remote_rig_encode(rig, 4, POSTERIOR_MEAN);
	for (size_t i = 0; i < 4; i++)
		assert_rig_mean(&batch->items[i], i, ENCODER_REMOTE_PNG);
	assert_int_equal(loopback_most_at_once(rig->servers[0].server), 1);
	encode_batch_free(batch);
	remote_rig_free(rig);
}

enum { ENDPOINTS = 128, EACH = 2, SIZES = 300, SIDES = 18 };

static struct encode_batch *one_of_its_own_size(size_t i)
{
	static const uint8_t pixels[8 * SIDES * 8 * SIDES * 3];
	struct encode_batch *batch = encode_batch_new(1);

	batch->width = 8 * (1 + i % SIDES);
	batch->height = 8 * (1 + i / SIDES);
	batch->posterior = POSTERIOR_MEAN;
	batch->items[0].pixels = pixels;
	return batch;
}

/* An endpoint gets two requests before it has answered any, so nothing here depends on how fast anybody is. */
static void many_sizes_fill_all_requests(void **state)
{
	static struct encoder_remote_endpoint many[ENDPOINTS];
	struct remote_rig *rig = remote_rig_new(1, true);
	enum endpoint_fault fault = FAULT_NEVER;
	int64_t end = clock_mono_ms() + 90000; /* of a machine that hardly moves */
	struct encoder_remote_view view = {.images = 1};
	struct error err = ERROR_INIT;

	(void)state;
	rig->servers[0].script = fault_always;
	rig->servers[0].arg = &fault;
	rig->options.timeout_ms = 200000;
	remote_rig_open(rig);
	encoder_close(rig->encoder);
	for (size_t i = 0; i < ENDPOINTS; i++)
		many[i] = (struct encoder_remote_endpoint){.url = rig->endpoints[0].url,
							   .max_in_flight = EACH};
	rig->options.endpoints = many;
	rig->options.n_endpoints = ENDPOINTS;
	assert_ok(encoder_remote_open(&rig->options, &rig->encoder, &err), &err);
	assert_true(encoder_remote_view(rig->encoder, &view));
	assert_int_equal(view.max_requests, ENDPOINTS * EACH);
	view.images = 1;
	for (size_t i = 0; i < SIZES && encoder_capacity(rig->encoder) > 0; i++)
		remote_rig_submit(rig, one_of_its_own_size(i));
	while (rig->servers[0].posts < ENDPOINTS * EACH && clock_mono_ms() < end)
		poll(NULL, 0, 5);
	assert_int_equal(loopback_most_at_once(rig->servers[0].server), ENDPOINTS * EACH);
	encoder_cancel(rig->encoder);
	while (view.images > 0) {
		encode_batch_free(remote_rig_collect(rig));
		assert_true(encoder_remote_view(rig->encoder, &view));
	}
	remote_rig_free(rig);
}

static void full_batches_are_taken_only_for_so_many_images(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, true);
	enum endpoint_fault fault = FAULT_NEVER;
	struct encoder_remote_view view = {.images = 1};
	size_t images = 0, best;

	(void)state;
	rig->servers[0].script = fault_always;
	rig->servers[0].arg = &fault;
	remote_rig_open(rig);
	best = encoder_caps(rig->encoder)->best_batch;
	for (; encoder_capacity(rig->encoder) > 0; images += best)
		remote_rig_submit(rig, remote_rig_batch(best, POSTERIOR_MEAN));
	assert_int_equal(images, 64 + 2 * best); /* the default of max_in_flight */
	encoder_cancel(rig->encoder);
	while (view.images > 0) {
		encode_batch_free(remote_rig_collect(rig));
		assert_true(encoder_remote_view(rig->encoder, &view));
	}
	remote_rig_free(rig);
}

/* ---- time ---------------------------------------------------------------------------------------------------- */

static void a_cancel_ends_what_is_stuck_at_once(void **state)
{
	enum endpoint_fault fault = FAULT_NEVER;
	struct remote_rig *rig = remote_rig_new(1, true);
	struct encode_batch *batch;

	(void)state;
	rig->servers[0].script = fault_always;
	rig->servers[0].arg = &fault;
	rig->options.timeout_ms = 1000000; /* longer than the rig waits for a batch */
	remote_rig_open(rig);
	remote_rig_submit(rig, remote_rig_batch(5, POSTERIOR_DRAW));
	while (rig->servers[0].posts == 0)
		poll(NULL, 0, 1);
	encoder_cancel(rig->encoder);
	batch = remote_rig_collect(rig);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(batch->items[i].error.code, ERR_TRANSIENT);
	encode_batch_free(batch);
	remote_rig_free(rig);
}

static void ticks_go_on_while_a_request_is_waited_for(void **state)
{
	enum endpoint_fault fault = FAULT_NEVER;
	struct remote_rig *rig = remote_rig_new(1, true);
	struct encode_batch *done = NULL;
	struct error err = ERROR_INIT;
	uint64_t before;

	(void)state;
	rig->servers[0].script = fault_always;
	rig->servers[0].arg = &fault;
	remote_rig_open(rig);
	remote_rig_submit(rig, remote_rig_batch(1, POSTERIOR_MEAN));
	while (rig->servers[0].posts == 0)
		poll(NULL, 0, 1);
	before = encoder_ticks(rig->encoder);
	for (size_t i = 0; i < 100 && encoder_ticks(rig->encoder) == before; i++)
		assert_int_equal(encoder_collect(rig->encoder, 100, &done, &err), ENCODER_NOTHING);
	assert_true(encoder_ticks(rig->encoder) > before);
	encoder_cancel(rig->encoder);
	encode_batch_free(remote_rig_collect(rig));
	remote_rig_free(rig);
}

/* The descriptor is the only thing waited for. */
static void the_descriptor_says_when_there_is_something_to_collect(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, true);
	struct pollfd fd = {.events = POLLIN};

	(void)state;
	remote_rig_open(rig);
	fd.fd = encoder_pollable(rig->encoder);
	assert_int_equal(poll(&fd, 1, 0), 0);
	remote_rig_submit(rig, remote_rig_batch(1, POSTERIOR_MEAN));
	assert_int_equal(poll(&fd, 1, 20000), 1);
	encode_batch_free(remote_rig_collect(rig));
	assert_int_equal(poll(&fd, 1, 0), 0);
	remote_rig_free(rig);
}

struct stuck_script {
	size_t after; /* this many good ones the endpoint is stuck */
};

static enum endpoint_fault stuck_after(void *arg, size_t n)
{
	return n < ((const struct stuck_script *)arg)->after ? FAULT_NONE : FAULT_NEVER;
}

static void a_stuck_request_is_tried_elsewhere_once(void **state)
{
	struct stuck_script script = {.after = 1};
	struct remote_rig *rig = remote_rig_new(2, true);
	struct encode_batch *batch;

	(void)state;
	rig->servers[0].script = stuck_after;
	rig->servers[0].arg = &script;
	atomic_store(&rig->servers[1].delay_ms, 100);
	rig->options.timeout_ms = 600000; /* longer than this test may take */
	remote_rig_open(rig);
	for (size_t round = 0; rig->servers[0].posts < 2; round++) {
		batch = remote_rig_encode(rig, 4, POSTERIOR_MEAN);
		for (size_t i = 0; i < 4; i++)
			assert_rig_mean(&batch->items[i], i, ENCODER_REMOTE_PNG);
		encode_batch_free(batch);
	}
	assert_int_equal(remote_rig_view(rig, 0).images, 1);
	remote_rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_cost_guard_pauses_and_gives_back),
	    cmocka_unit_test(the_cost_guard_counts_a_body_before_it_is_sent),
	    cmocka_unit_test(encoders_of_two_models_share_a_guard),
	    cmocka_unit_test(bodies_stay_within_the_memory_limit),
	    cmocka_unit_test(an_image_larger_than_the_limit_goes_alone),
	    cmocka_unit_test(many_sizes_fill_all_requests),
	    cmocka_unit_test(full_batches_are_taken_only_for_so_many_images),
	    cmocka_unit_test(a_cancel_ends_what_is_stuck_at_once),
	    cmocka_unit_test(ticks_go_on_while_a_request_is_waited_for),
	    cmocka_unit_test(the_descriptor_says_when_there_is_something_to_collect),
	    cmocka_unit_test(a_stuck_request_is_tried_elsewhere_once),
	};

	return cmocka_run_group_tests(tests, remote_rig_setup, NULL);
}
