/*
 * What becomes of an image and of its endpoint when an answer is no latent.
 */
#include "tests/testing.h"

#include "tests/component/remote_rig.h"

#include "base/checked.h"

#include <string.h>

struct expectation {
	enum endpoint_fault fault;
	enum error_code code;
	size_t posts;
	const char *said; /* in the image's error, or else in the endpoint's view */
};

/* What an image comes to whose first request gets this, and then all is well. */
static const struct expectation after_one[] = {
    {FAULT_NONE, ERR_NONE, 1, ""},
    {FAULT_400, ERR_NONE, 2, ""},
    {FAULT_401, ERR_TRANSIENT, 1, "set token_file"},
    {FAULT_404, ERR_TRANSIENT, 1, "nothing at this address"},
    {FAULT_413, ERR_DATA, 1, "too many pixels: the image is too large"},
    {FAULT_415_UNLESS_TYPED, ERR_NONE, 2, ""},
    {FAULT_400_UNLESS_TYPED, ERR_NONE, 2, ""},
    {FAULT_422, ERR_DATA, 1, "not an image"},
    {FAULT_429, ERR_NONE, 2, ""},
    {FAULT_500, ERR_NONE, 2, ""},
    {FAULT_503, ERR_NONE, 2, ""},
    {FAULT_503_AFTER, ERR_NONE, 2, ""},
    {FAULT_HTML, ERR_NONE, 2, ""},
    {FAULT_502_HTML, ERR_NONE, 2, ""},
    {FAULT_301, ERR_TRANSIENT, 1, "redirects to http://127.0.0.1:1/there, where a POST would"},
    {FAULT_302, ERR_TRANSIENT, 1, "redirects to http://127.0.0.1:1/there, where a POST would"},
    {FAULT_303, ERR_TRANSIENT, 1, "redirects to http://127.0.0.1:1/there, where a POST would"},
    {FAULT_307, ERR_TRANSIENT, 1, "redirects to http://127.0.0.1:1/there, and images and tokens"},
    {FAULT_308, ERR_TRANSIENT, 1, "redirects to http://127.0.0.1:1/there, and images and tokens"},
    {FAULT_TLS, ERR_TRANSIENT, 1, "TLS is spoken there: is it https://?"},
    {FAULT_400_TLS, ERR_TRANSIENT, 1, "TLS is spoken there: is it https://?"},
    {FAULT_CUT, ERR_NONE, 2, ""},
    {FAULT_CLOSE, ERR_NONE, 2, ""},
    {FAULT_NEVER, ERR_NONE, 2, ""},
    {FAULT_GARBAGE, ERR_NONE, 2, ""},
    {FAULT_BAD_SHAPE, ERR_NONE, 2, ""},
    {FAULT_WRONG_SIZE, ERR_NONE, 2, ""},
    {FAULT_OTHER_MODEL, ERR_TRANSIENT, 1, "another model"},
    {FAULT_WRONG_DTYPE, ERR_NONE, 2, ""},
    {FAULT_SHORT, ERR_NONE, 2, ""},
    {FAULT_NAN, ERR_NONE, 2, ""},
};

/* Where it never ends; @posts with one retry. */
static const struct expectation after_all[] = {
    {FAULT_400, ERR_DATA, 2, "CUDA out of memory"},
    {FAULT_429, ERR_TRANSIENT, 2, "429: slow down"},
    {FAULT_500, ERR_TRANSIENT, 2, "500: oops"},
    {FAULT_HTML, ERR_TRANSIENT, 2, "no latent: it has no header `shape`, and is text/html"},
    {FAULT_502_HTML, ERR_TRANSIENT, 2, "502: an HTML page"},
    {FAULT_CUT, ERR_TRANSIENT, 2, "connection broke"},
    {FAULT_NEVER, ERR_TRANSIENT, 2, "no answer in time"},
    {FAULT_GARBAGE, ERR_TRANSIENT, 2, "does not speak HTTP"},
    {FAULT_BAD_SHAPE, ERR_TRANSIENT, 2, "shape \"1x4x8x8\""},
    {FAULT_WRONG_SIZE, ERR_TRANSIENT, 2, "[1, 4, 2, 9], and [1, 4, 5, 9]"},
    {FAULT_WRONG_DTYPE, ERR_TRANSIENT, 2, "dtype"},
    {FAULT_SHORT, ERR_TRANSIENT, 2, "bytes"},
    {FAULT_NAN, ERR_DATA, 2, "not finite"},
};

