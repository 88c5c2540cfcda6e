/* What the API hands on to the service, and what becomes of its answers. */
#include "tests/component/api_caller.h"

#include "base/checked.h"
#include "tests/testing.h"

static void commands_reach_the_service_with_all_they_say(void **state)
{
	struct api_caller *f = *state;
	json_t *root;

	f->rig.reply = (struct service_reply){.count = 3, .message = "they are tried again"};
	root =
	    api_ask(f, "POST", "/api/v1/datasets/photos/retry",
		    "{\"state\": \"skipped\", \"reason\": \"too_small\", \"key\": \"a b\"}", 200);
	assert_int_equal(json_integer_value(json_object_get(root, "count")), 3);
	assert_string_equal(api_text_of(root, "message", NULL), "they are tried again");
	json_decref(root);
	assert_int_equal(f->rig.request.command, REQUEST_RETRY);
	assert_int_equal(f->rig.request.state, JOB_SKIPPED);
	assert_string_equal(f->rig.dataset, "photos");
	assert_string_equal(f->rig.reason, "too_small");
	assert_string_equal(f->rig.key, "a b");
}

static void commands_without_a_dataset_are_for_all(void **state)
{
	struct api_caller *f = *state;

	api_post(f, "/api/v1/pause", NULL, 200);
	assert_int_equal(f->rig.request.command, REQUEST_PAUSE);
	assert_null(f->rig.dataset);
	api_post(f, "/api/v1/reload", "{}", 200);
	assert_int_equal(f->rig.request.command, REQUEST_RELOAD);
}

static void priority_needs_its_number(void **state)
{
	struct api_caller *f = *state;

	api_post(f, "/api/v1/datasets/photos/priority", "{\"priority\": -7}", 200);
	assert_int_equal(f->rig.request.priority, -7);
	api_post(f, "/api/v1/datasets/photos/priority", NULL, 400);
	api_post(f, "/api/v1/datasets/photos/priority", "{\"priority\": 1001}", 400);
	api_post(f, "/api/v1/datasets/photos/priority", "{\"priority\": 1.5}", 400);
	assert_int_equal(f->rig.asked, 1);
}

static void captions_are_texts_or_null_by_key(void **state)
{
	static const char path[] = "/api/v1/datasets/photos/captions";
	static const char *const wrong[] = {
	    "{}",
	    "{\"captions\": []}",
	    "{\"captions\": {\"a\": 1}}",
	    "{\"captions\": {\"\": null}}",
	    "{\"captions\": {\"a\": \"x\", \"a\": \"y\"}}",
	    "{\"captions\": {}, \"dry_run\": 1}",
	};
	struct api_caller *f = *state;

	api_post(f, path, "{\"captions\": {\"a\": \"x\", \"b\": null}, \"dry_run\": true}", 200);
	assert_int_equal(f->rig.request.command, REQUEST_CAPTIONS);
	assert_true(f->rig.request.dry_run);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		api_post(f, path, wrong[i], 400);
	api_post(f, "/api/v1/datasets/photos/retry?captions=1", NULL, 400);
	assert_int_equal(f->rig.asked, 1);
}

static void arrays_have_a_name_and_an_absolute_path(void **state)
{
	static const char path[] = "/api/v1/datasets/photos/attach";
	static const char *const wrong[] = {
	    "{}",
	    "{\"array\": \"te\"}",
	    "{\"path\": \"/te.safetensors\"}",
	    "{\"array\": \"te\", \"path\": \"te.safetensors\"}",
	    "{\"array\": \"te\", \"path\": \"\"}",
	    "{\"array\": \"latent\", \"path\": \"/te.safetensors\"}",
	    "{\"array\": \"../te\", \"path\": \"/te.safetensors\"}",
	    "{\"array\": 1, \"path\": \"/te.safetensors\"}",
	};
	struct api_caller *f = *state;

	api_post(f, path, "{\"array\": \"te\", \"path\": \"/te.safetensors\"}", 200);
	assert_int_equal(f->rig.request.command, REQUEST_ATTACH);
	assert_false(f->rig.request.dry_run);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		api_post(f, path, wrong[i], 400);
	assert_int_equal(f->rig.asked, 1);
}

