#include "daemon/encode_driver.h"

#include "base/checked.h"
#include "base/clock.h"
#include "daemon/encode_group.h"
#include "encoder/encoder_blocking.h"
#include "encoder/encoder_fake.h"
#include "tests/testing.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

enum { SIDE = 16, LATENT = SIDE / 8, TURN_USEC = 30 * 1000 * 1000 };

static const uint8_t pixels[SIDE * SIDE * 3];

/* -- an encoder that computes an item each time it is let ------------------------------------------- */

struct gate {
	struct encoder_blocking blocking;
	sem_t may;	  /* one item may be computed */
	sem_t entered;	  /* one item waits for that */
	bool broken;	  /* every item ends the batch with ERR_IO */
	atomic_bool shut; /* it has nothing to compute with */
	sem_t waits;	  /* posted by each collect of one that is shut */
};

static int gate_moments(struct encoder_blocking *base, const struct encode_batch *batch,
			const struct encode_item *item, float *moments, struct error *err)
{
	struct gate *g = (struct gate *)base;

	sem_post(&g->entered);
	sem_wait(&g->may);
	if (g->broken)
		return error_set(err, ERR_IO, "the device is lost");
	encoder_fake_moments(&item->content, 4, batch->width / 8 * (batch->height / 8), moments);
	return 0;
}

static void gate_close(struct encoder *base)
{
	struct gate *g = (struct gate *)base;

	encoder_blocking_release(&g->blocking);
	sem_destroy(&g->may);
	sem_destroy(&g->entered);
	sem_destroy(&g->waits);
	free(g);
}

static size_t gate_capacity(struct encoder *base)
{
	return atomic_load(&((struct gate *)base)->shut) ? 0 : encoder_blocking_capacity(base);
}

static int gate_submit(struct encoder *base, struct encode_batch *batch, struct error *err)
{
	if (atomic_load(&((struct gate *)base)->shut))
		return ENCODER_FULL;
	return encoder_blocking_submit(base, batch, err);
}

static int gate_collect(struct encoder *base, int timeout_ms, struct encode_batch **done,
			struct error *err)
{
	struct gate *g = (struct gate *)base;

	if (!atomic_load(&g->shut))
		return encoder_blocking_collect(base, timeout_ms, done, err);
	sem_post(&g->waits);
	return ENCODER_NOTHING;
}

static const struct encoder_ops gate_ops = {
    .name = "gate",
    .caps = encoder_blocking_caps,
    .capacity = gate_capacity,
    .submit = gate_submit,
    .collect = gate_collect,
    .cancel = encoder_blocking_cancel,
    .ticks = encoder_blocking_ticks,
    .pollable = encoder_blocking_pollable,
    .close = gate_close,
};

static struct gate *gate_open(void)
{
	const struct encoder_caps caps = {.latent_channels = 4,
					  .downscale = 8,
					  .best_batch = 2,
					  .max_in_flight = 2,
					  .mean = true,
					  .engine = "gate"};
	struct gate *g = xcalloc(1, sizeof(*g));

	encoder_blocking_init(&g->blocking, &gate_ops, &caps, gate_moments);
	sem_init(&g->may, 0, 0);
	sem_init(&g->entered, 0, 0);
	sem_init(&g->waits, 0, 0);
	atomic_init(&g->shut, false);
	return g;
}

/* -- a driver on a loop ------------------------------------------------------------------------------ */

struct fixture {
	sd_event *event;
	struct inbox *inbox;
	struct encoder *encoder;
	struct encode_driver *driver;
	struct encode_batch *back[100]; /* in the order in which they came */
	struct error failures[100];
	size_t n;
};

static void on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	struct fixture *f = arg;

	f->failures[f->n] = *failure;
	f->back[f->n++] = batch;
}

static void open_driver(struct fixture *f, struct encoder *encoder)
{
	struct error err = ERROR_INIT;

	f->encoder = encoder;
	assert_ok(encode_driver_open(f->inbox, encoder, on_batch, f, &f->driver, &err), &err);
}

static int setup(void **state)
{
	static struct fixture f;
	struct error err = ERROR_INIT;

	memset(&f, 0, sizeof(f));
	assert_true(sd_event_new(&f.event) >= 0);
	assert_ok(inbox_open(f.event, &f.inbox, &err), &err);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	encode_driver_close(f->driver);
	for (size_t i = 0; i < f->n; i++)
		encode_batch_free(f->back[i]);
	inbox_close(f->inbox);
	encoder_close(f->encoder);
	sd_event_unref(f->event);
	return 0;
}

