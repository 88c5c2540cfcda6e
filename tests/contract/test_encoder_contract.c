/*
 * What every encoder does, run on each. The cpu encoder computes the smallest golden model, the remote one asks an
 * endpoint on loopback that takes some milliseconds.
 */
#include "tests/testing.h"

#include "tests/component/vae_endpoint.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/thread.h"
#include "encoder/encoder_cpu.h"
#include "encoder/encoder_fake.h"
#include "encoder/encoder_many.h"
#include "encoder/encoder_remote.h"
#include "encoder/pixel_range.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH = 64, HEIGHT = 40, IMAGES = 5 };

struct backend {
	const char *name;
	bool many;   /* two of them as one */
	bool absent; /* nothing to compute with on this machine: said once, tests are skipped */
	struct encoder *encoder;
	struct vae_endpoint endpoint; /* of the remote one */
};

static uint8_t images[IMAGES][HEIGHT][WIDTH][3];
static struct hash128 contents[IMAGES];

static int make_images(void **state)
{
	uint32_t random = 1;

	(void)state;
	for (size_t i = 0; i < IMAGES; i++) {
		uint8_t *bytes = &images[i][0][0][0];

		for (size_t b = 0; b < sizeof(images[i]); b++) {
			random = random * 1664525u + 1013904223u;
			bytes[b] = (uint8_t)(random >> 24);
		}
		contents[i] = hash128_of(bytes, sizeof(images[i]));
	}
	return 0;
}

/* A folder with kl_two_blocks, to be freed; NULL where there is none. */
static char *find_model(void)
{
	cleanup_free char *golden = testing_golden("kl_two_blocks"),
			  *weights = testing_path(golden, "diffusion_pytorch_model.safetensors");

	return file_exists(weights) ? TAKE(golden) : testing_shared("goldens/kl_two_blocks");
}

static void open_remote(struct backend *b)
{
	struct encoder_remote_endpoint endpoint = {.url = NULL};
	struct encoder_remote_options options = ENCODER_REMOTE_OPTIONS_INIT;
	struct error err = ERROR_INIT;

	b->endpoint.latentd = true;
	atomic_store(&b->endpoint.delay_ms, 20);
	vae_endpoint_start(&b->endpoint);
	endpoint.url = vae_endpoint_url(&b->endpoint);
	options.endpoints = &endpoint;
	options.n_endpoints = 1;
	options.proxy = "";
	vae_config_defaults(VAE_CLASS_KL, &options.vae);
	options.vae.blocks = 4;
	options.vae.latent_channels = ENDPOINT_CHANNELS;
	assert_ok(encoder_remote_open(&options, &b->encoder, &err), &err);
}

static void open_fake(struct encoder **out)
{
	const struct encoder_fake_options options = {0};
	struct error err = ERROR_INIT;

	assert_ok(encoder_fake_open(&options, out, &err), &err);
}

static void open_many(struct backend *b)
{
	struct encoder *both[2];
	struct error err = ERROR_INIT;

	open_fake(&both[0]);
	open_fake(&both[1]);
	assert_ok(encoder_many_open(both, 2, &b->encoder, &err), &err);
}

static int setup(void **state)
{
	struct backend *b = *state;
	struct error err = ERROR_INIT;

	if (strcmp(b->name, "remote") == 0) {
		open_remote(b);
	} else if (b->many) {
		open_many(b);
	} else if (strcmp(b->name, "fake") == 0) {
		open_fake(&b->encoder);
	} else if (!b->absent) {
		cleanup_free char *model = find_model();
		struct encoder_cpu_options options = {.threads = 1};

		b->absent = !model;
		if (model) {
			options.model = vae_model_open(model, NULL, &err);
			assert_non_null(options.model);
			assert_ok(encoder_cpu_open(&options, &b->encoder, &err), &err);
			vae_model_close(options.model);
		}
	}
	return 0;
}

static int teardown(void **state)
{
	struct backend *b = *state;

	encoder_close(b->encoder);
	b->encoder = NULL;
	if (b->endpoint.server)
		vae_endpoint_stop(&b->endpoint);
	return 0;
}

static struct encoder *encoder_of(void **state)
{
	struct backend *b = *state;

	if (b->absent)
		skip();
	return b->encoder;
}

/* A batch of the images with these numbers. */
static struct encode_batch *batch_of(size_t n, const size_t *numbers, enum posterior posterior)
{
	struct encode_batch *batch = encode_batch_new(n);

