/*
 * A short way through a conversion from RGB to RGB that treats the channels nearly apart, as the
 * profiles that most photographs carry do: they mean sRGB, but their rounded matrix moves a few
 * colours by one. What it is sure of it takes from a table for each channel, the rest it leaves to
 * the conversion itself, so that the bytes are always the conversion's.
 *
 * It is sure of a channel's value when the conversion gives the same at all corners of what the other
 * two channels may be. For that to hold in between, the conversion must be monotonic in every
 * channel (rising or falling): true for curves, a matrix and curves when the curves are. This the
 * caller has to know.
 */
#ifndef LATENTD_IMAGE_COLOR_CHANNELS_H
#define LATENTD_IMAGE_COLOR_CHANNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct color_channels {
	uint8_t value[3][256];
	uint8_t doubt[3][256];
	bool identity; /* what is sure stays as it is */
};

/* @in and @out: [pixels][3]; may be the same memory. */
typedef void color_convert_fn(void *arg, const uint8_t *in, uint8_t *out, size_t pixels);

/* False if too little is sure for it to be of use. */
bool color_channels_probe(struct color_channels *c, color_convert_fn *convert, void *arg);

/* @in and @out: [pixels][3]; may be the same memory. */
void color_channels_convert(const struct color_channels *c, color_convert_fn *convert, void *arg,
			    const uint8_t *in, uint8_t *out, size_t pixels);

#endif
