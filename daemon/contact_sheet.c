#include "daemon/contact_sheet.h"

#include "daemon/letters.h"

#include "base/checked.h"
#include "image/resample.h"

#include <string.h>

enum {
	COLUMNS = 4,
	GAP = 8,
	LINE = LETTER_HEIGHT + 3,
	ADVANCE = LETTER_WIDTH + 1,
	CELL_WIDTH = 2 * SHEET_SIDE + 2,
	CELL_HEIGHT = SHEET_SIDE + 4 + SHEET_LINES * LINE,
	PAPER = 24,
	INK = 224,
};

struct contact_sheet {
	struct image image;
	size_t cells;
};

int contact_sheet_new(size_t cells, struct contact_sheet **out, struct error *err)
{
	size_t columns = cells < COLUMNS ? cells : COLUMNS, rows = (cells + COLUMNS - 1) / COLUMNS;
	struct contact_sheet *sheet = xcalloc(1, sizeof(*sheet));

	sheet->cells = cells;
	if (image_alloc(&sheet->image, columns * (CELL_WIDTH + GAP) + GAP,
			rows * (CELL_HEIGHT + GAP) + GAP, err) < 0) {
		free(sheet);
		return -1;
	}
	memset(sheet->image.pixels, PAPER, image_bytes(&sheet->image));
	*out = sheet;
	return 0;
}

void contact_sheet_free(struct contact_sheet *sheet)
{
	if (!sheet)
		return;
	image_release(&sheet->image);
	free(sheet);
}

const struct image *contact_sheet_image(const struct contact_sheet *sheet)
{
	return &sheet->image;
}

static uint8_t *pixel(struct contact_sheet *sheet, size_t cell, size_t x, size_t y)
{
	size_t left = cell % COLUMNS * (CELL_WIDTH + GAP) + GAP;
	size_t top = cell / COLUMNS * (CELL_HEIGHT + GAP) + GAP;

	return sheet->image.pixels + 3 * ((top + y) * sheet->image.width + left + x);
}

int contact_sheet_picture(struct contact_sheet *sheet, size_t cell, size_t place,
			  const struct image *image, struct error *err)
{
	size_t longer = image->width > image->height ? image->width : image->height;
	size_t width = (image->width * SHEET_SIDE + longer / 2) / longer;
	size_t height = (image->height * SHEET_SIDE + longer / 2) / longer;
	cleanup_image struct image small = IMAGE_INIT;
	struct resample_plan plan;

	width = width ? width : 1;
	height = height ? height : 1;
	plan =
	    resample_whole(image, width, height, longer < SHEET_SIDE ? FILTER_NEAREST : FILTER_BOX);
	if (image_alloc(&small, width, height, err) < 0 ||
	    resample(image, &plan, small.pixels, err) < 0)
		return -1;
	for (size_t y = 0; y < height; y++)
		memcpy(pixel(sheet, cell, place * (SHEET_SIDE + 2) + (SHEET_SIDE - width) / 2,
			     (SHEET_SIDE - height) / 2 + y),
		       small.pixels + 3 * y * width, 3 * width);
	return 0;
}

static void draw_letter(struct contact_sheet *sheet, size_t cell, size_t x, size_t y, char c)
{
	const uint8_t *columns = letter_columns(c);

	for (size_t i = 0; i < LETTER_WIDTH; i++)
		for (size_t j = 0; j < LETTER_HEIGHT; j++)
			if (columns[i] >> j & 1)
				memset(pixel(sheet, cell, x + i, y + j), INK, 3);
}

void contact_sheet_text(struct contact_sheet *sheet, size_t cell, size_t line, const char *text)
{
	size_t top = SHEET_SIDE + 4 + line * LINE;

	for (size_t i = 0; text[i] && (i + 1) * ADVANCE <= CELL_WIDTH; i++)
		draw_letter(sheet, cell, i * ADVANCE, top, text[i]);
}