	batch->width = WIDTH;
	batch->height = HEIGHT;
	batch->posterior = posterior;
	batch->seed = 7;
	for (size_t i = 0; i < n; i++) {
		batch->items[i].owner = &contents[numbers[i]];
		batch->items[i].pixels = &images[numbers[i]][0][0][0];
		batch->items[i].content = contents[numbers[i]];
	}
	return batch;
}

static struct encode_batch *encode(struct encoder *e, struct encode_batch *batch)
{
	struct encode_batch *done = NULL;
	struct error err = ERROR_INIT;

	assert_ok(encoder_submit(e, batch, &err), &err);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	assert_ptr_equal(done, batch);
	for (size_t i = 0; i < done->n; i++)
		assert_ok(done->items[i].error.code, &done->items[i].error);
	return done;
}

static struct encode_batch *encode_one(struct encoder *e, size_t number, enum posterior posterior,
				       uint64_t seed)
{
	struct encode_batch *batch = batch_of(1, &number, posterior);

	batch->seed = seed;
	return encode(e, batch);
}

static void assert_same_latent(const struct encode_item *a, const struct encode_item *b)
{
	assert_true(ndarray_same_shape(&a->latent, &b->latent));
	assert_memory_equal(a->latent.data, b->latent.data, a->latent.bytes);
}

static void the_caps_say_what_it_is(void **state)
{
	struct backend *b = *state;
	const struct encoder_caps *caps = encoder_caps(encoder_of(state));

	assert_true(caps->latent_channels > 0 && caps->downscale > 0 && caps->best_batch > 0);
	assert_true(caps->mean && caps->moments && caps->draw);
	assert_memory_equal(caps->engine, b->name, strlen(b->name));
	assert_int_equal(encoder_capacity(b->encoder), caps->max_in_flight);
	assert_int_equal(encoder_pollable(b->encoder) >= 0, b->endpoint.server != NULL);
}

static void a_result_does_not_depend_on_its_batch_or_place(void **state)
{
	static const size_t forward[] = {0, 1, 2, 3, 4}, mixed[] = {4, 2, 0};
	static const enum posterior posteriors[] = {POSTERIOR_MEAN, POSTERIOR_DRAW};
	struct encoder *e = encoder_of(state);

	for (size_t p = 0; p < ARRAY_SIZE(posteriors); p++) {
		struct encode_batch *all = encode(e, batch_of(5, forward, posteriors[p])),
				    *some = encode(e, batch_of(3, mixed, posteriors[p]));

		for (size_t i = 0; i < 3; i++) {
			struct encode_batch *alone = encode_one(e, mixed[i], posteriors[p], 7);

			assert_same_latent(&some->items[i], &all->items[mixed[i]]);
			assert_same_latent(&some->items[i], &alone->items[0]);
			assert_ptr_equal(some->items[i].owner, &contents[mixed[i]]);
			encode_batch_free(alone);
		}
		assert_memory_not_equal(all->items[0].latent.data, all->items[1].latent.data,
					all->items[0].latent.bytes);
		encode_batch_free(all);
		encode_batch_free(some);
	}
}

static void the_posterior_decides_what_is_kept(void **state)
{
	struct encoder *e = encoder_of(state);
	const struct encoder_caps *caps = encoder_caps(e);
	struct encode_batch *mean = encode_one(e, 0, POSTERIOR_MEAN, 1),
			    *moments = encode_one(e, 0, POSTERIOR_MOMENTS, 2),
			    *draw = encode_one(e, 0, POSTERIOR_DRAW, 3),
			    *again = encode_one(e, 0, POSTERIOR_DRAW, 3),
			    *other = encode_one(e, 0, POSTERIOR_DRAW, 4);
	const struct ndarray *latent = &mean->items[0].latent;
	size_t c = caps->latent_channels, pixels = latent->shape[1] * latent->shape[2];
	cleanup_free float *want = xmalloc(latent->bytes);

	assert_int_equal(latent->shape[0], c);
	assert_int_equal(latent->shape[1], HEIGHT / caps->downscale);
	assert_int_equal(latent->shape[2], WIDTH / caps->downscale);
	assert_int_equal(moments->items[0].latent.shape[0], 2 * c);
	assert_memory_equal(latent->data, moments->items[0].latent.data, latent->bytes);
	posterior_apply(POSTERIOR_DRAW, moments->items[0].latent.data, c, pixels, &contents[0], 3,
			want);
	assert_memory_equal(draw->items[0].latent.data, want, latent->bytes);
	assert_same_latent(&draw->items[0], &again->items[0]);
	assert_memory_not_equal(draw->items[0].latent.data, other->items[0].latent.data,
				latent->bytes);
	assert_memory_not_equal(draw->items[0].latent.data, latent->data, latent->bytes);
	encode_batch_free(mean);
	encode_batch_free(moments);
	encode_batch_free(draw);
	encode_batch_free(again);
	encode_batch_free(other);
}

