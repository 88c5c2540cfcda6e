#include "vae/posterior.h"

#include "tests/testing.h"
#include "vae/philox.h"

#include <math.h>
#include <string.h>

static const struct hash128 content = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

/* Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, result. */
static void philox_gives_the_published_answers(void **state)
{
	static const struct {
		uint32_t counter[4], key[2], want[4];
	} known[] = {
	    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
	    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
	     {0xffffffff, 0xffffffff},
	     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
	    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
	     {0xa4093822, 0x299f31d0},
	     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint32_t got[4];

		philox4x32(known[i].counter, known[i].key, got);
		assert_memory_equal(got, known[i].want, sizeof(got));
	}
}

static void names_are_parsed_and_others_are_none(void **state)
{
	(void)state;
	assert_int_equal(posterior_parse("mean"), POSTERIOR_MEAN);
	assert_int_equal(posterior_parse("moments"), POSTERIOR_MOMENTS);
	assert_int_equal(posterior_parse("draw"), POSTERIOR_DRAW);
	assert_int_equal(posterior_parse("sample"), -1);
	assert_string_equal(posterior_name(POSTERIOR_DRAW), "draw");
}

static void mean_and_moments_are_copied_as_they_are(void **state)
{
	const float moments[] = {1, 2, 3, 4, 5, 6, 7, -40};
	float out[8] = {0};

	(void)state;
	assert_int_equal(posterior_channels(POSTERIOR_MEAN, 2), 2);
	posterior_apply(POSTERIOR_MEAN, moments, 2, 2, NULL, 0, out);
	assert_memory_equal(out, moments, 4 * sizeof(float));
	assert_int_equal(posterior_channels(POSTERIOR_MOMENTS, 2), 4);
	posterior_apply(POSTERIOR_MOMENTS, moments, 2, 2, NULL, 0, out);
	assert_memory_equal(out, moments, sizeof(moments));
}

/* Numbers from a program in Python that follows the recipe in posterior.h. */
static void a_draw_is_what_the_documented_recipe_gives(void **state)
{
	static const struct {
		uint64_t seed;
		double noise[5];
	} known[] = {
	    {0,
	     {-0.26304864746559026, -0.7734074438317587, 1.867318280032751, -0.9096498818528731,
	      0.8514249447188625}},
	    {42,
	     {0.74466314661393, 0.2624174950083325, 0.6445845981572311, -0.20520992926366902,
	      1.0018930405894815}},
	};
	const float moments[] = {0, 0.5f, -1, 2, 0, 0, 0, 0, 0, 0};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		float out[5];

		posterior_apply(POSTERIOR_DRAW, moments, 1, 5, &content, known[k].seed, out);
		for (size_t i = 0; i < 5; i++)
			assert_float_equal(out[i], moments[i] + (float)known[k].noise[i], 1e-6);
	}
}

static void other_content_draws_other_noise(void **state)
{
	const float moments[] = {0, 0};
	struct hash128 other = content;
	float a, b, again;

	(void)state;
	other.bytes[15] ^= 1;
	posterior_apply(POSTERIOR_DRAW, moments, 1, 1, &content, 7, &a);
	posterior_apply(POSTERIOR_DRAW, moments, 1, 1, &other, 7, &b);
	posterior_apply(POSTERIOR_DRAW, moments, 1, 1, &content, 7, &again);
	assert_true(a != b);
	assert_true(a == again);
}

/* DiagonalGaussianDistribution: clamp(logvar, -30, 20), std = exp(0.5 logvar) */
static void logvar_is_clamped_before_it_is_a_deviation(void **state)
{
	const double noise[] = {-0.26304864746559026, -0.7734074438317587};
	const float moments[] = {0, 0, -1000, 1000};
	float out[2];

	(void)state;
	posterior_apply(POSTERIOR_DRAW, moments, 1, 2, &content, 0, out);
	assert_true(fabs((double)out[0] / (noise[0] * exp(-15)) - 1) < 1e-6);
	assert_true(fabs((double)out[1] / (noise[1] * exp(10)) - 1) < 1e-6);
}

static void noise_is_standard_normal(void **state)
{
	enum { N = 200000 };
	float *moments = calloc(2 * N, sizeof(float)), *out = calloc(N, sizeof(float));
	double sum = 0, square = 0, fourth = 0, neighbours = 0;

	(void)state;
	posterior_apply(POSTERIOR_DRAW, moments, 4, N / 4, &content, 1, out);
	for (size_t i = 0; i < N; i++) {
		double x = (double)out[i];

		sum += x;
		square += x * x;
		fourth += x * x * x * x;
		neighbours += i ? x * (double)out[i - 1] : 0;
	}
	/* five standard errors of each estimate */
	assert_true(fabs(sum / N) < 5 / sqrt(N));
	assert_true(fabs(square / N - 1) < 5 * sqrt(2.0 / N));
	assert_true(fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
	assert_true(fabs(neighbours / N) < 5 / sqrt(N));
	free(moments);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(philox_gives_the_published_answers),
	    cmocka_unit_test(names_are_parsed_and_others_are_none),
	    cmocka_unit_test(mean_and_moments_are_copied_as_they_are),
	    cmocka_unit_test(a_draw_is_what_the_documented_recipe_gives),
	    cmocka_unit_test(other_content_draws_other_noise),
	    cmocka_unit_test(logvar_is_clamped_before_it_is_a_deviation),
	    cmocka_unit_test(noise_is_standard_normal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
