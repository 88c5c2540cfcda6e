#include "encoder/pixel_range.h"

void pixel_range_signed(float *out, const uint8_t *in, size_t n)
{
	float table[256];

	for (size_t i = 0; i < 256; i++)
		table[i] = 2.0f * ((float)i / 255.0f) - 1.0f;
	for (size_t i = 0; i < n; i++)
		out[i] = table[in[i]];
}