/* Mixed with items of pixels; an encoder that takes no values says so in its caps, and refuses them. */
static void values_give_what_their_pixels_give(void **state)
{
	static const size_t both[] = {0, 1}, alone = 1;
	static float values[HEIGHT * WIDTH * 3];
	struct encoder *e = encoder_of(state);
	struct encode_batch *batch = batch_of(2, both, POSTERIOR_MOMENTS), *want;
	struct error err = ERROR_INIT;

	pixel_range_signed(values, &images[1][0][0][0], sizeof(images[1]));
	batch->items[1].pixels = NULL;
	batch->items[1].values = values;
	if (!encoder_caps(e)->values) {
		assert_error(encoder_submit(e, batch, &err), &err, ERR_CONFIG);
		encode_batch_free(batch);
		return;
	}
	want = encode(e, batch_of(1, &alone, POSTERIOR_MOMENTS));
	encode(e, batch);
	assert_same_latent(&batch->items[1], &want->items[0]);
	encode_batch_free(batch);
	encode_batch_free(want);
}

static void beyond_its_capacity_it_is_full_and_then_takes_again(void **state)
{
	static const size_t first = 0;
	struct encoder *e = encoder_of(state);
	size_t n = encoder_caps(e)->max_in_flight;
	struct encode_batch *extra = batch_of(1, &first, POSTERIOR_MEAN), *done = NULL;
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < n; i++) {
		struct encode_batch *batch = batch_of(1, &first, POSTERIOR_MEAN);

		assert_int_equal(encoder_capacity(e), n - i);
		assert_ok(encoder_submit(e, batch, &err), &err);
	}
	assert_int_equal(encoder_capacity(e), 0);
	assert_int_equal(encoder_submit(e, extra, &err), ENCODER_FULL);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	encode_batch_free(done);
	assert_ok(encoder_submit(e, extra, &err), &err);
	for (size_t i = 0; i < n; i++) {
		assert_ok(encoder_collect(e, -1, &done, &err), &err);
		encode_batch_free(done);
	}
	assert_int_equal(encoder_collect(e, 0, &done, &err), ENCODER_NOTHING);
	assert_null(done);
}

static void sizes_that_are_no_multiple_of_the_downscale_are_refused(void **state)
{
	static const size_t first = 0;
	struct encoder *e = encoder_of(state);
	struct encode_batch *batch = batch_of(1, &first, POSTERIOR_MEAN);
	struct error err = ERROR_INIT;

	batch->width = WIDTH - 1;
	assert_error(encoder_submit(e, batch, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "63x40"));
	error_clear(&err);
	batch->width = WIDTH;
	batch->height = HEIGHT - 1;
	assert_error(encoder_submit(e, batch, &err), &err, ERR_CONFIG);
	encode_batch_free(batch);
}

static void a_batch_that_is_not_fresh_is_refused(void **state)
{
	static const size_t first = 0;
	struct encoder *e = encoder_of(state);
	struct encode_batch *batch = encode_one(e, first, POSTERIOR_MEAN, 0), *done = NULL;
	struct error err = ERROR_INIT;

	assert_error(encoder_submit(e, batch, &err), &err, ERR_BUG);
	error_clear(&err);
	ndarray_release(&batch->items[0].latent);
	batch->items[0].pixels = NULL;
	assert_error(encoder_submit(e, batch, &err), &err, ERR_BUG);
	error_clear(&err);
	batch->items[0].pixels = &images[0][0][0][0];
	batch->items[0].values = (const float *)(const void *)images; /* one too many */
	assert_error(encoder_submit(e, batch, &err), &err, ERR_BUG);
	error_clear(&err);
	batch->n = 0;
	assert_error(encoder_submit(e, batch, &err), &err, ERR_BUG);
	batch->n = 1;
	encode_batch_free(batch);
	assert_int_equal(encoder_collect(e, 0, &done, &err), ENCODER_NOTHING);
}

static void what_is_in_flight_when_cancelled_comes_back_transient(void **state)
{
	static const size_t both[] = {0, 1};
	struct encoder *e = encoder_of(state);
	struct encode_batch *batch = batch_of(2, both, POSTERIOR_MEAN), *done = NULL;
	struct error err = ERROR_INIT;

	assert_ok(encoder_submit(e, batch, &err), &err);
	encoder_cancel(e);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	assert_ptr_equal(done, batch);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(batch->items[i].error.code, ERR_TRANSIENT);
		assert_null(batch->items[i].latent.data);
	}
	encode_batch_free(batch);
}