static void check_fault(struct remote_rig *rig, const struct expectation *want)
{
	struct encode_batch *batch = remote_rig_collect(rig);
	const struct encode_item *item = &batch->items[0];

	if (item->error.code != want->code)
		fail_msg("fault %d: %s", (int)want->fault, item->error.message);
	if (want->code == ERR_NONE)
		assert_rig_mean(item, 0, ENCODER_REMOTE_PNG);
	else if (!strstr(item->error.message, want->said))
		fail_msg("fault %d: %s", (int)want->fault, item->error.message);
	if (want->code == ERR_DATA)
		assert_string_equal(item->error.reason,
				    want->fault == FAULT_NAN ? "non_finite" : "refused");
	assert_null(strstr(item->error.message, "Secret"));
	assert_null(strstr(remote_rig_view(rig, 0).reason, "Secret"));
	if (rig->servers[0].posts != want->posts)
		fail_msg("fault %d: %zu posts", (int)want->fault, (size_t)rig->servers[0].posts);
	encode_batch_free(batch);
}

/* All at once: each pause is spent by all of them together. */
static void run_matrix(const struct expectation *cases, size_t n, size_t retries,
		       enum endpoint_fault (*script)(void *, size_t))
{
	struct remote_rig *rigs[ARRAY_SIZE(after_one)];

	assert_true(n <= ARRAY_SIZE(rigs));
	for (size_t i = 0; i < n; i++) {
		rigs[i] = remote_rig_new(1, true);
		rigs[i]->servers[0].script = script;
		rigs[i]->servers[0].arg = (void *)(uintptr_t)&cases[i].fault;
		rigs[i]->options.retries = retries;
		if (cases[i].fault == FAULT_NEVER)
			rigs[i]->options.timeout_ms = 5000; /* also of its good answer */
		remote_rig_open(rigs[i]);
		remote_rig_submit(rigs[i], remote_rig_batch(1, POSTERIOR_MEAN));
	}
	for (size_t i = 0; i < n; i++)
		check_fault(rigs[i], &cases[i]);
	for (size_t i = 0; i < n; i++)
		remote_rig_free(rigs[i]);
}

/* However many there are, whose retries would use up the endpoint's budget. */
static void assert_all_blamed(enum endpoint_fault fault, size_t n, size_t retries,
			      const char *reason)
{
	struct remote_rig *rig = remote_rig_new(1, true);
	struct encode_batch *batch;

	rig->servers[0].script = fault_always;
	rig->servers[0].arg = &fault;
	rig->options.retries = retries;
	remote_rig_open(rig);
	batch = remote_rig_encode(rig, n, POSTERIOR_MEAN);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(batch->items[i].error.code, ERR_DATA);
		assert_string_equal(batch->items[i].error.reason, reason);
	}
	assert_int_equal(rig->servers[0].posts, 2 * n);
	encode_batch_free(batch);
	remote_rig_free(rig);
}

static void what_is_always_refused_is_sent_twice_whatever_the_retries(void **state)
{
	(void)state;
	assert_all_blamed(FAULT_400, 200, 8, "refused");
	assert_all_blamed(FAULT_400, 4, 0, "refused");
	assert_all_blamed(FAULT_NAN, 40, 8, "non_finite");
	assert_all_blamed(FAULT_NAN, 4, 0, "non_finite");
}

static void one_fault_costs_an_image_nothing_unless_it_is_meant(void **state)
{
	(void)state;
	run_matrix(after_one, ARRAY_SIZE(after_one), 3, fault_first);
}

static void a_fault_that_stays_ends_as_the_images_or_nobodys_fault(void **state)
{
	(void)state;
	run_matrix(after_all, ARRAY_SIZE(after_all), 1, fault_always);
}

