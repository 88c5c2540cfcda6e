/*
 * Pixels to a JPEG, to be sent: as Pillow's save(format="JPEG") makes it, quality 75, colours at half of each side.
 */
#ifndef LATENTD_IMAGE_JPEG_ENCODE_H
#define LATENTD_IMAGE_JPEG_ENCODE_H

#include "base/buffer.h"

/* The largest side that the format has. */
#define JPEG_SIDE_MAX 65500

/*
 * @out becomes the file of @pixels, [height][width][3] sRGB. ERR_DATA `too_large`: a side of more than JPEG_SIDE_MAX, or
 * none. ERR_NOMEM. @out is empty then.
 */
int jpeg_encode(const uint8_t *pixels, size_t width, size_t height, struct buffer *out,
		struct error *err);

#endif
