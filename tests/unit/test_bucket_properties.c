/* What must hold for every rule and any size: what encoding relies on. */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/bucket.h"

#include <stdio.h>
#include <string.h>

#define ROUNDS 100000

static const struct bucket_options settings[] = {
    {.rule = BUCKET_KOHYA, .resolution = 512},
    {.rule = BUCKET_KOHYA, .resolution = 1024, .max_bucket = 1024},
    {.rule = BUCKET_KOHYA, .resolution = 1000, .min_bucket = 100, .step = 40},
    {.rule = BUCKET_KOHYA_NO_UPSCALE, .resolution = 1024},
    {.rule = BUCKET_KOHYA_NO_UPSCALE, .resolution = 512, .step = 8},
    {.rule = BUCKET_KOHYA_NO_UPSCALE, .resolution = 100, .step = 1},
    {.rule = BUCKET_KOHYA_NO_UPSCALE, .resolution = 64, .step = 64},
    {.rule = BUCKET_SDXL, .resolution = 1024},
    {.rule = BUCKET_SQUARE, .resolution = 512},
    {.rule = BUCKET_FIXED, .width = 960, .height = 544},
    {.rule = BUCKET_NOVELAI, .resolution = 512},
    {.rule = BUCKET_NOVELAI, .resolution = 1000, .step = 8, .min_bucket = 300},
    {.rule = BUCKET_MUSUBI, .resolution = 1024},
    {.rule = BUCKET_MUSUBI, .resolution = 700, .step = 32},
    {.rule = BUCKET_ONETRAINER, .resolution = 1024},
    {.rule = BUCKET_ONETRAINER, .resolution = 520, .step = 8},
    {.rule = BUCKET_AI_TOOLKIT, .resolution = 1024},
    {.rule = BUCKET_AI_TOOLKIT, .resolution = 500, .step = 8},
    {.rule = BUCKET_DIFFUSION_PIPE, .resolution = 1024},
    {.rule = BUCKET_DIFFUSION_PIPE, .resolution = 500, .step = 16},
    {.rule = BUCKET_KOHYA,
     .resolution = 512,
     .min_side = 300,
     .max_upscale = 2.0,
     .max_crop_loss = 0.3},
    {.rule = BUCKET_NOVELAI,
     .resolution = 512,
     .min_side = 300,
     .max_upscale = 2.0,
     .max_crop_loss = 0.3},
    {.rule = BUCKET_AI_TOOLKIT,
     .resolution = 512,
     .min_side = 9,
     .max_upscale = 1.5,
     .max_crop_loss = 0.2},
};

static struct bucket_table *table_of(const struct bucket_options *options)
{
	struct error err = ERROR_INIT;
	struct bucket_table *table = bucket_table_new(options, &err);

	if (!table)
		fail_msg("%s", err.message);
	return table;
}

static uint32_t draw(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33);
}

/* Most sides like a photograph's, some tiny, some as long as a file can say. */
static size_t draw_side(uint64_t *state)
{
	static const uint32_t most[] = {6000, 3000, 1500, 64, 65500};

	return 1 + draw(state) % most[draw(state) % ARRAY_SIZE(most)];
}

#define holds(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr,                                                            \
				"%s %zu: %zu x %zu: bucket %zu x %zu, resized %zu x %zu\n",        \
				bucket_rule_name(o->rule), o->resolution, width, height,           \
				p->target_width, p->target_height, p->resized_width,               \
				p->resized_height);                                                \
			assert_true(condition);                                                    \
		}                                                                                  \
	} while (0)

