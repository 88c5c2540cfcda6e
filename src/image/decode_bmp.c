/*
 * Raw rows lie in the file and are taken from there, the last first. Run lengths fill an image of
 * palette indexes, because they too start at the bottom.
 */
#include "image/decode_bmp.h"

#include "base/checked.h"
#include "image/bmp_header.h"
#include "image/row_finish.h"

#include <string.h>

/* Escapes after a zero; larger numbers are a run of literal pixels. */
#define RLE_END_OF_ROW 0
#define RLE_END	       1
#define RLE_DELTA      2

struct bmp_picture {
	struct bmp_header header;
	const uint8_t *bytes;
	size_t size;
	uint8_t *indexes; /* [height][width], the first row of the file first; NULL if BMP_RAW */
	uint8_t *row;	  /* [width][3 or 4] */
	bool alpha;
};

static void bmp_picture_release(struct bmp_picture *p)
{
	free(p->indexes);
	free(p->row);
}

#define cleanup_bmp_picture cleanup_with(bmp_picture_release)

static int ends_early(const struct bmp_picture *p, struct error *err)
{
	return error_data(err, "truncated", "BMP ends at byte %zu, inside its picture", p->size);
}

/* Beside the pixels: a row, the indexes of run lengths, lcms's copy of a profile. */
int decode_bmp_header(const uint8_t *bytes, size_t size, struct image_header *header,
		      struct error *err)
{
	struct bmp_header h;
	size_t decoder = 0;

	if (bmp_header_read(bytes, size, &h, err) < 0)
		return -1;
	if ((h.coding != BMP_RAW && !size_mul(h.width, h.height, &decoder)) ||
	    !size_add(decoder, h.width * 16 + color_profile_bytes(h.profile_size), &decoder) ||
	    !size_add(decoder, 1u << 20, &decoder))
		return error_data(err, "too_large", "BMP of %zu x %zu pixels", h.width, h.height);
	*header = (struct image_header){
	    .format = IMAGE_BMP,
	    .width = h.width,
	    .height = h.height,
	    .orientation = 1,
	    .decode_bytes = decoder,
	};
	return 0;
}

/* -- run lengths ------------------------------------------------------------------------------- */

/*
 * The rules are those of Pillow's BmpRleDecoder: a run is cut at the end of its row, literal pixels
 * go on into the next one, what a delta or an early end leaves out is colour 0. An end of row that
 * follows another skips a row, which Pillow forgets.
 */
struct rle {
	const struct bmp_picture *p;
	size_t at;    /* in the file */
	size_t total; /* pixels */
	size_t put;   /* of them */
	size_t x;     /* as the runs count; beyond the width after literals that went on */
	bool fresh;   /* nothing yet in this row */
};

static uint8_t rle_index(const struct rle *rle, const uint8_t *data, size_t i)
{
	if (rle->p->header.coding == BMP_RLE8)
		return data[i];
	return i % 2 == 0 ? data[i / 2] >> 4 : data[i / 2] & 15;
}

static void rle_run(struct rle *rle, size_t count, const uint8_t *value)
{
	size_t width = rle->p->header.width, room = rle->x < width ? width - rle->x : 0;
	const uint8_t pair[2] = {value[0], value[0]};

	if (count > room)
		count = room;
	for (size_t i = 0; i < count && rle->put < rle->total; i++)
		rle->p->indexes[rle->put++] =
		    rle->p->header.coding == BMP_RLE8 ? value[0] : rle_index(rle, pair, i % 2);
	rle->x += count;
	rle->fresh = false;
}

static int rle_literals(struct rle *rle, size_t count, struct error *err)
{
	const uint8_t *data = rle->p->bytes + rle->at;
	size_t left = rle->total - rle->put, taken = count < left ? count : left;
	size_t packed = rle->p->header.coding == BMP_RLE8 ? taken : (taken + 1) / 2;

	if (packed > rle->p->size - rle->at)
		return ends_early(rle->p, err);
	for (size_t i = 0; i < taken; i++)
		rle->p->indexes[rle->put++] = rle_index(rle, data, i);
	rle->at += packed;
	/* runs start at even places; the last one needs no filler */
	if (packed % 2 && rle->at < rle->p->size)
		rle->at++;
	rle->x += count;
	rle->fresh = false;
	return 0;
}

static void rle_skip(struct rle *rle, size_t pixels)
{
	size_t left = rle->total - rle->put;

	rle->put += pixels < left ? pixels : left;
}

static void rle_end_row(struct rle *rle)
{
	size_t width = rle->p->header.width, in_row = rle->put % width;

	if (in_row != 0)
		rle_skip(rle, width - in_row);
	else if (rle->fresh)
		rle_skip(rle, width);
	rle->x = 0;
	rle->fresh = true;
}

static int rle_delta(struct rle *rle, struct error *err)
{
	size_t width = rle->p->header.width, right, rows;

	if (rle->p->size - rle->at < 2)
		return ends_early(rle->p, err);
	right = rle->p->bytes[rle->at];
	rows = rle->p->bytes[rle->at + 1];
	rle->at += 2;
	rle_skip(rle, right + rows * width);
	rle->x = rle->put % width;
	rle->fresh = rle->fresh && right == 0;
	return 0;
}

