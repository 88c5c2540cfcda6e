/*
 * Pixels to a PNG, to be sent: fast, and a little smaller than what libpng makes at zlib's level 1.
 *
 *	struct png_encoder *encoder = png_encoder_new();	one for each thread, used for many images
 *	png_encode(encoder, pixels, width, height, &out, err)
 *	png_encoder_free(encoder);
 *
 * The file has 8 bits a sample, no alpha, no interlacing, no colour chunks: IHDR, one IDAT, IEND.
 */
#ifndef LATENTD_IMAGE_PNG_ENCODE_H
#define LATENTD_IMAGE_PNG_ENCODE_H

#include "base/buffer.h"

struct png_encoder;

struct png_encoder *png_encoder_new(void);
/* NULL is fine. */
void png_encoder_free(struct png_encoder *encoder);

/* No PNG of this size is larger, in bytes; SIZE_MAX for one that png_encode refuses. */
size_t png_encode_bound(size_t width, size_t height);

/*
 * @out becomes the file of @pixels, [height][width][3] sRGB. While it works the encoder holds another
 * height * (3 * width + 1) bytes; it keeps them for the next image.
 *
 * ERR_DATA `too_large`: not a size that fits one IDAT (2 GiB) or zero. ERR_NOMEM. @out is empty then.
 */
int png_encode(struct png_encoder *encoder, const uint8_t *pixels, size_t width, size_t height,
	       struct buffer *out, struct error *err);

#endif
