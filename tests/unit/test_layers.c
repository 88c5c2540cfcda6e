/* The definitions by hand-computed examples; the fast engine by the definitions. */
#include "vae/layers.h"

#include "base/checked.h"
#include "tests/testing.h"
#include "vae/vae_engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The same numbers in every run, in [-1, 1). */
static float *values(size_t n, uint32_t seed)
{
	float *x = xcalloc(n, sizeof(*x));
	uint64_t s = seed;

	for (size_t i = 0; i < n; i++) {
		s = s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		x[i] = (float)(int32_t)(s >> 32) * 0x1p-31f;
	}
	return x;
}

static double max_abs(const float *a, const float *b, size_t n)
{
	double worst = 0;

	for (size_t i = 0; i < n; i++)
		worst = fmax(worst, isnan(a[i]) ? INFINITY : fabs((double)a[i] - (double)b[i]));
	return worst;
}

static struct vae_engine *open_engine(const struct vae_engine_ops *ops)
{
	struct error err = ERROR_INIT;
	struct vae_engine *engine = NULL;

	assert_ok(ops->open(2, &engine, &err), &err);
	return engine;
}

/* -- definitions --------------------------------------------------------------------------------- */

/* x = 1 2 3 / 4 5 6 / 7 8 9 under a filter of 1 .. 9, torch.nn.Conv2d(1, 1, 3, padding=1) by hand */
static void a_padded_convolution_correlates_and_does_not_flip(void **state)
{
	const float x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, bias[] = {0.5f};
	const float want[] = {94.5f, 154.5f, 106.5f, 186.5f, 285.5f, 186.5f, 106.5f, 154.5f, 94.5f};
	struct conv_shape s = {1, 1, 3, 1, 1, 1};
	float got[9];

	(void)state;
	conv2d_naive(got, x, 3, 3, &s, x, bias);
	assert_memory_equal(got, want, sizeof(got));
}

/* F.pad(x, (0, 1, 0, 1)) and a stride of 2: windows start at pixel 0 and run over the far border */
static void the_downsampler_pads_right_and_below_only(void **state)
{
	const float x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, bias[] = {0};
	const float ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
	const float want[] = {1 + 2 + 3 + 5 + 6 + 7 + 9 + 10 + 11, 3 + 4 + 7 + 8 + 11 + 12,
			      9 + 10 + 11 + 13 + 14 + 15, 11 + 12 + 15 + 16};
	struct conv_shape s = {1, 1, 3, 2, 0, 1};
	float got[4];

	(void)state;
	assert_int_equal(conv_out_size(&s, 4), 2);
	assert_int_equal(conv_out_size(&s, 5), 2);
	assert_int_equal(conv_out_size(&s, 1), 0);
	conv2d_naive(got, x, 4, 4, &s, ones, bias);
	assert_memory_equal(got, want, sizeof(got));
}

/* Groups {1, 3 / 1, 3} and {2, 2 / 6, 6}: mean 2 and 4, deviation 1 and 2 */
static void a_group_is_normed_over_pixels_and_its_channels(void **state)
{
	const float x[] = {1, 3, 2, 2, 1, 3, 6, 6}, weight[] = {1, 1, 1, 3}, bias[] = {0, 0, 0, 1};
	const float want[] = {-1, 1, -1, -2, -1, 1, 1, 4};
	float got[8];

	(void)state;
	group_norm_naive(got, x, 2, 4, 2, 0, weight, bias, 0);
	assert_true(max_abs(got, want, 8) < 1e-6);
	group_norm_naive(got, x, 2, 4, 2, 0, weight, bias, 1);
	/* silu(1) = 0.7310586, silu(-1) = -0.2689414 */
	assert_true(fabsf(got[1] - 0.7310586f) < 1e-6f && fabsf(got[0] + 0.2689414f) < 1e-6f);
}

static void a_linear_layer_has_its_weights_by_output(void **state)
{
	const float x[] = {1, 2}, weight[] = {1, 10, 100, 1000}, bias[] = {0, 7};
	float got[2];

	(void)state;
	linear_naive(got, x, 1, 2, 2, weight, bias);
	assert_true(got[0] == 21 && got[1] == 2107);
}

/* q k^T = 0, ln 3 * sqrt(2) ...: weights 1/4 and 3/4 for the first token, halves for the second */
static void attention_weighs_values_by_scaled_scores(void **state)
{
	const float a = 1.0986123f * 1.4142136f;
	const float q[] = {1, 0, 0, 0}, k[] = {0, 5, a, 5}, v[] = {4, 0, 8, 100};
	float got[4], scores[2];

	(void)state;
	attention_naive(got, q, k, v, 2, 2, scores);
	assert_true(fabsf(got[0] - 7) < 1e-5f && fabsf(got[1] - 75) < 1e-4f);
	assert_true(fabsf(got[2] - 6) < 1e-5f && fabsf(got[3] - 50) < 1e-4f);
}

