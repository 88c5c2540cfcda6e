/*
 * The remote encoder against endpoints that answer by a script.
 */
#include "tests/testing.h"

#include "tests/component/vae_endpoint.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/half.h"
#include "encoder/encoder_remote.h"
#include "encoder/pixel_planes.h"
#include "image/png_encode.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
	WIDTH = 72,
	HEIGHT = 40,
	LATENT_W = 9,
	LATENT_H = 5,
	PIXELS = LATENT_W * LATENT_H,
	IMAGES = 8
};
enum { SERVERS = 3, C = ENDPOINT_CHANNELS };

static uint8_t images[IMAGES][HEIGHT][WIDTH][3];

struct rig {
	struct vae_endpoint servers[SERVERS];
	struct encoder_remote_endpoint endpoints[SERVERS];
	struct encoder_remote_options options;
	struct encoder *encoder;
};

static int make_images(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(images); i++)
		(&images[0][0][0][0])[i] = (uint8_t)(i * 7 + (i >> 9));
	return 0;
}

static struct vae_config config(void)
{
	struct vae_config vae;

	vae_config_defaults(VAE_CLASS_KL, &vae);
	vae.blocks = 4;
	vae.latent_channels = C;
	vae.scaling_factor = 0.5;
	vae.has_shift_factor = true;
	vae.shift_factor = 0.25;
	return vae;
}

/* @n servers; change what differs, then rig_open(). */
static struct rig *rig_new(size_t n, bool latentd)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));

	rig->options = (struct encoder_remote_options)ENCODER_REMOTE_OPTIONS_INIT;
	rig->options.endpoints = rig->endpoints;
	rig->options.n_endpoints = n;
	rig->options.name = "tests";
	rig->options.vae = config();
	rig->options.declared = !latentd;
	rig->options.proxy = "";
	rig->options.timeout_ms = 20000;
	rig->options.threads = 1;
	for (size_t i = 0; i < n; i++)
		rig->servers[i].latentd = latentd;
	return rig;
}

static void rig_open(struct rig *rig)
{
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < rig->options.n_endpoints; i++) {
		vae_endpoint_start(&rig->servers[i]);
		rig->endpoints[i].url = vae_endpoint_url(&rig->servers[i]);
	}
	assert_ok(encoder_remote_open(&rig->options, &rig->encoder, &err), &err);
}

static void rig_free(struct rig *rig)
{
	encoder_close(rig->encoder);
	for (size_t i = 0; i < SERVERS; i++)
		vae_endpoint_stop(&rig->servers[i]);
	free(rig);
}

/* Images 0, 1, ... */
static struct encode_batch *batch_of(size_t n, enum posterior posterior)
{
	struct encode_batch *batch = encode_batch_new(n);

	batch->width = WIDTH;
	batch->height = HEIGHT;
	batch->posterior = posterior;
	batch->seed = 5;
	for (size_t i = 0; i < n; i++) {
		batch->items[i].pixels = &images[i % IMAGES][0][0][0];
		batch->items[i].content = hash128_of(batch->items[i].pixels, sizeof(images[0]));
	}
	return batch;
}

static void submit(struct rig *rig, struct encode_batch *batch)
{
	struct error err = ERROR_INIT;

	assert_ok(encoder_submit(rig->encoder, batch, &err), &err);
}

static struct encode_batch *collect(struct rig *rig)
{
	struct encode_batch *done = NULL;
	struct error err = ERROR_INIT;

	assert_ok(encoder_collect(rig->encoder, 30000, &done, &err), &err);
	return done;
}

static struct encode_batch *encode(struct rig *rig, size_t n, enum posterior posterior)
{
	submit(rig, batch_of(n, posterior));
	return collect(rig);
}

static struct encoder_remote_endpoint_view view_of(const struct rig *rig, size_t i)
{
	struct encoder_remote_endpoint_view view;

	encoder_remote_endpoint_view(rig->encoder, i, &view);
	return view;
}

/* The body that is sent for image @i. */
static struct buffer body_of(size_t i, enum encoder_remote_send send, enum pixel_range range)
{
	struct buffer body = BUFFER_INIT;
	struct png_encoder *png = png_encoder_new();
	struct error err = ERROR_INIT;

