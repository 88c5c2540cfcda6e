/* Encoders as one, over ones that compute when they are let. */
#include "encoder/encoder_many.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/thread.h"
#include "encoder/encoder_blocking.h"
#include "tests/testing.h"

#include <string.h>

enum { SIDE = 8, PATIENCE_MS = 60000 };

/* An encoder whose images wait at a gate. */
struct gated {
	struct encoder_blocking blocking;
	bool open, broken; /* under the lock */
	size_t begun;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void set(bool *what, bool value)
{
	pthread_mutex_lock(&lock);
	*what = value;
	pthread_mutex_unlock(&lock);
}

static bool is(const bool *what)
{
	bool value;

	pthread_mutex_lock(&lock);
	value = *what;
	pthread_mutex_unlock(&lock);
	return value;
}

static void pause_shortly(void)
{
	nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static int gated_moments(struct encoder_blocking *base, const struct encode_batch *batch,
			 const struct encode_item *item, float *moments, struct error *err)
{
	struct gated *g = (struct gated *)base;

	(void)batch;
	(void)item;
	pthread_mutex_lock(&lock);
	g->begun++;
	pthread_mutex_unlock(&lock);
	while (!is(&g->open)) {
		if (!encoder_blocking_step(base))
			return error_set(err, ERR_TRANSIENT, "the encode was cancelled");
		pause_shortly();
	}
	if (is(&g->broken))
		return error_set(err, ERR_IO, "the device was lost");
	moments[0] = moments[1] = 1;
	return 0;
}

static void gated_close(struct encoder *e)
{
	encoder_blocking_release((struct encoder_blocking *)e);
}

static const struct encoder_ops gated_ops = {
    .name = "gated",
    .caps = encoder_blocking_caps,
    .capacity = encoder_blocking_capacity,
    .submit = encoder_blocking_submit,
    .collect = encoder_blocking_collect,
    .cancel = encoder_blocking_cancel,
    .ticks = encoder_blocking_ticks,
    .pollable = encoder_blocking_pollable,
    .close = gated_close,
};

struct fixture {
	struct gated gated[2];
	struct encoder *encoder;
	uint8_t pixels[SIDE * SIDE * 3];
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct encoder_caps caps = {.latent_channels = 1,
				    .downscale = SIDE,
				    .best_batch = 1,
				    .max_in_flight = 2,
				    .mean = true};
	struct encoder *both[2];
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < 2; i++) {
		caps.engine = i == 0 ? "first" : "second";
		encoder_blocking_init(&f->gated[i].blocking, &gated_ops, &caps, gated_moments);
		both[i] = &f->gated[i].blocking.base;
	}
	assert_ok(encoder_many_open(both, 2, &f->encoder, &err), &err);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	encoder_close(f->encoder);
	free(f);
	return 0;
}

static struct encode_batch *submit(struct fixture *f)
{
	struct encode_batch *batch = encode_batch_new(1);
	struct error err = ERROR_INIT;

	batch->width = batch->height = SIDE;
	batch->items[0].pixels = f->pixels;
	assert_ok(encoder_submit(f->encoder, batch, &err), &err);
	return batch;
}

/* Both have an image at their gate. */
static void wait_for_both(struct fixture *f)
{
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	bool both = false;

	while (!both && clock_mono_ms() < until) {
		pthread_mutex_lock(&lock);
		both = f->gated[0].begun > 0 && f->gated[1].begun > 0;
		pthread_mutex_unlock(&lock);
		pause_shortly();
	}
	assert_true(both);
}

static struct encode_batch *collect(struct fixture *f, int expected, struct error *err)
{
	struct encode_batch *batch = NULL;

