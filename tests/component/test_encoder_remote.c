/*
 * The remote encoder against endpoints that work, and against many that do so only now and then.
 */
#include "tests/testing.h"

#include "tests/component/remote_rig.h"

#include "base/checked.h"
#include "base/half.h"

#include <math.h>
#include <poll.h>
#include <string.h>

/* ---- what is asked, and what comes back ---------------------------------------------------------------------- */

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
		struct remote_rig *rig = remote_rig_new(1, true);
		struct encode_batch *batch;

		rig->options.send = (enum encoder_remote_send)send;
		remote_rig_open(rig);
		batch = remote_rig_encode(rig, 3, POSTERIOR_MEAN);
		for (size_t i = 0; i < 3; i++)
			assert_rig_mean(&batch->items[i], i, (enum encoder_remote_send)send);
		assert_string_equal(rig->servers[0].last_target, targets[send]);
		assert_int_equal(rig->servers[0].posts, 3);
		assert_int_equal(rig->servers[0].questions, 1);
		encode_batch_free(batch);
		remote_rig_free(rig);
	}
}

static void draws_are_made_here_from_moments(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, true);
	struct encode_batch *draw, *moments;
	float all[2 * RIG_C * RIG_PIXELS], want[RIG_C * RIG_PIXELS];

	(void)state;
	remote_rig_open(rig);
	draw = remote_rig_encode(rig, 2, POSTERIOR_DRAW);
	moments = remote_rig_encode(rig, 2, POSTERIOR_MOMENTS);
	for (size_t i = 0; i < 2; i++) {
		remote_rig_moments(i, ENCODER_REMOTE_PNG, PIXEL_SIGNED, all);
		posterior_apply(POSTERIOR_DRAW, all, RIG_C, RIG_PIXELS, &draw->items[i].content, 5,
				want);
		assert_ok(draw->items[i].error.code, &draw->items[i].error);
		assert_memory_equal(draw->items[i].latent.data, want, sizeof(want));
		assert_memory_equal(moments->items[i].latent.data, all, sizeof(all));
	}
	assert_string_equal(rig->servers[0].last_target, "/?posterior=moments&reply=float32");
	encode_batch_free(draw);
	encode_batch_free(moments);
	remote_rig_free(rig);
}

static void a_foreign_endpoint_is_asked_as_diffusers_asks_and_its_factors_are_undone(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, false);
	const struct encoder_caps *caps;
	struct encode_batch *batch;
	float want[2 * RIG_C * RIG_PIXELS];
	const char *head;

	(void)state;
	remote_rig_open(rig);
	caps = encoder_caps(rig->encoder);
	assert_true(caps->draw && !caps->mean && !caps->moments);
	batch = remote_rig_encode(rig, 1, POSTERIOR_DRAW);
	remote_rig_moments(0, ENCODER_REMOTE_PNG, PIXEL_UNIT, want);
	assert_ok(batch->items[0].error.code, &batch->items[0].error);
	for (size_t i = 0; i < RIG_C * RIG_PIXELS; i++) {
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
	remote_rig_free(rig);
}

static void a_foreign_tensor_has_values_from_0_to_1(void **state)
{
	struct remote_rig *rig = remote_rig_new(1, false);
	struct encode_batch *batch;
	float want[2 * RIG_C * RIG_PIXELS];

	(void)state;
	rig->options.send = ENCODER_REMOTE_FLOAT16;
	rig->options.wire = ENCODER_REMOTE_TYPED;
	remote_rig_open(rig);
	batch = remote_rig_encode(rig, 1, POSTERIOR_DRAW);
	remote_rig_moments(0, ENCODER_REMOTE_FLOAT16, PIXEL_UNIT, want);
	assert_true(fabsf(((const float *)batch->items[0].latent.data)[7] - want[7]) < 0.01f);
	assert_string_equal(rig->servers[0].last_target,
			    "/?scaling_factor=0.5&shift_factor=0.25&shape=1&shape=3&shape=40&"
			    "shape=72&dtype=float16");
	assert_non_null(strstr(rig->servers[0].last_head, "Content-Type: tensor/binary\r\n"));
	assert_non_null(strstr(rig->servers[0].last_head, "Accept: tensor/binary\r\n"));
	encode_batch_free(batch);
	remote_rig_free(rig);
}

/* ---- many ---------------------------------------------------------------------------------------------------- */

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
	enum { MANY = 240, EACH = 8, FLAKY = 3 };
	static const size_t which[FLAKY] = {0, 1, 2};
	struct remote_rig *rig = remote_rig_new(FLAKY, true);
	size_t left = MANY / EACH, done = 0, images_given = 0;

	(void)state;
	for (size_t i = 0; i < FLAKY; i++) {
		rig->servers[i].script = flaky;
		rig->servers[i].arg = (void *)(uintptr_t)&which[i];
	}
	rig->options.scale_up_ms = 0;
	remote_rig_open(rig);
	while (done < MANY) {
		struct encode_batch *batch = NULL;
		struct error err = ERROR_INIT;

		while (left > 0 && encoder_capacity(rig->encoder) > 0) {
			remote_rig_submit(rig, remote_rig_batch(EACH, POSTERIOR_MEAN));
			left--;
		}
		if (encoder_collect(rig->encoder, 20000, &batch, &err) == ENCODER_NOTHING)
			continue;
		for (size_t i = 0; i < EACH; i++) {
			const struct encode_item *item = &batch->items[i];

			/* NaN may come twice; what nobody gave is queued again, as the daemon does */
			if (item->error.code == ERR_TRANSIENT || item->error.code == ERR_DATA)
				continue;
			assert_rig_mean(item, i, ENCODER_REMOTE_PNG);
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
	for (size_t i = 0; i < FLAKY; i++)
		images_given += remote_rig_view(rig, i).images;
	assert_true(images_given >= MANY);
	remote_rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_latentd_gives_the_mean_as_it_is_for_every_kind_of_body),
	    cmocka_unit_test(draws_are_made_here_from_moments),
	    cmocka_unit_test(
		a_foreign_endpoint_is_asked_as_diffusers_asks_and_its_factors_are_undone),
	    cmocka_unit_test(a_foreign_tensor_has_values_from_0_to_1),
	    cmocka_unit_test(every_image_is_done_once_by_three_flaky_endpoints),
	};

	return cmocka_run_group_tests(tests, remote_rig_setup, NULL);
}