	assert_ok(buffer_reserve(&body, sizeof(images[0]) * 4, &err), &err);
	if (send == ENCODER_REMOTE_PNG) {
		assert_ok(png_encode(png, &images[i][0][0][0], WIDTH, HEIGHT, &body, &err), &err);
	} else {
		enum dtype dtype = send == ENCODER_REMOTE_UINT8	    ? DTYPE_U8
				   : send == ENCODER_REMOTE_FLOAT16 ? DTYPE_F16
								    : DTYPE_F32;

		pixel_planes_plain(body.data, dtype, range, &images[i][0][0][0], WIDTH * HEIGHT);
		body.size = sizeof(images[0]) * dtype_size(dtype);
	}
	png_encoder_free(png);
	return body;
}

static void moments_of(size_t i, enum encoder_remote_send send, enum pixel_range range,
		       float moments[2 * C * PIXELS])
{
	cleanup_buffer struct buffer body = body_of(i, send, range);

	vae_endpoint_moments(body.data, body.size, PIXELS, moments);
}

static void assert_mean_of(const struct encode_item *item, size_t i, enum encoder_remote_send send)
{
	float want[2 * C * PIXELS];

	moments_of(i, send, PIXEL_SIGNED, want);
	assert_ok(item->error.code, &item->error);
	assert_int_equal(item->latent.bytes, C * PIXELS * sizeof(float));
	assert_memory_equal(item->latent.data, want, item->latent.bytes);
}

/* ---- what is asked, and what comes back --------------------------------------------------------------------------- */

static void a_latentd_gives_the_mean_as_it_is_for_every_kind_of_body(void **state)
{
	static const char *const targets[] = {
	    [ENCODER_REMOTE_PNG] = "/?posterior=mean&reply=float32",
	    [ENCODER_REMOTE_FLOAT16] = "/?shape=1&shape=3&shape=40&shape=72&dtype=float16&"
				       "posterior=mean&range=signed&reply=float32",
	    [ENCODER_REMOTE_FLOAT32] = "/?shape=1&shape=3&shape=40&shape=72&dtype=float32&"
				       "posterior=mean&range=signed&reply=float32",
	    [ENCODER_REMOTE_UINT8] = "/?shape=1&shape=3&shape=40&shape=72&dtype=uint8&"
				     "posterior=mean&reply=float32",
	};

	(void)state;
	for (size_t send = 0; send < ARRAY_SIZE(targets); send++) {
		struct rig *rig = rig_new(1, true);
		struct encode_batch *batch;

		rig->options.send = (enum encoder_remote_send)send;
		rig_open(rig);
		batch = encode(rig, 3, POSTERIOR_MEAN);
		for (size_t i = 0; i < 3; i++)
			assert_mean_of(&batch->items[i], i, (enum encoder_remote_send)send);
		assert_string_equal(rig->servers[0].last_target, targets[send]);
		assert_int_equal(rig->servers[0].posts, 3);
		assert_int_equal(rig->servers[0].questions, 1);
		encode_batch_free(batch);
		rig_free(rig);
	}
}

static void draws_are_made_here_from_moments(void **state)
{
	struct rig *rig = rig_new(1, true);
	struct encode_batch *draw, *moments;
	float all[2 * C * PIXELS], want[C * PIXELS];

	(void)state;
	rig_open(rig);
	draw = encode(rig, 2, POSTERIOR_DRAW);
	moments = encode(rig, 2, POSTERIOR_MOMENTS);
	for (size_t i = 0; i < 2; i++) {
		moments_of(i, ENCODER_REMOTE_PNG, PIXEL_SIGNED, all);
		posterior_apply(POSTERIOR_DRAW, all, C, PIXELS, &draw->items[i].content, 5, want);
		assert_ok(draw->items[i].error.code, &draw->items[i].error);
		assert_memory_equal(draw->items[i].latent.data, want, sizeof(want));
		assert_memory_equal(moments->items[i].latent.data, all, sizeof(all));
	}
	assert_string_equal(rig->servers[0].last_target, "/?posterior=moments&reply=float32");
	encode_batch_free(draw);
	encode_batch_free(moments);
	rig_free(rig);
}

