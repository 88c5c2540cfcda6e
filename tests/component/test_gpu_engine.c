/* The order of slots, time and a lost device of the CUDA engine. */
#include "tests/component/gpu_engine_rig.h"

#include "base/checked.h"
#include "base/clock.h"
#include "tests/component/fake_cuda.h"
#include "tests/testing.h"

#include <string.h>

/* -- slots ------------------------------------------------------------------------------------------- */

static void jobs_of_many_parts_come_back_in_order_with_their_own_moments(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < ORDERS; seed++) {
		struct latentd_cuda_options options = plenty;
		struct latentd_cuda_engine *e;
		struct work *works[6];

		start_over(seed);
		options.max_batch = 1 + seed % 4;
		e = engine_new(&options);
		for (uint32_t i = 0; i < 6; i++) /* two sizes take turns in one arena */
			works[i] = work_new(i % 3 ? SIDE : 2 * SIDE, SIDE, 1 + (seed + i) % 7, i);
		submit(e, works[0]);
		for (uint32_t i = 0; i < 6; i++) {
			if (i < 5)
				submit(e, works[i + 1]);
			collect(e, works[i], LATENTD_CUDA_OK);
			for (uint32_t k = 0; k < works[i]->job.n; k++)
				assert_encoded(works[i], k, 0);
			memset(works[i]->pixels, 0, works[i]->job.n * works[i]->image);
		}
		assert_true(fake_cuda.graphs > 0);
		gpu_engine_close(e);
		for (uint32_t i = 0; i < 6; i++)
			work_free(works[i]);
		assert_int_equal(fake_cuda.held, 0);
		assert_int_equal(fake_cuda.host_held, 0);
	}
}

static void results_come_down_while_the_next_part_is_computed(void **state)
{
	size_t beside = 0;

	(void)state;
	for (uint32_t seed = 0; seed < ORDERS; seed++) {
		struct latentd_cuda_options options = plenty;
		struct latentd_cuda_engine *e;
		struct work *w;

		start_over(seed);
		options.max_batch = 1;
		e = engine_new(&options);
		w = work_new(SIDE, SIDE, 5, seed);
		encode(e, w);
		beside += fake_cuda.beside;
		gpu_engine_close(e);
		work_free(w);
	}
	assert_true(beside > 0);
}

static void where_graphs_cannot_be_captured_kernels_are_launched(void **state)
{
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w = work_new(SIDE, SIDE, 3, 7), *other = work_new(2 * SIDE, SIDE, 1, 7);

	(void)state;
	fake_cuda.cannot_capture = true;
	for (int i = 0; i < 3; i++)
		encode(e, w);
	assert_int_equal(fake_cuda.graphs, 0);
	assert_int_equal(fake_cuda.launches, 3);
	assert_int_equal(usage_of(e).graph, 0); /* and it can be seen */
	fake_cuda.cannot_capture = false;
	for (int i = 0; i < 3; i++)
		encode(e, other);
	assert_int_equal(usage_of(e).graph, 1);
	gpu_engine_close(e);
	work_free(w);
	work_free(other);
}

static void a_third_job_must_wait_and_odd_sizes_are_refused(void **state)
{
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w[3], *odd = work_new(SIDE + 4, SIDE, 1, 1);
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *none = NULL;

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		w[i] = work_new(SIDE, SIDE, 1, i);
	assert_int_equal(gpu_engine_collect(e, 0, &none, &err), LATENTD_CUDA_NOTHING);
	submit(e, w[0]);
	submit(e, w[1]);
	assert_int_equal(gpu_engine_submit(e, &w[2]->job, &err), LATENTD_CUDA_FULL);
	collect(e, w[0], LATENTD_CUDA_OK);
	collect(e, w[1], LATENTD_CUDA_OK);
	assert_int_equal(gpu_engine_submit(e, &odd->job, &err), -1);
	assert_int_equal(err.code, LATENTD_CUDA_UNSUPPORTED);
	gpu_engine_close(e);
	for (uint32_t i = 0; i < 3; i++)
		work_free(w[i]);
	work_free(odd);
}

