#include "encoder/pixel_range.h"

#include <math.h>

void pixel_range_signed(float *out, const uint8_t *in, size_t n)
{
	float table[256];

	for (size_t i = 0; i < 256; i++)
		table[i] = 2.0f * ((float)i / 255.0f) - 1.0f;
	for (size_t i = 0; i < n; i++)
		out[i] = table[in[i]];
}

void pixel_range_stored(uint8_t *out, const float *in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float x = in[i] * 0.5f + 0.5f;

		x = x > 0 ? x : 0; /* NaN too */
		x = x < 1 ? x : 1;
		out[i] = (uint8_t)rintf(x * 255);
	}
}
