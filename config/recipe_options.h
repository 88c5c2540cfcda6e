/*
 * What is asked for of the latents themselves: the model, the pixels it sees and what is kept of its answer.
 * Shared by `latentctl encode` and the datasets of a daemon; the recipe is made from it.
 *
 *	struct my_options { struct recipe_options recipe; ... };
 *	{.type = SETTING_GROUP, .offset = FIELD(recipe), .group = &recipe_settings},
 */
#ifndef LATENTD_CONFIG_RECIPE_OPTIONS_H
#define LATENTD_CONFIG_RECIPE_OPTIONS_H

#include "config/pixel_options.h"
#include "config/vae_options.h"
#include "config/vae_source.h"

/* Names of precisions, and NULL. */
extern const char *const recipe_precisions[];

struct recipe_options {
	const char *vae; /* vae_source.h; NULL: not given */
	struct vae_options vae_options;
	struct pixel_options pixels;
	const char *posterior; /* "mean", "moments", "draw" */
	const char *tiling;    /* "none", "diffusers" */
	const char *precision; /* "auto", "f32", "bf16", "f16"; NULL: f32 */
	const char *dtype;     /* "float16", "float32" */
	const char *round;     /* of src/vae/rounding.h */
	bool flip;	       /* the mirrored picture, too */
	size_t crops;	       /* further crops of each image */
	bool scaled;	       /* stored as (z - shift_factor) * scaling_factor */
	uint64_t seed;	       /* of draws and of the order in shards */
};

extern const struct settings_group recipe_settings;

/* What no single option can tell, that of the pixels included. ERR_CONFIG. */
int recipe_options_check(const struct recipe_options *options, struct error *err);

#endif
