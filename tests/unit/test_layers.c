/* The definitions by hand-computed examples; norms and attention of the fast engines by the definitions. */
#include "base/checked.h"
#include "tests/testing.h"
#include "tests/unit/layer_testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

/* -- norms --------------------------------------------------------------------------------------- */

/*
 * x through a layer that copies it, which gathers its statistics, then normed through another one: how
 * norms are computed in an encoder.
 */
static void run_norm(struct vae_engine *engine, float *x, size_t pixels, size_t channels,
		     size_t groups, const float *weight, const float *bias, bool silu)
{
	struct conv_shape s = {channels, channels, 1, 1, 0, 0};
	float *identity = xcalloc(channels * channels + channels, sizeof(float));
	float *copy = xcalloc(pixels * channels, sizeof(float));
	float *scale = xcalloc(2 * channels, sizeof(float)), *shift = scale + channels;
	struct norm_stats stats = {0};
	struct vae_norm norm = {scale, shift, silu};
	struct vae_conv_run run = {
	    .out = copy, .in = x, .height = 1, .width = pixels, .out_rows = 1, .stats = &stats};
	struct error err = ERROR_INIT;
	struct vae_conv *conv = NULL;

	for (size_t c = 0; c < channels; c++)
		identity[c * channels + c] = 1;
	assert_ok(engine->ops->conv_new(engine, &s, identity, identity + channels * channels, &conv,
					&err),
		  &err);
	norm_stats_reset(&stats, channels);
	assert_ok(engine->ops->conv(engine, conv, &run, &err), &err);
	norm_stats_scales(&stats, groups, 1e-6f, weight, bias, scale, shift);
	run = (struct vae_conv_run){
	    .out = x, .in = copy, .height = 1, .width = pixels, .out_rows = 1, .norm = &norm};
	assert_ok(engine->ops->conv(engine, conv, &run, &err), &err);
	engine->ops->conv_free(engine, conv);
	norm_stats_release(&stats);
	free(identity);
	free(copy);
	free(scale);
}

/* @x: [pixels * channels], for each engine anew. */
static void check_norm(const float *x, size_t pixels, size_t channels, size_t groups, bool silu,
		       double limit)
{
	float *weight = values(channels, 8), *bias = values(channels, 9);
	float *want = xcalloc(pixels * channels, sizeof(float));

	group_norm_naive(want, x, pixels, channels, groups, 1e-6f, weight, bias, silu);
	for (size_t i = 0; i < FAST; i++) {
		struct vae_engine *engine = open_engine(&fast[i], 2);
		float *got = xcalloc(pixels * channels, sizeof(float));
		double worst;

		memcpy(got, x, pixels * channels * sizeof(float));
		run_norm(engine, got, pixels, channels, groups, weight, bias, silu);
		worst = max_abs(got, want, pixels * channels);
		if (!(worst <= limit))
			fail_msg("%s %s: %zu pixels, %zu channels, %zu groups: max-abs %g",
				 fast[i].ops->name, fast[i].isa ? fast[i].isa : "", pixels,
				 channels, groups, worst);
		free(got);
		engine->ops->close(engine);
	}
	free(weight);
	free(bias);
	free(want);
}

static void norms_are_the_naive_ones(void **state)
{
	static const size_t norms[][3] = {
	    {1, 32, 8}, {33, 32, 32}, {10922, 12, 4}, {2049, 64, 16}, {5000, 20, 1}, {7, 96, 2},
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(norms); i++) {
		const size_t *c = norms[i / 2];
		float *x = values(c[0] * c[1], 7);

		check_norm(x, c[0], c[1], c[2], i % 2, 2e-6);
		free(x);
	}
}

/* A mean of 1000 and deviations below 1: sum of squares minus square of sum would lose all digits. */
static void a_norm_keeps_its_digits_where_the_mean_is_large(void **state)
{
	size_t pixels = 10000, channels = 32;
	float *x = values(pixels * channels, 11);

	(void)state;
	for (size_t i = 0; i < pixels * channels; i++)
		x[i] += 1000;
	/* x itself has steps of 6e-5 there */
	check_norm(x, pixels, channels, 8, false, 1e-3);
	free(x);
}

static void silu_holds_at_both_ends(void **state)
{
	const float ends[] = {-200, -88, -30, -1e-6f, 0, 1e-6f, 30, 88, 200, 1e4f};
	const float weight[] = {100, 100}, bias[] = {0, 0};
	float x[20], want[20], got[20];

	(void)state;
	/* one group of two channels that mirror each other, scaled out again to the values above */
	for (size_t i = 0; i < 10; i++) {
		x[2 * i] = ends[i];
		x[2 * i + 1] = -ends[i];
	}
	group_norm_naive(want, x, 10, 2, 1, 1e-6f, weight, bias, 1);
	for (size_t e = 0; e < FAST; e++) {
		struct vae_engine *engine = open_engine(&fast[e], 2);

		memcpy(got, x, sizeof(x));
		run_norm(engine, got, 10, 2, 1, weight, bias, true);
		for (size_t i = 0; i < 20; i++)
			assert_true(fabsf(got[i] - want[i]) <= 1e-6f * fmaxf(1, fabsf(want[i])));
		engine->ops->close(engine);
	}
}

