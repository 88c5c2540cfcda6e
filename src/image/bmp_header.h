/*
 * Everything of a BMP but its pixels.
 *
 * Read as Pillow's BmpImagePlugin does where it reads a file: the palette has as many entries as the
 * header says (all, if it says 0) and colours beyond it are black; 16 bits without masks are 5-5-5;
 * 32 bits have alpha only through a mask, or where all four masks are 0 (BGRA). Beyond Pillow: masks
 * of any layout, BI_ALPHABITFIELDS, 2 bits a pixel, the short OS/2 2 header, the profile of V5.
 */
#ifndef LATENTD_IMAGE_BMP_HEADER_H
#define LATENTD_IMAGE_BMP_HEADER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bmp_coding { BMP_RAW, BMP_RLE8, BMP_RLE4 };

/* Where a channel lies in a pixel of 16, 24 or 32 bits; max 0: the channel is absent. */
struct bmp_channel {
	unsigned shift;
	uint32_t max;
};

struct bmp_header {
	size_t width, height;
	bool top_down;
	unsigned bits; /* a pixel: 1, 2, 4, 8, 16, 24, 32 */
	enum bmp_coding coding;
	size_t pixels;			/* offset in the file; may lie behind its end */
	size_t stride;			/* bytes from row to row, of BMP_RAW */
	uint8_t palette[256][3];	/* RGB; up to 8 bits */
	struct bmp_channel channels[4]; /* R, G, B, A; from 16 bits */
	const uint8_t *profile;		/* ICC, into the file; NULL if there is none */
	size_t profile_size;
};

/* @bytes starts with "BM". ERR_DATA `truncated`, `corrupt`, `unsupported`, `too_large`. */
int bmp_header_read(const uint8_t *bytes, size_t size, struct bmp_header *out, struct error *err);

#endif