/* -- time -------------------------------------------------------------------------------------------- */

static void collect_waits_no_longer_than_it_may(void **state)
{
	static const int limits[] = {0, 1, 30};
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w = work_new(SIDE, SIDE, 2, 3), *next = work_new(SIDE, SIDE, 2, 4);
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *done = NULL;

	(void)state;
	fake_cuda.stands_still = true;
	submit(e, w);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		int64_t began = clock_mono_ms();

		assert_int_equal(gpu_engine_collect(e, limits[i], &done, &err),
				 LATENTD_CUDA_NOTHING);
		assert_true(clock_mono_ms() - began >= limits[i] - 1);
		assert_null(done);
	}
	/* "Not ready" is no error of what is launched next. */
	submit(e, next);
	fake_cuda.stands_still = false;
	collect(e, w, LATENTD_CUDA_OK);
	assert_encoded(w, 1, 0);
	collect(e, next, LATENTD_CUDA_OK);
	assert_encoded(next, 1, 0);
	assert_int_equal(fake_cuda.graphs, 1);
	gpu_engine_close(e);
	work_free(w);
	work_free(next);
}

static void use_nvml(bool busy)
{
	setenv("FAKE_NVML_PID", "1", 1);
	setenv("FAKE_NVML_PERCENT", busy ? "60" : "0", 1);
}

static void while_others_use_the_gpu_nothing_starts_and_cancel_is_heard(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(SIDE, SIDE, 2, 3), *next = work_new(SIDE, SIDE, 1, 4);
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *done = NULL;
	struct latentd_cuda_engine *e;
	uint64_t ticks;

	(void)state;
	use_nvml(true);
	options.pause_when_busy = 1;
	e = engine_new(&options);
	submit(e, w); /* returns */
	ticks = gpu_engine_ticks(e);
	assert_int_equal(gpu_engine_collect(e, 5, &done, &err), LATENTD_CUDA_NOTHING);
	assert_int_equal(gpu_engine_collect(e, 5, &done, &err), LATENTD_CUDA_NOTHING);
	assert_int_equal(rig.runs, 0);
	assert_true(gpu_engine_ticks(e) > ticks); /* a watchdog sees that it is alive */
	gpu_engine_cancel(e);
	collect(e, w, LATENTD_CUDA_CANCELLED);
	submit(e, next);
	use_nvml(false);
	collect(e, next, LATENTD_CUDA_OK);
	assert_encoded(next, 0, 0);
	gpu_engine_close(e);
	work_free(w);
	work_free(next);
}

/* A part keeps the device busy for 10 ms of its own time; at a tenth of it nothing starts for 90 more. */
static void a_share_of_the_time_leaves_the_rest_to_others(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(SIDE, SIDE, 2, 3);
	struct latentd_cuda_engine *e;
	int64_t began;

	(void)state;
	options.share = 0.1;
	options.max_batch = 1;
	e = engine_new(&options);
	began = clock_mono_ms();
	submit(e, w);
	assert_int_equal(rig.runs, 1); /* never two at once */
	collect(e, w, LATENTD_CUDA_OK);
	assert_true(clock_mono_ms() - began >= 88);
	assert_encoded(w, 0, 0);
	assert_encoded(w, 1, 0);
	gpu_engine_close(e);
	work_free(w);
}

static void what_is_cancelled_ends_between_parts_and_later_jobs_are_computed(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(SIDE, SIDE, 6, 3), *next = work_new(SIDE, SIDE, 1, 4);
	struct latentd_cuda_engine *e;

	(void)state;
	options.max_batch = 1;
	e = engine_new(&options);
	submit(e, w);
	assert_int_equal(rig.runs, 2);
	gpu_engine_cancel(e);
	submit(e, next);
	collect(e, w, LATENTD_CUDA_CANCELLED);
	assert_encoded(w, 0, 0); /* they were under way */
	assert_encoded(w, 1, 0);
	for (uint32_t i = 2; i < 6; i++)
		assert_int_equal(w->items[i].flags, 0);
	collect(e, next, LATENTD_CUDA_OK);
	assert_encoded(next, 0, 0);
	gpu_engine_close(e);
	work_free(w);
	work_free(next);
}

