/*
 * An array with dtype and shape, C order, that owns its memory: latents, moments, weights.
 *
 *	cleanup_ndarray struct ndarray a = NDARRAY_INIT;
 *	size_t shape[] = {8, 64, 64};
 *	if (ndarray_alloc(&a, DTYPE_F32, 3, shape, err) < 0)
 *		return -1;
 *
 * Sizes are checked once, here: `bytes` is exactly product(shape) * dtype_size(dtype).
 */
#ifndef LATENTD_BASE_NDARRAY_H
#define LATENTD_BASE_NDARRAY_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NDARRAY_MAX_DIMS 6

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_U8, DTYPE_I64, DTYPE_F64 };

struct ndarray {
	enum dtype dtype;
	size_t ndim;
	size_t shape[NDARRAY_MAX_DIMS];
	size_t bytes;
	void *data; /* aligned to 64 bytes */
};

#define NDARRAY_INIT                                                                               \
	{                                                                                          \
		DTYPE_F32, 0, {0}, 0, NULL                                                         \
	}

size_t dtype_size(enum dtype dtype);
/* "float32", "float16", "bfloat16", "uint8", "int64", "float64" */
const char *dtype_name(enum dtype dtype);

/* product(shape) * size into *bytes; false if it does not fit a size_t. */
bool ndarray_bytes(enum dtype dtype, size_t ndim, const size_t *shape, size_t *bytes);

/* Uninitialised contents. ERR_NOMEM, or ERR_DATA `too_large` when the sizes overflow. */
int ndarray_alloc(struct ndarray *a, enum dtype dtype, size_t ndim, const size_t *shape,
		  struct error *err);
void ndarray_release(struct ndarray *a);
size_t ndarray_count(const struct ndarray *a);
bool ndarray_same_shape(const struct ndarray *a, const struct ndarray *b);

/* "[4, 64, 64]" into @out; for messages. */
void ndarray_shape_text(size_t ndim, const size_t *shape, char *out, size_t size);

/*
 * NumPy's .npy format 1.0, C order, little-endian: dtypes float32, float16, float64, uint8, int64
 * (numpy has no bfloat16). The header is padded so that the data starts at a multiple of 64 (128 for our shapes).
 * npy_write appends to @out. npy_read accepts what npy_write makes and what numpy.save makes of such
 * arrays; everything else is ERR_DATA `npy`.
 */
void npy_write(struct buffer *out, const struct ndarray *a);
int npy_read(const uint8_t *bytes, size_t size, struct ndarray *out, struct error *err);

#define cleanup_ndarray cleanup_with(ndarray_release)

#endif