static void turn(struct fixture *f)
{
	int r = sd_event_run(f->event, TURN_USEC);

	if (r <= 0)
		fail_msg("the loop waited for nothing (%d)", r);
}

static void wait_for(struct fixture *f, size_t n)
{
	while (f->n < n)
		turn(f);
}

/* @n images; the contents of image i are the number @first + i. */
static struct encode_batch *batch_of(size_t n, uint64_t first)
{
	struct encode_batch *batch = encode_batch_new(n);

	batch->width = batch->height = SIDE;
	for (size_t i = 0; i < n; i++) {
		uint64_t number = first + i;

		batch->items[i].pixels = pixels;
		batch->items[i].content = hash128_of(&number, sizeof(number));
	}
	return batch;
}

static void assert_encoded(const struct encode_item *item)
{
	float want[2 * 4 * LATENT * LATENT];

	assert_int_equal(item->error.code, ERR_NONE);
	encoder_fake_moments(&item->content, 4, LATENT * LATENT, want);
	assert_memory_equal(item->latent.data, want, sizeof(want) / 2);
}

static void assert_all(const struct encode_batch *batch, enum error_code code)
{
	for (size_t i = 0; i < batch->n; i++) {
		assert_int_equal(batch->items[i].error.code, code);
		if (code == ERR_NONE)
			assert_encoded(&batch->items[i]);
		else
			assert_null(batch->items[i].latent.data);
	}
}

static void every_batch_comes_back_encoded_and_in_order(void **state)
{
	struct fixture *f = *state;
	struct encoder_fake_options options = {0};
	struct encoder *fake = NULL;
	struct error err = ERROR_INIT;
	struct encode_batch *sent[50];

	assert_ok(encoder_fake_open(&options, &fake, &err), &err);
	open_driver(f, fake);
	for (size_t i = 0; i < 50; i++) {
		while (encode_driver_room(f->driver) == 0)
			turn(f);
		sent[i] = batch_of(1 + i % 5, i * 10);
		encode_driver_submit(f->driver, sent[i]);
		assert_true(encode_driver_in_flight(f->driver) <= 2 + 1);
	}
	wait_for(f, 50);
	for (size_t i = 0; i < 50; i++) {
		assert_ptr_equal(f->back[i], sent[i]);
		assert_int_equal(f->failures[i].code, ERR_NONE);
		assert_all(f->back[i], ERR_NONE);
	}
	assert_int_equal(encode_driver_in_flight(f->driver), 0);
}

static void it_takes_one_batch_more_than_the_encoder_holds(void **state)
{
	struct fixture *f = *state;
	struct gate *gate = gate_open();

	open_driver(f, &gate->blocking.base);
	assert_int_equal(encode_driver_room(f->driver), 3);
	for (size_t i = 0; i < 3; i++) {
		encode_driver_submit(f->driver, batch_of(1, i));
		assert_int_equal(encode_driver_room(f->driver), 2 - i);
		assert_int_equal(encode_driver_in_flight(f->driver), i + 1);
	}
	sem_post(&gate->may);
	wait_for(f, 1);
	assert_int_equal(encode_driver_room(f->driver), 1);
	sem_post(&gate->may);
	sem_post(&gate->may);
	wait_for(f, 3);
	assert_int_equal(encode_driver_room(f->driver), 3);
}

static void many_small_batches_are_as_much_as_few_large_ones(void **state)
{
	enum { MOST = 4, BEST = 2, ALL = MOST + BEST }; /* of the encoder, and a batch that waits */
	struct fixture *f = *state;
	struct gate *gate = gate_open();
	size_t back = 0;

	gate->blocking.caps.max_images = MOST;
	gate->blocking.caps.max_in_flight = ALL;
	open_driver(f, &gate->blocking.base);
	for (size_t n = 1; n <= 2; n++) {
		for (size_t images = 0; images < ALL; images += n, back++) {
			assert_true(encode_driver_room(f->driver) > 0);
			encode_driver_submit(f->driver, batch_of(n, images));
		}
		assert_int_equal(encode_driver_room(f->driver), 0);
		for (size_t i = 0; i < ALL; i++)
			sem_post(&gate->may);
		wait_for(f, back);
	}
	assert_true(encode_driver_room(f->driver) > 0);
}

