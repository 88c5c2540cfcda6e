#include "image/alpha.h"

/*
 * Pillow (AlphaComposite.c) weighs with 7 extra bits and divides by 255 with rounding as (t + t /
 * 256) / 256. Over an opaque background its weights are alpha * 128 and its rest to 255 * 128.
 */
#define WEIGHT_BITS 7

static uint8_t blend(uint32_t over, uint32_t under, uint32_t alpha)
{
	uint32_t sum = (over * alpha + under * (255 - alpha)) << WEIGHT_BITS;

	sum += 128u << WEIGHT_BITS;
	return (uint8_t)((sum + (sum >> 8)) >> (8 + WEIGHT_BITS));
}

void alpha_over(uint8_t *rgb, const uint8_t *alpha, size_t pixels, const uint8_t background[3])
{
	for (size_t i = 0; i < pixels; i++, rgb += 3) {
		if (alpha[i] == 255)
			continue;
		for (size_t c = 0; c < 3; c++)
			rgb[c] = blend(rgb[c], background[c], alpha[i]);
	}
}

void alpha_alone(uint8_t *rgb, const uint8_t *alpha, size_t pixels)
{
	for (size_t i = 0; i < pixels; i++, rgb += 3) {
		rgb[0] = alpha ? alpha[i] : 255;
		rgb[1] = alpha ? 255 : 0;
		rgb[2] = 0;
	}
}
