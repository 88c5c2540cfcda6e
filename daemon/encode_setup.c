#include "daemon/encode_setup.h"

#include "daemon/pixel_setup.h"

#include "encoder/encoder_cpu.h"
#include "encoder/encoder_fake.h"

#include <string.h>

static int open_cpu(const char *path, const struct encoder_limits *limits,
		    struct encode_model *model, struct encoder **out, struct error *err)
{
	struct encoder_cpu_options cpu = {.model = vae_model_open(path, NULL, err),
					  .threads = limits->threads,
					  .memory = limits->memory};
	const struct kl_encoder *vae;
	int r = -1;

	if (cpu.model && !cpu.model->factors_told)
		error_set(err, ERR_CONFIG, "%s: nothing tells its scaling factor: it has no config",
			  kl_weights_name(cpu.model->weights));
	else if (cpu.model)
		r = encoder_cpu_open(&cpu, out, err);
	vae_model_close(cpu.model);
	if (r < 0)
		return -1;
	vae = encoder_cpu_vae(*out);
	model->vae = *kl_encoder_config(vae);
	model->weights = *kl_encoder_weights_hash(vae);
	return 0;
}

static int open_encoder(const struct recipe_options *o, const struct encoder_limits *limits,
			struct encode_model *model, struct encoder **out, struct error *err)
{
	struct encoder_fake_options fake = {0};

	model->fake = strcmp(o->vae, RECIPE_VAE_FAKE) == 0;
	if (!model->fake)
		return open_cpu(o->vae, limits, model, out, err);
	model->vae = (struct vae_config){.latent_channels = 4, .scaling_factor = 1};
	return encoder_fake_open(&fake, out, err);
}

int encode_model_open(const struct recipe_options *options, const struct encoder_limits *limits,
		      struct encode_model *model, struct encoder **out, struct error *err)
{
	struct encode_model opened = {.fake = false};
	const struct encoder_caps *caps;

	if (open_encoder(options, limits, &opened, out, err) < 0)
		return -1;
	caps = encoder_caps(*out);
	opened.downscale = caps->downscale;
	opened.best_batch = caps->best_batch;
	*model = opened;
	return 0;
}

int encode_recipe(const struct recipe_options *o, const struct encode_model *model,
		  struct bucket_table **buckets, struct recipe *recipe, struct error *err)
{
	struct bucket_table *table = pixel_setup_buckets(&o->pixels, err);
	struct recipe r = {.fake = model->fake, .vae = model->vae, .weights = model->weights};

	if (!table)
		return -1;
	if (bucket_table_multiple(table) % model->downscale != 0) {
		error_set(err, ERR_CONFIG,
			  "sides in multiples of %zu do not fit a VAE that works on multiples of "
			  "%zu: --bucket-step or --resolution",
			  bucket_table_multiple(table), model->downscale);
		bucket_table_free(table);
		return -1;
	}
	r.buckets = *bucket_table_options(table);
	r.filter = pixel_setup_filter(&o->pixels);
	r.policy = pixel_setup_policy(&o->pixels);
	r.posterior = (enum posterior)posterior_parse(o->posterior);
	r.scaled = o->scaled;
	r.seed = o->seed;
	r.dtype = strcmp(o->dtype, "float16") == 0 ? DTYPE_F16 : DTYPE_F32;
	recipe_finish(&r);
	*recipe = r;
	*buckets = table;
	return 0;
}

int encode_setup_open(const struct recipe_options *options, const struct encoder_limits *limits,
		      struct encode_setup *setup, struct error *err)
{
	struct encode_model model;

	if (encode_model_open(options, limits, &model, &setup->encoder, err) < 0)
		return -1;
	return encode_recipe(options, &model, &setup->buckets, &setup->recipe, err);
}

void encode_setup_close(struct encode_setup *setup)
{
	encoder_close(setup->encoder);
	bucket_table_free(setup->buckets);
	recipe_release(&setup->recipe);
}
