/*
 * Every orientation is a walk through the upright picture with two constant steps: one per stored
 * column, one per stored row. Columns are walked a band of rows at a time, which the first cache
 * holds.
 */
#include "image/orientation.h"

#include <assert.h>
#include <string.h>

/* EXIF names where row 0 and column 0 of the stored picture belong: 6 is "right, top". */
struct turn {
	bool swaps;   /* stored columns become rows */
	bool flips_x; /* stored columns run from the far end of their axis */
	bool flips_y; /* stored rows do */
};

static struct turn turn_of(unsigned orientation)
{
	static const struct turn turns[8] = {
	    {false, false, false}, {false, true, false}, {false, true, true}, {false, false, true},
	    {true, false, false},  {true, false, true},	 {true, true, true},  {true, true, false},
	};

	assert(orientation >= 1 && orientation <= 8);
	return turns[orientation - 1];
}

bool orientation_swaps(unsigned orientation)
{
	return turn_of(orientation).swaps;
}

void orientation_turn_box(double box[4], unsigned orientation, size_t width, size_t height)
{
	struct turn turn = turn_of(orientation);
	double w = (double)width, h = (double)height;
	double left = turn.flips_x ? w - box[2] : box[0],
	       right = turn.flips_x ? w - box[0] : box[2];
	double top = turn.flips_y ? h - box[3] : box[1],
	       bottom = turn.flips_y ? h - box[1] : box[3];

	box[0] = turn.swaps ? top : left;
	box[1] = turn.swaps ? left : top;
	box[2] = turn.swaps ? bottom : right;
	box[3] = turn.swaps ? right : bottom;
}

struct walk {
	uint8_t *start;	       /* where the first stored pixel belongs */
	ptrdiff_t column, row; /* bytes from there for the next stored column, row */
};

static struct walk walk_through(const struct image *upright, struct turn turn)
{
	ptrdiff_t pixel = 3, line = (ptrdiff_t)upright->width * 3;
	bool from_right = turn.swaps ? turn.flips_y : turn.flips_x;
	bool from_bottom = turn.swaps ? turn.flips_x : turn.flips_y;
	ptrdiff_t x = from_right ? (ptrdiff_t)upright->width - 1 : 0;
	ptrdiff_t y = from_bottom ? (ptrdiff_t)upright->height - 1 : 0;
	ptrdiff_t along_x = from_right ? -pixel : pixel, along_y = from_bottom ? -line : line;

	return (struct walk){
	    .start = upright->pixels + y * line + x * pixel,
	    .column = turn.swaps ? along_y : along_x,
	    .row = turn.swaps ? along_x : along_y,
	};
}

void orientation_place(struct image *upright, unsigned orientation, const uint8_t *rows,
		       size_t first, size_t count)
{
	struct turn turn = turn_of(orientation);
	struct walk walk = walk_through(upright, turn);
	size_t width = turn.swaps ? upright->height : upright->width;

	for (size_t x = 0; x < width; x++) {
		const uint8_t *from = rows + x * 3;
		uint8_t *to = walk.start + (ptrdiff_t)x * walk.column + (ptrdiff_t)first * walk.row;

		for (size_t y = 0; y < count; y++, from += width * 3, to += walk.row)
			memcpy(to, from, 3);
	}
}

int orientation_apply(struct image *image, unsigned orientation, struct error *err)
{
	bool swaps = orientation_swaps(orientation);
	struct image out = IMAGE_INIT;

	if (orientation == 1)
		return 0;
	if (image_alloc(&out, swaps ? image->height : image->width,
			swaps ? image->width : image->height, err) < 0)
		return -1;
	for (size_t y = 0; y < image->height; y += ORIENTATION_BAND) {
		size_t rows = image->height - y;

		orientation_place(&out, orientation, image->pixels + y * image->width * 3, y,
				  rows < ORIENTATION_BAND ? rows : ORIENTATION_BAND);
	}
	image_release(image);
	*image = out;
	return 0;
}
