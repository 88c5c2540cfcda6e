/*
 * Where a decoder puts its rows, one at a time from top to bottom, each exactly once:
 *
 *	uint8_t *row = sink->row(sink, y);          room for 3 * sink->width bytes of sRGB
 *	... fill it ...
 *	sink->done(sink, y);
 *
 * Decoders call both from inside their libraries' error handling (longjmp), so a sink does not fail
 * and owns nothing between the two calls: it has all its memory before the first row.
 */
#ifndef LATENTD_IMAGE_PIXEL_SINK_H
#define LATENTD_IMAGE_PIXEL_SINK_H

#include <stddef.h>
#include <stdint.h>

struct pixel_sink {
	/* What is wanted: the stored size, or of a JPEG ceil(side / 2), / 4 or / 8 in both. */
	size_t width, height;
	uint8_t *(*row)(struct pixel_sink *sink, size_t y);
	void (*done)(struct pixel_sink *sink, size_t y);
};

#endif
