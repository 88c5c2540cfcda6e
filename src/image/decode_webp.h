/*
 * WebP by libwebp; of an animation the first frame on its canvas, as Pillow gives it. For
 * decode.c only: the caller has seen the signature and checks the limits between the two calls.
 */
#ifndef LATENTD_IMAGE_DECODE_WEBP_H
#define LATENTD_IMAGE_DECODE_WEBP_H

#include "image/decode.h"
#include "image/pixel_sink.h"

/* Size, orientation, and what the decoder needs beside the pixels. */
int decode_webp_header(const uint8_t *bytes, size_t size, struct image_header *header,
		       struct error *err);
/* The pixels as stored. */
int decode_webp_rows(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		     struct pixel_sink *sink, struct error *err);

#endif
