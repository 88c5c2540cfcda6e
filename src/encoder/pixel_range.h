/*
 * From stored pixels to what a VAE takes: [0, 255] to [-1, 1] in float32, with the roundings of
 * diffusers' VaeImageProcessor (x / 255 rounded to float32, then 2x - 1). And back as it does: x / 2 + 0.5 in
 * [0, 1], times 255, rounded to the nearest, ties to even.
 */
#ifndef LATENTD_ENCODER_PIXEL_RANGE_H
#define LATENTD_ENCODER_PIXEL_RANGE_H

#include <stddef.h>
#include <stdint.h>

void pixel_range_signed(float *out, const uint8_t *in, size_t n);
void pixel_range_stored(uint8_t *out, const float *in, size_t n);

#endif
