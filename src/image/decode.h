/*
 * From the bytes of an image file to upright RGB pixels, the same bytes that Pillow gives.
 *
 *	struct image_header header;
 *	if (image_read_header(bytes, size, &limits, &header, err) < 0)       cheap: no pixels touched
 *		return -1;
 *	image_decode(bytes, size, &limits, &policy, &image, err)
 *
 * (The daemon goes from the bytes to a bucket's pixels at once, and asks how much memory that takes:
 * render.h. image_decode(), which makes the whole picture, is what tests hold that against.)
 *
 * The format is found from the content, never from the name. Limits hold before memory is asked
 * for. All errors are ERR_DATA (or ERR_NOMEM) with one of the reasons:
 *	empty          no bytes at all
 *	unsupported    an image of a kind this build does not read, or no image ("not an image file")
 *	truncated      the file ends before its last row
 *	corrupt        the decoder refuses the contents, or would fill damaged parts with grey
 *	too_large      over a limit of image_limits
 *	bomb           a progressive JPEG of more than 100 scans
 *
 * What is decoded: JPEG by libjpeg-turbo with its defaults (accurate integer DCT, fancy
 * upsampling), PNG by libpng, WebP by libwebp, GIF by giflib, BMP here, AVIF by libavif and JPEG XL
 * by libjxl where the build has them; of a file of several pictures the first, on its canvas. Grey
 * becomes RGB, palettes are expanded, alpha is composited over the background as Pillow's
 * Image.alpha_composite does. Of 16 bits a PNG keeps the high byte, as in Pillow; a JPEG XL is
 * rounded to 8 bits by libjxl. The orientation (`ImageOps.exif_transpose`) comes from EXIF in JPEG
 * APP1, PNG eXIf and WebP, from irot and imir in AVIF, from the codestream in JPEG XL. With
 * COLOR_SRGB an embedded ICC profile is converted to sRGB by lcms2, relative colorimetric with black
 * point compensation; COLOR_IGNORE gives what Pillow gives.
 */
#ifndef LATENTD_IMAGE_DECODE_H
#define LATENTD_IMAGE_DECODE_H

#include "image/image.h"

#include <stdbool.h>

enum image_format {
	IMAGE_JPEG,
	IMAGE_PNG,
	IMAGE_WEBP,
	IMAGE_GIF,
	IMAGE_BMP,
	IMAGE_AVIF, /* where the build has libavif */
	IMAGE_JXL,  /* where the build has libjxl */
};
#define IMAGE_FORMATS 7

struct pixel_sink;

struct image_limits {
	size_t max_file_bytes; /* of the compressed file */
	size_t max_pixels;     /* width * height */
	size_t max_side;
};

#define IMAGE_LIMITS_DEFAULT                                                                       \
	{                                                                                          \
		256u << 20, 200u * 1000 * 1000, 65500                                              \
	}

enum image_color { COLOR_SRGB, COLOR_IGNORE };

enum image_alpha {
	ALPHA_OVER, /* the background */
	ALPHA_DROP, /* as if every pixel were opaque: Pillow's convert("RGB") */
	/*
	 * Nothing else: red is the alpha, 255 where the file has none; green is 255 where it has one, 0 where not, in all
	 * pixels alike. Not of a JPEG, whose colours it gives: that never has alpha.
	 */
	ALPHA_ALONE,
};

struct image_policy {
	bool apply_exif;
	enum image_color color;
	enum image_alpha alpha;
	uint8_t background[3]; /* under transparent pixels; white by default */
	bool jpeg_scaling;     /* render.h: shrink in the JPEG decoder first */
};

#define IMAGE_POLICY_DEFAULT                                                                       \
	{                                                                                          \
		true, COLOR_SRGB, ALPHA_OVER, {255, 255, 255}, false                               \
	}

struct image_header {
	enum image_format format;
	size_t width, height; /* as stored, before orientation */
	unsigned orientation; /* as in EXIF, 1 to 8; 1 when absent or nonsense */
	size_t decode_bytes;  /* memory that the decoder needs beside the pixels it hands out */
};

/*
 * No header announces more decode_bytes than this; SIZE_MAX if it overflows. All planes several times over
 * (JPEG XL with alpha: 64 bytes a pixel); rows and columns in flight (a strip of 65,500 x 1 pixels costs
 * libjpeg 32 MiB); tables, and a profile of COLOR_PROFILE_MAX with what lcms makes of it.
 */
size_t image_decode_bytes_max(size_t width, size_t height);

/* "JPEG", "JPEG XL" */
const char *image_format_name(enum image_format format);
/* Whether this build reads it. */
bool image_format_built(enum image_format format);

/*
 * @bytes may be the beginning of a file: `truncated` then says that more of it is needed. (64 KiB are
 * enough for most files, what comes before the size of a JPEG may be megabytes.)
 */
int image_read_header(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		      struct image_header *header, struct error *err);
int image_decode(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		 const struct image_policy *policy, struct image *out, struct error *err);

/*
 * The pixels as stored, not turned, into @sink, which has a size that pixel_sink.h allows. After an
 * error some rows may have been handed out.
 */
int image_decode_rows(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		      const struct image_policy *policy, struct pixel_sink *sink,
		      struct error *err);

/* Width and height after orientation: swapped for 5 to 8. */
void image_oriented_size(const struct image_header *header, size_t *width, size_t *height);

#endif
