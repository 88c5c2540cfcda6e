/*
 * Turns stored pixels upright, as ImageOps.exif_transpose does.
 */
#ifndef LATENTD_IMAGE_ORIENTATION_H
#define LATENTD_IMAGE_ORIENTATION_H

#include "image/image.h"

#include <stdbool.h>

/* 5 to 8 exchange width and height. */
bool orientation_swaps(unsigned orientation);

/* Where @box (left, top, right, bottom) of a stored @width x @height picture lies in the upright one. */
void orientation_turn_box(double box[4], unsigned orientation, size_t width, size_t height);

/* Rows that are worth collecting before they are placed: a turned row is a column. */
#define ORIENTATION_BAND 64

/* Puts stored rows @first to @first + @count, as @rows [count][stored width][3], where they belong. */
void orientation_place(struct image *upright, unsigned orientation, const uint8_t *rows,
		       size_t first, size_t count);

/*
 * @orientation: the EXIF value, 1 to 8. Replaces the pixels (1: leaves them); needs room for a
 * second copy meanwhile. ERR_NOMEM leaves the image as it was.
 */
int orientation_apply(struct image *image, unsigned orientation, struct error *err);

#endif
