/*
 * From stored pixels to what a VAE takes: [0, 255] to [-1, 1] in float32, with the roundings of
 * diffusers' VaeImageProcessor (x / 255 rounded to float32, then 2x - 1).
 */
#ifndef LATENTD_ENCODER_PIXEL_RANGE_H
#define LATENTD_ENCODER_PIXEL_RANGE_H

#include <stddef.h>
#include <stdint.h>

void pixel_range_signed(float *out, const uint8_t *in, size_t n);

#endif
