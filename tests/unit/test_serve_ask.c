/*
 * What the server makes of a request's words and bytes, and of latents; expected values computed here, by the lines of
 * diffusers that they stand for.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/half.h"
#include "daemon/serve_ask.h"
#include "encoder/pixel_range.h"

#include <math.h>
#include <string.h>

static const struct serve_bounds bounds = {
    .downscale = 8, .max_pixels = 128 * 128, .max_images = 4, .max_body = 100000};

static struct serve_ask read_ask(const char *query)
{
	struct serve_ask ask;
	struct error err = ERROR_INIT;

	assert_ok(serve_ask_read(query, NULL, &bounds, &ask, &err), &err);
	return ask;
}

static void assert_refused(const char *query, unsigned status)
{
	struct serve_ask ask;
	struct error err = ERROR_INIT;

	assert_true(serve_ask_read(query, NULL, &bounds, &ask, &err) < 0);
	if (serve_error_status(&err) != status)
		fail_msg("%s: %u, not %u: %s", query, serve_error_status(&err), status,
			 err.message);
}

static void no_query_is_a_raw_unseeded_draw_in_float16(void **state)
{
	struct serve_ask ask = read_ask(NULL);

	(void)state;
	assert_int_equal(ask.posterior, POSTERIOR_DRAW);
	assert_false(ask.has_seed || ask.tensor || ask.signed_range);
	assert_true(ask.scale == 1 && ask.shift == 0);
	assert_int_equal(ask.reply, DTYPE_F16);
	assert_int_equal(ask.n, 1);
}

static void what_diffusers_sends_is_understood(void **state)
{
	struct serve_ask ask = read_ask("scaling_factor=0.3611&shift_factor=0.1159&shape=2&shape=3&"
					"shape=64&shape=72&dtype=bfloat16");

	(void)state;
	assert_true(ask.scale == 0.3611 && ask.shift == 0.1159);
	assert_true(ask.tensor);
	assert_int_equal(ask.reply, DTYPE_BF16);
	assert_int_equal(ask.n, 2);
	assert_int_equal(ask.height, 64);
	assert_int_equal(ask.width, 72);
	assert_int_equal(ask.bytes, 2 * 3 * 64 * 72 * 2);
	assert_int_equal(serve_tensor_bytes(&ask), 2 * 3 * 64 * 72 * 4);
}

static void what_is_not_taken_has_its_status(void **state)
{
	(void)state;
	assert_refused("posteror=mean", 400);
	assert_refused("posterior=moments&scaling_factor=1.0", 400);
	assert_refused("shape=1&shape=3&shape=64&shape=64", 400);
	assert_refused("shape=5&shape=3&shape=64&shape=64&dtype=uint8", 413);
	assert_refused("shape=1&shape=3&shape=256&shape=128&dtype=uint8", 413);
	assert_refused("shape=4&shape=3&shape=128&shape=128&dtype=float32", 413);
	assert_refused("shape=1&shape=3&shape=64&shape=60&dtype=uint8", 422);
}

static void a_body_must_have_the_size_that_the_query_says(void **state)
{
	struct serve_ask ask = read_ask("shape=1&shape=3&shape=8&shape=8&dtype=uint8");
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(serve_ask_check_size(&ask, 192, &err), &err);
	assert_true(serve_ask_check_size(&ask, 191, &err) < 0);
	assert_int_equal(serve_error_status(&err), 422);
	error_clear(&err);
	ask = read_ask(NULL);
	assert_ok(serve_ask_check_size(&ask, 1, &err), &err);
	assert_true(serve_ask_check_size(&ask, 0, &err) < 0);
	assert_int_equal(serve_error_status(&err), 400);
}

enum { SIDE = 8, PIXELS = SIDE * SIDE, VALUES = 3 * PIXELS };

static void pixels_are_interleaved_and_hashed_image_by_image(void **state)
{
	struct serve_ask ask = read_ask("shape=2&shape=3&shape=8&shape=8&dtype=uint8");
	struct serve_tensor t = SERVE_TENSOR_INIT;
	struct error err = ERROR_INIT;
	uint8_t body[2 * VALUES];
	struct hash128 want;

	(void)state;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7 + i / 256);
	assert_ok(serve_tensor_read(&ask, body, &t, &err), &err);
	assert_null(t.values);
	for (size_t n = 0; n < 2; n++) {
		for (size_t i = 0; i < VALUES; i++)
			assert_int_equal(t.pixels[n * VALUES + i],
					 body[n * VALUES + i % 3 * PIXELS + i / 3]);
		want = hash128_of(body + n * VALUES, VALUES);
		assert_true(hash128_equal(&t.contents[n], &want));
	}
	serve_tensor_release(&t);
}

/* The values that the server makes of one float tensor. */
static struct serve_tensor read_floats(const char *query, const float *values)
{
	struct serve_ask ask = read_ask(query);
	struct serve_tensor t = SERVE_TENSOR_INIT;
	struct error err = ERROR_INIT;

