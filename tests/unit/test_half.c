#include "tests/testing.h"

#include "base/checked.h"
#include "base/half.h"

#include <math.h>
#include <string.h>

static float from_bits(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static uint32_t to_bits(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

/* What the 16 bits mean, by IEEE 754: -1^s * 2^e * m. */
static double half_value(uint16_t h)
{
	int exponent = h >> 10 & 31, mantissa = h & 0x3ff;
	double magnitude = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);

	return h & 0x8000 ? -magnitude : magnitude;
}

static bool is_nan(uint16_t h)
{
	return (h & 0x7fff) > 0x7c00;
}

static void every_half_becomes_the_float_that_it_means(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 65536; i++) {
		uint16_t h = (uint16_t)i;
		float f = half_to_float(h);

		if (is_nan(h))
			assert_true(isnan(f));
		else if ((h & 0x7fff) == 0x7c00)
			assert_true(isinf(f));
		else
			assert_true((double)f == half_value(h));
		assert_int_equal(signbit(f) != 0, h >> 15);
	}
}

static void every_half_comes_back_from_its_float(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 65536; i++) {
		uint16_t h = (uint16_t)i, back = half_from_float(half_to_float(h));

		if (is_nan(h)) {
			assert_true(is_nan(back));
			assert_int_equal(back >> 15, h >> 15);
		} else {
			assert_int_equal(back, h);
		}
	}
}

/* Between a half and the next: the middle goes to the even one, its neighbours to theirs. */
static void rounding_is_to_nearest_with_ties_to_even(void **state)
{
	(void)state;
	for (uint16_t h = 0; h < 0x7bff; h++) {
		uint16_t even = h & 1 ? h + 1 : h;
		/* exact: a float has 13 bits more than a half */
		float middle = (float)((half_value(h) + half_value(h + 1)) / 2);

		assert_int_equal(half_from_float(middle), even);
		assert_int_equal(half_from_float(-middle), even | 0x8000);
		assert_int_equal(half_from_float(nextafterf(middle, 0.0f)), h);
		assert_int_equal(half_from_float(nextafterf(middle, INFINITY)), h + 1);
	}
}

static void known_values_are_those_of_numpy(void **state)
{
	/* np.float16(np.float32(v)).view(np.uint16), numpy 2.4.6 */
	static const struct {
		uint32_t f;
		uint16_t h;
	} examples[] = {
	    {0x00000000, 0x0000}, {0x80000000, 0x8000}, /* +-0 */
	    {0x3f800000, 0x3c00}, {0xc0000000, 0xc000}, /* 1, -2 */
	    {0x477fe000, 0x7bff}, {0x477fefff, 0x7bff}, /* 65504, 65519.996 */
	    {0x477ff000, 0x7c00}, {0x501502f9, 0x7c00}, /* 65520, 1e10 */
	    {0x38800000, 0x0400}, {0x387fc000, 0x03ff}, /* smallest normal, largest subnormal */
	    {0x33800000, 0x0001}, {0x33000000, 0x0000}, /* 2^-24, 2^-25: a tie with 0 */
	    {0x33000001, 0x0001}, {0x33c00000, 0x0002}, /* just above it, 1.5 * 2^-24 */
	    {0x3f801000, 0x3c00}, {0x3f803000, 0x3c02}, /* ties */
	    {0x3dcccccd, 0x2e66}, {0x40490fdb, 0x4248}, /* 0.1, pi */
	    {0xb089705f, 0x8000},			/* -1e-9 */
	    {0x45001000, 0x6800}, {0x45003000, 0x6802}, /* 2049, 2051 */
	    {0x7f800000, 0x7c00}, {0xff800000, 0xfc00}, /* infinities */
	    {0x7f7fffff, 0x7c00}, {0x00000001, 0x0000}, /* the ends of float */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++)
		assert_int_equal(half_from_float(from_bits(examples[i].f)), examples[i].h);
}

static void no_nan_becomes_an_infinity(void **state)
{
	/* payloads only in bits that a half does not have, quiet and signalling */
	static const uint32_t nans[] = {0x7f800001, 0xff800001, 0x7fc00000, 0x7fffffff, 0x7f801fff};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nans); i++)
		assert_true(is_nan(half_from_float(from_bits(nans[i]))));
}

