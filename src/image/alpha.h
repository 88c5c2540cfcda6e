/*
 * Alpha compositing over an opaque background, with the rounding of Pillow's Image.alpha_composite; or alpha alone.
 */
#ifndef LATENTD_IMAGE_ALPHA_H
#define LATENTD_IMAGE_ALPHA_H

#include <stddef.h>
#include <stdint.h>

/* @rgb: [pixels][3], changed in place; @alpha: [pixels], 255 is opaque; not premultiplied. */
void alpha_over(uint8_t *rgb, const uint8_t *alpha, size_t pixels, const uint8_t background[3]);
/* What ALPHA_ALONE (decode.h) says; @alpha NULL: there is none. */
void alpha_alone(uint8_t *rgb, const uint8_t *alpha, size_t pixels);

#endif
