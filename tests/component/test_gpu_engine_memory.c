/* Memory of the CUDA engine: batches, bands, limits, repeats in float32, and an encoder beside a decoder. */
#include "tests/component/gpu_engine_rig.h"

#include "base/checked.h"
#include "tests/component/fake_cuda.h"
#include "tests/testing.h"

/* -- memory ------------------------------------------------------------------------------------------ */

static void batches_are_halved_until_they_fit_then_images_go_in_bands(void **state)
{
	static const size_t limits[] = {128, 64, 32, 24, 22};
	static const uint32_t batches[] = {4, 2, 1, 1, 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct latentd_cuda_options options = plenty;
		struct work *w = work_new(8 * SIDE, 8 * SIDE, 4, 3);
		struct latentd_cuda_usage usage;
		struct latentd_cuda_engine *e;

		start_over((uint32_t)i);
		options.memory = limits[i] * MIB;
		e = engine_new(&options);
		encode(e, w);
		usage = usage_of(e);
		assert_int_equal(usage.batch, batches[i]);
		assert_int_equal(usage.banded, i > 2);
		assert_true(fake_cuda.most <= options.memory);
		gpu_engine_close(e);
		work_free(w);
	}
}

static void
algorithms_that_need_more_than_there_is_have_smaller_batches_and_smaller_bands(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(4 * SIDE, 4 * SIDE, 4, 3);
	struct latentd_cuda_engine *e;

	(void)state;
	rig.workspace_image = 11 * MIB; /* beside the arena of four there is not room for two's */
	options.memory = 48 * MIB;
	e = engine_new(&options);
	encode(e, w);
	assert_int_equal(usage_of(e).batch, 2);
	assert_true(fake_cuda.most <= options.memory);
	gpu_engine_close(e);
	work_free(w);

	/* One image whole never leaves room; in bands of 4 MiB it does. */
	w = work_new(8 * SIDE, 8 * SIDE, 1, 3);
	start_over(2);
	rig.workspace_image = 100 * MIB;
	rig.workspace_row = 1;
	options.memory = 32 * MIB;
	e = engine_new(&options);
	encode(e, w);
	assert_int_equal(usage_of(e).batch, 1);
	assert_true(usage_of(e).banded);
	gpu_engine_close(e);
	work_free(w);
}

static void what_exceeds_the_limit_is_too_large_and_the_next_size_is_encoded(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(16 * SIDE, 16 * SIDE, 1, 3), *small = work_new(SIDE, SIDE, 2, 4);
	struct latentd_cuda_engine *e;

	(void)state;
	options.memory = 6 * MIB;
	e = engine_new(&options);
	submit(e, w);
	collect(e, w, LATENTD_CUDA_TOO_LARGE);
	assert_int_equal(w->items[0].flags, 0);
	encode(e, small);
	gpu_engine_close(e);
	work_free(w);
	work_free(small);
}

static void memory_that_others_have_is_not_the_image_s_fault(void **state)
{
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w = work_new(4 * SIDE, 4 * SIDE, 1, 3);

	(void)state;
	fake_cuda.memory = 2 * MIB; /* of which our parameters have one */
	submit(e, w);
	collect(e, w, LATENTD_CUDA_NO_MEMORY);
	fake_cuda.memory = SIZE_MAX; /* they are gone */
	fake_cuda.host_is_full = true;
	submit(e, w);
	collect(e, w, LATENTD_CUDA_NO_MEMORY);
	fake_cuda.host_is_full = false;
	encode(e, w);
	gpu_engine_close(e);
	work_free(w);
}

static void a_refusal_of_another_kind_ends_the_job_at_once(void **state)
{
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w = work_new(SIDE, SIDE, 4, 3);

	(void)state;
	rig.refusal = (struct latentd_cuda_error){LATENTD_CUDA_UNSUPPORTED, "no such convolution"};
	submit(e, w);
	collect(e, w, LATENTD_CUDA_UNSUPPORTED);
	assert_int_equal(rig.prepared, 1);
	rig.refusal.code = LATENTD_CUDA_OK;
	encode(e, w);
	gpu_engine_close(e);
	work_free(w);
}

static void parameters_beyond_the_limit_open_no_engine(void **state)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_engine *e = NULL;

	(void)state;
	rig.weights = 65 * MIB;
	assert_int_equal(gpu_engine_open(&encoder_model, &plenty, &e, &err), -1);
	assert_int_equal(err.code, LATENTD_CUDA_TOO_LARGE);
	assert_null(e);
	assert_int_equal(fake_cuda.held, 0);
}

/* -- repeats ----------------------------------------------------------------------------------------- */

static void what_overflows_is_repeated_in_float32_between_its_neighbours(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < ORDERS; seed++) {
		struct latentd_cuda_options options = plenty;
		struct work *w = work_new(SIDE, SIDE, 6, seed), *next = work_new(SIDE, SIDE, 2, 9);
		struct latentd_cuda_engine *e;

		start_over(seed);
		options.max_batch = 1 + seed % 3;
		e = engine_new(&options);
		w->pixels[1 * w->image] = OVERFLOWS;
		w->pixels[4 * w->image] = ALWAYS_OVERFLOWS;
		submit(e, w);
		submit(e, next);
		collect(e, w, LATENTD_CUDA_OK);
		collect(e, next, LATENTD_CUDA_OK);
		for (uint32_t i = 0; i < 6; i++) {
			if (i == 4)
				assert_int_equal(w->items[i].flags,
						 LATENTD_CUDA_ITEM_DONE | LATENTD_CUDA_ITEM_F32 |
						     LATENTD_CUDA_ITEM_NOT_FINITE);
			else
				assert_encoded(w, i, i == 1 ? LATENTD_CUDA_ITEM_F32 : 0);
		}
		assert_encoded(next, 1, 0);
		gpu_engine_close(e);
		work_free(w);
		work_free(next);
	}
}