static void check_geometry(const struct bucket_table *table, size_t width, size_t height,
			   const struct bucket_placement *p)
{
	const struct bucket_options *o = bucket_table_options(table);
	size_t multiple = bucket_table_multiple(table);

	holds(p->target_width > 0 && p->target_height > 0);
	holds(p->target_width % multiple == 0 && p->target_height % multiple == 0);
	holds(o->step == 0 || multiple % o->step == 0);
	holds(p->target_width * p->target_height <= bucket_table_max_pixels(table));
	holds(p->resized_width >= p->target_width && p->resized_height >= p->target_height);
	holds(p->crop_left + p->target_width <= p->resized_width);
	holds(p->crop_top + p->target_height <= p->resized_height);
	/* the centre, and one side fits; without upscaling both are rounded down to steps, and
	 * ceil() of ai_toolkit takes a rounding error for a pixel */
	holds((p->resized_width - p->target_width) / 2 == p->crop_left);
	holds((p->resized_height - p->target_height) / 2 == p->crop_top);
	holds(o->rule == BUCKET_KOHYA_NO_UPSCALE || p->resized_width <= p->target_width + 1 ||
	      p->resized_height <= p->target_height + 1);
	holds(p->upscale * (double)width >= (double)p->resized_width * (1.0 - 1e-9) &&
	      p->upscale * (double)height >= (double)p->resized_height * (1.0 - 1e-9));
	holds(o->rule != BUCKET_KOHYA_NO_UPSCALE || p->upscale <= 1.0);
	holds(p->crop_loss >= 0.0 && p->crop_loss < 1.0);
	holds((p->crop_loss == 0.0) ==
	      (p->resized_width == p->target_width && p->resized_height == p->target_height));
	/* the image fitted into the bucket; -1 where // floors the rounding error of an exact fit */
	holds(p->kohya_crop_ltrb[0] >= -1.0 && p->kohya_crop_ltrb[1] >= -1.0);
	holds(p->kohya_crop_ltrb[2] <= (double)p->target_width + 0.001 &&
	      p->kohya_crop_ltrb[3] <= (double)p->target_height + 0.001);
}

static const char *expected_skip(const struct bucket_options *o, size_t width, size_t height,
				 const struct bucket_placement *p)
{
	double far =
	    (double)width / (double)height - (double)p->target_width / (double)p->target_height;

	if (width < o->min_side || height < o->min_side)
		return "too_small";
	if (o->rule == BUCKET_NOVELAI && far >= 4.0)
		return "aspect";
	if (o->max_upscale > 0.0 && p->upscale > o->max_upscale)
		return "upscale";
	if (o->max_crop_loss > 0.0 && p->crop_loss > o->max_crop_loss)
		return "crop_loss";
	return NULL;
}

static void check_size(const struct bucket_table *table, size_t width, size_t height)
{
	static const struct bucket_placement nothing = {.skip = "no_bucket"};
	const struct bucket_options *o = bucket_table_options(table);
	struct bucket_placement placement, *p = &placement, again;
	const char *skip;
	char text[160];

	memset(&placement, 0xaa, sizeof(placement));
	bucket_place(table, width, height, &placement);
	bucket_place(table, width, height, &again);
	holds(memcmp(&placement, &again, sizeof(again)) == 0);
	bucket_skip_message(table, width, height, &placement, text, sizeof(text));
	holds((text[0] != '\0') == (placement.skip != NULL) && strlen(text) + 1 < sizeof(text));
	if (placement.skip && strcmp(placement.skip, "no_bucket") == 0) {
		holds(o->rule == BUCKET_KOHYA_NO_UPSCALE || o->rule == BUCKET_AI_TOOLKIT);
		placement.skip = nothing.skip;
		holds(memcmp(&placement, &nothing, sizeof(nothing)) == 0);
		return;
	}
	check_geometry(table, width, height, &placement);
	skip = expected_skip(o, width, height, &placement);
	holds(skip ? placement.skip && strcmp(skip, placement.skip) == 0 : !placement.skip);
}

static void any_size_is_covered_and_cropped_inside(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(settings); s++) {
		cleanup_bucket_table struct bucket_table *table = table_of(&settings[s]);

		for (size_t i = 0; i < ROUNDS; i++) {
			size_t width = draw_side(&seed);

			check_size(table, width, draw_side(&seed));
		}
	}
}

static void extreme_sizes_are_too(void **state)
{
	static const size_t sides[] = {1,   2,	 7,    8,    63,   64,	  65,	 511,
				       512, 513, 1023, 1024, 1025, 65500, 65535, 1u << 26};

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(settings); s++) {
		cleanup_bucket_table struct bucket_table *table = table_of(&settings[s]);

		for (size_t i = 0; i < ARRAY_SIZE(sides); i++)
			for (size_t j = 0; j < ARRAY_SIZE(sides); j++)
				check_size(table, sides[i], sides[j]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_size_is_covered_and_cropped_inside),
	    cmocka_unit_test(extreme_sizes_are_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
