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
#define GATHER	    256

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
	for (size_t channel = 0; channel < 3; channel++) {
		size_t sure = 0;

		for (size_t v = 0; v < 256; v++) {
			uint8_t *value = &c->value[channel][v], doubt = 0;

			if (!is_sure(convert, arg, channel, v, 255, value))
				doubt = is_sure(convert, arg, channel, v, DIM, value) ? ONLY_DIM
										      : ALWAYS;
			sure += doubt != ALWAYS;
			c->doubt[channel][v] = v > DIM ? doubt | BRIGHT : doubt;
		}
		if (sure < SURE_ENOUGH)
			return false;
	}
	return true;
}

/* Pixels in doubt, and where they belong. */
struct gathered {
	uint8_t pixels[GATHER][3];
	uint8_t *places[GATHER];
	size_t count;
};

static void settle(struct gathered *g, color_convert_fn *convert, void *arg)
{
	convert(arg, g->pixels[0], g->pixels[0], g->count);
	for (size_t i = 0; i < g->count; i++)
		memcpy(g->places[i], g->pixels[i], 3);
	g->count = 0;
}

void color_channels_convert(const struct color_channels *c, color_convert_fn *convert, void *arg,
			    const uint8_t *in, uint8_t *out, size_t pixels)
{
	struct gathered g;

	g.count = 0;
	for (size_t i = 0; i < pixels; i++, in += 3, out += 3) {
		if ((c->doubt[0][in[0]] | c->doubt[1][in[1]] | c->doubt[2][in[2]]) < 3) {
			out[0] = c->value[0][in[0]];
			out[1] = c->value[1][in[1]];
			out[2] = c->value[2][in[2]];
			continue;
		}
		memcpy(g.pixels[g.count], in, 3);
		g.places[g.count++] = out;
		if (g.count == GATHER)
			settle(&g, convert, arg);
	}
	if (g.count > 0)
		settle(&g, convert, arg);
}
