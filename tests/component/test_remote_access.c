/*
 * Which endpoints may have images: models, options, tokens.
 */
#include "tests/testing.h"

#include "tests/component/remote_rig.h"

#include "base/checked.h"

#include <string.h>

#define OTHER_WEIGHTS "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* ---- which endpoints may ------------------------------------------------------------------------------------- */

static void expect_stopped(struct remote_rig *rig, const char *why)
{
	struct encode_batch *batch = remote_rig_encode(
				rig, 2, rig->options.declared ? POSTERIOR_DRAW : POSTERIOR_MEAN),
			    *more = remote_rig_batch(1, batch->posterior), *done = NULL;
	struct encoder_remote_endpoint_view view = remote_rig_view(rig, 0);
	struct encoder_remote_view all;
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < 2; i++)
		assert_int_equal(batch->items[i].error.code, ERR_TRANSIENT);
	assert_int_equal(view.state, ENCODER_REMOTE_STOPPED);
	if (!strstr(view.reason, why))
		fail_msg("%s", view.reason);
	assert_true(encoder_remote_view(rig->encoder, &all));
	assert_false(all.usable);
	assert_int_equal(encoder_capacity(rig->encoder), 0);
	assert_int_equal(encoder_submit(rig->encoder, more, &err), ENCODER_FULL);
	assert_int_equal(encoder_collect(rig->encoder, 10, &done, &err), ENCODER_NOTHING);
	assert_int_equal(encoder_collect(rig->encoder, -1, &done, &err), ENCODER_NOTHING);
	encode_batch_free(batch);
	encode_batch_free(more);
}

static void an_endpoint_with_another_model_is_stopped(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, true);

	(void)state;
	atomic_store(&rig->servers[0].weights, OTHER_WEIGHTS);
	remote_rig_open(rig);
	expect_stopped(rig, "another model: tests (weights 001122334455)");
	assert_int_equal(rig->servers[0].posts, 0);
	remote_rig_free(rig);
}

static void a_foreign_endpoint_has_no_weights_that_we_know(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, true);

	(void)state;
	rig->servers[0].latentd = false;
	remote_rig_open(rig);
	expect_stopped(rig, "declare its VAE by name");
	assert_int_equal(rig->servers[0].posts, 0);
	remote_rig_free(rig);
}

/* Nothing of what it gives from now on is taken. */
static void expect_no_latent(struct remote_rig *rig, const char *why)
{
	struct encode_batch *batch =
	    remote_rig_encode(rig, 3, rig->options.declared ? POSTERIOR_DRAW : POSTERIOR_MEAN);

	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(batch->items[i].error.code, ERR_TRANSIENT);
		assert_null(batch->items[i].latent.data);
	}
	assert_int_equal(remote_rig_view(rig, 0).state, ENCODER_REMOTE_STOPPED);
	if (!strstr(remote_rig_view(rig, 0).reason, why))
		fail_msg("%s", remote_rig_view(rig, 0).reason);
	encode_batch_free(batch);
}

/* The first request is answered well. */
static enum endpoint_fault fault_later(void *arg, size_t n)
{
	return n == 0 ? FAULT_NONE : *(const enum endpoint_fault *)arg;
}

/* Whatever its first reply is: also one that would blame an image. */
static void a_model_that_changes_under_a_running_client_is_noticed_at_the_reply(void **state)
{
	static const enum endpoint_fault faults[] = {FAULT_NONE, FAULT_400, FAULT_422, FAULT_NAN};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct remote_rig *rig = remote_rig_new(1, true);
		struct encode_batch *batch;

		rig->servers[0].script = fault_later;
		rig->servers[0].arg = (void *)(uintptr_t)&faults[i];
		remote_rig_open(rig);
		batch = remote_rig_encode(rig, 1, POSTERIOR_MEAN);
		assert_rig_mean(&batch->items[0], 0, ENCODER_REMOTE_PNG);
		encode_batch_free(batch);
		atomic_store(&rig->servers[0].weights, OTHER_WEIGHTS);
		expect_no_latent(rig, "another model: tests (weights 001122334455)");
		assert_int_equal(rig->servers[0].questions, 1);
		remote_rig_free(rig);
	}
}

static void a_latentd_that_became_a_foreign_one_is_noticed_at_the_reply(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, true);
	struct encode_batch *batch;

	(void)state;
	remote_rig_open(rig);
	batch = remote_rig_encode(rig, 1, POSTERIOR_MEAN);
	assert_rig_mean(&batch->items[0], 0, ENCODER_REMOTE_PNG);
	encode_batch_free(batch);
	atomic_store(&rig->servers[0].unsigned_replies, true);
	expect_no_latent(rig, "no latentd endpoint");
	remote_rig_free(rig);
}