static void a_foreign_endpoint_is_asked_as_diffusers_asks_and_its_factors_are_undone(void **state)
{
	struct rig *rig = rig_new(1, false);
	const struct encoder_caps *caps;
	struct encode_batch *batch;
	float want[2 * C * PIXELS];
	const char *head;

	(void)state;
	rig_open(rig);
	caps = encoder_caps(rig->encoder);
	assert_true(caps->draw && !caps->mean && !caps->moments);
	batch = encode(rig, 1, POSTERIOR_DRAW);
	moments_of(0, ENCODER_REMOTE_PNG, PIXEL_UNIT, want);
	assert_ok(batch->items[0].error.code, &batch->items[0].error);
	for (size_t i = 0; i < C * PIXELS; i++) {
		float got = ((const float *)batch->items[0].latent.data)[i];
		float sent =
		    half_to_float(half_from_float((float)(((double)want[i] - 0.25) * 0.5)));

		assert_true(got == (float)((double)sent / 0.5 + 0.25));
		assert_true(fabsf(got - want[i]) < 0.01f);
	}
	head = rig->servers[0].last_head;
	assert_string_equal(rig->servers[0].last_target, "/?scaling_factor=0.5&shift_factor=0.25");
	assert_null(strcasestr(head, "content-type"));
	assert_non_null(strstr(head, "Accept: */*\r\n"));
	assert_null(strcasestr(head, "authorization"));
	assert_int_equal(rig->servers[0].questions, 0);
	encode_batch_free(batch);
	rig_free(rig);
}

static void a_foreign_tensor_has_values_from_0_to_1(void **state)
{
	struct rig *rig = rig_new(1, false);
	struct encode_batch *batch;
	float want[2 * C * PIXELS];

	(void)state;
	rig->options.send = ENCODER_REMOTE_FLOAT16;
	rig->options.wire = ENCODER_REMOTE_TYPED;
	rig_open(rig);
	batch = encode(rig, 1, POSTERIOR_DRAW);
	moments_of(0, ENCODER_REMOTE_FLOAT16, PIXEL_UNIT, want);
	assert_true(fabsf(((const float *)batch->items[0].latent.data)[7] - want[7]) < 0.01f);
	assert_string_equal(rig->servers[0].last_target,
			    "/?scaling_factor=0.5&shift_factor=0.25&shape=1&shape=3&shape=40&"
			    "shape=72&dtype=float16");
	assert_non_null(strstr(rig->servers[0].last_head, "Content-Type: tensor/binary\r\n"));
	assert_non_null(strstr(rig->servers[0].last_head, "Accept: tensor/binary\r\n"));
	encode_batch_free(batch);
	rig_free(rig);
}

/* ---- faults ------------------------------------------------------------------------------------------------------- */

static enum endpoint_fault first_only(void *arg, size_t n)
{
	return n == 0 ? *(const enum endpoint_fault *)arg : FAULT_NONE;
}

static enum endpoint_fault always(void *arg, size_t n)
{
	(void)n;
	return *(const enum endpoint_fault *)arg;
}

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
    {FAULT_REDIRECT, ERR_TRANSIENT, 1, "redirects to http://127.0.0.1:1/there,"},
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

static void check_fault(struct rig *rig, const struct expectation *want)
{
	struct encode_batch *batch = collect(rig);
	const struct encode_item *item = &batch->items[0];

	if (item->error.code != want->code)
		fail_msg("fault %d: %s", (int)want->fault, item->error.message);
	if (want->code == ERR_NONE)
		assert_mean_of(item, 0, ENCODER_REMOTE_PNG);
	else if (!strstr(item->error.message, want->said))
		fail_msg("fault %d: %s", (int)want->fault, item->error.message);
	if (want->code == ERR_DATA)
		assert_string_equal(item->error.reason,
				    want->fault == FAULT_NAN ? "non_finite" : "refused");
	assert_null(strstr(item->error.message, "Secret"));
	assert_null(strstr(view_of(rig, 0).reason, "Secret"));
	if (rig->servers[0].posts != want->posts)
		fail_msg("fault %d: %zu posts", (int)want->fault, (size_t)rig->servers[0].posts);
	encode_batch_free(batch);
}

/* All at once: each pause is spent by all of them together. */
static void run_matrix(const struct expectation *cases, size_t n, size_t retries,
		       enum endpoint_fault (*script)(void *, size_t))
{
	struct rig *rigs[ARRAY_SIZE(after_one)];

