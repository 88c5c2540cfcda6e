/*
 * The last step of every decoder: a row of 8-bit samples as the file has them becomes a row of sRGB
 * in the sink. Colour is converted first, alpha is composited then, so that the background is
 * always sRGB.
 *
 *	if (row_finish_init(&f, sink, policy, COLOR_SPACE_RGB, has_alpha, icc, icc_size, err) < 0)
 *		return -1;
 *	row_finish_put(&f, y, row);          each y once, from 0
 *	row_finish_release(&f);
 */
#ifndef LATENTD_IMAGE_ROW_FINISH_H
#define LATENTD_IMAGE_ROW_FINISH_H

#include "image/color.h"
#include "image/decode.h"
#include "image/pixel_sink.h"

struct row_finish {
	struct pixel_sink *sink;
	const struct image_policy *policy;
	struct color_converter *converter;
	size_t samples;	  /* colour samples a pixel */
	uint8_t *color;	  /* [width][samples]; NULL without alpha */
	uint8_t *opacity; /* [width]; NULL without alpha */
};

#define ROW_FINISH_INIT                                                                            \
	{                                                                                          \
		NULL, NULL, NULL, 0, NULL, NULL                                                    \
	}

/*
 * Rows of @space, with @alpha one more sample a pixel. @profile may be NULL; it is looked at under
 * COLOR_SRGB only and not kept. @sink and @policy are the caller's and must outlive @f. ERR_NOMEM.
 */
int row_finish_init(struct row_finish *f, struct pixel_sink *sink,
		    const struct image_policy *policy, enum color_space space, bool alpha,
		    const uint8_t *profile, size_t profile_size, struct error *err);
void row_finish_release(struct row_finish *f);

void row_finish_put(struct row_finish *f, size_t y, const uint8_t *row);

#define cleanup_row_finish cleanup_with(row_finish_release)

#endif
