/*
 * Random plans: row by row on every set of instructions the bytes are those of the definition, two
 * plain loops over the same taps. Rows live in memory of exactly their size, and only during the
 * call.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/resample_axis.h"

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const all_isas[] = {"portable", "avx2", "avx512"};

static uint32_t random_state = 1;

static size_t random_to(size_t most)
{
	random_state = random_state * 1664525 + 1013904223;
	return (size_t)(random_state >> 8) % (most + 1);
}

static struct image noise(size_t width, size_t height)
{
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	assert_ok(image_alloc(&image, width, height, &err), &err);
	for (size_t i = 0; i < image_bytes(&image); i++)
		image.pixels[i] = (uint8_t)random_to(255);
	return image;
}

static void random_side(size_t inputs, double *from, double *to, size_t *full, size_t *first,
			size_t *count)
{
	static const size_t most[] = {8, 60, 250};

	*from = 0.0;
	*to = (double)inputs;
	*full = 1 + random_to(most[random_to(2)]);
	if (random_to(3) == 0)
		*full = inputs;
	if (random_to(2) == 0) {
		*from = (double)random_to(inputs * 4 - 1) / 4.0;
		*to = *from + 0.25 + (double)random_to((inputs - (size_t)*from - 1) * 4) / 4.0;
		*to = fmin(*to, (double)inputs);
	}
	*first = random_to(1) ? 0 : random_to(*full - 1);
	*count = random_to(1) ? *full - *first : 1 + random_to(*full - *first - 1);
}

static struct resample_plan random_plan(const struct image *source)
{
	struct resample_plan p = {.filter = (enum resample_filter)random_to(FILTER_KOHYA)};

	random_side(source->width, &p.box[0], &p.box[2], &p.full_width, &p.left, &p.width);
	random_side(source->height, &p.box[1], &p.box[3], &p.full_height, &p.top, &p.height);
	return p;
}

/* Fails if anything behind @out is written. Returns it, to be freed. */
static uint8_t *by_rows(const struct image *source, const struct resample_plan *plan)
{
	const uint8_t guard[64] = {0xa5, 0x5a};
	size_t bytes = plan->width * plan->height * 3, stride = source->width * 3;
	uint8_t *out = xmalloc(bytes + sizeof(guard));
	struct error err = ERROR_INIT;
	struct resampler *r;

	memcpy(out + bytes, guard, sizeof(guard));
	assert_ok(resampler_new(plan, source->width, source->height, out, &r, &err), &err);
	for (size_t y = 0; y < source->height; y++) {
		uint8_t *row = xmalloc(stride);

		memcpy(row, source->pixels + y * stride, stride);
		resampler_row(r, row);
		memset(row, 0xee, stride);
		free(row);
	}
	resampler_free(r);
	assert_memory_equal(out + bytes, guard, sizeof(guard));
	return out;
}

static void every_isa_gives_the_bytes_of_the_portable_one(void **state)
{
	size_t compared = 0;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		cleanup_image struct image source = noise(1 + random_to(150), 1 + random_to(60));
		struct resample_plan plan = random_plan(&source);
		cleanup_free uint8_t *want = NULL;

		setenv("LATENTD_ISA", "portable", 1);
		want = by_rows(&source, &plan);
		for (size_t k = 1; k < ARRAY_SIZE(all_isas); k++) {
			cleanup_free uint8_t *got = NULL;

			setenv("LATENTD_ISA", all_isas[k], 1);
			if (strcmp(resample_isa(), all_isas[k]) != 0)
				continue;
			got = by_rows(&source, &plan);
			if (memcmp(got, want, plan.width * plan.height * 3) != 0)
				fail_msg("%s: %zu x %zu to %zu x %zu with %s", all_isas[k],
					 source.width, source.height, plan.full_width,
					 plan.full_height, resample_filter_name(plan.filter));
			compared++;
		}
	}
	if (compared == 0) {
		print_message("SKIPPED: this machine runs the portable code alone\n");
		skip();
	}
}

/* One pass of Pillow's, on one sample: inputs @step apart. */
static uint8_t definition_sample(const uint8_t *in, size_t step, const struct span *span,
				 enum resample_filter filter, size_t index)
{
	double scratch[256];
	int32_t weights[256];
	int64_t sum = 1 << (WEIGHT_BITS - 1);
	struct tap tap;