	assert_true(n <= ARRAY_SIZE(rigs));
	for (size_t i = 0; i < n; i++) {
		rigs[i] = rig_new(1, true);
		rigs[i]->servers[0].script = script;
		rigs[i]->servers[0].arg = (void *)(uintptr_t)&cases[i].fault;
		rigs[i]->options.retries = retries;
		if (cases[i].fault == FAULT_NEVER)
			rigs[i]->options.timeout_ms = 1500;
		rig_open(rigs[i]);
		submit(rigs[i], batch_of(1, POSTERIOR_MEAN));
	}
	for (size_t i = 0; i < n; i++)
		check_fault(rigs[i], &cases[i]);
	for (size_t i = 0; i < n; i++)
		rig_free(rigs[i]);
}

/* However many there are, whose retries would use up the endpoint's budget. */
static void assert_all_blamed(enum endpoint_fault fault, size_t n, size_t retries,
			      const char *reason)
{
	struct rig *rig = rig_new(1, true);
	struct encode_batch *batch;

	rig->servers[0].script = always;
	rig->servers[0].arg = &fault;
	rig->options.retries = retries;
	rig_open(rig);
	batch = encode(rig, n, POSTERIOR_MEAN);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(batch->items[i].error.code, ERR_DATA);
		assert_string_equal(batch->items[i].error.reason, reason);
	}
	assert_int_equal(rig->servers[0].posts, 2 * n);
	encode_batch_free(batch);
	rig_free(rig);
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
	run_matrix(after_one, ARRAY_SIZE(after_one), 3, first_only);
}

static void a_fault_that_stays_ends_as_the_images_or_nobodys_fault(void **state)
{
	(void)state;
	run_matrix(after_all, ARRAY_SIZE(after_all), 1, always);
}

static void a_starting_server_is_asked_to_hold_the_request(void **state)
{
	enum endpoint_fault fault = FAULT_503;
	struct rig *rig = rig_new(1, false);
	struct encode_batch *batch;

	(void)state;
	rig->servers[0].script = first_only;
	rig->servers[0].arg = &fault;
	rig_open(rig);
	batch = encode(rig, 1, POSTERIOR_DRAW);
	assert_ok(batch->items[0].error.code, &batch->items[0].error);
	assert_int_equal(rig->servers[0].wakes, 1);
	assert_non_null(strstr(rig->servers[0].last_head, "X-Scale-Up-Timeout: 600\r\n"));
	assert_int_equal(view_of(rig, 0).state, ENCODER_REMOTE_OK);
	encode_batch_free(batch);
	rig_free(rig);
}

static void where_one_endpoint_fails_another_does_it(void **state)
{
	enum endpoint_fault fault = FAULT_500;
	struct rig *rig = rig_new(3, true);
	cleanup_free char *nobody = loopback_nobody();
	struct error err = ERROR_INIT;
	struct encode_batch *batch;

	(void)state;
	rig->servers[0].script = always;
	rig->servers[0].arg = &fault;
	rig->servers[1].upload_max = 100; /* closes while the body still comes */
	rig->options.n_endpoints = 3;
	rig_open(rig);
	encoder_close(rig->encoder);
	rig->options.n_endpoints = 4;
	struct encoder_remote_endpoint four[4] = {
	    rig->endpoints[0], rig->endpoints[1], rig->endpoints[2], {.url = nobody}};
	rig->options.endpoints = four;
	assert_ok(encoder_remote_open(&rig->options, &rig->encoder, &err), &err);
	batch = encode(rig, IMAGES, POSTERIOR_MEAN);
	for (size_t i = 0; i < IMAGES; i++)
		assert_mean_of(&batch->items[i], i, ENCODER_REMOTE_PNG);
	assert_int_equal(view_of(rig, 2).images, IMAGES);
	assert_non_null(strstr(view_of(rig, 3).reason, "cannot be reached"));
	encode_batch_free(batch);
	rig_free(rig);
}

/* ---- which endpoints may ------------------------------------------------------------------------------------------ */

static void expect_stopped(struct rig *rig, const char *why)
{
	struct encode_batch *batch = encode(
				rig, 2, rig->options.declared ? POSTERIOR_DRAW : POSTERIOR_MEAN),
			    *more = batch_of(1, batch->posterior), *done = NULL;
	struct encoder_remote_endpoint_view view = view_of(rig, 0);
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
	struct rig *rig = rig_new(1, true);

	(void)state;
	rig->servers[0].weights =
	    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	rig_open(rig);
	expect_stopped(rig, "another model: tests (weights 001122334455)");
	assert_int_equal(rig->servers[0].posts, 0);
	rig_free(rig);
}

