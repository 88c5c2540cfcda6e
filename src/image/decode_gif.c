/*
 * giflib is asked for one record after the other, up to the first image, and for one row after the
 * other of that: its DGifSlurp would first read every frame of an animation into memory.
 *
 * What Pillow gives for frame 0, found by asking it:
 *	- the canvas is the screen, made larger where the frame leaves it;
 *	- what the frame leaves open is the transparent colour, or else colour 0 (not the background
 *	  colour of the screen);
 *	- colours beyond the palette are black; without any palette, or with one that is the grey ramp,
 *	  an index is a grey.
 */
#include "image/decode_gif.h"

#include "base/checked.h"
#include "image/row_finish.h"

#include <string.h>

#include <gif_lib.h>

#define GRAPHICS_CONTROL_SIZE 4 /* flags, delay (2), transparent colour */
#define COLORS		      256

struct gif_reader {
	GifFileType *gif;
	const uint8_t *bytes;
	size_t size, at;
	bool past_end;
	struct error *err;

	int transparent; /* index; -1: none */
	size_t left, top, frame_width, frame_height;
	size_t width, height; /* of the canvas */
	uint8_t palette[COLORS][4];
	uint8_t *indexes; /* [canvas width + frame rows held at a time * frame width] */
	uint8_t *colors;  /* [width][samples] */
	size_t samples;	  /* a pixel: 3, with a transparent colour 4 */
	struct row_finish finish;
};

static void gif_reader_free(struct gif_reader *r)
{
	if (r->gif)
		DGifCloseFile(r->gif, NULL);
	row_finish_release(&r->finish);
	free(r->indexes);
	free(r->colors);
	free(r);
}

static void gif_reader_free_p(struct gif_reader **r)
{
	gif_reader_free(*r);
}

#define cleanup_gif_reader cleanup_with(gif_reader_free_p)

/*
 * Behind the last byte comes a zero, once more for each time it is asked for: the empty block that
 * ends a picture. A file that lacks only this has all its pixels; one that ends before them is found
 * out by @past_end.
 */
static int on_read(GifFileType *gif, GifByteType *out, int wanted)
{
	struct gif_reader *r = gif->UserData;
	size_t n = (size_t)wanted;

	if (n > r->size - r->at) {
		r->past_end = true;
		n = r->size - r->at;
		if (wanted == 1) {
			*out = 0;
			return 1;
		}
	}
	memcpy(out, r->bytes + r->at, n);
	r->at += n;
	return (int)n;
}

static int gif_failed(const struct gif_reader *r, int code)
{
	const char *text = GifErrorString(code);

	if (code == D_GIF_ERR_NOT_ENOUGH_MEM)
		return error_set(r->err, ERR_NOMEM, "GIF: no memory for the decoder");
	if (r->past_end)
		return error_data(r->err, "truncated", "GIF ends at byte %zu, inside its picture",
				  r->size);
	return error_data(r->err, "corrupt", "GIF: %s", text ? text : "damaged");
}

/* As Pillow: the last extension that names a transparent colour counts. */
static void take_extension(struct gif_reader *r, int code, const GifByteType *block)
{
	if (code == GRAPHICS_EXT_FUNC_CODE && block[0] >= GRAPHICS_CONTROL_SIZE && (block[1] & 1))
		r->transparent = block[4];
}

