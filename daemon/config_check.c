#include "daemon/config_check.h"

#include "daemon/pixel_setup.h"

#include "vae/vae_model.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <string.h>

static int at_dataset(const struct daemon_config *config, const struct dataset_config *d,
		      struct error *err)
{
	return error_wrap(err, "%s:%zu:%zu: dataset %s", config->file, d->place.line,
			  d->place.column, d->name);
}

/* Pixels per latent along one axis. */
static int model_downscale(const char *vae, size_t *downscale, struct error *err)
{
	struct vae_model *model;

	*downscale = 8;
	if (strcmp(vae, RECIPE_VAE_FAKE) == 0)
		return 0;
	model = vae_model_open(vae, NULL, err);
	if (!model)
		return -1;
	*downscale = vae_config_downscale(&model->config);
	if (!model->factors_told)
		error_set(err, ERR_CONFIG, "%s: nothing tells its scaling factor: it has no config",
			  vae);
	vae_model_close(model);
	return err->code == ERR_NONE ? 0 : -1;
}

static int check_dataset(const struct dataset_config *d, struct error *err)
{
	struct bucket_table *buckets = pixel_setup_buckets(&d->recipe.pixels, err);
	size_t downscale = 0, multiple;

	if (!buckets)
		return -1;
	multiple = bucket_table_multiple(buckets);
	bucket_table_free(buckets);
	if (model_downscale(d->recipe.vae, &downscale, err) < 0)
		return -1;
	if (multiple % downscale != 0)
		return error_set(
		    err, ERR_CONFIG,
		    "sides in multiples of %zu do not fit a VAE that works on multiples "
		    "of %zu: expected another bucket_step or resolution",
		    multiple, downscale);
	return 0;
}

int config_check(const char *path, struct daemon_config **out, struct error *err)
{
	struct daemon_config *config = NULL;
	int r = daemon_config_load(path, &config, err);

	for (size_t i = 0; r == 0 && i < config->n_datasets; i++) {
		r = check_dataset(&config->datasets[i], err);
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
