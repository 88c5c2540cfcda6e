/*
 * Turns stored pixels upright, as ImageOps.exif_transpose does.
 */
#ifndef LATENTD_IMAGE_ORIENTATION_H
#define LATENTD_IMAGE_ORIENTATION_H

#include "image/image.h"

#include <stdbool.h>

/* 5 to 8 exchange width and height. */
bool orientation_swaps(unsigned orientation);

/*
 * @orientation: the EXIF value, 1 to 8. Replaces the pixels (1: leaves them); needs room for a
 * second copy meanwhile. ERR_NOMEM leaves the image as it was.
 */
int orientation_apply(struct image *image, unsigned orientation, struct error *err);

#endif
