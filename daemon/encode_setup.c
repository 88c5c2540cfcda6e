#include "daemon/encode_setup.h"

#include "daemon/encode_cuda.h"
#include "daemon/encode_remote.h"
#include "daemon/pixel_setup.h"
#include "daemon/vae_choice.h"

#include "base/clock.h"
#include "config/encoder_scope.h"
#include "encoder/encoder_cpu.h"
#include "encoder/encoder_fake.h"
#include "vae/kl_tiles.h"

#include <stdio.h>
#include <string.h>

enum { FAKE_RESOLUTION = 512 };

int encode_precision(const struct recipe_options *o, bool fake, enum vae_precision *precision,
		     struct error *err)
{
	enum vae_precision wanted = vae_precision_of(o->precision);

	if (wanted != VAE_FLOAT32 && fake)
		return error_set(err, ERR_CONFIG, "precision: the fake encoder has none");
	*precision = wanted;
	return fake || vae_engine_choose(*precision, err) ? 0 : -1;
}

static int open_cpu(const struct recipe_options *o, const struct encoder_limits *limits,
		    struct encode_model *model, struct encoder **out, struct error *err)
{
	struct encoder_cpu_options cpu = {.precision = model->precision,
					  .threads = limits->threads,
					  .memory = limits->memory,
					  .beside = limits->beside,
					  .decoder = limits->decoder};
	struct vae_choice choice = VAE_CHOICE_INIT;
	const struct vae_encoder *vae;
	int r;

	if (vae_choice_open(o->vae, &o->vae_options, &choice, err) < 0)
		return -1;
	cpu.model = choice.model;
	r = encoder_cpu_open(&cpu, out, err);
	snprintf(model->name, sizeof(model->name), "%s", choice.name);
	model->multiple = vae_choice_multiple(&choice);
	model->resolution = choice.preset ? choice.preset->resolution : 0;
	vae_choice_close(&choice);
	if (r < 0)
		return -1;
	vae = encoder_cpu_vae(*out);
	model->vae = *vae_encoder_config(vae);
	model->weights = *vae_encoder_weights_hash(vae);
	return 0;
}

static int open_encoder(const struct recipe_options *o, const struct encoder_limits *limits,
			struct encode_model *model, struct encoder **out, struct error *err)
{
	struct encoder_fake_options fake = {0};

	model->fake = strcmp(o->vae, RECIPE_VAE_FAKE) == 0;
	if (encode_precision(o, model->fake, &model->precision, err) < 0)
		return -1;
	if (!model->fake)
		return open_cpu(o, limits, model, out, err);
	snprintf(model->name, sizeof(model->name), "%s", RECIPE_VAE_FAKE);
	model->vae =
	    (struct vae_config){.latent_channels = 4, .scaling_factor = 1, .patch_size = 1};
	if (encoder_fake_open(&fake, out, err) < 0)
		return -1;
	model->multiple = encoder_caps(*out)->downscale;
	model->resolution = FAKE_RESOLUTION;
	return 0;
}

int encode_model_open(const struct recipe_options *options, const struct encoder_limits *limits,
		      struct encode_model *model, struct encoder **out, struct error *err)
{
	struct encode_model opened = {.fake = false};

	if (open_encoder(options, limits, &opened, out, err) < 0)
		return -1;
	opened.best_batch = encoder_caps(*out)->best_batch;
	opened.tiles = encoder_caps(*out)->tiles;
	*model = opened;
	return 0;
}

/* Of the recipe's wishes those that depend on who computes; others are checked with it. */
static int check_endpoints(const struct recipe_options *o, struct error *err)
{
	const struct encoder_scope_wish wish = {.precision = o->precision};

	return encoder_scope_endpoint(&wish, err);
}

static int ask(const char *url, const struct remote_config *remote, struct cost_guard *guard,
	       struct encode_model *model, struct error *err)
{
	cost_guard_spend(guard, clock_mono_ms(), 1, 0);
	return encode_model_ask(url, remote, model, err);
}

int encode_model_remote(const struct recipe_options *o, const struct remote_config *remote,
			struct cost_guard *guard, struct encode_model *model, struct error *err)
{
	const char *rest = NULL;

	if (check_endpoints(o, err) < 0)
		return -1;
	switch (vae_source_of(o->vae, &rest)) {
	case VAE_SOURCE_DECLARED:
		return encode_model_declared(rest, &remote->model, model, err);
	case VAE_SOURCE_ENDPOINT:
		return ask(rest, remote, guard, model, err);
	case VAE_SOURCE_FAKE:
		return error_set(err, ERR_CONFIG,
				 "vae fake: endpoints encode no VAE that is none: expected one of "
				 "type fake");
	case VAE_SOURCE_FILES:
		break;
	}
	return encode_model_of_files(o, model, err);
}

int encode_tile(const struct recipe_options *o, bool fake, const struct vae_config *vae,
		size_t *tile, struct error *err)
{
	bool tiled = strcmp(o->tiling, "diffusers") == 0;

	if (tiled && fake)
		return error_set(err, ERR_CONFIG, "tiling: the fake encoder has no tiles");
	if (tiled && kl_tiles_check(vae, err) < 0)
		return -1;
	*tile = tiled ? vae->sample_size : 0;
	return 0;
}