static void a_starting_server_is_asked_to_hold_the_request(void **state)
{
	enum endpoint_fault fault = FAULT_503;
	struct remote_rig *rig = remote_rig_new(1, false);
	struct encode_batch *batch;

	(void)state;
	rig->servers[0].script = fault_first;
	rig->servers[0].arg = &fault;
	remote_rig_open(rig);
	batch = remote_rig_encode(rig, 1, POSTERIOR_DRAW);
	assert_ok(batch->items[0].error.code, &batch->items[0].error);
	assert_int_equal(rig->servers[0].wakes, 1);
	assert_non_null(strstr(rig->servers[0].last_head, "X-Scale-Up-Timeout: 600\r\n"));
	assert_int_equal(remote_rig_view(rig, 0).state, ENCODER_REMOTE_OK);
	encode_batch_free(batch);
	remote_rig_free(rig);
}

static void where_one_endpoint_fails_another_does_it(void **state)
{
	enum endpoint_fault fault = FAULT_500;
	struct remote_rig *rig = remote_rig_new(3, true);
	cleanup_free char *nobody = loopback_nobody();
	struct error err = ERROR_INIT;
	struct encode_batch *batch;

	(void)state;
	rig->servers[0].script = fault_always;
	rig->servers[0].arg = &fault;
	rig->servers[1].upload_max = 100; /* closes while the body still comes */
	rig->options.n_endpoints = 3;
	remote_rig_open(rig);
	encoder_close(rig->encoder);
	rig->options.n_endpoints = 4;
	struct encoder_remote_endpoint four[4] = {
	    rig->endpoints[0], rig->endpoints[1], rig->endpoints[2], {.url = nobody}};
	rig->options.endpoints = four;
	assert_ok(encoder_remote_open(&rig->options, &rig->encoder, &err), &err);
	batch = remote_rig_encode(rig, RIG_IMAGES, POSTERIOR_MEAN);
	for (size_t i = 0; i < RIG_IMAGES; i++)
		assert_rig_mean(&batch->items[i], i, ENCODER_REMOTE_PNG);
	assert_int_equal(remote_rig_view(rig, 2).images, RIG_IMAGES);
	assert_non_null(strstr(remote_rig_view(rig, 3).reason, "cannot be reached"));
	encode_batch_free(batch);
	remote_rig_free(rig);
}

/* Far more than the sockets on the way hold, so that the rest of it is still to be sent when the server goes. */
static void a_large_body_whose_upload_is_cut_off_goes_elsewhere(void **state)
{
	enum { SIDE = 1024, MIB = 1 << 20 };
	struct remote_rig *rig = remote_rig_new(2, true);
	cleanup_free uint8_t *pixels = xcalloc(3 * SIDE, SIDE);
	struct encode_batch *batch = encode_batch_new(2), *done = NULL;

	(void)state;
	batch->width = batch->height = SIDE;
	batch->posterior = POSTERIOR_MEAN;
	for (size_t i = 0; i < 2; i++)
		batch->items[i].pixels = pixels;
	rig->servers[0].upload_max = MIB;
	rig->options.send = ENCODER_REMOTE_FLOAT32;
	remote_rig_open(rig);
	remote_rig_submit(rig, batch);
	done = remote_rig_collect(rig);
	for (size_t i = 0; i < 2; i++)
		assert_ok(done->items[i].error.code, &done->items[i].error);
	assert_int_equal(remote_rig_view(rig, 1).images, 2);
	assert_true(remote_rig_view(rig, 0).failures > 0);
	assert_int_equal(rig->servers[0].posts, 0);
	if (!strstr(remote_rig_view(rig, 0).reason, "the connection broke"))
		fail_msg("%s", remote_rig_view(rig, 0).reason);
	encode_batch_free(done);
	remote_rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_always_refused_is_sent_twice_whatever_the_retries),
	    cmocka_unit_test(one_fault_costs_an_image_nothing_unless_it_is_meant),
	    cmocka_unit_test(a_fault_that_stays_ends_as_the_images_or_nobodys_fault),
	    cmocka_unit_test(a_starting_server_is_asked_to_hold_the_request),
	    cmocka_unit_test(where_one_endpoint_fails_another_does_it),
	    cmocka_unit_test(a_large_body_whose_upload_is_cut_off_goes_elsewhere),
	};

	return cmocka_run_group_tests(tests, remote_rig_setup, NULL);
}