/* 0; 1 at the end of the picture. */
static int rle_step(struct rle *rle, struct error *err)
{
	const uint8_t *pair = rle->p->bytes + rle->at;

	if (rle->p->size - rle->at < 2)
		return ends_early(rle->p, err);
	rle->at += 2;
	if (pair[0] > 0) {
		rle_run(rle, pair[0], pair + 1);
		return 0;
	}
	switch (pair[1]) {
	case RLE_END_OF_ROW:
		rle_end_row(rle);
		return 0;
	case RLE_END:
		return 1;
	case RLE_DELTA:
		return rle_delta(rle, err);
	default:
		return rle_literals(rle, pair[1], err);
	}
}

static int read_run_lengths(struct bmp_picture *p, struct error *err)
{
	struct rle rle = {.p = p, .at = p->header.pixels, .fresh = true};
	int step = 0;

	if (size_mul(p->header.width, p->header.height, &rle.total))
		p->indexes = calloc(rle.total, 1);
	if (!p->indexes)
		return error_set(err, ERR_NOMEM, "no memory for %zu x %zu pixels", p->header.width,
				 p->header.height);
	while (step == 0 && rle.put < rle.total)
		step = rle_step(&rle, err);
	return step < 0 ? -1 : 0;
}

/* -- rows ---------------------------------------------------------------------------------------- */

/* The value as 8 bits, rounded down, as Pillow unpacks 5 and 6 bits. */
static uint8_t channel_value(const struct bmp_channel *c, uint32_t pixel)
{
	uint32_t value = (pixel >> c->shift) & c->max;

	if (c->max == 255 || c->max == 0)
		return (uint8_t)value;
	return (uint8_t)((uint64_t)value * 255 / c->max);
}

static void unpack_colors(const struct bmp_picture *p, const uint8_t *in)
{
	const struct bmp_header *h = &p->header;
	size_t bytes = h->bits / 8, samples = p->alpha ? 4 : 3;
	uint8_t *out = p->row;

	for (size_t x = 0; x < h->width; x++, in += bytes) {
		uint32_t pixel = 0;

		for (size_t i = 0; i < bytes; i++)
			pixel |= (uint32_t)in[i] << (8 * i);
		for (size_t c = 0; c < samples; c++)
			*out++ = channel_value(&h->channels[c], pixel);
	}
}

/* Of @bits each, the first in the high bits. */
static void unpack_indexes(const struct bmp_picture *p, const uint8_t *in, unsigned bits)
{
	unsigned per_byte = 8 / bits, mask = (1u << bits) - 1;

	for (size_t x = 0; x < p->header.width; x++) {
		unsigned shift = 8 - bits * (unsigned)(x % per_byte + 1);

		memcpy(p->row + x * 3, p->header.palette[(in[x / per_byte] >> shift) & mask], 3);
	}
}

static void put_rows(struct bmp_picture *p, struct row_finish *finish)
{
	const struct bmp_header *h = &p->header;

	for (size_t y = 0; y < h->height; y++) {
		size_t at = h->top_down ? y : h->height - 1 - y;
		const uint8_t *in =
		    p->indexes ? p->indexes + at * h->width : p->bytes + h->pixels + at * h->stride;

		if (h->bits <= 8)
			unpack_indexes(p, in, p->indexes ? 8 : h->bits);
		else
			unpack_colors(p, in);
		row_finish_put(finish, y, p->row);
	}
}

/* The last row of the file needs no filler. */
static bool rows_are_there(const struct bmp_picture *p)
{
	const struct bmp_header *h = &p->header;
	size_t bytes, last = (h->width * h->bits + 7) / 8;

	return size_mul(h->stride, h->height - 1, &bytes) && size_add(bytes, last, &bytes) &&
	       h->pixels <= p->size && bytes <= p->size - h->pixels;
}

int decode_bmp_rows(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		    struct pixel_sink *sink, struct error *err)
{
	cleanup_row_finish struct row_finish finish = ROW_FINISH_INIT;
	cleanup_bmp_picture struct bmp_picture p = {.bytes = bytes, .size = size};

	if (bmp_header_read(bytes, size, &p.header, err) < 0)
		return -1;
	p.alpha = p.header.bits > 8 && p.header.channels[3].max > 0;
	if (p.header.coding == BMP_RAW ? !rows_are_there(&p) : p.header.pixels > size)
		return ends_early(&p, err);
	if (p.header.coding != BMP_RAW && read_run_lengths(&p, err) < 0)
		return -1;
	p.row = malloc(p.header.width * 4);
	if (!p.row)
		return error_set(err, ERR_NOMEM, "no memory for %zu pixels", p.header.width);
	if (row_finish_init(&finish, sink, policy, COLOR_SPACE_RGB, p.alpha, p.header.profile,
			    p.header.profile_size, err) < 0)
		return -1;
	put_rows(&p, &finish);
	return 0;
}
