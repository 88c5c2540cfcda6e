/*
 * Decoded pixels: 8-bit sRGB, three bytes a pixel, rows from top to bottom without gaps.
 */
#ifndef LATENTD_IMAGE_IMAGE_H
#define LATENTD_IMAGE_IMAGE_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct image {
	size_t width, height;
	uint8_t *pixels; /* [height][width][3] */
};

#define IMAGE_INIT                                                                                 \
	{                                                                                          \
		0, 0, NULL                                                                         \
	}

/* Uninitialised pixels. ERR_NOMEM, or ERR_DATA `too_large` when the size overflows. */
int image_alloc(struct image *image, size_t width, size_t height, struct error *err);
void image_release(struct image *image);
size_t image_bytes(const struct image *image);
/* Left to right, in place. */
void image_mirror(struct image *image);

#define cleanup_image cleanup_with(image_release)

#endif