/*
 * Both engines keep to one limit, of which ours takes 7.5 MiB for one image, float32's 11.5 at least: where both do not fit
 * they take turns.
 */
static void where_there_is_no_room_for_both_the_repeat_has_the_memory_for_itself(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(4 * SIDE, 4 * SIDE, 3, 1);

	(void)state;
	options.max_batch = 1;
	options.memory = 13 * MIB;
	w->pixels[1 * w->image] = OVERFLOWS;
	for (uint32_t seed = 0; seed < ORDERS / 4; seed++) {
		struct latentd_cuda_engine *e;

		start_over(seed);
		e = engine_new(&options);
		submit(e, w);
		collect(e, w, LATENTD_CUDA_OK);
		for (uint32_t i = 0; i < 3; i++)
			assert_encoded(w, i, i == 1 ? LATENTD_CUDA_ITEM_F32 : 0);
		assert_true(fake_cuda.most <= options.memory);
		gpu_engine_close(e);
	}
	work_free(w);
}

static void an_image_that_is_too_large_for_float32_is_that_alone(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(4 * SIDE, 4 * SIDE, 3, 1);
	struct latentd_cuda_engine *e;

	(void)state;
	options.max_batch = 1;
	options.memory = 9 * MIB;
	w->pixels[1 * w->image] = OVERFLOWS;
	e = engine_new(&options);
	submit(e, w);
	collect(e, w, LATENTD_CUDA_OK);
	assert_encoded(w, 0, 0);
	assert_int_equal(w->items[1].flags, LATENTD_CUDA_ITEM_DONE | LATENTD_CUDA_ITEM_TOO_LARGE);
	assert_encoded(w, 2, 0);
	gpu_engine_close(e);
	work_free(w);
}

/* -- an encoder and a decoder ------------------------------------------------------------------------- */

/* Both under way at once, in every order, with room for one's maps at a time: whole batches, and within one limit. */
static void what_is_beside_takes_the_others_maps_and_keeps_to_one_limit(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < ORDERS / 2; seed++) {
		struct latentd_cuda_options options = plenty;
		struct latentd_cuda_engine *e, *d;
		struct work *in = work_new(2 * SIDE, 2 * SIDE, 4, seed);
		struct work *out = work_of(&decoder_model, 2 * SIDE, 2 * SIDE, 2, seed);
		struct work *large = work_of(&decoder_model, 4 * SIDE, 4 * SIDE, 1, seed);

		start_over(seed);
		options.memory = 11 * MIB;
		options.max_batch = 2;
		e = engine_new(&options);
		options.beside = e;
		d = engine_of(&decoder_model, &options);
		for (int round = 0; round < 2; round++) {
			submit(e, in);
			submit(d, out);
			submit(d, large);
			collect(e, in, LATENTD_CUDA_OK);
			collect(d, out, LATENTD_CUDA_OK);
			collect(d, large, LATENTD_CUDA_OK);
			assert_false(usage_of(d).banded);
			for (uint32_t i = 0; i < 4; i++)
				assert_encoded(in, i, 0);
			for (uint32_t i = 0; i < 2; i++)
				assert_encoded(out, i, 0);
			assert_encoded(large, 0, 0);
		}
		assert_true(fake_cuda.most <= options.memory);
		gpu_engine_close(d);
		submit(e, in);
		collect(e, in, LATENTD_CUDA_OK);
		assert_int_equal(usage_of(e).batch, 2);
		gpu_engine_close(e);
		work_free(in);
		work_free(out);
		work_free(large);
		assert_int_equal(fake_cuda.held, 0);
		assert_int_equal(fake_cuda.host_held, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    gpu_engine_test(batches_are_halved_until_they_fit_then_images_go_in_bands),
	    gpu_engine_test(
		algorithms_that_need_more_than_there_is_have_smaller_batches_and_smaller_bands),
	    gpu_engine_test(what_exceeds_the_limit_is_too_large_and_the_next_size_is_encoded),
	    gpu_engine_test(memory_that_others_have_is_not_the_image_s_fault),
	    gpu_engine_test(a_refusal_of_another_kind_ends_the_job_at_once),
	    gpu_engine_test(parameters_beyond_the_limit_open_no_engine),
	    gpu_engine_test(what_overflows_is_repeated_in_float32_between_its_neighbours),
	    gpu_engine_test(where_there_is_no_room_for_both_the_repeat_has_the_memory_for_itself),
	    gpu_engine_test(an_image_that_is_too_large_for_float32_is_that_alone),
	    gpu_engine_test(what_is_beside_takes_the_others_maps_and_keeps_to_one_limit),
	};

	return cmocka_run_group_tests(tests, make_models, NULL);
}
