/* Arithmetic of the CUDA engine: places in memory, bands, batches. */
#include "base/checked.h"
#include "encoder/cuda/gpu_arena.h"
#include "encoder/cuda/gpu_plan.h"
#include "tests/testing.h"

#include <string.h>

static void list_steps(enum latentd_cuda_part part, struct gpu_steps *steps,
		       void (*list)(const struct latentd_cuda_config *config,
				    struct gpu_steps *out))
{
	const struct latentd_cuda_config sd = {.part = part,
					       .blocks = 4,
					       .channels = {128, 256, 512, 512},
					       .layers_per_block = 2,
					       .groups = 32,
					       .latent_channels = 4,
					       .quant_conv = 1,
					       .attention = 1};

	list(&sd, steps);
}

static void part_steps(enum latentd_cuda_part part, struct gpu_steps *steps)
{
	list_steps(part, steps, gpu_steps_list);
}

static void sd_steps(struct gpu_steps *steps)
{
	part_steps(LATENTD_CUDA_ENCODER, steps);
}

static bool overlap(const struct gpu_arena_item *a, const struct gpu_arena_item *b)
{
	bool at_once = a->first <= b->last && b->first <= a->last;
	bool same_place = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;

	return at_once && same_place;
}

static void nothing_that_lives_at_once_shares_memory(void **state)
{
	struct gpu_arena_item items[200];
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 50; round++) {
		size_t size, most = 0;

		for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
			seed = seed * 1664525 + 1013904223;
			items[i] =
			    (struct gpu_arena_item){.bytes = seed >> 16, .first = (int)(seed % 30)};
			items[i].last = items[i].first + (int)(seed >> 8 & 7);
		}
		size = gpu_arena_plan(items, ARRAY_SIZE(items));
		for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
			assert_int_equal(items[i].offset % GPU_ARENA_ALIGN, 0);
			assert_true(items[i].offset + items[i].bytes <= size);
			most = items[i].bytes > most ? items[i].bytes : most;
			for (size_t k = 0; k < i; k++)
				assert_false(overlap(&items[i], &items[k]));
		}
		assert_true(size >= most);
	}
}

static void what_follows_takes_the_place_of_what_is_over(void **state)
{
	struct gpu_arena_item items[] = {
	    {.bytes = 1024, .first = 0, .last = 1},
	    {.bytes = 1024, .first = 1, .last = 2},
	    {.bytes = 1024, .first = 2, .last = 3},
	    {.bytes = 0, .first = 0, .last = 3},
	};

	(void)state;
	assert_int_equal(gpu_arena_plan(items, ARRAY_SIZE(items)), 2048);
	assert_int_equal(items[0].offset, items[2].offset);
}

static void
what_lies_over_another_begins_where_that_does_and_nothing_else_is_in_its_way(void **state)
{
	struct gpu_arena_item items[] = {
	    {.bytes = 4096, .first = 0, .last = 3},
	    {.bytes = 8192, .first = 4, .last = 5}, /* larger: it has the first place */
	    {.bytes = 1024, .first = 3, .last = 5, .over = &items[0]},
	    {.bytes = 2048, .first = 4, .last = 6},
	};
	size_t size = gpu_arena_plan(items, ARRAY_SIZE(items));

	(void)state;
	assert_int_equal(items[2].offset, items[0].offset);
	assert_false(overlap(&items[2], &items[1]));
	assert_false(overlap(&items[2], &items[3]));
	assert_false(overlap(&items[1], &items[3]));
	assert_true(size >= items[0].offset + 4096);
}

static void sizes_that_overflow_have_no_place(void **state)
{
	struct gpu_arena_item items[] = {{.bytes = SIZE_MAX / 2, .first = 0, .last = 1},
					 {.bytes = SIZE_MAX / 2 + 8, .first = 0, .last = 1}};

	(void)state;
	assert_true(gpu_arena_plan(items, 2) == SIZE_MAX);
}

static bool within(void *arg, const struct gpu_plan *plan)
{
	return plan->arena <= *(size_t *)arg;
}

/* The unit: a full-size map of 128 channels. Reference: three of them whole, two and a band in bands. */
static double units(const struct gpu_steps *steps, int64_t side, size_t band_bytes)
{
	const struct gpu_shape shape = {1, side, side, 2, band_bytes};
	static struct gpu_plan plan;

	gpu_plan_make(steps, &shape, &plan);
	assert_int_equal(plan.banded, band_bytes > 0);
	return (double)plan.arena / ((double)side * (double)side * 256);
}

