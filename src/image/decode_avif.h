/*
 * AVIF by libavif, in builds that have it: one thread, no files, of a sequence the first frame. The
 * orientation is that of irot and imir; EXIF does not turn an AVIF. For
 * decode.c only: the caller has seen the signature and checks the limits between the two calls.
 */
#ifndef LATENTD_IMAGE_DECODE_AVIF_H
#define LATENTD_IMAGE_DECODE_AVIF_H

#include "image/decode.h"
#include "image/pixel_sink.h"

/* Size, orientation, and what the decoder needs beside the pixels. */
int decode_avif_header(const uint8_t *bytes, size_t size, struct image_header *header,
		       struct error *err);
/* The pixels as stored. */
int decode_avif_rows(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		     struct pixel_sink *sink, struct error *err);

#endif
