/*
 * PNG by libpng. For decode.c only: the caller has seen the signature and checks the limits between
 * the two calls.
 */
#ifndef LATENTD_IMAGE_DECODE_PNG_H
#define LATENTD_IMAGE_DECODE_PNG_H

#include "image/decode.h"

/* Size and orientation; decode_bytes is what the decoder needs beside the pixels. */
int decode_png_header(const uint8_t *bytes, size_t size, struct image_header *header,
		      struct error *err);
/* The pixels as stored, not yet turned. */
int decode_png_pixels(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		      struct image *out, struct error *err);

#endif
