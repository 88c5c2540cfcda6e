/*
 * make_pictures DIR [N]: pictures for the demo and for tests that want many images without shipping any.
 *
 * Draws N (24) pictures of different sizes below DIR/scenes and DIR/patterns, each with a caption
 * beside it. Two of three are JPEG, one of those with EXIF orientation 6; the others are PNG of all four
 * kinds: RGB, grey, palette, alpha. The same N gives the same pictures every time.
 */
#include "picture_painters.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>
#include <png.h>

struct picture {
	size_t width, height;
	uint8_t *pixels; /* [height][width][3] */
};

/* Portrait, landscape, square, and wide enough to lose something in every bucket. */
static const size_t sizes[][2] = {
    {480, 640}, {640, 480}, {1600, 1000}, {1024, 1024}, {960, 540},  {720, 1280},
    {800, 600}, {600, 900}, {1200, 500},  {500, 500},	{1280, 853},
};

static uint8_t byte_of(double v)
{
	return (uint8_t)(clamp01(v) * 255 + 0.5);
}

static void picture_paint(struct picture *p, const struct painter *painter,
			  const struct theme *theme, unsigned seed)
{
	double unit = 2.0 / (double)p->height, aspect = (double)p->width / (double)p->height;
	uint8_t *pixel = p->pixels;

	for (size_t row = 0; row < p->height; row++) {
		for (size_t column = 0; column < p->width; column++) {
			struct rgb color =
			    painter->paint(theme, seed, ((double)column + 0.5) * unit - aspect,
					   ((double)row + 0.5) * unit - 1);

			*pixel++ = byte_of(color.r);
			*pixel++ = byte_of(color.g);
			*pixel++ = byte_of(color.b);
		}
	}
}

/* The pixels as a camera held upright stores them: a quarter turn is left to whoever shows them. */
static void picture_turn_for_orientation_6(struct picture *p)
{
	struct picture turned = {p->height, p->width, xmalloc(p->width * p->height * 3)};

	for (size_t y = 0; y < turned.height; y++) {
		for (size_t x = 0; x < turned.width; x++) {
			const uint8_t *from =
			    p->pixels + (x * p->width + turned.height - 1 - y) * 3;
			uint8_t *to = turned.pixels + (y * turned.width + x) * 3;

			to[0] = from[0];
			to[1] = from[1];
			to[2] = from[2];
		}
	}
	free(p->pixels);
	*p = turned;
}

/* EXIF: a little-endian TIFF header and one folder with one entry, Orientation = 6. */
static const uint8_t exif_orientation_6[] = {
    'E',  'x',	'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0, /* the folder is at byte 8 */
    1,	  0,						     /* entries */
    0x12, 0x01, 3,   0,	  1, 0, 0,   0,	  6,  0, 0, 0,	     /* tag 0x0112, SHORT, one, 6 */
    0,	  0,	0,   0,					     /* no further folder */
};

static int write_jpeg(const char *path, const struct picture *p, bool exif)
{
	struct jpeg_compress_struct jpeg;
	struct jpeg_error_mgr errors;
	FILE *file = fopen(path, "wb");

	if (!file)
		return -1;
	jpeg.err = jpeg_std_error(&errors);
	jpeg_create_compress(&jpeg);
	jpeg_stdio_dest(&jpeg, file);
	jpeg.image_width = (JDIMENSION)p->width;
	jpeg.image_height = (JDIMENSION)p->height;
	jpeg.input_components = 3;
	jpeg.in_color_space = JCS_RGB;
	jpeg_set_defaults(&jpeg);
	jpeg_set_quality(&jpeg, 92, TRUE);
	jpeg_start_compress(&jpeg, TRUE);
	if (exif)
		jpeg_write_marker(&jpeg, JPEG_APP0 + 1, exif_orientation_6,
				  sizeof(exif_orientation_6));
	while (jpeg.next_scanline < jpeg.image_height) {
		JSAMPROW row = p->pixels + (size_t)jpeg.next_scanline * p->width * 3;

		jpeg_write_scanlines(&jpeg, &row, 1);
	}
	jpeg_finish_compress(&jpeg);
	jpeg_destroy_compress(&jpeg);
	return fclose(file);
}

