/*
 * Samples of a file's colour space to 8-bit sRGB, a row at a time: through the embedded ICC profile
 * (lcms2, relative colorimetric, black point compensation), or without one as Pillow's
 * convert("RGB") does.
 */
#ifndef LATENTD_IMAGE_COLOR_H
#define LATENTD_IMAGE_COLOR_H

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

/* Samples are 8 bits; CMYK counts ink: 255 is full. */
enum color_space { COLOR_SPACE_GREY, COLOR_SPACE_RGB, COLOR_SPACE_CMYK };

/* Profiles over this size are not looked at: the largest in use, for print, have 4 MiB. */
#define COLOR_PROFILE_MAX (16u << 20)

/*
 * What lcms takes to make a converter of a profile of @size bytes, which is not counted itself, and what
 * the converter keeps; 0 for none and for one that is not looked at.
 */
size_t color_profile_bytes(size_t size);

/* Does not change once it is made; any number of threads may use it. */
struct color_converter;

/* Samples a pixel: 1, 3, 4. */
size_t color_space_samples(enum color_space space);

/*
 * @profile may be NULL. A profile that is damaged, that is not for @space or that lcms cannot use
 * is ignored, as if there were none. Never NULL; free with color_converter_free (NULL is fine). The
 * one made last stays in memory (some hundred KiB, of CMYK a few MiB) for the next who asks for it.
 * The first profile of a process makes the C library read the time zone: a process that may not open
 * files calls tzset() before.
 */
struct color_converter *color_converter_new(enum color_space space, const uint8_t *profile,
					    size_t size);
void color_converter_free(struct color_converter *c);

/* @in: [pixels][samples] to @out: [pixels][3]. For RGB the two may be the same memory. */
void color_convert(const struct color_converter *c, const uint8_t *in, uint8_t *out, size_t pixels);

static inline void color_converter_free_p(struct color_converter **c)
{
	color_converter_free(*c);
}

#define cleanup_color_converter cleanup_with(color_converter_free_p)

#endif
