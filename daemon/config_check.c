#include "daemon/config_check.h"

#include "daemon/encode_setup.h"
#include "daemon/pixel_setup.h"
#include "daemon/state_queue.h"
#include "daemon/vae_choice.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "config/encoder_scope.h"
#include "source/source_path.h"

#include <string.h>
#include <sys/stat.h>

static int at_dataset(const struct daemon_config *config, const struct dataset_config *d,
		      struct error *err)
{
	return error_wrap(err, "%s:%zu:%zu: dataset %s", config->file, d->place.line,
			  d->place.column, d->name);
}

/* What the remote encoder that serves @vae, a declared one, says of it. */
static const struct remote_model *said_of(const struct daemon_config *config, const char *vae)
{
	static const struct remote_model nothing = {.name = NULL};

	for (size_t i = 0; i < config->n_encoders; i++) {
		if (encoder_scope_has(&config->encoders[i], vae))
			return &config->encoders[i].remote.model;
	}
	return &nothing;
}

/* Of a VAE that is only declared. */
static int look_at_declared(const struct daemon_config *config, const char *vae, const char *name,
			    struct pixel_options *pixels, size_t *multiple, struct error *err)
{
	struct encode_model model;

	if (encode_model_declared(name, said_of(config, vae), &model, err) < 0)
		return -1;
	*multiple = model.multiple;
	return pixel_setup_resolution(pixels, model.name, model.resolution, err);
}

static int look_at_files(const struct recipe_options *o, struct pixel_options *pixels,
			 size_t *multiple, struct error *err)
{
	struct vae_choice vae = VAE_CHOICE_INIT;
	size_t tile;
	int r;

	if (vae_choice_open(o->vae, &o->vae_options, &vae, err) < 0)
		return -1;
	*multiple = vae_choice_multiple(&vae);
	r = vae_choice_resolution(&vae, pixels, err);
	if (r == 0)
		r = encode_tile(o, false, &vae.model->config, &tile, err);
	vae_choice_close(&vae);
	return r;
}

static bool has_gpu(const struct daemon_config *config)
{
	for (size_t i = 0; i < config->n_encoders; i++) {
		if (config->encoders[i].type == ENCODER_TYPE_CUDA)
			return true;
	}
	return false;
}

/* Whether this machine encodes models of files, rather than endpoints alone. */
static bool encodes_here(const struct daemon_config *config)
{
	for (size_t i = 0; i < config->n_encoders; i++) {
		if (config->encoders[i].type == ENCODER_TYPE_CPU)
			return true;
	}
	return has_gpu(config);
}

static int check_precision(const struct daemon_config *config, const struct recipe_options *o,
			   struct error *err)
{
	bool fake = vae_source_of(o->vae, NULL) == VAE_SOURCE_FAKE;
	const struct encoder_scope_wish wish = {.precision = o->precision};
	enum vae_precision precision;

	if (!fake && !encodes_here(config))
		return encoder_scope_endpoint(&wish, err);
	return fake || !has_gpu(config) ? encode_precision(o, fake, &precision, err) : 0;
}

/* What the model asks of an image's sides, and the resolution that it brings along. */
static int look_at_model(const struct daemon_config *config, const struct recipe_options *o,
			 struct pixel_options *pixels, size_t *multiple, struct error *err)
{
	const char *name = NULL;
	size_t tile;

	*multiple = 8;
	if (check_precision(config, o, err) < 0)
		return -1;
	switch (vae_source_of(o->vae, &name)) {
	case VAE_SOURCE_FAKE:
		return encode_tile(o, true, NULL, &tile, err);
	case VAE_SOURCE_DECLARED:
		return look_at_declared(config, o->vae, name, pixels, multiple, err);
	case VAE_SOURCE_ENDPOINT:
	case VAE_SOURCE_FILES:
		break;
	}
	return look_at_files(o, pixels, multiple, err);
}

static int check_sources(const struct daemon_config *config, const struct dataset_config *d,
			 struct error *err)
{
	struct stat st;

	for (size_t i = 0; i < d->n_sources; i++) {
		const struct source_config *s = &d->sources[i];

		if (stat(s->path, &st) == 0 && S_ISREG(st.st_mode) && !source_path_is_file(s->path))
			return error_set(err, ERR_CONFIG,
					 "%s:%zu:%zu: source: %s is no folder, and no archive, "
					 "manifest or list of URLs by its name",
					 config->file, s->place.line, s->place.column, s->path);
	}
	return 0;
}

static int check_dataset(const struct daemon_config *config, const struct dataset_config *d,
			 struct error *err)
{
	struct pixel_options pixels = d->recipe.pixels;
	cleanup_resolutions struct resolutions resolutions = RESOLUTIONS_INIT;
	struct dataset_form form;
	size_t wanted = 0, multiple;

	if (dataset_form_of(&d->output.options, &form, err) < 0)
		return -1;
	/* Nobody is asked before the daemon runs. */
	if (vae_source_of(d->recipe.vae, NULL) == VAE_SOURCE_ENDPOINT)
		return 0;
	if (look_at_model(config, &d->recipe, &pixels, &wanted, err) < 0)
		return -1;
	if (pixel_setup_resolutions(&pixels, &resolutions, err) < 0)
		return -1;
	for (size_t i = 0; i < resolutions.n; i++) {
		multiple = bucket_table_multiple(resolutions.tables[i]);
		if (multiple % wanted != 0)
			return error_set(
			    err, ERR_CONFIG,
			    "sides in multiples of %zu do not fit a VAE that works on multiples "
			    "of %zu: expected another bucket_step or resolution",
			    multiple, wanted);
	}
	return 0;
}

int config_check(const char *path, struct daemon_config **out, struct error *err)
{
	struct daemon_config *config = NULL;
	int r = daemon_config_load(path, &config, err);

	if (r == 0 && config->queue.postgres && state_queue_check(config->queue.postgres, err) < 0)
		r = error_wrap(err, "%s", path);

	for (size_t i = 0; r == 0 && i < config->n_datasets; i++) {
		r = check_sources(config, &config->datasets[i], err);
		if (r < 0)
			break;
		r = check_dataset(config, &config->datasets[i], err);
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
