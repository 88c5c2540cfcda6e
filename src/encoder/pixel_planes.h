/*
 * Pixels [n][3], 0 to 255, as three planes [3][n]: the tensor that a remote encoder is sent.
 *	PIXEL_SIGNED   float16 or float32, -1 to 1, with the roundings of pixel_range_signed() and one more for float16
 *	PIXEL_UNIT     float16 or float32, 0 to 1: x / 255
 *	uint8          as they are; the range is not used
 */
#ifndef LATENTD_ENCODER_PIXEL_PLANES_H
#define LATENTD_ENCODER_PIXEL_PLANES_H

#include "base/ndarray.h"

enum pixel_range { PIXEL_SIGNED, PIXEL_UNIT };

/* @out: 3 * n values of @dtype (DTYPE_F16, DTYPE_F32 or DTYPE_U8), aligned for it. */
void pixel_planes(void *out, enum dtype dtype, enum pixel_range range, const uint8_t *pixels,
		  size_t n);
/* The same without vectors: the definition. */
void pixel_planes_plain(void *out, enum dtype dtype, enum pixel_range range, const uint8_t *pixels,
			size_t n);

#endif