static void cancel_brings_everything_back_and_computes_no_further_item(void **state)
{
	struct fixture *f = *state;
	struct gate *gate = gate_open();

	open_driver(f, &gate->blocking.base);
	for (size_t i = 0; i < 3; i++)
		encode_driver_submit(f->driver, batch_of(2, i * 10));
	sem_wait(&gate->entered); /* the first item is being computed */
	encode_driver_cancel(f->driver);
	sem_post(&gate->may);
	wait_for(f, 3);
	assert_encoded(&f->back[0]->items[0]);
	assert_int_equal(f->back[0]->items[1].error.code, ERR_TRANSIENT);
	/* The second was inside, the third had not even reached the encoder. */
	assert_all(f->back[1], ERR_TRANSIENT);
	assert_all(f->back[2], ERR_TRANSIENT);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(f->failures[i].code, ERR_NONE);
	assert_int_equal(encode_driver_in_flight(f->driver), 0);
}

static void what_is_submitted_after_cancel_is_encoded(void **state)
{
	struct fixture *f = *state;
	struct gate *gate = gate_open();

	open_driver(f, &gate->blocking.base);
	encode_driver_submit(f->driver, batch_of(1, 0));
	sem_wait(&gate->entered);
	encode_driver_cancel(f->driver);
	encode_driver_submit(f->driver, batch_of(2, 10));
	for (size_t i = 0; i < 3; i++)
		sem_post(&gate->may);
	wait_for(f, 2);
	assert_all(f->back[1], ERR_NONE);
	encode_driver_cancel(f->driver); /* with nothing in flight */
	encode_driver_submit(f->driver, batch_of(1, 20));
	sem_post(&gate->may);
	wait_for(f, 3);
	assert_all(f->back[2], ERR_NONE);
}

static void an_encoder_that_fails_as_a_whole_fails_every_item(void **state)
{
	struct fixture *f = *state;
	struct gate *gate = gate_open();

	gate->broken = true;
	open_driver(f, &gate->blocking.base);
	encode_driver_submit(f->driver, batch_of(3, 0));
	sem_post(&gate->may);
	wait_for(f, 1);
	assert_int_equal(f->failures[0].code, ERR_IO);
	assert_string_equal(f->failures[0].message, "the device is lost");
	assert_all(f->back[0], ERR_IO);
}

static void a_batch_that_the_encoder_refuses_comes_back_with_why(void **state)
{
	struct fixture *f = *state;
	struct gate *gate = gate_open();
	struct encode_batch *odd = batch_of(2, 0);

	open_driver(f, &gate->blocking.base);
	odd->width = SIDE + 1;
	encode_driver_submit(f->driver, odd);
	encode_driver_submit(f->driver, batch_of(1, 5));
	sem_post(&gate->may);
	wait_for(f, 2);
	assert_ptr_equal(f->back[0], odd);
	assert_int_equal(f->failures[0].code, ERR_CONFIG);
	assert_all(f->back[0], ERR_CONFIG);
	assert_all(f->back[1], ERR_NONE);
}

static bool poison_seven(const struct hash128 *content)
{
	const uint64_t seven = 7;
	struct hash128 h = hash128_of(&seven, sizeof(seven));

	return hash128_equal(content, &h);
}

static void an_image_that_fails_does_not_fail_its_neighbours(void **state)
{
	struct fixture *f = *state;
	struct encoder_fake_options options = {.poison = poison_seven};
	struct encoder *fake = NULL;
	struct error err = ERROR_INIT;

	assert_ok(encoder_fake_open(&options, &fake, &err), &err);
	open_driver(f, fake);
	encode_driver_submit(f->driver, batch_of(3, 6));
	wait_for(f, 1);
	assert_int_equal(f->failures[0].code, ERR_NONE);
	assert_encoded(&f->back[0]->items[0]);
	assert_int_equal(f->back[0]->items[1].error.code, ERR_DATA);
	assert_string_equal(f->back[0]->items[1].error.reason, "non_finite");
	assert_encoded(&f->back[0]->items[2]);
}

static void an_encoder_with_nothing_to_compute_with_gives_back_what_waits(void **state)
{
	struct fixture *f = *state;
	struct gate *gate = gate_open();

	atomic_store(&gate->shut, true);
	open_driver(f, &gate->blocking.base);
	encode_driver_submit(f->driver, batch_of(2, 0));
	encode_driver_submit(f->driver, batch_of(1, 10));
	wait_for(f, 2);
	assert_all(f->back[0], ERR_TRANSIENT);
	assert_all(f->back[1], ERR_TRANSIENT);
	assert_int_equal(f->failures[0].code, ERR_NONE);
	assert_int_equal(encode_driver_room(f->driver), 0);
	assert_int_equal(encode_driver_in_flight(f->driver), 0);
	atomic_store(&gate->shut, false);
	while (encode_driver_room(f->driver) == 0)
		turn(f); /* the driver wakes the loop */
	encode_driver_submit(f->driver, batch_of(1, 20));
	sem_post(&gate->may);
	wait_for(f, 3);
	assert_all(f->back[2], ERR_NONE);
}

