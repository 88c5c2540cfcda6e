/*
 * IEEE 754 binary16 and bfloat16 <-> float. Rounding is to nearest, ties to even, as numpy and
 * PyTorch round; values beyond the range become infinities, subnormals are kept, NaN stays NaN.
 */
#ifndef LATENTD_BASE_HALF_H
#define LATENTD_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>

uint16_t half_from_float(float f);
float half_to_float(uint16_t h);
uint16_t bfloat16_from_float(float f);
float bfloat16_to_float(uint16_t b);

/* Arrays of @n. Those to 16 bits return how many results are not finite. */
size_t half_from_floats(uint16_t *out, const float *in, size_t n);
size_t bfloat16_from_floats(uint16_t *out, const float *in, size_t n);
void half_to_floats(float *out, const uint16_t *in, size_t n);
void bfloat16_to_floats(float *out, const uint16_t *in, size_t n);

#endif
