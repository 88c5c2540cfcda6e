#include "tests/testing.h"

#include "base/checked.h"
#include "base/half.h"
#include "vae/rounding.h"

#include <math.h>
#include <string.h>

#define CHANNELS 2
#define N	 4096

/* Close to a normal distribution: sums of twelve uniform numbers. The second channel is wider and not about 0. */
static void fill(float *values)
{
	uint64_t x = 7;

	for (size_t i = 0; i < CHANNELS * N; i++) {
		double sum = -6;

		for (size_t k = 0; k < 12; k++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			sum += (double)(x >> 11) * 0x1p-53;
		}
		values[i] = (float)(i < N ? sum : 3 * sum + 10);
	}
}

static void bf16_gives_the_nearest_bfloat16(void **state)
{
	float values[CHANNELS * N], rounded[CHANNELS * N];
	/* a tie goes to the even one; a carry into the exponent; nothing of an infinity */
	float odd[] = {1.00390625f, 1.01171875f, 1.9999999f, -0.0f, INFINITY};
	const float even[] = {1.0f, 1.015625f, 2.0f, -0.0f, INFINITY};

	(void)state;
	fill(values);
	memcpy(rounded, values, sizeof(values));
	rounding_apply(ROUNDING_BF16, rounded, CHANNELS, N);
	for (size_t i = 0; i < CHANNELS * N; i++)
		assert_true(rounded[i] == bfloat16_to_float(bfloat16_from_float(values[i])));
	rounding_apply(ROUNDING_BF16, odd, 1, ARRAY_SIZE(odd));
	assert_memory_equal(odd, even, sizeof(even));
}

/* storage-formats.md 5.2, of a normal distribution: 55, 49.5 and 47 dB. */
static void each_costs_what_theory_says(void **state)
{
	static const struct {
		enum rounding rounding;
		double least, most;
	} cases[] = {
	    {ROUNDING_BF16, 54, 56.5}, {ROUNDING_6BIT, 48, 50.5}, {ROUNDING_STEP, 46.9, 53.1}};
	float values[CHANNELS * N], rounded[CHANNELS * N];

	(void)state;
	for (size_t i = 0; i < N; i++)
		values[N + i] = 0;
	fill(values);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		double snr;

		memcpy(rounded, values, sizeof(values));
		rounding_apply(cases[i].rounding, rounded, 1, N);
		snr = rounding_snr_db(values, rounded, 1, N);
		assert_true(snr > cases[i].least && snr < cases[i].most);
	}
}

static void steps_follow_the_deviation_of_each_channel_and_are_exact_in_float16(void **state)
{
	float values[CHANNELS * N], rounded[CHANNELS * N];
	const double steps[CHANNELS] = {0x1p-7, 0x1p-5}; /* deviations of nearly 1 and nearly 3 */

	(void)state;
	fill(values);
	memcpy(rounded, values, sizeof(values));
	rounding_apply(ROUNDING_STEP, rounded, CHANNELS, N);
	for (size_t c = 0; c < CHANNELS; c++) {
		for (size_t i = c * N; i < (c + 1) * N; i++) {
			double n = (double)rounded[i] / steps[c];

			assert_true(n == rint(n));
			assert_true(fabs((double)rounded[i] - (double)values[i]) <= steps[c] / 2);
			assert_true(half_to_float(half_from_float(rounded[i])) == rounded[i]);
		}
	}
}

static void a_channel_of_one_value_stays(void **state)
{
	float values[] = {0.3f, 0.3f, 0.3f, 0.3f};

	(void)state;
	rounding_apply(ROUNDING_STEP, values, 1, ARRAY_SIZE(values));
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		assert_true(values[i] == 0.3f);
	rounding_apply(ROUNDING_NONE, values, 2, 2);
	assert_true(values[3] == 0.3f);
	assert_true(isnan(rounding_snr_db(values, values, 1, 4)));
}

static void names_go_there_and_back(void **state)
{
	(void)state;
	for (int i = 0; i <= ROUNDING_STEP; i++)
		assert_int_equal(rounding_parse(rounding_name((enum rounding)i)), i);
	assert_int_equal(rounding_parse("7bit"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bf16_gives_the_nearest_bfloat16),
	    cmocka_unit_test(each_costs_what_theory_says),
	    cmocka_unit_test(steps_follow_the_deviation_of_each_channel_and_are_exact_in_float16),
	    cmocka_unit_test(a_channel_of_one_value_stays),
	    cmocka_unit_test(names_go_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