static void a_driver_whose_encoder_has_nothing_to_compute_with_can_be_closed(void **state)
{
	struct fixture *f = *state;
	struct gate *gate = gate_open();

	atomic_store(&gate->shut, true);
	open_driver(f, &gate->blocking.base);
	encode_driver_submit(f->driver, batch_of(1, 0));
	sem_wait(&gate->waits); /* teardown closes it */
	wait_for(f, 1);
}

static void who_was_picked_takes_the_batch_though_nothing_computes_any_more(void **state)
{
	struct fixture *f = *state;
	struct gate *gate = gate_open();
	struct encode_group group = ENCODE_GROUP_INIT;
	struct encode_driver *picked;

	open_driver(f, &gate->blocking.base);
	encode_group_add(&group, f->driver);
	picked = encode_group_pick(&group, 0);
	atomic_store(&gate->shut, true);
	encode_driver_submit(f->driver, batch_of(1, 0));
	wait_for(f, 1);
	assert_null(encode_group_pick(&group, 0));
	encode_driver_submit(picked, batch_of(1, 10));
	wait_for(f, 2);
	assert_all(f->back[1], ERR_TRANSIENT);
	encode_group_release(&group);
}

static void let(struct gate *g, size_t n)
{
	while (n-- > 0)
		sem_post(&g->may);
}

static void group_submit(const struct encode_group *g, struct encode_batch *batch)
{
	struct encode_driver *d = encode_group_pick(g, 0);

	assert_non_null(d);
	encode_driver_submit(d, batch);
}

static void a_batch_goes_to_the_one_that_should_have_done_it_first(void **state)
{
	struct fixture *f = *state;
	struct gate *slow = gate_open(), *fast = gate_open();
	struct encode_group group = ENCODE_GROUP_INIT;
	struct encode_driver *other = NULL;
	struct error err = ERROR_INIT;
	int64_t began = clock_mono_ns(), took;

	open_driver(f, &slow->blocking.base);
	assert_ok(encode_driver_open(f->inbox, &fast->blocking.base, on_batch, f, &other, &err),
		  &err);
	encode_group_add(&group, f->driver);
	encode_group_add(&group, other);
	group_submit(&group, batch_of(1, 0)); /* nobody knows either */
	group_submit(&group, batch_of(1, 1));
	assert_int_equal(encode_driver_in_flight(f->driver), 1);
	assert_int_equal(encode_driver_in_flight(other), 1);
	let(fast, 1);
	wait_for(f, 1);
	took = clock_mono_ns() - began;
	while (clock_mono_ns() - began < 4 * took)
		;
	let(slow, 1);
	wait_for(f, 2);
	for (uint64_t i = 2; i < 5; i++) /* one after the other ends before the slow one */
		group_submit(&group, batch_of(1, i));
	assert_int_equal(encode_driver_in_flight(other), 3);
	group_submit(&group, batch_of(1, 5)); /* the fast one is full */
	assert_int_equal(encode_driver_in_flight(f->driver), 1);
	let(fast, 3);
	let(slow, 1);
	wait_for(f, 6);
	encode_group_release(&group);
	encode_driver_close(other);
	encoder_close(&fast->blocking.base);
}

static void closing_a_driver_that_had_no_work_or_never_was_is_fine(void **state)
{
	struct fixture *f = *state;
	struct gate *gate = gate_open();

	encode_driver_close(NULL);
	encode_driver_cancel(NULL);
	open_driver(f, &gate->blocking.base); /* teardown closes it */
}

#define driver_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    driver_test(every_batch_comes_back_encoded_and_in_order),
	    driver_test(it_takes_one_batch_more_than_the_encoder_holds),
	    driver_test(many_small_batches_are_as_much_as_few_large_ones),
	    driver_test(cancel_brings_everything_back_and_computes_no_further_item),
	    driver_test(what_is_submitted_after_cancel_is_encoded),
	    driver_test(an_encoder_that_fails_as_a_whole_fails_every_item),
	    driver_test(a_batch_that_the_encoder_refuses_comes_back_with_why),
	    driver_test(an_image_that_fails_does_not_fail_its_neighbours),
	    driver_test(an_encoder_with_nothing_to_compute_with_gives_back_what_waits),
	    driver_test(a_driver_whose_encoder_has_nothing_to_compute_with_can_be_closed),
	    driver_test(who_was_picked_takes_the_batch_though_nothing_computes_any_more),
	    driver_test(a_batch_goes_to_the_one_that_should_have_done_it_first),
	    driver_test(closing_a_driver_that_had_no_work_or_never_was_is_fine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