/* A new size takes up to a minute: a watchdog sees that it gets on, it can be stopped, and what was found is kept. */
static void choosing_algorithms_counts_as_work_and_hears_cancel(void **state)
{
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w = work_new(SIDE, SIDE, 1, 3), *next = work_new(SIDE, SIDE, 1, 4);
	uint64_t ticks = gpu_engine_ticks(e);

	(void)state;
	rig.algorithms = 10;
	rig.cancel = e;
	submit(e, w); /* it is numbered when it is taken */
	collect(e, w, LATENTD_CUDA_CANCELLED);
	assert_int_equal(rig.runs, 0);
	rig.cancel = NULL;
	submit(e, next);
	assert_true(gpu_engine_ticks(e) >= ticks + 10);
	assert_int_equal(rig.saved, rig.prepared);
	collect(e, next, LATENTD_CUDA_OK);
	assert_encoded(next, 0, 0);
	gpu_engine_close(e);
	work_free(w);
	work_free(next);
}

/* -- the device is lost ------------------------------------------------------------------------------ */

static void a_lost_device_gives_every_job_back_and_takes_no_more(void **state)
{
	(void)state;
	for (long after = 0; after < 24; after++) {
		struct latentd_cuda_options options = plenty;
		struct work *w = work_new(SIDE, SIDE, 5, 3), *next = work_new(2 * SIDE, SIDE, 2, 4);
		struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
		struct latentd_cuda_job *done = NULL;
		struct latentd_cuda_engine *e;
		int r[2];

		start_over((uint32_t)after);
		options.max_batch = 1;
		e = engine_new(&options);
		fake_cuda.lost_after = after;
		submit(e, w);
		submit(e, next);
		r[0] = gpu_engine_collect(e, -1, &done, &err);
		assert_ptr_equal(done, &w->job);
		for (uint32_t i = 0; i < 5; i++) {
			if (w->items[i].flags)
				assert_encoded(w, i, 0);
			assert_true(r[0] < 0 || w->items[i].flags);
		}
		if (r[0] < 0)
			assert_int_equal(err.code, LATENTD_CUDA_DEVICE_LOST);
		r[1] = gpu_engine_collect(e, -1, &done, &err);
		assert_ptr_equal(done, &next->job);
		if (r[0] < 0) {
			assert_true(r[1] < 0);
			err.code = LATENTD_CUDA_OK;
			assert_int_equal(gpu_engine_submit(e, &w->job, &err), -1);
			assert_int_equal(err.code, LATENTD_CUDA_DEVICE_LOST);
		}
		gpu_engine_close(e);
		work_free(w);
		work_free(next);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    gpu_engine_test(jobs_of_many_parts_come_back_in_order_with_their_own_moments),
	    gpu_engine_test(results_come_down_while_the_next_part_is_computed),
	    gpu_engine_test(where_graphs_cannot_be_captured_kernels_are_launched),
	    gpu_engine_test(a_third_job_must_wait_and_odd_sizes_are_refused),
	    gpu_engine_test(collect_waits_no_longer_than_it_may),
	    gpu_engine_test(while_others_use_the_gpu_nothing_starts_and_cancel_is_heard),
	    gpu_engine_test(a_share_of_the_time_leaves_the_rest_to_others),
	    gpu_engine_test(what_is_cancelled_ends_between_parts_and_later_jobs_are_computed),
	    gpu_engine_test(choosing_algorithms_counts_as_work_and_hears_cancel),
	    gpu_engine_test(a_lost_device_gives_every_job_back_and_takes_no_more),
	};

	return cmocka_run_group_tests(tests, make_models, NULL);
}