/* Wishes that only a posterior, or tiles, can fulfil. */
static int check_deterministic(const struct recipe_options *o, const struct encode_model *model,
			       struct error *err)
{
	if (!vae_config_deterministic(&model->vae))
		return 0;
	if (strcmp(o->posterior, "mean") != 0)
		return error_set(err, ERR_CONFIG,
				 "posterior: %s is an AutoencoderTiny, which has none: each image "
				 "has one latent, expected mean",
				 model->name);
	if (strcmp(o->tiling, "diffusers") == 0)
		return error_set(err, ERR_CONFIG,
				 "tiling: %s is an AutoencoderTiny, which is encoded whole",
				 model->name);
	return 0;
}

static int check_multiples(const struct resolutions *r, size_t wanted, struct error *err)
{
	for (size_t i = 0; i < r->n; i++) {
		size_t multiple = bucket_table_multiple(r->tables[i]);

		if (multiple % wanted != 0)
			return error_set(
			    err, ERR_CONFIG,
			    "sides in multiples of %zu do not fit a VAE that works on multiples of "
			    "%zu: --bucket-step or --resolution",
			    multiple, wanted);
	}
	return 0;
}

int encode_recipe(const struct recipe_options *o, const struct encode_model *model,
		  struct resolutions *resolutions, struct recipe *recipe, struct error *err)
{
	struct pixel_options pixels = o->pixels;
	cleanup_resolutions struct resolutions wanted = RESOLUTIONS_INIT;
	struct recipe r = {.fake = model->fake,
			   .vae = model->vae,
			   .weights = model->weights,
			   .precision = model->precision};

	if (o->scaled && model->vae.n_statistics > 0)
		return error_set(
		    err, ERR_CONFIG,
		    "scaled: %s has a mean and a spread for each channel instead of two "
		    "factors; its latents can only be stored unscaled",
		    model->name);
	if (check_deterministic(o, model, err) < 0 ||
	    encode_tile(o, model->fake, &model->vae, &r.tile, err) < 0)
		return -1;
	if (r.tile > 0 && !model->tiles)
		return error_set(err, ERR_CONFIG,
				 "tiling: endpoints encode images whole, and no encoder on this "
				 "machine encodes %s",
				 model->name);
	memcpy(r.declared, model->declared, sizeof(r.declared));
	if (pixel_setup_resolution(&pixels, model->name, model->resolution, err) < 0)
		return -1;
	if (pixel_setup_resolutions(&pixels, &wanted, err) < 0 ||
	    check_multiples(&wanted, model->multiple, err) < 0)
		return -1;
	r.buckets = *bucket_table_options(wanted.tables[0]);
	for (size_t i = 1; i < wanted.n; i++)
		r.more[r.n_more++] = *bucket_table_options(wanted.tables[i]);
	r.filter = pixel_setup_filter(&o->pixels);
	r.policy = pixel_setup_policy(&o->pixels);
	r.flip = o->flip;
	r.crops = (unsigned)o->crops;
	r.posterior = (enum posterior)posterior_parse(o->posterior);
	r.scaled = o->scaled || vae_config_deterministic(&model->vae);
	r.seed = o->seed;
	r.rounding = (enum rounding)rounding_parse(o->round);
	r.dtype = strcmp(o->dtype, "float16") == 0 ? DTYPE_F16 : DTYPE_F32;
	recipe_finish(&r);
	*recipe = r;
	*resolutions = wanted;
	wanted = (struct resolutions)RESOLUTIONS_INIT;
	return 0;
}

/* The first endpoint that answers tells the model; the others are held to it. Where none does, the first one's error. */
static int ask_any(const struct recipe_options *options, const struct encode_place *place,
		   struct encode_model *model, struct error *err)
{
	const struct remote_config *remote = &place->remote;
	struct error first = ERROR_INIT;

	if (check_endpoints(options, err) < 0)
		return -1;
	for (size_t i = 0; i < remote->n_endpoints; i++) {
		struct error why = ERROR_INIT;

		if (ask(remote->endpoints[i].url, remote, place->guard, model, &why) == 0)
			return 0;
		if (i == 0)
			first = why;
	}
	*err = first;
	return -1;
}

static int open_remote(const struct recipe_options *options, const struct encode_place *place,
		       struct encode_setup *setup, struct error *err)
{
	struct encode_model *model = &setup->model;
	int r = vae_source_of(options->vae, NULL) == VAE_SOURCE_ENDPOINT
		    ? ask_any(options, place, model, err)
		    : encode_model_remote(options, &place->remote, place->guard, model, err);

	if (r < 0 || encode_remote_open(&place->remote, model, place->remote_memory, place->guard,
					&setup->encoder, err) < 0)
		return -1;
	model->best_batch = encoder_caps(setup->encoder)->best_batch;
	return 0;
}

int encode_setup_open(const struct recipe_options *options, const struct encode_place *place,
		      struct encode_setup *setup, struct error *err)
{
	int r;

	if (place->remote.n_endpoints > 0)
		r = open_remote(options, place, setup, err);
	else if (place->cuda)
		r = encode_cuda_open(options, place->cuda, false, &setup->model, &setup->encoder,
				     &setup->left_out, err);
	else
		r = encode_model_open(options, &place->cpu, &setup->model, &setup->encoder, err);
	if (r < 0)
		return -1;
	return encode_recipe(options, &setup->model, &setup->resolutions, &setup->recipe, err);
}

void encode_setup_close(struct encode_setup *setup)
{
	encoder_close(setup->encoder);
	resolutions_release(&setup->resolutions);
	recipe_release(&setup->recipe);
}