/* -- the fast engine ----------------------------------------------------------------------------- */

struct conv_case {
	struct conv_shape shape;
	size_t height, width;
};

static void run_conv(const struct vae_engine_ops *ops, const struct conv_case *c, bool accumulate,
		     const float *in, float *out)
{
	struct vae_engine *engine = open_engine(ops);
	const struct conv_shape *s = &c->shape;
	float *weight = values(s->out * s->in * s->kernel * s->kernel, 5);
	float *bias = values(s->out, 6);
	struct error err = ERROR_INIT;
	struct vae_conv *conv = NULL;

	assert_ok(ops->conv_new(engine, s, weight, bias, &conv, &err), &err);
	free(weight);
	free(bias);
	assert_ok(ops->conv(engine, conv, out, in, c->height, c->width, accumulate, &err), &err);
	ops->conv_free(engine, conv);
	ops->close(engine);
}

static void convolutions_are_the_naive_ones(void **state)
{
	static const struct conv_case cases[] = {
	    {{3, 128, 3, 1, 1, 1}, 9, 21},  {{32, 32, 3, 1, 1, 1}, 33, 17},
	    {{32, 64, 1, 1, 0, 0}, 5, 7},   {{48, 24, 3, 1, 1, 1}, 8, 8},
	    {{16, 16, 3, 2, 0, 1}, 12, 10}, {{32, 32, 3, 2, 0, 1}, 13, 7},
	    {{64, 8, 3, 1, 1, 1}, 3, 50},   {{5, 7, 3, 1, 1, 1}, 6, 6},
	    {{8, 8, 1, 1, 0, 0}, 1, 1},	    {{64, 64, 3, 1, 1, 1}, 1, 1},
	    {{16, 16, 3, 2, 0, 1}, 2, 3},
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const struct conv_case *c = &cases[i / 2];
		size_t n = conv_out_size(&c->shape, c->height) *
			   conv_out_size(&c->shape, c->width) * c->shape.out;
		float *in = values(c->height * c->width * c->shape.in, 3);
		float *want = values(n, 4), *got = values(n, 4);
		double worst;

		run_conv(&vae_engine_naive, c, i % 2, in, want);
		run_conv(&vae_engine_onednn, c, i % 2, in, got);
		worst = max_abs(got, want, n);
		if (worst > 2e-5)
			fail_msg("case %zu%s: max-abs %g", i / 2, i % 2 ? " added" : "", worst);
		free(in);
		free(want);
		free(got);
	}
}

/*
 * Maps of equal rows: those of a high one, computed in several bands, are those of a low one, of which
 * the middle row is repeated.
 */
static void a_convolution_in_bands_has_no_seams(void **state)
{
	enum { LOW = 5, HIGH = 40, WIDTH = 512, CHANNELS = 256 };
	const struct conv_case low = {{CHANNELS, CHANNELS, 3, 1, 1, 1}, LOW, WIDTH};
	struct conv_case high = low;
	size_t row = (size_t)WIDTH * CHANNELS;
	float *in = values(HIGH * row, 3), *want = xcalloc(LOW * row, sizeof(float));
	float *got = xcalloc(HIGH * row, sizeof(float));

	(void)state;
	high.height = HIGH;
	for (size_t y = 1; y < HIGH; y++)
		memcpy(in + y * row, in, row * sizeof(float));
	run_conv(&vae_engine_onednn, &low, false, in, want);
	run_conv(&vae_engine_onednn, &high, false, in, got);
	for (size_t y = 0; y < HIGH; y++) {
		size_t like = y < 2 ? y : y + 2 < HIGH ? 2 : LOW + y - HIGH;

		if (max_abs(got + y * row, want + like * row, row) > 1e-4)
			fail_msg("row %zu: max-abs %g", y,
				 max_abs(got + y * row, want + like * row, row));
	}
	free(in);
	free(want);
	free(got);
}

static void check_norm(struct vae_engine *engine, float *x, size_t pixels, size_t channels,
		       size_t groups, bool silu, double limit)
{
	float *weight = values(channels, 8), *bias = values(channels, 9);
	float *want = xcalloc(pixels * channels, sizeof(float));
	struct error err = ERROR_INIT;
	double worst;

	group_norm_naive(want, x, pixels, channels, groups, 1e-6f, weight, bias, silu);
	assert_ok(engine->ops->group_norm(engine, x, x, pixels, channels, groups, 1e-6f, weight,
					  bias, silu, &err),
		  &err);
	worst = max_abs(x, want, pixels * channels);
	if (!(worst <= limit))
		fail_msg("%zu pixels, %zu channels, %zu groups: max-abs %g", pixels, channels,
			 groups, worst);
	free(weight);
	free(bias);
	free(want);
}

