/*
 * From what was asked for to what encodes: the encoder with its model, the buckets and the recipe. Nothing is made on
 * disk, so whatever is wrong with model or options is refused first.
 */
#ifndef LATENTD_DAEMON_ENCODE_SETUP_H
#define LATENTD_DAEMON_ENCODE_SETUP_H

#include "config/encoder_limits.h"
#include "config/recipe_options.h"
#include "daemon/recipe.h"
#include "encoder/encoder.h"

/* What an encoder computes with, as recipes name it. */
struct encode_model {
	bool fake;
	char name[64]; /* short: "sdxl", "ae" */
	struct vae_config vae;
	struct sha256 weights;
	enum vae_precision precision;
	size_t multiple;   /* of an image's sides */
	size_t resolution; /* that it is made for, where nothing else is asked for; 0: not known */
	size_t best_batch;
};

/* Opens the encoder that @options name. */
int encode_model_open(const struct recipe_options *options, const struct encoder_limits *limits,
		      struct encode_model *model, struct encoder **out, struct error *err);
/* The same on a GPU; ERR_CONFIG also where there is no plugin, driver or device: encoder_cuda.h. */
int encode_cuda_open(const struct recipe_options *options, const struct cuda_limits *limits,
		     struct encode_model *model, struct encoder **out, struct error *err);
/* ERR_CONFIG: this machine's processor does not compute in the precision that @options ask for. */
int encode_precision(const struct recipe_options *options, bool fake, enum vae_precision *precision,
		     struct error *err);
/*
 * Pixels of the tiles that @options ask for, 0 for whole images (in exact bands if need be). ERR_CONFIG: this VAE has
 * no such tiles.
 */
int encode_tile(const struct recipe_options *options, bool fake, const struct vae_config *vae,
		size_t *tile, struct error *err);
/*
 * Buckets and recipe for a model that is known; on failure nothing is made. ERR_CONFIG: sizes that the model cannot
 * encode.
 */
int encode_recipe(const struct recipe_options *options, const struct encode_model *model,
		  struct bucket_table **buckets, struct recipe *recipe, struct error *err);

/* Both, for one dataset. */
struct encode_setup {
	struct encode_model model;
	struct encoder *encoder;
	struct bucket_table *buckets;
	struct recipe recipe;
};

/* @setup all zero before; close it in any case. */
int encode_setup_open(const struct recipe_options *options, const struct encoder_limits *limits,
		      struct encode_setup *setup, struct error *err);
void encode_setup_close(struct encode_setup *setup);

#endif