/* -- attention ----------------------------------------------------------------------------------- */

static void check_attention(const struct variant *v, size_t tokens, size_t c)
{
	size_t n = tokens * c;
	float *q = values(n, 1), *k = values(n, 2), *value = values(n, 3);
	float *want = values(n, 4), *got = values(n, 4), *scores = values(tokens, 4);
	struct vae_engine *engine = open_engine(v, 2);
	struct error err = ERROR_INIT;

	for (size_t j = 0; j < n; j++)
		q[j] *= 20; /* far from uniform */
	attention_naive(want, q, k, value, tokens, c, scores);
	assert_ok(engine->ops->attention(engine, got, q, k, value, tokens, c, &err), &err);
	if (!(max_abs(got, want, n) <= 1e-5))
		fail_msg("%s %s, %zu tokens: max-abs %g", v->ops->name, v->isa ? v->isa : "",
			 tokens, max_abs(got, want, n));
	engine->ops->close(engine);
	free(q);
	free(k);
	free(value);
	free(want);
	free(got);
	free(scores);
}

/* Blocks of 256 or 96 queries and of 512 keys, whole ones and rests. */
static void attention_in_blocks_is_the_naive_one(void **state)
{
	static const size_t sizes[][2] = {{1, 8}, {45, 64}, {256, 32}, {700, 24}, {1025, 70}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (size_t e = 0; e < FAST; e++)
			check_attention(&fast[e], sizes[i][0], sizes[i][1]);
}

static void nan_goes_through_every_layer(void **state)
{
	(void)state;
	for (size_t e = 0; e < FAST; e++) {
		struct vae_engine *engine = open_engine(&fast[e], 2);
		float *x = values(64 * 8, 1), *y = values(64 * 8, 2), weight[8] = {1},
		      bias[8] = {0};
		struct error err = ERROR_INIT;

		x[100] = NAN;
		assert_ok(engine->ops->attention(engine, y, x, x, x, 64, 8, &err), &err);
		assert_true(isnan(y[0]));
		run_norm(engine, x, 64, 8, 1, weight, bias, true);
		assert_true(isnan(x[0]));
		engine->ops->close(engine);
		free(x);
		free(y);
	}
}

static void LATENTD_CPU_names_an_engine(void **state)
{
	struct error err = ERROR_INIT;

	(void)state;
	unsetenv("LATENTD_CPU");
	assert_ptr_equal(vae_engine_choose(VAE_FLOAT32, &err), &vae_engine_winograd);
	setenv("LATENTD_CPU", "direct", 1);
	assert_ptr_equal(vae_engine_choose(VAE_FLOAT32, &err), &vae_engine_onednn);
	setenv("LATENTD_CPU", "naive", 1);
	assert_ptr_equal(vae_engine_choose(VAE_FLOAT32, &err), &vae_engine_naive);
	setenv("LATENTD_CPU", "quantum", 1);
	assert_null(vae_engine_choose(VAE_FLOAT32, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_non_null(strstr(err.message, "quantum"));
	unsetenv("LATENTD_CPU");
}

static void bf16_is_refused_where_it_is_not_computed(void **state)
{
	struct vae_engine *engine = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	setenv("LATENTD_ISA", "avx2", 1);
	assert_null(vae_engine_choose(VAE_BFLOAT16, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_non_null(strstr(err.message, "AVX512_BF16"));
	error_clear(&err);
	assert_error(vae_engine_winograd_bf16.open(1, &engine, &err), &err, ERR_CONFIG);
	unsetenv("LATENTD_ISA");
	setenv("LATENTD_CPU", "direct", 1);
	error_clear(&err);
	assert_null(vae_engine_choose(VAE_BFLOAT16, &err));
	assert_string_equal(err.message,
			    "LATENTD_CPU is direct, which does not compute in bfloat16");
	unsetenv("LATENTD_CPU");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_padded_convolution_correlates_and_does_not_flip),
	    cmocka_unit_test(the_downsampler_pads_right_and_below_only),
	    cmocka_unit_test(a_group_is_normed_over_pixels_and_its_channels),
	    cmocka_unit_test(a_linear_layer_has_its_weights_by_output),
	    cmocka_unit_test(attention_weighs_values_by_scaled_scores),
	    cmocka_unit_test(norms_are_the_naive_ones),
	    cmocka_unit_test(a_norm_keeps_its_digits_where_the_mean_is_large),
	    cmocka_unit_test(silu_holds_at_both_ends),
	    cmocka_unit_test(attention_in_blocks_is_the_naive_one),
	    cmocka_unit_test(nan_goes_through_every_layer),
	    cmocka_unit_test(LATENTD_CPU_names_an_engine),
	    cmocka_unit_test(bf16_is_refused_where_it_is_not_computed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