	assert_int_equal(encoder_collect(f->encoder, PATIENCE_MS, &batch, err), expected);
	assert_non_null(batch);
	return batch;
}

static void collect_from(struct fixture *f, const char *engine)
{
	struct error err = ERROR_INIT;
	struct encode_batch *batch = collect(f, 0, &err);

	assert_string_equal(batch->engine, engine);
	assert_int_equal(batch->items[0].error.code, ERR_NONE);
	encode_batch_free(batch);
}

static void two_batches_are_encoded_at_once_one_on_each(void **state)
{
	struct fixture *f = *state;

	submit(f);
	submit(f);
	wait_for_both(f);
	set(&f->gated[1].open, true);
	collect_from(f, "second");
	set(&f->gated[0].open, true);
	collect_from(f, "first");
}

static void what_is_in_line_goes_to_whichever_is_free(void **state)
{
	struct fixture *f = *state;

	submit(f);
	submit(f);
	wait_for_both(f);
	for (size_t i = 0; i < 3; i++)
		submit(f);
	set(&f->gated[1].open, true);
	for (size_t i = 0; i < 4; i++)
		collect_from(f, "second");
	set(&f->gated[0].open, true);
	collect_from(f, "first");
}

static void it_takes_one_more_for_each_than_they_have_room_for(void **state)
{
	struct fixture *f = *state;
	struct encode_batch *extra = encode_batch_new(1);
	struct error err = ERROR_INIT;

	assert_int_equal(encoder_capacity(f->encoder), 6);
	for (size_t i = 0; i < 6; i++)
		submit(f);
	extra->width = extra->height = SIDE;
	extra->items[0].pixels = f->pixels;
	assert_int_equal(encoder_capacity(f->encoder), 0);
	assert_int_equal(encoder_submit(f->encoder, extra, &err), ENCODER_FULL);
	encode_batch_free(extra);
	set(&f->gated[0].open, true);
	set(&f->gated[1].open, true);
	for (size_t i = 0; i < 6; i++)
		encode_batch_free(collect(f, 0, &err));
	assert_int_equal(encoder_capacity(f->encoder), 6);
}

static void cancelled_ones_come_back_from_the_line_and_from_inside(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < 6; i++)
		submit(f);
	wait_for_both(f);
	encoder_cancel(f->encoder);
	for (size_t i = 0; i < 6; i++) {
		struct encode_batch *batch = collect(f, 0, &err);

		assert_int_equal(batch->items[0].error.code, ERR_TRANSIENT);
		encode_batch_free(batch);
	}
	set(&f->gated[0].open, true);
	set(&f->gated[1].open, true);
	submit(f);
	encode_batch_free(collect(f, 0, &err));
}

static void fail_gate(struct fixture *f, size_t i)
{
	set(&f->gated[i].broken, true);
	set(&f->gated[i].open, true);
}

static void what_one_fails_at_comes_back_for_the_other_which_goes_on_alone(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT, why = ERROR_INIT;
	struct encode_batch *batch;

	submit(f);
	submit(f);
	wait_for_both(f);
	assert_int_equal(encoder_many_left_out(f->encoder, &why), 0);
	fail_gate(f, 0);
	batch = collect(f, 0, &err);
	assert_string_equal(batch->engine, "first");
	assert_int_equal(batch->items[0].error.code, ERR_TRANSIENT);
	encode_batch_free(batch);
	assert_int_equal(encoder_many_left_out(f->encoder, &why), 1);
	assert_string_equal(why.message, "first: the device was lost");
	set(&f->gated[1].open, true);
	collect_from(f, "second");
	for (size_t i = 0; i < 4; i++) {
		submit(f);
		collect_from(f, "second");
	}
}

static void when_the_last_one_fails_what_waits_fails_too_and_nothing_more_is_taken(void **state)
{
	struct fixture *f = *state;
	struct encode_batch *extra = encode_batch_new(1), *done = NULL;
	struct error err = ERROR_INIT;
	size_t lost = 0;
	int64_t began;

	for (size_t i = 0; i < 6; i++)
		submit(f);
	wait_for_both(f);
	fail_gate(f, 0);
	done = collect(f, 0, &err);
	assert_int_equal(done->items[0].error.code, ERR_TRANSIENT);
	encode_batch_free(done);
	fail_gate(f, 1);
	for (size_t i = 1; i < 6; i++) {
		int r = encoder_collect(f->encoder, PATIENCE_MS, &done, &err);

		assert_non_null(done);
		assert_int_equal(done->items[0].error.code, r < 0 ? ERR_IO : ERR_TRANSIENT);
		lost += r < 0;
		error_clear(&err);
		encode_batch_free(done);
	}
	assert_true(lost >= 4); /* the first may have had another one inside */
	extra->width = extra->height = SIDE;
	extra->items[0].pixels = f->pixels;
	assert_int_equal(encoder_capacity(f->encoder), 0);
	assert_int_equal(encoder_submit(f->encoder, extra, &err), ENCODER_FULL);
	encode_batch_free(extra);
	began = clock_mono_ms();
	assert_int_equal(encoder_collect(f->encoder, 50, &done, &err), ENCODER_NOTHING);
	assert_true(clock_mono_ms() - began >= 49); /* whoever asks for ever does not spin */
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(two_batches_are_encoded_at_once_one_on_each),
	    TEST(what_is_in_line_goes_to_whichever_is_free),
	    TEST(it_takes_one_more_for_each_than_they_have_room_for),
	    TEST(cancelled_ones_come_back_from_the_line_and_from_inside),
	    TEST(what_one_fails_at_comes_back_for_the_other_which_goes_on_alone),
	    TEST(when_the_last_one_fails_what_waits_fails_too_and_nothing_more_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
