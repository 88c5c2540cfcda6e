/*
 * BMP: palettes of 1 to 8 bits, 16 to 32 bits with or without masks, RLE, headers of Windows and
 * OS/2, as Pillow gives them where it reads them (bmp_header.h). 32 bits without a mask for alpha
 * are opaque. For
 * decode.c only: the caller has seen the signature and checks the limits between the two calls.
 */
#ifndef LATENTD_IMAGE_DECODE_BMP_H
#define LATENTD_IMAGE_DECODE_BMP_H

#include "image/decode.h"
#include "image/pixel_sink.h"

/* Size, orientation, and what the decoder needs beside the pixels. */
int decode_bmp_header(const uint8_t *bytes, size_t size, struct image_header *header,
		      struct error *err);
/* The pixels as stored. */
int decode_bmp_rows(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		    struct pixel_sink *sink, struct error *err);

#endif
