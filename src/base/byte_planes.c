#include "base/byte_planes.h"

#include "base/checked.h"
#include "base/compress.h"

#include <string.h>

/* Planes gain a little from it, plain floats nothing: storage-formats.md 5.2. */
#define COMPRESS_LEVEL_PLANES 3
#define NPY_PREFIX	      10
#define PLANES_MAX	      8

/* As numpy.save writes it. */
static void put_header(struct buffer *out, const size_t shape[3], size_t item)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	buffer_appendf(&text,
		       "{'descr': '|u1', 'fortran_order': True, 'shape': (%zu, %zu, %zu, %zu), }",
		       shape[0], shape[1], shape[2], item);
	while ((NPY_PREFIX + text.size + 1) % 64 != 0)
		buffer_put_u8(&text, ' ');
	buffer_put_u8(&text, '\n');
	buffer_append(out, "\x93NUMPY\x01\x00", 8);
	buffer_put_u16(out, (uint16_t)text.size);
	buffer_append(out, text.data, text.size);
}

/* Fortran order: the first index runs fastest. @planes: [item][W][H][C], @data: [C][H][W][item]. */
static void split(uint8_t *planes, const uint8_t *data, const size_t shape[3], size_t item)
{
	size_t n = shape[0] * shape[1] * shape[2];

	for (size_t c = 0; c < shape[0]; c++) {
		for (size_t h = 0; h < shape[1]; h++) {
			for (size_t w = 0; w < shape[2]; w++) {
				size_t to = (w * shape[1] + h) * shape[0] + c;

				for (size_t b = 0; b < item; b++)
					planes[b * n + to] = *data++;
			}
		}
	}
}

static void join(uint8_t *data, const uint8_t *planes, const size_t shape[3], size_t item)
{
	size_t n = shape[0] * shape[1] * shape[2];

	for (size_t c = 0; c < shape[0]; c++) {
		for (size_t h = 0; h < shape[1]; h++) {
			for (size_t w = 0; w < shape[2]; w++) {
				size_t from = (w * shape[1] + h) * shape[0] + c;

				for (size_t b = 0; b < item; b++)
					*data++ = planes[b * n + from];
			}
		}
	}
}

int planes_compress(struct buffer *out, const struct ndarray *a, struct error *err)
{
	cleanup_buffer struct buffer npy = BUFFER_INIT;
	size_t item = dtype_size(a->dtype), head, ends[PLANES_MAX];

	if (a->ndim != 3)
		return error_set(err, ERR_BUG, "planes of %zu dimensions", a->ndim);
	put_header(&npy, a->shape, item);
	head = npy.size;
	if (buffer_reserve(&npy, a->bytes, err) < 0)
		return -1;
	buffer_append_zeros(&npy, a->bytes);
	split(npy.data + head, a->data, a->shape, item);
	for (size_t b = 0; b < item; b++)
		ends[b] = head + (b + 1) * (a->bytes / item);
	return compress_frame_parts(out, npy.data, ends, item, COMPRESS_LEVEL_PLANES, err);
}

int planes_read(const uint8_t *npy, size_t size, enum dtype dtype, const size_t shape[3],
		struct ndarray *out, struct error *err)
{
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;
	cleanup_buffer struct buffer head = BUFFER_INIT;
	size_t bytes;

	put_header(&head, shape, dtype_size(dtype));
	if (!ndarray_bytes(dtype, 3, shape, &bytes) || size < head.size ||
	    size - head.size != bytes || memcmp(npy, head.data, head.size) != 0)
		return error_data(err, "npy", "not the planes of an array of that shape");
	if (ndarray_alloc(&a, dtype, 3, shape, err) < 0)
		return -1;
	join(a.data, npy + head.size, shape, dtype_size(dtype));
	*out = a;
	a = (struct ndarray)NDARRAY_INIT;
	return 0;
}
