#include "vae/rounding.h"

#include "base/checked.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static const char *const names[] = {[ROUNDING_NONE] = "none",
				    [ROUNDING_BF16] = "bf16",
				    [ROUNDING_6BIT] = "6bit",
				    [ROUNDING_STEP] = "step"};

const char *rounding_name(enum rounding r)
{
	return names[r];
}

int rounding_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], name) == 0)
			return (int)i;
	}
	return -1;
}

/* A carry out of the mantissa is a larger exponent, as it should be. */
static void round_mantissa(float *values, size_t n, unsigned bits)
{
	unsigned dropped = 23 - bits;
	uint32_t half = ((uint32_t)1 << (dropped - 1)) - 1;

	for (size_t i = 0; i < n; i++) {
		uint32_t u;

		memcpy(&u, &values[i], sizeof(u));
		if ((u >> 23 & 0xff) == 0xff)
			continue; /* not finite, and stays so */
		u += half + (u >> dropped & 1);
		u &= ~(((uint32_t)1 << dropped) - 1);
		memcpy(&values[i], &u, sizeof(u));
	}
}

static double mean_of(const float *values, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)values[i];
	return sum / (double)n;
}

/* The sum of squares about the mean. */
static double spread_of(const float *values, size_t n)
{
	double mean = mean_of(values, n), sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += ((double)values[i] - mean) * ((double)values[i] - mean);
	return sum;
}

/* A power of two changes exponents alone: products and quotients are exact. */
static void round_step(float *values, size_t n)
{
	double deviation = sqrt(spread_of(values, n) / (double)n);
	double step;

	if (!(deviation > 0) || !isfinite(deviation))
		return;
	step = ldexp(1, ilogb(deviation) - 6);
	for (size_t i = 0; i < n; i++)
		values[i] = (float)(rint((double)values[i] / step) * step);
}

void rounding_apply(enum rounding r, float *values, size_t channels, size_t n)
{
	switch (r) {
	case ROUNDING_NONE:
		return;
	case ROUNDING_BF16:
		round_mantissa(values, channels * n, 7);
		return;
	case ROUNDING_6BIT:
		round_mantissa(values, channels * n, 6);
		return;
	case ROUNDING_STEP:
		for (size_t c = 0; c < channels; c++)
			round_step(values + c * n, n);
	}
}

double rounding_snr_db(const float *exact, const float *rounded, size_t channels, size_t n)
{
	double signal = 0, noise = 0;

	for (size_t c = 0; c < channels; c++)
		signal += spread_of(exact + c * n, n);
	for (size_t i = 0; i < channels * n; i++)
		noise += ((double)exact[i] - (double)rounded[i]) *
			 ((double)exact[i] - (double)rounded[i]);
	return 10 * log10(signal / noise);
}