static void an_encode_takes_three_maps_whole_and_two_in_bands(void **state)
{
	struct gpu_steps *steps = xcalloc(1, sizeof(*steps));

	(void)state;
	sd_steps(steps);
	assert_true(units(steps, 2048, 0) < 3.2);
	assert_true(units(steps, 2048, 16 << 20) < 2.2);
	assert_true(units(steps, 1024, 0) < 3.4);
	free(steps);
}

/* The last block begins with a map of twice the channels, beside which its inner map and its shortcut lie. */
static void a_decode_takes_six_maps_whole_and_four_in_bands(void **state)
{
	struct gpu_steps *steps = xcalloc(1, sizeof(*steps));

	(void)state;
	part_steps(LATENTD_CUDA_DECODER, steps);
	assert_true(units(steps, 2048, 0) < 6.4);
	assert_true(units(steps, 2048, 16 << 20) < 4.3);
	free(steps);
}

/*
 * 2048x2048 in 1.3 GB: the arena, 69 MB of parameters and the least workspace, 34 MB. A map of that size is 1,074 MB, and the
 * first convolution has its pixels beside it.
 */
static void a_lean_encode_of_2048_takes_one_map_and_fits_into_1300_mb(void **state)
{
	struct gpu_steps *steps = xcalloc(1, sizeof(*steps));
	const struct gpu_shape shape = {1, 2048, 2048, 2, 2 << 20};
	static struct gpu_plan plan;

	(void)state;
	list_steps(LATENTD_CUDA_ENCODER, steps, gpu_steps_lean);
	gpu_plan_make(steps, &shape, &plan);
	print_message("2048x2048: an arena of %.1f MB\n", (double)plan.arena / 1e6);
	assert_true(plan.arena + (69 + 34) * (size_t)1000000 < (size_t)1300 * 1000000);
	assert_true(plan.banded);
	list_steps(LATENTD_CUDA_DECODER, steps, gpu_steps_lean);
	assert_true(units(steps, 2048, 2 << 20) < 3.2);
	free(steps);
}

static void lean_steps_are_taken_when_the_smallest_bands_do_not_fit(void **state)
{
	struct gpu_steps *steps = xcalloc(2, sizeof(*steps));
	const struct gpu_shape wanted = {4, 2048, 2048, 2, 16 << 20};
	static struct gpu_plan plan;
	size_t memory = (size_t)2400 * 1000000;

	(void)state;
	sd_steps(&steps[0]);
	list_steps(LATENTD_CUDA_ENCODER, &steps[1], gpu_steps_lean);
	steps[0].lean = &steps[1];
	assert_true(gpu_plan_find(steps, &wanted, within, &memory, &plan));
	assert_ptr_equal(plan.steps, &steps[0]);
	memory = (size_t)1200 * 1000000;
	assert_true(gpu_plan_find(steps, &wanted, within, &memory, &plan));
	assert_ptr_equal(plan.steps, &steps[1]);
	assert_int_equal(plan.shape.n, 1);
	memory = (size_t)1000 * 1000000;
	assert_false(gpu_plan_find(steps, &wanted, within, &memory, &plan));
	free(steps);
}

static void bands_are_whole_chunks_and_cover_no_less_than_the_halo(void **state)
{
	struct gpu_steps *steps = xcalloc(1, sizeof(*steps));
	static struct gpu_plan plan;

	(void)state;
	sd_steps(steps);
	for (int64_t width = 8; width < 3000; width = width * 2 + 8) {
		const struct gpu_shape shape = {1, 600, width, 2, 1 << 16};

		gpu_plan_make(steps, &shape, &plan);
		for (size_t i = 0; i < steps->n_steps; i++) {
			const struct gpu_map *out;
			int64_t height, rows = plan.pieces[i].rows;

			if (steps->steps[i].kind != GPU_CONV_STEP)
				continue;
			out = &steps->maps[steps->steps[i].out];
			height = 600 >> out->level;
			assert_true(rows == height ||
				    (rows >= 3 &&
				     rows % gpu_plan_chunk_rows(height, width >> out->level) == 0));
		}
	}
	free(steps);
}