static void what_is_submitted_after_a_cancel_is_computed(void **state)
{
	struct encoder *e = encoder_of(state);

	encoder_cancel(e);
	encode_batch_free(encode_one(e, 0, POSTERIOR_MEAN, 0));
	encoder_cancel(e);
	encode_batch_free(encode_one(e, 0, POSTERIOR_MEAN, 0));
}

static void ticks_grow_with_the_work(void **state)
{
	static const size_t both[] = {0, 1};
	struct encoder *e = encoder_of(state);
	uint64_t before = encoder_ticks(e);

	assert_true(encoder_ticks(e) == before);
	encode_batch_free(encode(e, batch_of(2, both, POSTERIOR_MEAN)));
	assert_true(encoder_ticks(e) >= before + 2);
}

/* A device that has the model in memory says so: at once, and with the maps of an image after that. */
static void memory_is_that_of_the_device(void **state)
{
	static const size_t both[] = {0, 1};
	struct backend *b = *state;
	struct encoder *e = encoder_of(state);
	struct encoder_memory before = {0, 0}, after = {0, 0};
	bool computes = strcmp(b->name, "cpu") == 0;

	assert_int_equal(encoder_memory(e, &before), computes);
	encode_batch_free(encode(e, batch_of(2, both, POSTERIOR_MEAN)));
	assert_int_equal(encoder_memory(e, &after), computes);
	if (!computes)
		return;
	assert_true(before.used > 0 && after.used >= before.used + sizeof(images[0]));
	assert_true(after.used <= after.limit && before.limit == after.limit);
}

static void *cancel_often(void *arg)
{
	for (size_t i = 0; i < 100; i++)
		encoder_cancel(arg);
	return NULL;
}

static void cancel_may_come_from_another_thread_at_any_time(void **state)
{
	static const size_t few[] = {0, 1, 2};
	struct encoder *e = encoder_of(state);
	struct thread t = THREAD_INIT;
	struct error err = ERROR_INIT;

	assert_ok(thread_start(&t, "cancel", cancel_often, e, &err), &err);
	for (size_t round = 0; round < 4; round++) {
		struct encode_batch *batch = batch_of(3, few, POSTERIOR_MEAN), *done = NULL;

		assert_ok(encoder_submit(e, batch, &err), &err);
		assert_ok(encoder_collect(e, -1, &done, &err), &err);
		for (size_t i = 0; i < 3; i++) {
			const struct encode_item *item = &batch->items[i];

			assert_int_equal(item->error.code,
					 item->latent.data ? ERR_NONE : ERR_TRANSIENT);
		}
		encode_batch_free(batch);
	}
	thread_join(&t);
	encode_batch_free(encode_one(e, 0, POSTERIOR_MEAN, 0));
}

/* Of several that compute on threads of their own a batch may be done before it is cancelled: test_encoder_many. */
#define CONTRACT(test)                                                                             \
	cmocka_unit_test_prestate_setup_teardown(test, setup, teardown, &many),                    \
	    CONTRACT_OF_ONE(test)

#define CONTRACT_OF_ONE(test)                                                                      \
	cmocka_unit_test_prestate_setup_teardown(test, setup, teardown, &fake),                    \
	    cmocka_unit_test_prestate_setup_teardown(test, setup, teardown, &remote),              \
	    cmocka_unit_test_prestate_setup_teardown(test, setup, teardown, &cpu)

int main(void)
{
	static struct backend fake = {.name = "fake"}, cpu = {.name = "cpu"},
			      remote = {.name = "remote"}, many = {.name = "fake", .many = true};
	const struct CMUnitTest tests[] = {
	    CONTRACT(the_caps_say_what_it_is),
	    CONTRACT(a_result_does_not_depend_on_its_batch_or_place),
	    CONTRACT(the_posterior_decides_what_is_kept),
	    CONTRACT(values_give_what_their_pixels_give),
	    CONTRACT(beyond_its_capacity_it_is_full_and_then_takes_again),
	    CONTRACT(sizes_that_are_no_multiple_of_the_downscale_are_refused),
	    CONTRACT(a_batch_that_is_not_fresh_is_refused),
	    CONTRACT_OF_ONE(what_is_in_flight_when_cancelled_comes_back_transient),
	    CONTRACT(what_is_submitted_after_a_cancel_is_computed),
	    CONTRACT(ticks_grow_with_the_work),
	    CONTRACT(memory_is_that_of_the_device),
	    CONTRACT(cancel_may_come_from_another_thread_at_any_time),
	};
	return cmocka_run_group_tests(tests, make_images, NULL);
}