	assert_true(taps_fixed_bound(span, filter) <= 256);
	taps_fixed(span, filter, index, scratch, &tap, weights);
	for (size_t i = 0; i < tap.count; i++)
		sum += (int64_t)in[(tap.first + i) * step] * weights[i];
	sum >>= WEIGHT_BITS;
	return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Both passes over everything, nothing left out; @out: [height][width][3]. */
static void definition(const struct image *source, const struct resample_plan *p, uint8_t *out)
{
	struct span across = {(float)p->box[0], (float)p->box[2], source->width,
			      p->full_width,	p->left,	  p->width};
	struct span down = {(float)p->box[1], (float)p->box[3], source->height,
			    p->full_height,   p->top,		p->height};
	cleanup_free uint8_t *between = xmalloc(p->width * source->height * 3);

	for (size_t y = 0; y < source->height; y++)
		for (size_t i = 0; i < p->width * 3; i++)
			between[y * p->width * 3 + i] =
			    definition_sample(source->pixels + y * source->width * 3 + i % 3, 3,
					      &across, p->filter, i / 3);
	for (size_t y = 0; y < p->height; y++)
		for (size_t i = 0; i < p->width * 3; i++)
			out[y * p->width * 3 + i] =
			    definition_sample(between + i, p->width * 3, &down, p->filter, y);
}

static void rows_give_the_bytes_of_the_definition(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		cleanup_image struct image source = noise(1 + random_to(70), 1 + random_to(50));
		struct resample_plan plan = random_plan(&source);
		cleanup_free uint8_t *want = xmalloc(plan.width * plan.height * 3);

		plan.filter = (enum resample_filter)(FILTER_BOX + random_to(4));
		definition(&source, &plan, want);
		for (size_t k = 0; k < ARRAY_SIZE(all_isas); k++) {
			cleanup_free uint8_t *got = NULL;

			setenv("LATENTD_ISA", all_isas[k], 1);
			got = by_rows(&source, &plan);
			assert_memory_equal(got, want, plan.width * plan.height * 3);
		}
	}
}

static void rows_after_the_last_one_that_matters_change_nothing(void **state)
{
	cleanup_image struct image source = noise(40, 90);
	struct resample_plan plan = resample_whole(&source, 20, 45, FILTER_LANCZOS);
	cleanup_free uint8_t *want = NULL, *got = NULL;

	(void)state;
	unsetenv("LATENTD_ISA");
	plan.height = 10;
	want = by_rows(&source, &plan);
	memset(source.pixels + 30 * 40 * 3, 0, 60 * 40 * 3);
	got = by_rows(&source, &plan);
	assert_memory_equal(got, want, plan.width * plan.height * 3);
}

static void a_set_of_instructions_that_nobody_has_is_not_taken(void **state)
{
	const char *usual;

	(void)state;
	unsetenv("LATENTD_ISA");
	usual = resample_isa();
	setenv("LATENTD_ISA", "abacus", 1);
	assert_string_equal(resample_isa(), usual);
}

/* Sanitizers have an allocator of their own: there it says nothing changes. */
static size_t memory_in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void a_resampler_takes_no_more_memory_than_it_said(void **state)
{
	static const size_t sizes[][4] = {
	    {4000, 3000, 683, 512}, {65000, 2, 3, 1},	    {2, 65000, 1, 3},
	    {512, 512, 512, 512},   {1024, 1024, 512, 512}, {300, 200, 900, 600},
	};

	(void)state;
	unsetenv("LATENTD_ISA");
	for (size_t f = FILTER_NEAREST; f <= FILTER_KOHYA; f++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct image source = {sizes[i][0], sizes[i][1], NULL};
			struct resample_plan plan = resample_whole(
			    &source, sizes[i][2], sizes[i][3], (enum resample_filter)f);
			cleanup_free uint8_t *out = xmalloc(plan.width * plan.height * 3);
			size_t said = resampler_bytes(&plan, source.width, source.height), before;
			struct error err = ERROR_INIT;
			struct resampler *r;

			before = memory_in_use();
			assert_ok(resampler_new(&plan, source.width, source.height, out, &r, &err),
				  &err);
			/* What malloc itself takes for some twelve blocks, two of them mapped. */
			assert_true(memory_in_use() - before <= said + 16384);
			assert_true(said < (size_t)16 << 20);
			resampler_free(r);
		}
	}
}

static void memory_that_overflows_is_said_to_be_endless(void **state)
{
	struct image source = {SIZE_MAX / 2, 10, NULL};
	struct resample_plan plan = resample_whole(&source, 10, 10, FILTER_BOX);
	struct error err = ERROR_INIT;
	struct resampler *r = NULL;
	uint8_t out[300];

	(void)state;
	assert_true(resampler_bytes(&plan, source.width, source.height) == SIZE_MAX);
	assert_error(resampler_new(&plan, source.width, source.height, out, &r, &err), &err,
		     ERR_NOMEM);
	assert_null(r);
	resampler_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_isa_gives_the_bytes_of_the_portable_one),
	    cmocka_unit_test(rows_give_the_bytes_of_the_definition),
	    cmocka_unit_test(rows_after_the_last_one_that_matters_change_nothing),
	    cmocka_unit_test(a_set_of_instructions_that_nobody_has_is_not_taken),
	    cmocka_unit_test(a_resampler_takes_no_more_memory_than_it_said),
	    cmocka_unit_test(memory_that_overflows_is_said_to_be_endless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