static void scores_are_never_whole_for_large_images(void **state)
{
	struct gpu_steps *steps = xcalloc(1, sizeof(*steps));
	const struct gpu_shape shape = {1, 4096, 4096, 2, 16 << 20};
	static struct gpu_plan plan;
	int64_t tokens = 512 * 512;

	(void)state;
	sd_steps(steps);
	gpu_plan_make(steps, &shape, &plan);
	assert_int_equal(plan.attend_images, 1);
	assert_true(gpu_plan_attention(&plan, tokens, 512).size < (size_t)300 << 20);
	free(steps);
}

static void an_image_beyond_all_memory_has_no_plan(void **state)
{
	struct gpu_steps *steps = xcalloc(1, sizeof(*steps));
	const struct gpu_shape shape = {64, INT64_C(1) << 30, INT64_C(1) << 30, 4, 0};
	static struct gpu_plan plan;

	(void)state;
	sd_steps(steps);
	gpu_plan_make(steps, &shape, &plan);
	assert_true(plan.arena == SIZE_MAX);
	free(steps);
}

static void batches_are_halved_until_they_fit_then_bands_shrink(void **state)
{
	struct gpu_steps *steps = xcalloc(1, sizeof(*steps));
	const struct gpu_shape wanted = {8, 1024, 1024, 2, 0};
	static struct gpu_plan plan;
	size_t memory = (size_t)16 << 30;

	(void)state;
	sd_steps(steps);
	assert_true(gpu_plan_find(steps, &wanted, within, &memory, &plan));
	assert_int_equal(plan.shape.n, 8);
	memory = (size_t)3 << 30;
	assert_true(gpu_plan_find(steps, &wanted, within, &memory, &plan));
	assert_true(plan.shape.n > 1 && plan.shape.n < 8);
	assert_false(plan.banded);
	memory = (size_t)700 << 20;
	assert_true(gpu_plan_find(steps, &wanted, within, &memory, &plan));
	assert_int_equal(plan.shape.n, 1);
	assert_true(plan.banded);
	memory = (size_t)400 << 20;
	assert_false(gpu_plan_find(steps, &wanted, within, &memory, &plan));
	free(steps);
}

static void channels_that_cannot_be_computed_are_refused(void **state)
{
	struct latentd_cuda_config c = {.blocks = 2,
					.channels = {32, 60},
					.layers_per_block = 1,
					.groups = 4,
					.latent_channels = 4};
	struct gpu_layers *layers = xcalloc(1, sizeof(*layers));
	struct latentd_cuda_error err = {0};

	(void)state;
	assert_int_equal(gpu_layers_list(&c, layers, &err), -1);
	assert_int_equal(err.code, LATENTD_CUDA_UNSUPPORTED);
	assert_non_null(strstr(err.message, "60 channels"));
	c.channels[1] = 64;
	err.code = LATENTD_CUDA_OK;
	assert_int_equal(gpu_layers_list(&c, layers, &err), 0);
	c.blocks = 9;
	assert_int_equal(gpu_layers_list(&c, layers, &err), -1);
	free(layers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_that_lives_at_once_shares_memory),
	    cmocka_unit_test(what_follows_takes_the_place_of_what_is_over),
	    cmocka_unit_test(
		what_lies_over_another_begins_where_that_does_and_nothing_else_is_in_its_way),
	    cmocka_unit_test(sizes_that_overflow_have_no_place),
	    cmocka_unit_test(an_encode_takes_three_maps_whole_and_two_in_bands),
	    cmocka_unit_test(a_decode_takes_six_maps_whole_and_four_in_bands),
	    cmocka_unit_test(a_lean_encode_of_2048_takes_one_map_and_fits_into_1300_mb),
	    cmocka_unit_test(lean_steps_are_taken_when_the_smallest_bands_do_not_fit),
	    cmocka_unit_test(bands_are_whole_chunks_and_cover_no_less_than_the_halo),
	    cmocka_unit_test(scores_are_never_whole_for_large_images),
	    cmocka_unit_test(an_image_beyond_all_memory_has_no_plan),
	    cmocka_unit_test(batches_are_halved_until_they_fit_then_bands_shrink),
	    cmocka_unit_test(channels_that_cannot_be_computed_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