static bool same_but_for_dashes(const char *a, const char *b)
{
	return strcmp(a, "te-sts") == 0 && strcmp(b, "tests") == 0;
}

static void a_latentd_is_taken_for_the_declared_model_only_if_it_has_that_name(void **state)
{
	struct encode_batch *batch;
	struct remote_rig *rig;

	(void)state;
	rig = remote_rig_new(1, false);
	rig->servers[0].latentd = true;
	rig->servers[0].name = "others";
	remote_rig_open(rig);
	expect_no_latent(rig, "a latentd with the model others, and tests is declared");
	remote_rig_free(rig);
	for (size_t i = 0; i < 2; i++) {
		rig = remote_rig_new(1, false);
		rig->servers[0].latentd = true;
		rig->options.name = i == 0 ? "tests" : "te-sts";
		rig->options.same_name = i == 0 ? NULL : same_but_for_dashes;
		remote_rig_open(rig);
		batch = remote_rig_encode(rig, 1, POSTERIOR_DRAW);
		assert_ok(batch->items[0].error.code, &batch->items[0].error);
		encode_batch_free(batch);
		remote_rig_free(rig);
	}
}

static void https_to_a_server_of_http_stops_it(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, false);
	cleanup_free char *url = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	remote_rig_open(rig);
	encoder_close(rig->encoder);
	url = xasprintf("https%s", rig->endpoints[0].url + strlen("http"));
	rig->endpoints[0].url = url;
	assert_ok(encoder_remote_open(&rig->options, &rig->encoder, &err), &err);
	expect_stopped(rig, "no TLS is spoken there: is it http://?");
	remote_rig_free(rig);
}

static void wrong_options_are_refused(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, false);
	struct encoder *e = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	rig->endpoints[0].url = "gpu7:8188";
	assert_error(encoder_remote_open(&rig->options, &e, &err), &err, ERR_CONFIG);
	error_clear(&err);
	rig->endpoints[0].url = "http://127.0.0.1:1/";
	rig->endpoints[0].token_file = "/nowhere/token";
	assert_error(encoder_remote_open(&rig->options, &e, &err), &err, ERR_CONFIG);
	error_clear(&err);
	rig->endpoints[0].token_file = NULL;
	rig->options.proxy_auth_file = "/nowhere/proxy";
	assert_error(encoder_remote_open(&rig->options, &e, &err), &err, ERR_CONFIG);
	error_clear(&err);
	rig->options.proxy_auth_file = NULL;
	rig->options.ca_file = "/nowhere/ca.pem";
	assert_error(encoder_remote_open(&rig->options, &e, &err), &err, ERR_CONFIG);
	error_clear(&err);
	rig->options.ca_file = NULL;
	rig->options.n_endpoints = 0;
	assert_error(encoder_remote_open(&rig->options, &e, &err), &err, ERR_CONFIG);
	free(rig);
}

/* ---- tokens -------------------------------------------------------------------------------------------------- */

static void a_token_that_was_exchanged_is_read_again(void **state)
{
	enum endpoint_fault fault = FAULT_401;
	struct remote_rig *rig = remote_rig_new(1, false);
	cleanup_free char *dir = testing_tempdir(), *file = testing_path(dir, "token");
	struct encode_batch *batch;

	(void)state;
	testing_write(file, "old-Secret\n", 11);
	rig->endpoints[0].token_file = file;
	rig->servers[0].script = fault_first;
	rig->servers[0].arg = &fault;
	remote_rig_open(rig);
	testing_write(file, "new-Secret\n", 11);
	batch = remote_rig_encode(rig, 1, POSTERIOR_DRAW);
	assert_ok(batch->items[0].error.code, &batch->items[0].error);
	assert_int_equal(rig->servers[0].posts, 2);
	assert_non_null(strstr(rig->servers[0].last_head, "Authorization: Bearer new-Secret\r\n"));
	encode_batch_free(batch);
	remote_rig_free(rig);
	testing_tempdir_remove(TAKE(dir));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_endpoint_with_another_model_is_stopped),
	    cmocka_unit_test(a_foreign_endpoint_has_no_weights_that_we_know),
	    cmocka_unit_test(a_model_that_changes_under_a_running_client_is_noticed_at_the_reply),
	    cmocka_unit_test(a_latentd_that_became_a_foreign_one_is_noticed_at_the_reply),
	    cmocka_unit_test(a_latentd_is_taken_for_the_declared_model_only_if_it_has_that_name),
	    cmocka_unit_test(https_to_a_server_of_http_stops_it),
	    cmocka_unit_test(wrong_options_are_refused),
	    cmocka_unit_test(a_token_that_was_exchanged_is_read_again),
	};

	return cmocka_run_group_tests(tests, remote_rig_setup, NULL);
}