/* Six levels a channel, with an ordered dither that keeps gradients smooth. */
static uint8_t palette_level(uint8_t v, size_t x, size_t y)
{
	static const uint8_t bayer[4][4] = {
	    {0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};
	double level = v / 51.0 + (bayer[y % 4][x % 4] + 0.5) / 16.0 - 0.5;

	return (uint8_t)(level < 0 ? 0 : level > 5 ? 5 : level + 0.5);
}

enum png_kind { KIND_RGB, KIND_GREY, KIND_PALETTE, KIND_ALPHA, N_KINDS };

/* One pixel as @kind wants it; the number of bytes. Alpha fades out towards the edges. */
static size_t put_png_pixel(enum png_kind kind, const struct picture *p, size_t x, size_t y,
			    uint8_t *out)
{
	const uint8_t *rgb = p->pixels + (y * p->width + x) * 3;
	double u = 2.0 * (double)x / (double)p->width - 1,
	       v = 2.0 * (double)y / (double)p->height - 1;

	switch (kind) {
	case KIND_GREY:
		out[0] = (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
		return 1;
	case KIND_PALETTE:
		out[0] = (uint8_t)(36 * palette_level(rgb[0], x, y) +
				   6 * palette_level(rgb[1], x, y) + palette_level(rgb[2], x, y));
		return 1;
	case KIND_ALPHA:
		out[3] = byte_of(
		    1 - smoothstep(0.85, 1.05, pow(pow(fabs(u), 4) + pow(fabs(v), 4), 0.25)));
		break;
	default:
		break;
	}
	out[0] = rgb[0];
	out[1] = rgb[1];
	out[2] = rgb[2];
	return kind == KIND_ALPHA ? 4 : 3;
}

static int write_png(const char *path, const struct picture *p, enum png_kind kind)
{
	static const png_uint_32 formats[N_KINDS] = {PNG_FORMAT_RGB, PNG_FORMAT_GRAY,
						     PNG_FORMAT_RGB_COLORMAP, PNG_FORMAT_RGBA};
	png_image png = {.version = PNG_IMAGE_VERSION,
			 .width = (png_uint_32)p->width,
			 .height = (png_uint_32)p->height,
			 .format = formats[kind],
			 .colormap_entries = 216};
	cleanup_free uint8_t *bytes = xmalloc(p->width * p->height * 4);
	uint8_t palette[216][3];
	size_t size = 0;

	for (size_t y = 0; y < p->height; y++)
		for (size_t x = 0; x < p->width; x++)
			size += put_png_pixel(kind, p, x, y, bytes + size);
	for (size_t i = 0; i < 216; i++) {
		palette[i][0] = (uint8_t)(i / 36 * 51);
		palette[i][1] = (uint8_t)(i / 6 % 6 * 51);
		palette[i][2] = (uint8_t)(i % 6 * 51);
	}
	if (png_image_write_to_file(&png, path, 0, bytes, 0, palette))
		return 0;
	fprintf(stderr, "%s: %s\n", path, png.message);
	return -1;
}

static int write_caption(const char *stem, const char *what, const char *how)
{
	cleanup_free char *path = xasprintf("%s.txt", stem);
	FILE *file = fopen(path, "w");

	if (!file)
		return -1;
	fprintf(file, "%s, %s.\n", what, how);
	return fclose(file);
}

/* Picture @i of the series; @stem is its path without extension. */
static int make_picture(const char *stem, unsigned i, const struct painter *painter)
{
	const struct theme *theme = &picture_themes[i / 2 % n_picture_themes];
	const size_t *size = sizes[i % ARRAY_SIZE(sizes)];
	bool jpeg = (i + i / n_picture_painters) % 3 != 2, turned = i == 4;
	cleanup_free char *path = xasprintf("%s.%s", stem, jpeg ? "jpg" : "png");
	struct picture picture = {size[0], size[1], xmalloc(size[0] * size[1] * 3)};
	int r;

	picture_paint(&picture, painter, theme, i);
	if (turned)
		picture_turn_for_orientation_6(&picture);
	r = jpeg ? write_jpeg(path, &picture, turned)
		 : write_png(path, &picture, (enum png_kind)(i / 3 % N_KINDS));
	free(picture.pixels);
	if (r != 0 || write_caption(stem, painter->words, theme->words) != 0) {
		perror(path);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct error err = ERROR_INIT;
	unsigned count = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 24;

	if (argc < 2 || argc > 3 || count == 0 || count > 100000) {
		fprintf(stderr, "usage: make_pictures DIR [N]\n");
		return 2;
	}
	for (unsigned i = 0; i < count; i++) {
		const struct painter *painter = &picture_painters[i % n_picture_painters];
		cleanup_free char *folder = xasprintf("%s/%s", argv[1], painter->folder);
		cleanup_free char *stem = xasprintf("%s/%s-%02u", folder, painter->name, i);

		if (i < n_picture_painters && dir_make(folder, &err) < 0) {
			fprintf(stderr, "make_pictures: %s\n", err.message);
			return 1;
		}
		if (make_picture(stem, i, painter) < 0)
			return 1;
	}
	printf("%u pictures in %s\n", count, argv[1]);
	return 0;
}
