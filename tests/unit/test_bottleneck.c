/*
 * What is said of the stage that all others wait for.
 */
#include "daemon/bottleneck.h"

#include "tests/testing.h"

#include <stdlib.h>

static struct bottleneck_encoder one_gpu(double busy)
{
	return (struct bottleneck_encoder){.name = "cuda:0", .busy = busy, .usable = true};
}

/* All is in order, and nothing is full. */
static struct bottleneck_input input(const struct bottleneck_encoder *encoders, size_t n)
{
	struct bottleneck_input in = {.encoders = encoders,
				      .n_encoders = n,
				      .work = true,
				      .memory_used = 1 << 20,
				      .memory_limit = 2 << 20};

	for (int i = 0; i < STAGES; i++)
		in.stages[i] = (struct stage_view){10, 0.1, 1, 1};
	for (int i = STAGE_READ; i <= STAGE_RESIZE; i++)
		in.stages[i].workers = 8;
	in.stages[STAGE_DECODE].busy = 3;
	return in;
}

static void assert_found(const struct bottleneck_input *in, enum work_stage stage, const char *text)
{
	struct bottleneck found;

	bottleneck_find(in, &found);
	assert_int_equal(found.stage, stage);
	if (text)
		assert_string_equal(found.text, text);
	else
		assert_null(found.text);
	free(found.text);
}

static void an_idle_gpu_behind_busy_decoders_is_decode_bound(void **state)
{
	struct bottleneck_encoder gpu = one_gpu(0.38);
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	in.stages[STAGE_READ].busy = 0.8;
	in.stages[STAGE_DECODE].busy = 6.4;
	in.stages[STAGE_RESIZE].busy = 0.7;
	assert_found(
	    &in, STAGE_DECODE,
	    "cuda:0 idle 62 %: decode-bound, 8 of 8 decode workers busy, 81 % of that with "
	    "decoding");
}

static void a_worker_that_is_at_one_image_for_long_is_named(void **state)
{
	struct bottleneck_encoder gpu = one_gpu(0);
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	in.stages[STAGE_READ].busy = 8;
	in.stages[STAGE_DECODE].busy = 0;
	in.longest_ms = 12345;
	assert_found(
	    &in, STAGE_READ,
	    "cuda:0 idle 100 %: read-bound, 8 of 8 decode workers busy, one of them at one "
	    "image for 12 s: a slow disk, a hard image, or it is stuck; it will be replaced");
}

static void workers_that_wait_for_a_disk_are_read_bound(void **state)
{
	struct bottleneck_encoder gpu = one_gpu(0);
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	in.stages[STAGE_READ].busy = 7;
	in.stages[STAGE_DECODE].busy = 0.5;
	assert_found(&in, STAGE_READ,
		     "cuda:0 idle 100 %: read-bound, 8 of 8 decode workers busy, 92 % of that with "
		     "reading files");
}

static void a_busy_encoder_is_what_limits(void **state)
{
	struct bottleneck_encoder gpu = one_gpu(0.97);
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	assert_found(&in, STAGE_ENCODE, "cuda:0 busy 97 %: encode-bound, decode workers idle 60 %");
}

static void of_several_encoders_the_idlest_tells(void **state)
{
	struct bottleneck_encoder gpus[3] = {one_gpu(0.99), one_gpu(0.5), one_gpu(0)};
	struct bottleneck_input in = input(gpus, 3);

	(void)state;
	gpus[1].name = "cuda:1";
	gpus[2].usable = false; /* it has failed, and is nobody's measure */
	in.stages[STAGE_DECODE].busy = 7.9;
	assert_found(
	    &in, STAGE_DECODE,
	    "cuda:1 idle 50 %: decode-bound, 8 of 8 decode workers busy, 98 % of that with "
	    "decoding");
}

static void what_is_not_written_holds_up_all_before_it(void **state)
{
	struct bottleneck_encoder gpu = one_gpu(1);
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	in.behind = 1;
	in.stages[STAGE_WRITE].queue = 900;
	in.stages[STAGE_DECODE].busy = 8;
	assert_found(&in, STAGE_WRITE,
		     "cuda:0 idle 0 %: write-bound, 900 images wait to be written");
}

static void little_memory_is_named_with_its_setting(void **state)
{
	struct bottleneck_encoder gpu = one_gpu(0.2);
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	in.waits_for_memory = 1;
	in.memory_used = 2 << 20;
	assert_found(&in, STAGE_DECODE,
		     "cuda:0 idle 80 %: memory-bound, 1 image waits until some of memory_limit is "
		     "free (2.0 MiB of 2.0 MiB used)");
}

static void a_slow_network_shows_in_opening(void **state)
{
	struct bottleneck_encoder gpu = one_gpu(0.2);
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	in.stages[STAGE_OPEN].busy = 0.96;
	assert_found(&in, STAGE_OPEN,
		     "cuda:0 idle 80 %: open-bound, opening files takes all the time: a slow disk "
		     "or network");
}

static void a_scan_may_find_too_little(void **state)
{
	struct bottleneck_encoder gpu = one_gpu(0.2);
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	in.scanning = true;
	in.stages[STAGE_OPEN].queue = 0;
	assert_found(&in, STAGE_NONE,
		     "cuda:0 idle 80 %: the scan finds no more files than are encoded");
}

static void without_encoders_that_is_said(void **state)
{
	struct bottleneck_encoder gpu = {.name = "cuda:0", .busy = -1, .loading = true};
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	assert_found(&in, STAGE_ENCODE, "the model is being loaded");
	gpu.loading = false;
	assert_found(&in, STAGE_ENCODE, "no encoder can encode now");
}

static void what_is_not_known_or_not_wanted_is_not_explained(void **state)
{
	struct bottleneck_encoder gpu = one_gpu(-1);
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	assert_found(&in, STAGE_NONE, NULL);
	gpu.busy = 0.5;
	in.stages[STAGE_DECODE].busy = -1;
	assert_found(&in, STAGE_NONE, NULL);
	in = input(&gpu, 1);
	in.work = false;
	assert_found(&in, STAGE_NONE, NULL);
}

static void where_nothing_is_full_that_is_said_too(void **state)
{
	struct bottleneck_encoder gpu = one_gpu(0.7);
	struct bottleneck_input in = input(&gpu, 1);

	(void)state;
	assert_found(&in, STAGE_NONE,
		     "cuda:0 idle 30 %: no stage is busy all the time, decode workers are at 40 %");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_idle_gpu_behind_busy_decoders_is_decode_bound),
	    cmocka_unit_test(a_worker_that_is_at_one_image_for_long_is_named),
	    cmocka_unit_test(workers_that_wait_for_a_disk_are_read_bound),
	    cmocka_unit_test(a_busy_encoder_is_what_limits),
	    cmocka_unit_test(of_several_encoders_the_idlest_tells),
	    cmocka_unit_test(what_is_not_written_holds_up_all_before_it),
	    cmocka_unit_test(little_memory_is_named_with_its_setting),
	    cmocka_unit_test(a_slow_network_shows_in_opening),
	    cmocka_unit_test(a_scan_may_find_too_little),
	    cmocka_unit_test(without_encoders_that_is_said),
	    cmocka_unit_test(what_is_not_known_or_not_wanted_is_not_explained),
	    cmocka_unit_test(where_nothing_is_full_that_is_said_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