static void norms_are_the_naive_ones_in_place(void **state)
{
	static const size_t cases[][3] = {
	    {1, 32, 8}, {33, 32, 32}, {10922, 12, 4}, {2049, 64, 16}, {5000, 20, 1}, {7, 96, 2},
	};
	struct vae_engine *engine = open_engine(&vae_engine_onednn);

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const size_t *c = cases[i / 2];
		float *x = values(c[0] * c[1], 7);

		check_norm(engine, x, c[0], c[1], c[2], i % 2, 2e-6);
		free(x);
	}
	engine->ops->close(engine);
}

/* A mean of 1000 and deviations below 1: sum of squares minus square of sum would lose all digits. */
static void a_norm_keeps_its_digits_where_the_mean_is_large(void **state)
{
	struct vae_engine *engine = open_engine(&vae_engine_onednn);
	size_t pixels = 10000, channels = 32;
	float *x = values(pixels * channels, 11);

	(void)state;
	for (size_t i = 0; i < pixels * channels; i++)
		x[i] += 1000;
	/* x itself has steps of 6e-5 there */
	check_norm(engine, x, pixels, channels, 8, false, 1e-3);
	free(x);
	engine->ops->close(engine);
}

static void silu_holds_at_both_ends(void **state)
{
	const float ends[] = {-200, -88, -30, -1e-6f, 0, 1e-6f, 30, 88, 200, 1e4f};
	struct vae_engine *engine = open_engine(&vae_engine_onednn);
	float x[20], weight[] = {100, 100}, bias[] = {0, 0}, want[20];
	struct error err = ERROR_INIT;

	(void)state;
	/* one group of two channels that mirror each other, scaled out again to the values above */
	for (size_t i = 0; i < 10; i++) {
		x[2 * i] = ends[i];
		x[2 * i + 1] = -ends[i];
	}
	group_norm_naive(want, x, 10, 2, 1, 1e-6f, weight, bias, 1);
	assert_ok(
	    vae_engine_onednn.group_norm(engine, x, x, 10, 2, 1, 1e-6f, weight, bias, true, &err),
	    &err);
	for (size_t i = 0; i < 20; i++)
		assert_true(fabsf(x[i] - want[i]) <= 1e-6f * fmaxf(1, fabsf(want[i])));
	engine->ops->close(engine);
}

static void attention_over_blocks_of_queries_is_the_naive_one(void **state)
{
	/* 700 tokens: two blocks of 256 queries and a rest */
	static const size_t cases[][2] = {{1, 8}, {45, 64}, {256, 32}, {700, 24}};
	struct vae_engine *engine = open_engine(&vae_engine_onednn);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t tokens = cases[i][0], c = cases[i][1], n = tokens * c;
		float *q = values(n, 1), *k = values(n, 2), *v = values(n, 3);
		float *want = values(n, 4), *got = values(n, 4), *scores = values(tokens, 4);
		struct error err = ERROR_INIT;

		for (size_t j = 0; j < n; j++)
			q[j] *= 20; /* far from uniform */
		attention_naive(want, q, k, v, tokens, c, scores);
		assert_ok(engine->ops->attention(engine, got, q, k, v, tokens, c, &err), &err);
		if (max_abs(got, want, n) > 1e-5)
			fail_msg("%zu tokens: max-abs %g", tokens, max_abs(got, want, n));
		free(q);
		free(k);
		free(v);
		free(want);
		free(got);
		free(scores);
	}
	engine->ops->close(engine);
}

static void nan_goes_through_every_layer(void **state)
{
	struct vae_engine *engine = open_engine(&vae_engine_onednn);
	float *x = values(64 * 8, 1), *y = values(64 * 8, 2), weight[8] = {1}, bias[8] = {0};
	struct error err = ERROR_INIT;

	(void)state;
	x[100] = NAN;
	assert_ok(engine->ops->attention(engine, y, x, x, x, 64, 8, &err), &err);
	assert_true(isnan(y[0]));
	assert_ok(engine->ops->group_norm(engine, x, x, 64, 8, 1, 1e-6f, weight, bias, true, &err),
		  &err);
	assert_true(isnan(x[0]));
	free(x);
	free(y);
	engine->ops->close(engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_padded_convolution_correlates_and_does_not_flip),
	    cmocka_unit_test(the_downsampler_pads_right_and_below_only),
	    cmocka_unit_test(a_group_is_normed_over_pixels_and_its_channels),
	    cmocka_unit_test(a_linear_layer_has_its_weights_by_output),
	    cmocka_unit_test(attention_weighs_values_by_scaled_scores),
	    cmocka_unit_test(convolutions_are_the_naive_ones),
	    cmocka_unit_test(a_convolution_in_bands_has_no_seams),
	    cmocka_unit_test(norms_are_the_naive_ones_in_place),
	    cmocka_unit_test(a_norm_keeps_its_digits_where_the_mean_is_large),
	    cmocka_unit_test(silu_holds_at_both_ends),
	    cmocka_unit_test(attention_over_blocks_of_queries_is_the_naive_one),
	    cmocka_unit_test(nan_goes_through_every_layer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
