#include "daemon/config_check.h"

#include "daemon/encode_setup.h"
#include "daemon/pixel_setup.h"
#include "daemon/vae_choice.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <string.h>

static int at_dataset(const struct daemon_config *config, const struct dataset_config *d,
		      struct error *err)
{
	return error_wrap(err, "%s:%zu:%zu: dataset %s", config->file, d->place.line,
			  d->place.column, d->name);
}

/* What the model asks of an image's sides, and the resolution that it brings along. */
static int look_at_model(const struct recipe_options *o, bool has_gpu, struct pixel_options *pixels,
			 size_t *multiple, struct error *err)
{
	bool fake = strcmp(o->vae, RECIPE_VAE_FAKE) == 0;
	struct vae_choice vae = VAE_CHOICE_INIT;
	enum vae_precision precision;
	size_t tile;
	int r;

	*multiple = 8;
	if ((fake || !has_gpu) && encode_precision(o, fake, &precision, err) < 0)
		return -1;
	if (fake)
		return encode_tile(o, true, NULL, &tile, err);
	if (vae_choice_open(o->vae, &o->vae_options, &vae, err) < 0)
		return -1;
	*multiple = vae_choice_multiple(&vae);
	r = vae_choice_resolution(&vae, pixels, err);
	if (r == 0)
		r = encode_tile(o, false, &vae.model->config, &tile, err);
	vae_choice_close(&vae);
	return r;
}

static int check_dataset(const struct dataset_config *d, bool has_gpu, struct error *err)
{
	struct pixel_options pixels = d->recipe.pixels;
	struct bucket_table *buckets;
	size_t wanted = 0, multiple;

	if (look_at_model(&d->recipe, has_gpu, &pixels, &wanted, err) < 0)
		return -1;
	buckets = pixel_setup_buckets(&pixels, err);
	if (!buckets)
		return -1;
	multiple = bucket_table_multiple(buckets);
	bucket_table_free(buckets);
	if (multiple % wanted != 0)
		return error_set(
		    err, ERR_CONFIG,
		    "sides in multiples of %zu do not fit a VAE that works on multiples "
		    "of %zu: expected another bucket_step or resolution",
		    multiple, wanted);
	return 0;
}

int config_check(const char *path, struct daemon_config **out, struct error *err)
{
	struct daemon_config *config = NULL;
	int r = daemon_config_load(path, &config, err);
	bool has_gpu = false;

	for (size_t i = 0; r == 0 && i < config->n_encoders; i++)
		has_gpu = has_gpu || config->encoders[i].type == ENCODER_TYPE_CUDA;
	for (size_t i = 0; r == 0 && i < config->n_datasets; i++) {
		r = check_dataset(&config->datasets[i], has_gpu, err);
		if (r < 0)
			at_dataset(config, &config->datasets[i], err);
	}
	if (r < 0) {
		daemon_config_free(config);
		return -1;
	}
	*out = config;
	return 0;
}
