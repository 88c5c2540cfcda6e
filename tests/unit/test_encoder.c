/*
 * What encoder.c checks for every backend, seen with one that misbehaves.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "encoder/encoder_blocking.h"

#include <math.h>
#include <string.h>

/* What the bad encoder does with an item is written in the first byte of its pixels. */
enum { DO_WELL, GIVE_NAN, GIVE_INFINITY, BLAME_IMAGE, LOSE_DEVICE };

static int bad_moments(struct encoder_blocking *e, const struct encode_batch *batch,
		       const struct encode_item *item, float *moments, struct error *err)
{
	size_t n = 2 * e->caps.latent_channels * (batch->height / 8) * (batch->width / 8);

	for (size_t i = 0; i < n; i++)
		moments[i] = 0.25f;
	switch (item->pixels[0]) {
	case GIVE_NAN:
		moments[1] = NAN;
		return 0;
	case GIVE_INFINITY:
		moments[2] = -INFINITY;
		return 0;
	case BLAME_IMAGE:
		return error_data(err, "strange", "this image");
	case LOSE_DEVICE:
		return error_set(err, ERR_TRANSIENT, "the device is gone");
	default:
		return 0;
	}
}

static bool spoil_shape; /* of the first item's latent */

static int bad_collect(struct encoder *e, int timeout_ms, struct encode_batch **done,
		       struct error *err)
{
	int r = encoder_blocking_collect(e, timeout_ms, done, err);

	if (r == 0 && spoil_shape)
		(*done)->items[0].latent.shape[2]--;
	return r;
}

static void bad_close(struct encoder *e)
{
	encoder_blocking_release((struct encoder_blocking *)e);
}

static const struct encoder_ops bad_ops = {
    .name = "bad",
    .caps = encoder_blocking_caps,
    .capacity = encoder_blocking_capacity,
    .submit = encoder_blocking_submit,
    .collect = bad_collect,
    .cancel = encoder_blocking_cancel,
    .ticks = encoder_blocking_ticks,
    .pollable = encoder_blocking_pollable,
    .close = bad_close,
};

static struct encoder_blocking bad;

static int setup(void **state)
{
	static const struct encoder_caps caps = {
	    .latent_channels = 4,
	    .downscale = 8,
	    .best_batch = 1,
	    .max_in_flight = 2,
	    .mean = true,
	    .engine = "bad",
	};

	encoder_blocking_init(&bad, &bad_ops, &caps, bad_moments);
	spoil_shape = false;
	*state = &bad.base;
	return 0;
}

static int teardown(void **state)
{
	encoder_close(*state);
	return 0;
}

static uint8_t images[8][8 * 8 * 3];

/* A batch of 8x8 images with what is to be done with each. */
static struct encode_batch *batch_of(size_t n, const int *what)
{
	struct encode_batch *batch = encode_batch_new(n);

	batch->width = batch->height = 8;
	for (size_t i = 0; i < n; i++) {
		images[i][0] = (uint8_t)what[i];
		batch->items[i].pixels = images[i];
	}
	return batch;
}

static void a_value_that_is_not_finite_blames_its_image_only(void **state)
{
	static const int what[] = {DO_WELL, GIVE_NAN, DO_WELL, GIVE_INFINITY, BLAME_IMAGE, DO_WELL};
	static const char *const reasons[] = {"", "non_finite", "", "non_finite", "strange", ""};
	struct encode_batch *batch = batch_of(6, what), *done = NULL;
	struct error err = ERROR_INIT;

	assert_ok(encoder_submit(*state, batch, &err), &err);
	assert_ok(encoder_collect(*state, -1, &done, &err), &err);
	assert_ptr_equal(done, batch);
	for (size_t i = 0; i < 6; i++) {
		bool well = what[i] == DO_WELL;

		assert_int_equal(batch->items[i].error.code, well ? ERR_NONE : ERR_DATA);
		assert_string_equal(batch->items[i].error.reason, reasons[i]);
		assert_int_equal(batch->items[i].latent.data != NULL, well);
	}
	encode_batch_free(batch);
}

static void what_fails_as_a_whole_hands_the_batch_back(void **state)
{
	static const int what[] = {DO_WELL, LOSE_DEVICE, DO_WELL};
	struct encode_batch *batch = batch_of(3, what), *done = NULL;
	struct error err = ERROR_INIT;

	assert_ok(encoder_submit(*state, batch, &err), &err);
	assert_error(encoder_collect(*state, -1, &done, &err), &err, ERR_TRANSIENT);
	assert_ptr_equal(done, batch);
	assert_non_null(batch->items[0].latent.data);
	assert_int_equal(batch->items[0].error.code, ERR_NONE);
	for (size_t i = 1; i < 3; i++) {
		assert_null(batch->items[i].latent.data);
		assert_int_equal(batch->items[i].error.code, ERR_TRANSIENT);
		assert_string_equal(batch->items[i].error.message, "the device is gone");
	}
	encode_batch_free(batch);
}

static void a_latent_of_the_wrong_shape_never_gets_out(void **state)
{
	static const int what[] = {DO_WELL, DO_WELL};
	struct encode_batch *batch = batch_of(2, what), *done = NULL;
	struct error err = ERROR_INIT;

	spoil_shape = true;
	assert_ok(encoder_submit(*state, batch, &err), &err);
	assert_ok(encoder_collect(*state, -1, &done, &err), &err);
	assert_int_equal(batch->items[0].error.code, ERR_BUG);
	assert_null(batch->items[0].latent.data);
	assert_int_equal(batch->items[1].error.code, ERR_NONE);
	encode_batch_free(batch);
}

static void a_posterior_that_the_caps_lack_is_refused(void **state)
{
	static const int what[] = {DO_WELL};
	struct encode_batch *batch = batch_of(1, what);
	struct error err = ERROR_INIT;

	batch->posterior = POSTERIOR_DRAW;
	assert_error(encoder_submit(*state, batch, &err), &err, ERR_CONFIG);
	error_clear(&err);
	batch->posterior = POSTERIOR_MOMENTS;
	assert_error(encoder_submit(*state, batch, &err), &err, ERR_CONFIG);
	encode_batch_free(batch);
}

static void tiles_that_the_caps_lack_are_refused(void **state)
{
	static const int what[] = {DO_WELL};
	struct encode_batch *batch = batch_of(1, what);
	struct error err = ERROR_INIT;

	batch->tile = 64;
	assert_error(encoder_submit(*state, batch, &err), &err, ERR_CONFIG);
	encode_batch_free(batch);
}

static void an_empty_batch_can_be_freed(void **state)
{
	struct encode_batch *batch = encode_batch_new(3);

	(void)state;
	assert_int_equal(batch->n, 3);
	assert_null(batch->items[2].latent.data);
	assert_int_equal(batch->items[2].error.code, ERR_NONE);
	encode_batch_free(batch);
	encode_batch_free(NULL);
	encoder_close(NULL);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_value_that_is_not_finite_blames_its_image_only),
	    TEST(what_fails_as_a_whole_hands_the_batch_back),
	    TEST(a_latent_of_the_wrong_shape_never_gets_out),
	    TEST(a_posterior_that_the_caps_lack_is_refused),
	    TEST(tiles_that_the_caps_lack_are_refused),
	    TEST(an_empty_batch_can_be_freed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
