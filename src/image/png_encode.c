/*
 * Every row is predicted by Paeth's filter and the whole is compressed by libdeflate at level 1. On photographs that is
 * smaller than libpng's choice among five filters with zlib's level 1, at more than twice its rate (docs/benchmarks.md).
 */
#include "image/png_encode.h"

#include "base/checked.h"

#include <libdeflate.h>
#include <string.h>

#define FILTER_PAETH 4
#define CHUNK_MAX    0x7fffffffu /* RFC 2083, 3.1 */

static const uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
/* Length, name and CRC around a chunk's data. */
#define CHUNK_BYTES 12
#define IHDR_BYTES  13

struct png_encoder {
	struct libdeflate_compressor *compressor;
	struct buffer filtered; /* [height][1 + 3 * width] */
};

struct png_encoder *png_encoder_new(void)
{
	struct png_encoder *e = xcalloc(1, sizeof(*e));

	e->compressor = libdeflate_alloc_compressor(1);
	if (!e->compressor)
		abort();
	return e;
}

void png_encoder_free(struct png_encoder *e)
{
	if (!e)
		return;
	libdeflate_free_compressor(e->compressor);
	buffer_release(&e->filtered);
	free(e);
}

/* -- filtering ------------------------------------------------------------------------------------ */

/* RFC 2083, 6.6, without branches, so that compilers make vectors of it. */
static inline uint8_t paeth(int left, int above, int corner)
{
	int by_left = abs(above - corner), by_above = abs(left - corner);
	int by_corner = abs(left + above - 2 * corner);
	int nearer = by_above <= by_corner ? above : corner;

	return (uint8_t)(by_left <= by_above && by_left <= by_corner ? left : nearer);
}

/* @out: [n]; @above: the row before. */
static void filter_row(uint8_t *restrict out, const uint8_t *restrict row,
		       const uint8_t *restrict above, size_t n)
{
	for (size_t i = 0; i < 3; i++)
		out[i] = (uint8_t)(row[i] - above[i]);
	for (size_t i = 3; i < n; i++)
		out[i] = (uint8_t)(row[i] - paeth(row[i - 3], above[i], above[i - 3]));
}

/* Of the first row, above which there is nothing: the prediction is the pixel on the left. */
static void filter_first_row(uint8_t *restrict out, const uint8_t *restrict row, size_t n)
{
	memcpy(out, row, 3);
	for (size_t i = 3; i < n; i++)
		out[i] = (uint8_t)(row[i] - row[i - 3]);
}

static void filter_all(uint8_t *out, const uint8_t *pixels, size_t width, size_t height)
{
	size_t n = width * 3;

	for (size_t y = 0; y < height; y++) {
		*out++ = FILTER_PAETH;
		if (y == 0)
			filter_first_row(out, pixels, n);
		else
			filter_row(out, pixels, pixels - n, n);
		out += n;
		pixels += n;
	}
}

/* -- chunks --------------------------------------------------------------------------------------- */

static void put_u32be(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* Around @size bytes of data that stand at p + 8; what is behind the chunk. */
static uint8_t *finish_chunk(uint8_t *p, const char *name, size_t size)
{
	put_u32be(p, size);
	memcpy(p + 4, name, 4);
	put_u32be(p + 8 + size, libdeflate_crc32(0, p + 4, size + 4));
	return p + size + CHUNK_BYTES;
}

static uint8_t *put_header(uint8_t *p, size_t width, size_t height)
{
	static const uint8_t rgb8[] = {8, 2, 0, 0, 0}; /* depth, colour, deflate, filters, rows */

	memcpy(p, signature, sizeof(signature));
	p += sizeof(signature);
	put_u32be(p + 8, width);
	put_u32be(p + 12, height);
	memcpy(p + 16, rgb8, sizeof(rgb8));
	return finish_chunk(p, "IHDR", IHDR_BYTES);
}

/* -- interface ------------------------------------------------------------------------------------ */

/* Of the filtered rows; false: not a size for one IDAT. */
static bool filtered_bytes(size_t width, size_t height, size_t *bytes)
{
	size_t row = 0;

	/* Blocks of libdeflate that do not shrink cost less than an eighth. */
	return width > 0 && height > 0 && size_mul(width, 3, &row) && row < CHUNK_MAX &&
	       size_mul(row + 1, height, bytes) && *bytes <= CHUNK_MAX / 9 * 8;
}

size_t png_encode_bound(size_t width, size_t height)
{
	size_t bytes = 0;

	if (!filtered_bytes(width, height, &bytes))
		return SIZE_MAX;
	return sizeof(signature) + 3 * CHUNK_BYTES + IHDR_BYTES +
	       libdeflate_zlib_compress_bound(NULL, bytes);
}

int png_encode(struct png_encoder *e, const uint8_t *pixels, size_t width, size_t height,
	       struct buffer *out, struct error *err)
{
	size_t bytes = 0, bound = png_encode_bound(width, height), packed;
	uint8_t *p;

	buffer_reset(out);
	if (!filtered_bytes(width, height, &bytes))
		return error_data(err, "too_large", "%zux%zu pixels do not fit a PNG of one part",
				  width, height);
	buffer_reset(&e->filtered);
	if (buffer_reserve(&e->filtered, bytes, err) < 0 || buffer_reserve(out, bound, err) < 0)
		return -1;
	filter_all(e->filtered.data, pixels, width, height);
	p = put_header(out->data, width, height);
	packed = libdeflate_zlib_compress(e->compressor, e->filtered.data, bytes, p + 8,
					  (size_t)(out->data + bound - p) - 2 * CHUNK_BYTES);
	if (packed == 0)
		return error_set(err, ERR_BUG, "a PNG of %zux%zu grew over its bound", width,
				 height);
	p = finish_chunk(p, "IDAT", packed);
	p = finish_chunk(p, "IEND", 0);
	out->size = (size_t)(p - out->data);
	out->data[out->size] = '\0';
	return 0;
}
