/*
 * From what was asked for to what encodes: the encoder with its model, the buckets and the recipe. Nothing is made on
 * disk, so whatever is wrong with model or options is refused first.
 */
#ifndef LATENTD_DAEMON_ENCODE_SETUP_H
#define LATENTD_DAEMON_ENCODE_SETUP_H

#include "config/cuda_options.h"
#include "config/encoder_limits.h"
#include "config/recipe_options.h"
#include "daemon/encode_model.h"
#include "encoder/encoder.h"
#include "net/cost_guard.h"

/* Opens the encoder on this machine that @options name. */
int encode_model_open(const struct recipe_options *options, const struct encoder_limits *limits,
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
 * What the VAE of @options is, where no encoder on this machine tells it: endpoints of @remote encode it. ERR_TRANSIENT: an
 * endpoint does not answer. It is asked whatever @guard says, which counts it.
 */
int encode_model_remote(const struct recipe_options *options, const struct remote_config *remote,
			struct cost_guard *guard, struct encode_model *model, struct error *err);
/*
 * Buckets and recipe for a model that is known; on failure nothing is made. ERR_CONFIG: sizes that the model cannot
 * encode.
 */
int encode_recipe(const struct recipe_options *options, const struct encode_model *model,
		  struct resolutions *resolutions, struct recipe *recipe, struct error *err);

/* What a dataset is encoded on. */
struct encode_place {
	struct encoder_limits cpu;
	const struct cuda_limits *cuda; /* NULL: on the processor */
	struct remote_config remote;	/* without endpoints: on this machine */
	size_t remote_memory;		/* encode_remote_open() */
	struct cost_guard *guard;
};

/* Both, for one dataset. */
struct encode_setup {
	struct encode_model model;
	struct encoder *encoder;
	struct error left_out; /* why one of all GPUs is not used */
	struct resolutions resolutions;
	struct recipe recipe;
};

/* @setup all zero before; close it in any case. */
int encode_setup_open(const struct recipe_options *options, const struct encode_place *place,
		      struct encode_setup *setup, struct error *err);
void encode_setup_close(struct encode_setup *setup);

#endif