static void gc_and_compact_reach_the_service_with_their_sizes(void **state)
{
	static const char gc[] = "/api/v1/datasets/photos/gc";
	static const char compact[] = "/api/v1/datasets/photos/compact";
	struct api_caller *f = *state;
	const struct upkeep_order *order = &f->rig.request.upkeep;

	api_post(f, gc, NULL, 200);
	assert_int_equal(f->rig.request.command, REQUEST_GC);
	assert_int_equal(order->kind, UPKEEP_GC);
	assert_int_equal(order->grace_hours, 24);
	assert_false(order->dry_run);
	api_post(f, gc, "{\"grace_hours\": 0, \"dry_run\": true}", 200);
	assert_int_equal(order->grace_hours, 0);
	assert_true(order->dry_run);
	api_post(f, compact, "{\"shard_samples\": 20, \"shard_size\": 68719476736}", 200);
	assert_int_equal(f->rig.request.command, REQUEST_COMPACT);
	assert_int_equal(order->kind, UPKEEP_COMPACT);
	assert_int_equal(order->shard_samples, 20);
	assert_true(order->shard_bytes == (size_t)64 << 30);
	api_post(f, compact, NULL, 200);
	assert_int_equal(order->shard_samples, 0); /* as the dataset has it */
	api_post(f, compact, "{\"shard_size\": 68719476737}", 400);
	api_post(f, gc, "{\"grace_hours\": 87601}", 400);
}

static void a_body_of_captions_may_be_larger_than_others(void **state)
{
	cleanup_buffer struct buffer body = BUFFER_INIT;
	struct api_caller *f = *state;

	buffer_append_string(&body, "{\"captions\": {\"a\": \"");
	while (body.size < (1 << 20))
		buffer_append_string(&body, "0123456789abcdef");
	buffer_append_string(&body, "\"}}");
	api_post(f, "/api/v1/datasets/photos/captions", (char *)body.data, 200);
	assert_int_equal(f->rig.asked, 1);
}

static void a_body_that_is_wrong_is_400_and_asks_for_nothing(void **state)
{
	static const char *const bodies[] = {"{",
					     "[]",
					     "{\"state\": 1}",
					     "{\"state\": \"running\"}",
					     "{\"what\": 1}",
					     "{\"key\": \"a\", \"key\": \"b\"}",
					     "{\"key\": \"a\\u0000b\"}",
					     "{} x",
					     "\xff"};
	struct api_caller *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		api_post(f, "/api/v1/datasets/photos/retry", bodies[i], 400);
	assert_int_equal(f->rig.asked, 0);
}

static void what_the_service_refuses_has_the_status_of_its_reason(void **state)
{
	static const struct {
		int outcome;
		enum error_code error;
		long status;
	} cases[] = {{-1, ERR_CONFIG, 409},
		     {-1, ERR_TRANSIENT, 503},
		     {-1, ERR_IO, 500},
		     {SERVICE_NO_DATASET, ERR_NONE, 404},
		     {SERVICE_NO_KEY, ERR_NONE, 404}};
	struct api_caller *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		f->rig.outcome = cases[i].outcome;
		f->rig.error = cases[i].error;
		api_post(f, "/api/v1/datasets/photos/scan", NULL, cases[i].status);
	}
}

static void *post_drain(void *arg)
{
	api_post(arg, "/api/v1/drain", NULL, 200);
	return NULL;
}

static void status_does_not_wait_for_a_command_that_waits(void **state)
{
	struct api_caller *f = *state;
	struct api_caller other = *f;
	struct http_client_options options = {.unix_socket = f->rig.socket};
	struct error err = ERROR_INIT;
	pthread_t thread;

	assert_ok(http_client_open(&options, &other.client, &err), &err);
	f->rig.hold = true;
	assert_int_equal(pthread_create(&thread, NULL, post_drain, f), 0);
	api_rig_wait_asked(&f->rig, 1);
	json_decref(api_get(&other, "/api/v1/status", 200));
	api_rig_release(&f->rig);
	pthread_join(thread, NULL);
	http_client_close(other.client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    api_test(commands_reach_the_service_with_all_they_say),
	    api_test(commands_without_a_dataset_are_for_all),
	    api_test(priority_needs_its_number),
	    api_test(captions_are_texts_or_null_by_key),
	    api_test(arrays_have_a_name_and_an_absolute_path),
	    api_test(gc_and_compact_reach_the_service_with_their_sizes),
	    api_test(a_body_of_captions_may_be_larger_than_others),
	    api_test(a_body_that_is_wrong_is_400_and_asks_for_nothing),
	    api_test(what_the_service_refuses_has_the_status_of_its_reason),
	    api_test(status_does_not_wait_for_a_command_that_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
