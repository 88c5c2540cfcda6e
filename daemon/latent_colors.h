/*
 * Latents as colours without a decoder: each pixel of the small picture is a linear function of the channels of one latent
 * pixel. The function is fitted to pictures whose latents are known; where there are none the first channels are shown as
 * red, green and blue, which have nothing to do with the picture's colours. Both are approximate.
 *
 *	latent_colors_pool(&raw, side, err)			where it is larger than it is shown
 *	latent_colors_learn(&colors, &raw, &picture, err)	of some latents; picture NULL: not known
 *	latent_colors_fit(&colors)
 *	latent_colors_paint(&colors, &raw, &image, err)
 */
#ifndef LATENTD_DAEMON_LATENT_COLORS_H
#define LATENTD_DAEMON_LATENT_COLORS_H

#include "base/ndarray.h"
#include "image/image.h"

enum { COLORS_CHANNELS_MAX = 128 };

struct latent_colors {
	size_t channels; /* at most COLORS_CHANNELS_MAX */
	bool fitted;	 /* to pictures */
	double n;
	/* sums over pixels of products of channels and 1; with the colours */
	double squares[COLORS_CHANNELS_MAX + 1][COLORS_CHANNELS_MAX + 1];
	double products[COLORS_CHANNELS_MAX + 1][3];
	double seen, sum[3], square[3]; /* of the first channels, of all latents */
	double factors[COLORS_CHANNELS_MAX + 1][3];
};

/* @raw, float32 [C][h][w], becomes averages of 2 x 2 until its sides are at most @side. */
int latent_colors_pool(struct ndarray *raw, size_t side, struct error *err);
/*
 * @raw: of @c->channels; pixels with a number that is not finite teach nothing, and are painted black. @picture: what it was made
 * from, of any size; or NULL.
 */
int latent_colors_learn(struct latent_colors *c, const struct ndarray *raw,
			const struct image *picture, struct error *err);
void latent_colors_fit(struct latent_colors *c);
int latent_colors_paint(const struct latent_colors *c, const struct ndarray *raw, struct image *out,
			struct error *err);

#endif
