/*
 * make_jpegs WIDTH HEIGHT <RGB: writes, into the current folder, JPEGs of kinds that Pillow does not
 * write, with libjpeg-turbo's compressor.
 *
 *	cc -o make_jpegs make_jpegs.c -ljpeg
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

struct kind {
	const char *name;
	J_COLOR_SPACE from, to;
	int factors[4][2]; /* horizontal, vertical; 0: libjpeg's */
	int adobe;	   /* 1: with the marker, -1: without, 0: libjpeg's */
	int progressive, arithmetic, restart, quality;
};

static const struct kind kinds[] = {
    {"s444.jpg", JCS_RGB, JCS_YCbCr, {{1, 1}, {1, 1}, {1, 1}}, 0, 0, 0, 0, 80},
    {"s422.jpg", JCS_RGB, JCS_YCbCr, {{2, 1}, {1, 1}, {1, 1}}, 0, 0, 0, 0, 80},
    {"s420.jpg", JCS_RGB, JCS_YCbCr, {{2, 2}, {1, 1}, {1, 1}}, 0, 0, 0, 0, 80},
    {"s440.jpg", JCS_RGB, JCS_YCbCr, {{1, 2}, {1, 1}, {1, 1}}, 0, 0, 0, 0, 80},
    {"s411.jpg", JCS_RGB, JCS_YCbCr, {{4, 1}, {1, 1}, {1, 1}}, 0, 0, 0, 0, 80},
    {"s410.jpg", JCS_RGB, JCS_YCbCr, {{4, 2}, {1, 1}, {1, 1}}, 0, 0, 0, 0, 80},
    {"s441.jpg", JCS_RGB, JCS_YCbCr, {{1, 4}, {1, 1}, {1, 1}}, 0, 0, 0, 0, 80},
    {"s_3x1.jpg", JCS_RGB, JCS_YCbCr, {{3, 1}, {1, 1}, {1, 1}}, 0, 0, 0, 0, 80},
    {"s_uneven.jpg", JCS_RGB, JCS_YCbCr, {{2, 2}, {1, 2}, {2, 1}}, 0, 0, 0, 0, 80},
    {"s_inverse.jpg", JCS_RGB, JCS_YCbCr, {{1, 1}, {2, 2}, {2, 2}}, 0, 0, 0, 0, 80},
    {"grey_2x2.jpg", JCS_RGB, JCS_GRAYSCALE, {{2, 2}}, 0, 0, 0, 0, 80},
    {"s420_progressive.jpg", JCS_RGB, JCS_YCbCr, {{2, 2}, {1, 1}, {1, 1}}, 0, 1, 0, 0, 80},
    {"s422_arithmetic.jpg", JCS_RGB, JCS_YCbCr, {{2, 1}, {1, 1}, {1, 1}}, 0, 0, 1, 0, 80},
    {"s420_arithmetic_progressive.jpg",
     JCS_RGB,
     JCS_YCbCr,
     {{2, 2}, {1, 1}, {1, 1}},
     0,
     1,
     1,
     0,
     80},
    {"s420_restart.jpg", JCS_RGB, JCS_YCbCr, {{2, 2}, {1, 1}, {1, 1}}, 0, 0, 0, 3, 80},
    {"s420_q16.jpg", JCS_RGB, JCS_YCbCr, {{2, 2}, {1, 1}, {1, 1}}, 0, 0, 0, 0, 2},
    {"rgb_adobe_420.jpg", JCS_RGB, JCS_RGB, {{2, 2}, {1, 1}, {1, 1}}, 1, 0, 0, 0, 80},
    {"rgb_unmarked.jpg", JCS_RGB, JCS_RGB, {{1, 1}, {1, 1}, {1, 1}}, -1, 0, 0, 0, 80},
    {"cmyk_unmarked.jpg", JCS_CMYK, JCS_CMYK, {{1, 1}, {1, 1}, {1, 1}, {1, 1}}, -1, 0, 0, 0, 60},
    {"cmyk_marked.jpg", JCS_CMYK, JCS_CMYK, {{1, 1}, {1, 1}, {1, 1}, {1, 1}}, 1, 0, 0, 0, 60},
    {"ycck_420.jpg", JCS_CMYK, JCS_YCCK, {{2, 2}, {1, 1}, {1, 1}, {2, 2}}, 1, 0, 0, 0, 60},
    {"ycck_444_progressive.jpg",
     JCS_CMYK,
     JCS_YCCK,
     {{1, 1}, {1, 1}, {1, 1}, {1, 1}},
     1,
     1,
     0,
     0,
     60},
};

/* Ink inverted, as Adobe stores it. */
static void to_cmyk(const unsigned char *rgb, unsigned char *cmyk, size_t n)
{
	for (size_t i = 0; i < n; i++, rgb += 3, cmyk += 4) {
		int white = rgb[0] > rgb[1] ? rgb[0] : rgb[1];

		white = white > rgb[2] ? white : rgb[2];
		for (int c = 0; c < 3; c++)
			cmyk[c] = (unsigned char)(white ? rgb[c] * 255 / white : 255);
		cmyk[3] = (unsigned char)white;
	}
}

static void write_kind(const struct kind *k, const unsigned char *rgb, int width, int height)
{
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;
	int samples = k->from == JCS_CMYK ? 4 : 3;
	unsigned char *row = malloc((size_t)width * 4);
	FILE *f = fopen(k->name, "wb");

	c.err = jpeg_std_error(&errors);
	jpeg_create_compress(&c);
	jpeg_stdio_dest(&c, f);
	c.image_width = (unsigned)width;
	c.image_height = (unsigned)height;
	c.input_components = samples;
	c.in_color_space = k->from;
	jpeg_set_defaults(&c);
	jpeg_set_colorspace(&c, k->to);
	jpeg_set_quality(&c, k->quality, k->quality > 10);
	for (int i = 0; i < c.num_components && k->factors[i][0]; i++) {
		c.comp_info[i].h_samp_factor = k->factors[i][0];
		c.comp_info[i].v_samp_factor = k->factors[i][1];
	}
	c.optimize_coding = !k->arithmetic;
	c.arith_code = k->arithmetic;
	c.restart_interval = (unsigned)k->restart;
	if (k->progressive)
		jpeg_simple_progression(&c);
	if (k->adobe)
		c.write_Adobe_marker = k->adobe > 0;
	if (k->adobe < 0)
		c.write_JFIF_header = FALSE;
	jpeg_start_compress(&c, TRUE);
	for (int y = 0; y < height; y++) {
		const unsigned char *from = rgb + (size_t)y * (size_t)width * 3;

		if (samples == 4)
			to_cmyk(from, row, (size_t)width);
		else
			memcpy(row, from, (size_t)width * 3);
		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	fclose(f);
	free(row);
}

int main(int argc, char **argv)
{
	int width = argc > 2 ? atoi(argv[1]) : 0, height = argc > 2 ? atoi(argv[2]) : 0;
	size_t size = (size_t)width * (size_t)height * 3;
	unsigned char *rgb = malloc(size + 1);

	if (size == 0 || fread(rgb, 1, size, stdin) != size) {
		fprintf(stderr, "usage: make_jpegs WIDTH HEIGHT <RGB\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		write_kind(&kinds[i], rgb, width, height);
	free(rgb);
	return 0;
}