	assert_ok(serve_tensor_read(&ask, (const uint8_t *)values, &t, &err), &err);
	assert_null(t.pixels);
	return t;
}

#define FLOATS "shape=1&shape=3&shape=8&shape=8&dtype=float32"

/* image = 2.0 * image - 1.0, unless image.min() < 0 */
static void the_range_is_judged_as_vae_image_processor_does(void **state)
{
	float values[VALUES], signed_values[VALUES];
	uint8_t pixels[VALUES];
	struct serve_tensor t;

	(void)state;
	for (size_t i = 0; i < VALUES; i++) {
		pixels[i] = (uint8_t)(i * 5);
		values[i] = (float)pixels[i] / 255.0f;
	}
	pixel_range_signed(signed_values, pixels, VALUES);
	t = read_floats(FLOATS, values);
	for (size_t i = 0; i < VALUES; i++)
		assert_memory_equal(&t.values[i], &signed_values[i % 3 * PIXELS + i / 3], 4);
	serve_tensor_release(&t);
	t = read_floats(FLOATS "&range=signed", values);
	assert_memory_equal(&t.values[1], &values[PIXELS], 4);
	serve_tensor_release(&t);
	t = read_floats(FLOATS, signed_values);
	assert_memory_equal(&t.values[1], &signed_values[PIXELS], 4);
	serve_tensor_release(&t);
	values[VALUES - 1] = -0.0f; /* not below zero */
	t = read_floats(FLOATS, values);
	assert_true(t.values[VALUES - 1] == -1.0f);
	serve_tensor_release(&t);
}

static void halves_are_widened_exactly(void **state)
{
	struct serve_ask ask =
	    read_ask("shape=1&shape=3&shape=8&shape=8&dtype=float16&range=signed");
	struct serve_tensor t = SERVE_TENSOR_INIT;
	struct error err = ERROR_INIT;
	uint16_t halves[VALUES];

	(void)state;
	for (size_t i = 0; i < VALUES; i++)
		halves[i] = half_from_float((float)i / 200.0f - 0.5f);
	assert_ok(serve_tensor_read(&ask, (const uint8_t *)halves, &t, &err), &err);
	for (size_t i = 0; i < VALUES; i++)
		assert_true(t.values[i] == half_to_float(halves[i % 3 * PIXELS + i / 3]));
	serve_tensor_release(&t);
}

static void values_that_are_not_finite_are_422(void **state)
{
	static const float bad[] = {NAN, INFINITY, -INFINITY};
	struct serve_ask ask = read_ask(FLOATS);
	float values[VALUES] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct serve_tensor t = SERVE_TENSOR_INIT;
		struct error err = ERROR_INIT;

		values[70] = bad[i];
		assert_true(serve_tensor_read(&ask, (const uint8_t *)values, &t, &err) < 0);
		assert_int_equal(serve_error_status(&err), 422);
		assert_null(t.values);
	}
}

/* Two images of [2C = 4][1][2] moments. */
static void make_latents(struct serve_latent latents[2], float *first_mean)
{
	static const size_t shape[] = {4, 1, 2};
	struct error err = ERROR_INIT;

	for (size_t n = 0; n < 2; n++) {
		float *values;

		latents[n].moments = (struct ndarray)NDARRAY_INIT;
		assert_ok(ndarray_alloc(&latents[n].moments, DTYPE_F32, 3, shape, &err), &err);
		values = latents[n].moments.data;
		for (size_t i = 0; i < 8; i++)
			values[i] = i < 4 ? (float)(n * 4 + i) * 1.1f - 2.0f : -1.0f;
		latents[n].content = hash128_of(&n, sizeof(n));
	}
	*first_mean = -2.0f;
}

static void an_answer_says_what_computed_it(void **state)
{
	const struct serve_identity identity = {
	    .model = "caf\xc3\xa9\r\nx: y", .weights = "0123", .precision = "float32"};
	struct http_answer answer = {.headers = {{"shape", xstrdup("[1]")}}};
	static const char *const wanted[] = {"[1]", LATENTD_VERSION, "caf____x: y", "0123",
					     "float32"};

	(void)state;
	serve_ask_sign(&identity, &answer);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_string_equal(answer.headers[i].value, wanted[i]);
	assert_string_equal(answer.headers[3].name, "latentd-weights");
	http_answer_release(&answer);
}

