/*
 * An array as planes of bytes: first all lowest bytes of its elements, last all highest, which compress better apart. It is
 * a .npy of bytes: dtype |u1, shape [C, H, W, item size], Fortran order, so
 * numpy.ascontiguousarray(a).view("<f2")[..., 0] is the array again.
 */
#ifndef LATENTD_BASE_BYTE_PLANES_H
#define LATENTD_BASE_BYTE_PLANES_H

#include "base/ndarray.h"

/* Appends one zstd frame of that .npy, whose blocks end where a plane ends. ERR_BUG: not of three dimensions. */
int planes_compress(struct buffer *out, const struct ndarray *a, struct error *err);
/* And back, from the opened .npy of an array of this dtype and shape. ERR_DATA `npy`: it is another. */
int planes_read(const uint8_t *npy, size_t size, enum dtype dtype, const size_t shape[3],
		struct ndarray *out, struct error *err);

#endif