/* Nearest, ties to even: compared by distance in double, which is exact here. */
static void a_float_becomes_the_nearest_bfloat16(void **state)
{
	static const uint32_t ends[] = {0x0000, 0x0001, 0x7fff, 0x8000, 0x8001, 0xffff};

	(void)state;
	for (uint32_t top = 0; top < 0x7f80; top++) {
		for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
			float f = from_bits(top << 16 | ends[i]);
			uint16_t got = bfloat16_from_float(f);
			uint32_t want =
			    ends[i] > 0x8000 || (ends[i] == 0x8000 && (top & 1)) ? top + 1 : top;

			assert_int_equal(got, want);
			assert_int_equal(bfloat16_from_float(-f), want | 0x8000);
		}
	}
	assert_int_equal(bfloat16_from_float(INFINITY), 0x7f80);
	assert_true(isnan(bfloat16_to_float(bfloat16_from_float(from_bits(0x7f800001)))));
}

static void the_bfloat16s_that_are_not_finite_are_counted(void **state)
{
	const float in[] = {1, INFINITY, -INFINITY, NAN, 3.4e38f, -2};
	uint16_t out[ARRAY_SIZE(in)];

	(void)state;
	assert_int_equal(bfloat16_from_floats(out, in, ARRAY_SIZE(in)), 4);
	assert_int_equal(out[0], 0x3f80);
	assert_int_equal(out[5], 0xc000);
}

static void a_bfloat16_is_the_upper_half_of_a_float(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 65536; i++)
		assert_true(to_bits(bfloat16_to_float((uint16_t)i)) == i << 16 ||
			    isnan(bfloat16_to_float((uint16_t)i)));
	assert_true(bfloat16_to_float(0x3fc0) == 1.5f);
	assert_true(isnan(bfloat16_to_float(0x7fc1)));
}

static void arrays_convert_and_count_what_is_not_finite(void **state)
{
	const float in[] = {1.0f, 70000.0f, -INFINITY, NAN, 65504.0f};
	uint16_t halves[5];
	float back[5];

	(void)state;
	assert_int_equal(half_from_floats(halves, in, 5), 3);
	half_to_floats(back, halves, 5);
	assert_true(back[0] == 1.0f && isinf(back[1]) && isinf(back[2]) && isnan(back[3]) &&
		    back[4] == 65504.0f);
	bfloat16_to_floats(back, (const uint16_t[]){0x3f80, 0xc000}, 2);
	assert_true(back[0] == 1.0f && back[1] == -2.0f);
}

/* Every exponent and sign, with mantissas around all that rounding looks at; every length of a rest. */
static void arrays_become_what_single_values_become(void **state)
{
	enum { MANTISSAS = 4096, MOST = MANTISSAS + 7 };
	static float in[MOST];
	static uint16_t halves[MOST];
	uint32_t random = 1;

	(void)state;
	for (uint32_t top = 0; top < 512; top++) {
		size_t n = MANTISSAS + top % 8, not_finite = 0, counted;

		for (size_t i = 0; i < n; i++) {
			/* near a tie of a normal half, or anything */
			uint32_t mantissa = (uint32_t)(i / 2) << 12 & 0x7fffff;

			mantissa = (mantissa + (random >> 30) - 1) & 0x7fffff;
			random = random * 1664525 + 1013904223;
			in[i] = from_bits(top << 23 | (i % 2 ? mantissa : random >> 9));
		}
		counted = half_from_floats(halves, in, n);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(halves[i], half_from_float(in[i]));
			not_finite += (halves[i] & 0x7c00) == 0x7c00;
		}
		assert_int_equal(counted, not_finite);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_half_becomes_the_float_that_it_means),
	    cmocka_unit_test(every_half_comes_back_from_its_float),
	    cmocka_unit_test(rounding_is_to_nearest_with_ties_to_even),
	    cmocka_unit_test(known_values_are_those_of_numpy),
	    cmocka_unit_test(no_nan_becomes_an_infinity),
	    cmocka_unit_test(a_float_becomes_the_nearest_bfloat16),
	    cmocka_unit_test(the_bfloat16s_that_are_not_finite_are_counted),
	    cmocka_unit_test(a_bfloat16_is_the_upper_half_of_a_float),
	    cmocka_unit_test(arrays_convert_and_count_what_is_not_finite),
	    cmocka_unit_test(arrays_become_what_single_values_become),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
