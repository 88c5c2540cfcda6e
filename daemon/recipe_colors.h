/*
 * The colours in which latents of a recipe are shown, kept for the recipes that were asked for last.
 *
 *	c = recipe_colors_new()
 *	recipe_colors_latent(store, path, span, side, &latent, err)
 *	recipe_colors_paint(c, &view, store, &latent, &image, &fitted, err)
 *	recipe_colors_free(c)
 *
 * They are fitted (latent_colors.h) to samples of several sizes whose sources are still there, once for each recipe; where there
 * are none they are false colours, and the sources are looked for again a minute later. One thread at a time.
 */
#ifndef LATENTD_DAEMON_RECIPE_COLORS_H
#define LATENTD_DAEMON_RECIPE_COLORS_H

#include "base/ndarray.h"
#include "daemon/picture_view.h"
#include "image/image.h"
#include "storage/seal.h"

struct recipe_colors;

struct recipe_colors *recipe_colors_new(void);
/* NULL is fine. */
void recipe_colors_free(struct recipe_colors *c);

/* The unscaled latent of that sample, made smaller to @side at most. ERR_DATA: it has too many channels to show, or is damaged. */
int recipe_colors_latent(struct store *store, const char *path, const struct shard_span *span,
			 size_t side, struct ndarray *out, struct error *err);
/* @latent is one of the dataset in view. */
int recipe_colors_paint(struct recipe_colors *c, struct picture_view *v, struct store *store,
			const struct ndarray *latent, struct image *out, bool *fitted,
			struct error *err);

#endif