static void a_foreign_endpoint_has_no_weights_that_we_know(void **state)
{
	struct rig *rig = rig_new(1, true);

	(void)state;
	rig->servers[0].latentd = false;
	rig_open(rig);
	expect_stopped(rig, "declare its VAE by name");
	rig_free(rig);
}

static void wrong_options_are_refused(void **state)
{
	struct rig *rig = rig_new(1, false);
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
	rig->options.send = ENCODER_REMOTE_UINT8;
	assert_error(encoder_remote_open(&rig->options, &e, &err), &err, ERR_CONFIG);
	error_clear(&err);
	rig->options.send = ENCODER_REMOTE_PNG;
	rig->options.ca_file = "/nowhere/ca.pem";
	assert_error(encoder_remote_open(&rig->options, &e, &err), &err, ERR_CONFIG);
	error_clear(&err);
	rig->options.n_endpoints = 0;
	assert_error(encoder_remote_open(&rig->options, &e, &err), &err, ERR_CONFIG);
	free(rig);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------- */

static void a_token_that_was_exchanged_is_read_again(void **state)
{
	enum endpoint_fault fault = FAULT_401;
	struct rig *rig = rig_new(1, false);
	cleanup_free char *dir = testing_tempdir(), *file = testing_path(dir, "token");
	struct encode_batch *batch;

	(void)state;
	testing_write(file, "old-Secret\n", 11);
	rig->endpoints[0].token_file = file;
	rig->servers[0].script = first_only;
	rig->servers[0].arg = &fault;
	rig_open(rig);
	testing_write(file, "new-Secret\n", 11);
	batch = encode(rig, 1, POSTERIOR_DRAW);
	assert_ok(batch->items[0].error.code, &batch->items[0].error);
	assert_int_equal(rig->servers[0].posts, 2);
	assert_non_null(strstr(rig->servers[0].last_head, "Authorization: Bearer new-Secret\r\n"));
	encode_batch_free(batch);
	rig_free(rig);
	testing_tempdir_remove(TAKE(dir));
}

/* ---- limits ------------------------------------------------------------------------------------------------------- */

static void the_cost_guard_pauses_and_gives_back(void **state)
{
	struct rig *rig = rig_new(1, false);
	struct encoder_remote_view view;
	struct encode_batch *batch;
	size_t good = 0;

	(void)state;
	rig->options.max_requests_per_hour = 5;
	rig_open(rig);
	batch = encode(rig, 12, POSTERIOR_DRAW);
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
	rig_free(rig);
}

static void the_cost_guard_counts_a_body_before_it_is_sent(void **state)
{
	struct rig *rig = rig_new(2, true);
	struct encode_batch *batch;

	(void)state;
	rig->options.send = ENCODER_REMOTE_FLOAT32;
	rig->options.max_bytes_per_day = 3 * 4 * sizeof(images[0]);
	for (size_t i = 0; i < 2; i++)
		atomic_store(&rig->servers[i].delay_ms, 50);
	rig_open(rig);
	batch = encode(rig, 12, POSTERIOR_MEAN);
	assert_int_equal(rig->servers[0].posts + rig->servers[1].posts, 3);
	encode_batch_free(batch);
	rig_free(rig);
}

static void bodies_stay_within_the_memory_limit(void **state)
{
	struct rig *rig = rig_new(1, true);
	struct encode_batch *batch;

	(void)state;
	rig->options.send = ENCODER_REMOTE_FLOAT32;
	rig->options.memory = 3 * (sizeof(images[0]) * 4 + C * PIXELS * 4) + 100;
	atomic_store(&rig->servers[0].delay_ms, 5);
	rig_open(rig);
	batch = encode(rig, 40, POSTERIOR_MEAN);
	for (size_t i = 0; i < 40; i++)
		assert_mean_of(&batch->items[i], i % IMAGES, ENCODER_REMOTE_FLOAT32);
	assert_true(loopback_most_at_once(rig->servers[0].server) <= 3);
	encode_batch_free(batch);
	rig->options.memory = 1; /* one alone goes all the same */
	rig_free(rig);
}

static void an_image_larger_than_the_limit_goes_alone(void **state)
{
	struct rig *rig = rig_new(1, true);
	struct encode_batch *batch;

	(void)state;
	rig->options.memory = 1;
	rig_open(rig);
	batch = encode(rig, 4, POSTERIOR_MEAN);
	for (size_t i = 0; i < 4; i++)
		assert_mean_of(&batch->items[i], i, ENCODER_REMOTE_PNG);
	assert_int_equal(loopback_most_at_once(rig->servers[0].server), 1);
	encode_batch_free(batch);
	rig_free(rig);
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

static void a_cancel_ends_what_is_stuck_at_once(void **state)
{
	enum endpoint_fault fault = FAULT_NEVER;
	struct rig *rig = rig_new(1, true);
	struct encode_batch *batch;
	int64_t before;

	(void)state;
	rig->servers[0].script = always;
	rig->servers[0].arg = &fault;
	rig_open(rig);
	submit(rig, batch_of(5, POSTERIOR_DRAW));
	while (rig->servers[0].posts == 0)
		poll(NULL, 0, 1);
	before = clock_mono_ms();
	encoder_cancel(rig->encoder);
	batch = collect(rig);
	assert_true(clock_mono_ms() - before < 1000);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(batch->items[i].error.code, ERR_TRANSIENT);
	encode_batch_free(batch);
	rig_free(rig);
}

static void ticks_go_on_while_a_request_is_waited_for(void **state)
{
	enum endpoint_fault fault = FAULT_NEVER;
	struct rig *rig = rig_new(1, true);
	struct encode_batch *done = NULL;
	struct error err = ERROR_INIT;
	uint64_t before;

	(void)state;
	rig->servers[0].script = always;
	rig->servers[0].arg = &fault;
	rig_open(rig);
	submit(rig, batch_of(1, POSTERIOR_MEAN));
	while (rig->servers[0].posts == 0)
		poll(NULL, 0, 1);
	before = encoder_ticks(rig->encoder);
	assert_int_equal(encoder_collect(rig->encoder, 1200, &done, &err), ENCODER_NOTHING);
	assert_true(encoder_ticks(rig->encoder) > before);
	encoder_cancel(rig->encoder);
	encode_batch_free(collect(rig));
	rig_free(rig);
}

/* The descriptor is the only thing waited for. */
static void the_descriptor_says_when_there_is_something_to_collect(void **state)
{
	struct rig *rig = rig_new(1, true);
	struct pollfd fd = {.events = POLLIN};

	(void)state;
	rig_open(rig);
	fd.fd = encoder_pollable(rig->encoder);
	assert_int_equal(poll(&fd, 1, 0), 0);
	submit(rig, batch_of(1, POSTERIOR_MEAN));
	assert_int_equal(poll(&fd, 1, 20000), 1);
	encode_batch_free(collect(rig));
	assert_int_equal(poll(&fd, 1, 0), 0);
	rig_free(rig);
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
	struct rig *rig = rig_new(2, true);
	struct encode_batch *batch;
	int64_t before = clock_mono_ms();

	(void)state;
	rig->servers[0].script = stuck_after;
	rig->servers[0].arg = &script;
	atomic_store(&rig->servers[1].delay_ms, 100);
	rig_open(rig);
	for (size_t round = 0; rig->servers[0].posts < 2; round++) {
		batch = encode(rig, 4, POSTERIOR_MEAN);
		for (size_t i = 0; i < 4; i++)
			assert_mean_of(&batch->items[i], i, ENCODER_REMOTE_PNG);
		encode_batch_free(batch);
	}
	assert_true(clock_mono_ms() - before < 10000); /* the timeout is twice that */
	assert_int_equal(view_of(rig, 0).images, 1);
	rig_free(rig);
}

/* ---- many --------------------------------------------------------------------------------------------------------- */

static enum endpoint_fault flaky(void *arg, size_t n)
{
	static const enum endpoint_fault kinds[3][3] = {
	    {FAULT_500, FAULT_CUT, FAULT_NAN},
	    {FAULT_CLOSE, FAULT_HTML, FAULT_SHORT},
	    {FAULT_BAD_SHAPE, FAULT_GARBAGE, FAULT_502_HTML},
	};
	size_t which = *(const size_t *)arg;

	/* 30 of 100, unevenly */
	return n * 7919 % 100 < 30 ? kinds[which][n % 3] : FAULT_NONE;
}

static void every_image_is_done_once_by_three_flaky_endpoints(void **state)
{
	enum { MANY = 240, EACH = 8 };
	static const size_t which[SERVERS] = {0, 1, 2};
	struct rig *rig = rig_new(SERVERS, true);
	size_t left = MANY / EACH, done = 0, images_given = 0;

	(void)state;
	for (size_t i = 0; i < SERVERS; i++) {
		rig->servers[i].script = flaky;
		rig->servers[i].arg = (void *)(uintptr_t)&which[i];
	}
	rig->options.scale_up_ms = 0;
	rig_open(rig);
	while (done < MANY) {
		struct encode_batch *batch = NULL;
		struct error err = ERROR_INIT;

		while (left > 0 && encoder_capacity(rig->encoder) > 0) {
			submit(rig, batch_of(EACH, POSTERIOR_MEAN));
			left--;
		}
		if (encoder_collect(rig->encoder, 20000, &batch, &err) == ENCODER_NOTHING)
			continue;
		for (size_t i = 0; i < EACH; i++) {
			const struct encode_item *item = &batch->items[i];

			/* NaN may come twice; what nobody gave is queued again, as the daemon does */
			if (item->error.code == ERR_TRANSIENT || item->error.code == ERR_DATA)
				continue;
			assert_mean_of(item, i, ENCODER_REMOTE_PNG);
			done++;
		}
		for (size_t i = 0; i < EACH; i++) {
			if (batch->items[i].error.code == ERR_NONE)
				continue;
			left++; /* a whole batch for each, which is more than enough */
			break;
		}
		encode_batch_free(batch);
	}
	while (true) {
		struct encode_batch *batch = NULL;
		struct error err = ERROR_INIT;

		if (encoder_collect(rig->encoder, 0, &batch, &err) == ENCODER_NOTHING) {
			struct encoder_remote_view view;

			encoder_remote_view(rig->encoder, &view);
			if (view.images == 0)
				break;
			encoder_cancel(rig->encoder);
			poll(NULL, 0, 1);
			continue;
		}
		encode_batch_free(batch);
	}
	for (size_t i = 0; i < SERVERS; i++)
		images_given += view_of(rig, i).images;
	assert_true(images_given >= MANY);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_latentd_gives_the_mean_as_it_is_for_every_kind_of_body),
	    cmocka_unit_test(draws_are_made_here_from_moments),
	    cmocka_unit_test(
		a_foreign_endpoint_is_asked_as_diffusers_asks_and_its_factors_are_undone),
	    cmocka_unit_test(a_foreign_tensor_has_values_from_0_to_1),
	    cmocka_unit_test(one_fault_costs_an_image_nothing_unless_it_is_meant),
	    cmocka_unit_test(a_fault_that_stays_ends_as_the_images_or_nobodys_fault),
	    cmocka_unit_test(a_starting_server_is_asked_to_hold_the_request),
	    cmocka_unit_test(where_one_endpoint_fails_another_does_it),
	    cmocka_unit_test(an_endpoint_with_another_model_is_stopped),
	    cmocka_unit_test(a_foreign_endpoint_has_no_weights_that_we_know),
	    cmocka_unit_test(what_is_always_refused_is_sent_twice_whatever_the_retries),
	    cmocka_unit_test(wrong_options_are_refused),
	    cmocka_unit_test(a_token_that_was_exchanged_is_read_again),
	    cmocka_unit_test(the_cost_guard_pauses_and_gives_back),
	    cmocka_unit_test(the_cost_guard_counts_a_body_before_it_is_sent),
	    cmocka_unit_test(bodies_stay_within_the_memory_limit),
	    cmocka_unit_test(an_image_larger_than_the_limit_goes_alone),
	    cmocka_unit_test(a_cancel_ends_what_is_stuck_at_once),
	    cmocka_unit_test(ticks_go_on_while_a_request_is_waited_for),
	    cmocka_unit_test(the_descriptor_says_when_there_is_something_to_collect),
	    cmocka_unit_test(a_stuck_request_is_tried_elsewhere_once),
	    cmocka_unit_test(every_image_is_done_once_by_three_flaky_endpoints),
	};

	return cmocka_run_group_tests(tests, make_images, NULL);
}
