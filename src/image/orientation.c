/*
 * Every orientation is a walk through the source with two constant steps: one per output column,
 * one per output row. The walk is done in square tiles, so that a transpose stays in the cache.
 */
#include "image/orientation.h"

#include <assert.h>

#define TILE 32

struct walk {
	const uint8_t *start;  /* source of the output's top left pixel */
	ptrdiff_t column, row; /* bytes to the source of the next output column, row */
};

bool orientation_swaps(unsigned orientation)
{
	return orientation >= 5;
}

/* EXIF names where row 0 and column 0 of the stored picture belong: 6 is "right, top". */
static struct walk walk_for(const struct image *image, unsigned orientation)
{
	/* indexed by orientation - 1: does the walk start at the right edge, at the bottom edge */
	static const bool from_right[8] = {false, true, true, false, false, false, true, true};
	static const bool from_bottom[8] = {false, false, true, true, false, true, true, false};
	bool right = from_right[orientation - 1], bottom = from_bottom[orientation - 1];
	ptrdiff_t pixel = 3, line = (ptrdiff_t)image->width * 3;
	ptrdiff_t x = right ? (ptrdiff_t)image->width - 1 : 0;
	ptrdiff_t y = bottom ? (ptrdiff_t)image->height - 1 : 0;
	ptrdiff_t along_x = right ? -pixel : pixel, along_y = bottom ? -line : line;

	return (struct walk){
	    .start = image->pixels + y * line + x * pixel,
	    .column = orientation_swaps(orientation) ? along_y : along_x,
	    .row = orientation_swaps(orientation) ? along_x : along_y,
	};
}

static void copy_tile(const struct walk *walk, struct image *out, size_t left, size_t top)
{
	size_t right = left + TILE < out->width ? left + TILE : out->width;
	size_t bottom = top + TILE < out->height ? top + TILE : out->height;

	for (size_t y = top; y < bottom; y++) {
		uint8_t *to = out->pixels + (y * out->width + left) * 3;
		ptrdiff_t from = (ptrdiff_t)y * walk->row + (ptrdiff_t)left * walk->column;

		for (size_t x = left; x < right; x++, to += 3, from += walk->column) {
			to[0] = walk->start[from];
			to[1] = walk->start[from + 1];
			to[2] = walk->start[from + 2];
		}
	}
}

int orientation_apply(struct image *image, unsigned orientation, struct error *err)
{
	bool swaps = orientation_swaps(orientation);
	struct image out = IMAGE_INIT;
	struct walk walk;

	assert(orientation >= 1 && orientation <= 8);
	if (orientation == 1)
		return 0;
	if (image_alloc(&out, swaps ? image->height : image->width,
			swaps ? image->width : image->height, err) < 0)
		return -1;
	walk = walk_for(image, orientation);
	for (size_t y = 0; y < out.height; y += TILE)
		for (size_t x = 0; x < out.width; x += TILE)
			copy_tile(&walk, &out, x, y);
	image_release(image);
	*image = out;
	return 0;
}