static int read_extension(struct gif_reader *r)
{
	GifByteType *block = NULL;
	int code = 0;

	if (DGifGetExtension(r->gif, &code, &block) == GIF_ERROR)
		return gif_failed(r, r->gif->Error);
	if (block)
		take_extension(r, code, block);
	while (block)
		if (DGifGetExtensionNext(r->gif, &block) == GIF_ERROR)
			return gif_failed(r, r->gif->Error);
	return 0;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static int read_image_record(struct gif_reader *r)
{
	const GifImageDesc *image = &r->gif->Image;

	if (DGifGetImageDesc(r->gif) == GIF_ERROR || r->past_end)
		return gif_failed(r, r->gif->Error);
	if (image->Width <= 0 || image->Height <= 0 || image->Left < 0 || image->Top < 0)
		return error_data(r->err, "corrupt", "GIF: the first frame is empty");
	r->left = (size_t)image->Left;
	r->top = (size_t)image->Top;
	r->frame_width = (size_t)image->Width;
	r->frame_height = (size_t)image->Height;
	r->width = larger((size_t)r->gif->SWidth, r->left + r->frame_width);
	r->height = larger((size_t)r->gif->SHeight, r->top + r->frame_height);
	return 0;
}

/* Up to the pixels of the first frame. The caller frees @r, whatever is returned. */
static int gif_reader_open(struct gif_reader *r, const uint8_t *bytes, size_t size,
			   struct error *err)
{
	int code = 0;

	r->bytes = bytes;
	r->size = size;
	r->err = err;
	r->transparent = -1;
	r->gif = DGifOpen(r, on_read, &code);
	if (!r->gif)
		return gif_failed(r, code);
	for (;;) {
		GifRecordType type = UNDEFINED_RECORD_TYPE;

		if (DGifGetRecordType(r->gif, &type) == GIF_ERROR)
			return gif_failed(r, r->gif->Error);
		if (type == IMAGE_DESC_RECORD_TYPE)
			return read_image_record(r);
		if (type != EXTENSION_RECORD_TYPE)
			return error_data(err, "corrupt", "GIF: there is no picture in it");
		if (read_extension(r) < 0)
			return -1;
	}
}

/* Beside the pixels: what giflib has, some rows, and the whole frame when it is interlaced. */
int decode_gif_header(const uint8_t *bytes, size_t size, struct image_header *header,
		      struct error *err)
{
	cleanup_gif_reader struct gif_reader *r = xcalloc(1, sizeof(*r));

	if (gif_reader_open(r, bytes, size, err) < 0)
		return -1;
	*header = (struct image_header){
	    .format = IMAGE_GIF,
	    .width = r->width,
	    .height = r->height,
	    .orientation = 1,
	    .decode_bytes = r->frame_width * (r->gif->Image.Interlace ? r->frame_height : 1) +
			    16 * r->width + (1u << 20),
	};
	return 0;
}

static bool is_grey_ramp(const ColorMapObject *map)
{
	for (int i = 0; i < map->ColorCount; i++)
		if (map->Colors[i].Red != i || map->Colors[i].Green != i ||
		    map->Colors[i].Blue != i)
			return false;
	return true;
}

static void set_palette(struct gif_reader *r)
{
	const ColorMapObject *map =
	    r->gif->Image.ColorMap ? r->gif->Image.ColorMap : r->gif->SColorMap;
	bool ramp = !map || is_grey_ramp(map);

	for (int i = 0; i < COLORS; i++) {
		uint8_t *out = r->palette[i];

		memset(out, ramp ? i : 0, 3);
		out[3] = i == r->transparent ? 0 : 255;
		if (ramp || i >= map->ColorCount)
			continue;
		out[0] = map->Colors[i].Red;
		out[1] = map->Colors[i].Green;
		out[2] = map->Colors[i].Blue;
	}
}

static int gif_reader_prepare(struct gif_reader *r, const struct image_policy *policy,
			      struct pixel_sink *sink)
{
	size_t rows = r->gif->Image.Interlace ? r->frame_height : 1;

	set_palette(r);
	r->indexes = malloc(r->width + rows * r->frame_width);
	r->samples = r->transparent < 0 ? 3 : 4;
	r->colors = malloc(r->width * r->samples);
	if (!r->indexes || !r->colors)
		return error_set(r->err, ERR_NOMEM, "no memory for %zu x %zu pixels", r->width,
				 r->height);
	memset(r->indexes, r->transparent < 0 ? 0 : r->transparent, r->width);
	return row_finish_init(&r->finish, sink, policy, COLOR_SPACE_RGB, r->samples == 4, NULL, 0,
			       r->err);
}

static int read_frame_row(struct gif_reader *r, uint8_t *out)
{
	if (DGifGetLine(r->gif, out, (int)r->frame_width) == GIF_ERROR)
		return gif_failed(r, r->gif->Error);
	return 0;
}

/* Rows come in four passes. */
static int read_interlaced(struct gif_reader *r, uint8_t *frame)
{
	static const size_t starts[] = {0, 4, 2, 1}, steps[] = {8, 8, 4, 2};

	for (size_t pass = 0; pass < ARRAY_SIZE(starts); pass++)
		for (size_t y = starts[pass]; y < r->frame_height; y += steps[pass])
			if (read_frame_row(r, frame + y * r->frame_width) < 0)
				return -1;
	return 0;
}

static void put_row(struct gif_reader *r, size_t y, const uint8_t *indexes)
{
	for (size_t x = 0; x < r->width; x++)
		memcpy(r->colors + x * r->samples, r->palette[indexes[x]], r->samples);
	row_finish_put(&r->finish, y, r->colors);
}

/*
 * One row of the canvas has the open colour at both sides of the frame; above and below, the whole
 * row has it, so a frame's rows are put into a row that is open before and after.
 */
static int decode_canvas(struct gif_reader *r)
{
	uint8_t *canvas_row = r->indexes, *frame = r->indexes + r->width;
	int open = r->transparent < 0 ? 0 : r->transparent;
	bool interlaced = r->gif->Image.Interlace;
	size_t end = r->top + r->frame_height;

	if (interlaced && read_interlaced(r, frame) < 0)
		return -1;
	for (size_t y = 0; y < r->top; y++)
		put_row(r, y, canvas_row);
	for (size_t y = r->top; y < end; y++) {
		if (!interlaced && read_frame_row(r, frame) < 0)
			return -1;
		memcpy(canvas_row + r->left,
		       frame + (interlaced ? (y - r->top) * r->frame_width : 0), r->frame_width);
		put_row(r, y, canvas_row);
	}
	memset(canvas_row, open, r->width);
	for (size_t y = end; y < r->height; y++)
		put_row(r, y, canvas_row);
	return 0;
}

int decode_gif_rows(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		    struct pixel_sink *sink, struct error *err)
{
	cleanup_gif_reader struct gif_reader *r = xcalloc(1, sizeof(*r));

	if (gif_reader_open(r, bytes, size, err) < 0 || gif_reader_prepare(r, policy, sink) < 0)
		return -1;
	return decode_canvas(r);
}
