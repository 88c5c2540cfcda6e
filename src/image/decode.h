/*
 * From the bytes of an image file to upright RGB pixels, the same bytes that Pillow gives.
 *
 *	struct image_header header;
 *	if (image_read_header(bytes, size, &limits, &header, err) < 0)       cheap: no pixels touched
 *		return -1;
 *	... reserve header.decode_bytes ...
 *	image_decode(bytes, size, &limits, &policy, &image, err)
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
 * upsampling), PNG by libpng; grey becomes RGB, palettes are expanded, alpha is composited over the
 * background as Pillow's Image.alpha_composite does. EXIF orientation comes from JPEG APP1 and PNG
 * eXIf (`ImageOps.exif_transpose`). With COLOR_SRGB an embedded ICC profile is converted to sRGB by
 * lcms2, relative colorimetric with black point compensation; COLOR_IGNORE gives what Pillow gives.
 */
#ifndef LATENTD_IMAGE_DECODE_H
#define LATENTD_IMAGE_DECODE_H

#include "image/image.h"

#include <stdbool.h>

enum image_format { IMAGE_JPEG, IMAGE_PNG };

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

struct image_policy {
	bool apply_exif;
	enum image_color color;
	uint8_t background[3]; /* under transparent pixels; white by default */
};

#define IMAGE_POLICY_DEFAULT                                                                       \
	{                                                                                          \
		true, COLOR_SRGB,                                                                  \
		{                                                                                  \
			255, 255, 255                                                              \
		}                                                                                  \
	}

struct image_header {
	enum image_format format;
	size_t width, height; /* as stored, before orientation */
	unsigned orientation; /* EXIF, 1 to 8; 1 when absent or nonsense */
	size_t decode_bytes;  /* memory that image_decode() needs at its peak, without the file */
};

/* "JPEG", "PNG" */
const char *image_format_name(enum image_format format);

int image_read_header(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		      struct image_header *header, struct error *err);
int image_decode(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		 const struct image_policy *policy, struct image *out, struct error *err);

/* Width and height after orientation: swapped for 5 to 8. */
void image_oriented_size(const struct image_header *header, size_t *width, size_t *height);

#endif
