/*
 * A remote encoder whose endpoints become others while it computes. Foreign ones, as nothing is sent twice there.
 */
#include "tests/component/remote_rig.h"
#include "tests/testing.h"

#include <poll.h>

enum { KNOWN = 6 };

/* As many as were given before are answered, and no more. */
static enum endpoint_fault not_after_those(void *arg, size_t n)
{
	(void)arg;
	return n < KNOWN ? FAULT_NONE : FAULT_NEVER;
}

static struct remote_rig *open_two(bool latentd)
{
	struct remote_rig *rig = remote_rig_new(2, latentd);

	rig->options.timeout_ms = 200000;
	vae_endpoint_start(&rig->servers[1]);
	rig->endpoints[1].url = vae_endpoint_url(&rig->servers[1]);
	rig->options.n_endpoints = 1;
	remote_rig_open(rig);
	return rig;
}

static void change(struct remote_rig *rig, size_t n, const struct encoder_remote_endpoint *to)
{
	struct error err = ERROR_INIT;

	assert_ok(encoder_remote_change(rig->encoder, to, n, &err), &err);
}

static size_t shown_endpoints(const struct remote_rig *rig)
{
	struct encoder_remote_view view = {.n_endpoints = 0};

	assert_true(encoder_remote_view(rig->encoder, &view));
	return view.n_endpoints;
}

static void wait_for_endpoints(const struct remote_rig *rig, size_t n)
{
	while (shown_endpoints(rig) != n)
		poll(NULL, 0, 1);
}

static void wait_for_posts(const struct remote_rig *rig, size_t server, size_t n)
{
	while (rig->servers[server].posts < n)
		poll(NULL, 0, 1);
}

static void assert_encoded(struct encode_batch *batch)
{
	for (size_t i = 0; i < batch->n; i++)
		assert_int_equal(batch->items[i].error.code, ERR_NONE);
	encode_batch_free(batch);
}

static void one_that_stays_goes_on_in_another_place(void **state)
{
	struct encoder_remote_endpoint_view before, after;
	struct remote_rig *rig = open_two(false);
	struct encoder_remote_endpoint swapped[2];

	(void)state;
	rig->servers[0].script = not_after_those;
	assert_encoded(remote_rig_encode(rig, KNOWN, POSTERIOR_DRAW));
	remote_rig_submit(rig, remote_rig_batch(2, POSTERIOR_DRAW));
	wait_for_posts(rig, 0, KNOWN + 2);
	before = remote_rig_view(rig, 0);
	swapped[0] = rig->endpoints[1];
	swapped[1] = rig->endpoints[0];
	change(rig, 2, swapped);
	wait_for_endpoints(rig, 2);
	after = remote_rig_view(rig, 1);
	assert_string_equal(after.url, before.url);
	assert_int_equal(after.requests, KNOWN + 2);
	assert_int_equal(after.images, KNOWN);
	assert_int_equal(after.in_flight, 2);
	assert_true(after.latency_ms > 0 && after.latency_ms == before.latency_ms);
	assert_int_equal(remote_rig_view(rig, 0).requests, 0);
	/* what it has is still its own, and is known by its new place */
	change(rig, 1, swapped);
	assert_encoded(remote_rig_collect(rig));
	assert_int_equal(rig->servers[0].posts, KNOWN + 2);
	assert_int_equal(rig->servers[1].posts, 2);
	remote_rig_free(rig);
}

static void a_lower_limit_holds_for_one_that_stays(void **state)
{
	struct remote_rig *rig = open_two(false);
	struct encoder_remote_endpoint tight = rig->endpoints[0];

	(void)state;
	assert_encoded(remote_rig_encode(rig, KNOWN, POSTERIOR_DRAW));
	assert_true(remote_rig_view(rig, 0).limit > 1);
	tight.max_in_flight = 1;
	change(rig, 1, &tight);
	while (remote_rig_view(rig, 0).limit > 1)
		poll(NULL, 0, 1);
	assert_encoded(remote_rig_encode(rig, KNOWN, POSTERIOR_DRAW));
	assert_int_equal(remote_rig_view(rig, 0).images, 2 * KNOWN);
	assert_int_equal(remote_rig_view(rig, 0).limit, 1);
	remote_rig_free(rig);
}

static void one_that_goes_while_it_is_asked_for_its_model_is_not_waited_for(void **state)
{
	struct remote_rig *rig = open_two(true);

	(void)state;
	rig->servers[0].delay_ms = 1000000;
	remote_rig_submit(rig, remote_rig_batch(3, POSTERIOR_MEAN));
	while (rig->servers[0].questions == 0)
		poll(NULL, 0, 1);
	change(rig, 1, &rig->endpoints[1]);
	assert_encoded(remote_rig_collect(rig));
	assert_int_equal(rig->servers[1].posts, 3);
	remote_rig_free(rig);
}

static void changes_that_come_too_fast_leave_the_last_one(void **state)
{
	struct remote_rig *rig = open_two(false);
	struct encode_batch *batch = remote_rig_batch(RIG_IMAGES, POSTERIOR_DRAW);

	(void)state;
	remote_rig_submit(rig, batch);
	for (size_t i = 0; i < 100; i++)
		change(rig, 1, &rig->endpoints[i % 2]);
	assert_encoded(remote_rig_collect(rig));
	change(rig, 2, rig->endpoints);
	wait_for_endpoints(rig, 2);
	remote_rig_free(rig);
}

static void a_list_that_cannot_be_used_changes_nothing(void **state)
{
	struct remote_rig *rig = open_two(false);
	struct encoder_remote_endpoint bad[2] = {rig->endpoints[1], rig->endpoints[1]};
	struct error err = ERROR_INIT;

	(void)state;
	bad[1].token_file = "/nowhere/token";
	assert_error(encoder_remote_change(rig->encoder, bad, 2, &err), &err, ERR_CONFIG);
	error_clear(&err);
	assert_error(encoder_remote_change(rig->encoder, bad, 0, &err), &err, ERR_CONFIG);
	assert_encoded(remote_rig_encode(rig, 2, POSTERIOR_DRAW));
	assert_int_equal(rig->servers[0].posts, 2);
	remote_rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_that_stays_goes_on_in_another_place),
	    cmocka_unit_test(a_lower_limit_holds_for_one_that_stays),
	    cmocka_unit_test(one_that_goes_while_it_is_asked_for_its_model_is_not_waited_for),
	    cmocka_unit_test(changes_that_come_too_fast_leave_the_last_one),
	    cmocka_unit_test(a_list_that_cannot_be_used_changes_nothing),
	};
	return cmocka_run_group_tests(tests, remote_rig_setup, NULL);
}