static void answers_hold_what_was_asked_for(void **state)
{
	struct serve_ask ask = read_ask("posterior=mean&scaling_factor=0.5&shift_factor=0.25&"
					"reply=float32");
	struct http_answer answer = HTTP_ANSWER_INIT;
	struct error err = ERROR_INIT;
	struct serve_latent latents[2];
	float mean, got, want;

	(void)state;
	make_latents(latents, &mean);
	ask.n = 2;
	assert_ok(serve_ask_answer(&ask, latents, &answer, &err), &err);
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.headers[0].value, "[2,2,1,2]");
	assert_string_equal(answer.headers[1].value, "float32");
	assert_int_equal(answer.body.size, 2 * 2 * 2 * 4);
	memcpy(&got, answer.body.data, sizeof(got));
	want = (mean - 0.25f) * 0.5f;
	assert_true(got == want);
	http_answer_release(&answer);
	for (size_t i = 0; i < 2; i++)
		ndarray_release(&latents[i].moments);
}

static void draws_repeat_with_a_seed_and_only_then(void **state)
{
	struct serve_latent latents[2];
	struct buffer bodies[4] = {BUFFER_INIT, BUFFER_INIT, BUFFER_INIT, BUFFER_INIT};
	float mean, want[4];

	(void)state;
	make_latents(latents, &mean);
	for (size_t i = 0; i < 4; i++) {
		struct serve_ask ask =
		    read_ask(i < 2 ? "posterior=draw&seed=7&reply=float32" : "reply=float32");
		struct http_answer answer = HTTP_ANSWER_INIT;
		struct error err = ERROR_INIT;

		ask.n = 2;
		assert_ok(serve_ask_answer(&ask, latents, &answer, &err), &err);
		buffer_append(&bodies[i], answer.body.data, answer.body.size);
		http_answer_release(&answer);
	}
	assert_memory_equal(bodies[0].data, bodies[1].data, bodies[0].size);
	assert_memory_not_equal(bodies[2].data, bodies[3].data, bodies[2].size);
	posterior_apply(POSTERIOR_DRAW, latents[1].moments.data, 2, 2, &latents[1].content, 7,
			want);
	assert_memory_equal(bodies[0].data + sizeof(want), want, sizeof(want));
	for (size_t i = 0; i < 4; i++)
		buffer_release(&bodies[i]);
	for (size_t i = 0; i < 2; i++)
		ndarray_release(&latents[i].moments);
}

static void what_a_dtype_cannot_hold_is_422(void **state)
{
	struct serve_ask ask = read_ask("posterior=mean&scaling_factor=1e5");
	struct http_answer answer = HTTP_ANSWER_INIT;
	struct error err = ERROR_INIT;
	struct serve_latent latents[2];
	float mean;

	(void)state;
	make_latents(latents, &mean);
	assert_true(serve_ask_answer(&ask, latents, &answer, &err) < 0);
	assert_int_equal(serve_error_status(&err), 422);
	assert_int_equal(answer.body.size, 0);
	http_answer_release(&answer);
	for (size_t i = 0; i < 2; i++)
		ndarray_release(&latents[i].moments);
}

static void errors_are_json_whatever_they_say(void **state)
{
	struct http_answer answer = HTTP_ANSWER_INIT;

	(void)state;
	serve_error_answer(&answer, 400, "a \"quoted\" \xff word");
	assert_int_equal(answer.status, 400);
	assert_string_equal((const char *)answer.body.data,
			    "{\"error\":\"a \\\"quoted\\\" \xef\xbf\xbd word\"}\n");
	http_answer_release(&answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_query_is_a_raw_unseeded_draw_in_float16),
	    cmocka_unit_test(what_diffusers_sends_is_understood),
	    cmocka_unit_test(what_is_not_taken_has_its_status),
	    cmocka_unit_test(a_body_must_have_the_size_that_the_query_says),
	    cmocka_unit_test(pixels_are_interleaved_and_hashed_image_by_image),
	    cmocka_unit_test(the_range_is_judged_as_vae_image_processor_does),
	    cmocka_unit_test(halves_are_widened_exactly),
	    cmocka_unit_test(values_that_are_not_finite_are_422),
	    cmocka_unit_test(an_answer_says_what_computed_it),
	    cmocka_unit_test(answers_hold_what_was_asked_for),
	    cmocka_unit_test(draws_repeat_with_a_seed_and_only_then),
	    cmocka_unit_test(what_a_dtype_cannot_hold_is_422),
	    cmocka_unit_test(errors_are_json_whatever_they_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
