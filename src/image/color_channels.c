/*
 * The other channels may be anything up to 255, or, for values where that is too much (dark red under
 * bright green), up to DIM. A pixel's doubts are those of its three values taken together; sums of
 * 3 and more are doubtful.
 */
#include "image/color_channels.h"

#include <string.h>

#define DIM	 223
#define ONLY_DIM 1 /* sure when no channel is bright */
#define BRIGHT	 2 /* a value over DIM */
#define ALWAYS	 4

#define CORNERS	    4
#define SURE_ENOUGH 192 /* values a channel */
#define PIECE	    512 /* pixels */

/* Is output @channel for its value @v the same wherever the others are within 0 to @limit? */
static bool is_sure(color_convert_fn *convert, void *arg, size_t channel, size_t v, uint8_t limit,
		    uint8_t *value)
{
	uint8_t in[CORNERS][3], out[CORNERS][3];
	size_t second = (channel + 1) % 3, third = (channel + 2) % 3;

	for (size_t i = 0; i < CORNERS; i++) {
		in[i][channel] = (uint8_t)v;
		in[i][second] = i & 1 ? limit : 0;
		in[i][third] = i & 2 ? limit : 0;
	}
	convert(arg, in[0], out[0], CORNERS);
	*value = out[0][channel];
	for (size_t i = 1; i < CORNERS; i++)
		if (out[i][channel] != *value)
			return false;
	return true;
}

bool color_channels_probe(struct color_channels *c, color_convert_fn *convert, void *arg)
{
	c->identity = true;
	for (size_t channel = 0; channel < 3; channel++) {
		size_t sure = 0;

		for (size_t v = 0; v < 256; v++) {
			uint8_t *value = &c->value[channel][v], doubt = 0;

			if (!is_sure(convert, arg, channel, v, 255, value))
				doubt = is_sure(convert, arg, channel, v, DIM, value) ? ONLY_DIM
										      : ALWAYS;
			sure += doubt != ALWAYS;
			c->identity &= *value == v || doubt == ALWAYS;
			c->doubt[channel][v] = v > DIM ? doubt | BRIGHT : doubt;
		}
		if (sure < SURE_ENOUGH)
			return false;
	}
	return true;
}

static bool is_doubtful(const struct color_channels *c, const uint8_t *pixel)
{
	return (c->doubt[0][pixel[0]] | c->doubt[1][pixel[1]] | c->doubt[2][pixel[2]]) >= 3;
}

static void map_sure(const struct color_channels *c, const uint8_t *in, uint8_t *out, size_t pixels)
{
	for (size_t i = 0; i < pixels; i++, in += 3, out += 3) {
		uint8_t r = in[0], g = in[1], b = in[2];

		out[0] = c->value[0][r];
		out[1] = c->value[1][g];
		out[2] = c->value[2][b];
	}
}

/* A piece at a time: those in doubt are put aside, all are mapped, those in doubt put back. */
void color_channels_convert(const struct color_channels *c, color_convert_fn *convert, void *arg,
			    const uint8_t *in, uint8_t *out, size_t pixels)
{
	uint8_t doubtful[PIECE][3];
	uint16_t places[PIECE];

	for (size_t n; pixels > 0; pixels -= n, in += n * 3, out += n * 3) {
		size_t count = 0;

		n = pixels < PIECE ? pixels : PIECE;
		for (size_t i = 0; i < n; i++) {
			if (!is_doubtful(c, in + i * 3))
				continue;
			memcpy(doubtful[count], in + i * 3, 3);
			places[count++] = (uint16_t)i;
		}
		if (!c->identity)
			map_sure(c, in, out, n);
		else if (in != out)
			memcpy(out, in, n * 3);
		if (count > 0)
			convert(arg, doubtful[0], doubtful[0], count);
		for (size_t i = 0; i < count; i++)
			memcpy(out + places[i] * 3, doubtful[i], 3);
	}
}
