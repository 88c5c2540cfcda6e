#include "vae/vae_model.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"
#include "vae/tiny_model.h"
#include "vae/vae_shapes.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

#define WEIGHTS_STEM "diffusion_pytorch_model"

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

const char *vae_layout_title(enum vae_layout layout)
{
	static const char *const titles[] = {
	    [VAE_LAYOUT_FOLDER] = "diffusers folder",
	    [VAE_LAYOUT_PIPELINE] = "diffusers pipeline",
	    [VAE_LAYOUT_FILE] = "single file",
	};

	return titles[layout];
}

/* -- files --------------------------------------------------------------------------------------- */

/* The weights in @folder. A .bin is found last, to be refused for what it is. */
static char *find_weights(const char *folder, struct error *err)
{
	static const char *const names[] = {WEIGHTS_STEM ".safetensors",
					    WEIGHTS_STEM ".fp16.safetensors", WEIGHTS_STEM ".bin",
					    WEIGHTS_STEM ".fp16.bin"};
	char quoted[TEXT_QUOTE_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *path = xasprintf("%s/%s", folder, names[i]);

		if (file_exists(path))
			return path;
		free(path);
	}
	error_set(err, ERR_CONFIG, "%s: no %s in this folder", text_quote(folder, quoted),
		  names[0]);
	return NULL;
}

/* Finds the files and reads the config. @given: the one to be used instead of the folder's, or NULL. */
static int find_in_folder(struct vae_model *model, const char *folder, const char *given,
			  struct error *err)
{
	cleanup_free char *own = xasprintf("%s/config.json", folder);
	cleanup_free char *pipeline = xasprintf("%s/model_index.json", folder);
	cleanup_free char *below = xasprintf("%s/vae", folder);
	char quoted[TEXT_QUOTE_SIZE];

	if (is_folder(below) && (is_file(pipeline) || !is_file(own))) {
		model->layout = VAE_LAYOUT_PIPELINE;
		free(own);
		own = xasprintf("%s/config.json", below);
		folder = below;
	}
	if (!given && !is_file(own))
		return error_set(err, ERR_CONFIG, "%s: no config.json in this folder",
				 text_quote(folder, quoted));
	model->config_path = given ? xstrdup(given) : TAKE(own);
	if (vae_config_read(model->config_path, &model->config, err) < 0)
		return -1;
	model->weights_path = find_weights(folder, err);
	return model->weights_path ? 0 : -1;
}

/* A file that was taken out of a diffusers folder has its config beside it. */
static int find_beside(struct vae_model *model, const char *path, const char *given,
		       struct error *err)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	cleanup_free char *beside = xasprintf("%.*sconfig.json", (int)(name - path), path);

	model->layout = VAE_LAYOUT_FILE;
	model->weights_path = xstrdup(path);
	if (given)
		model->config_path = xstrdup(given);
	else if (strncmp(name, WEIGHTS_STEM, strlen(WEIGHTS_STEM)) == 0 && is_file(beside))
		model->config_path = TAKE(beside);
	return model->config_path ? vae_config_read(model->config_path, &model->config, err) : 0;
}

static int find_files(struct vae_model *model, const char *path, const char *config,
		      struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (is_folder(path))
		return find_in_folder(model, path, config, err);
	if (!file_exists(path))
		return error_set(err, ERR_CONFIG, "%s: no such file or folder",
				 text_quote(path, quoted));
	return find_beside(model, path, config, err);
}

/* -- config -------------------------------------------------------------------------------------- */

static int read_statistics(struct vae_model *model, const char *mean, const char *second,
			   struct error *err)
{
	struct vae_config *c = &model->config;

	if (kl_weights_read_vector(model->weights, mean, c->n_statistics, c->latents_mean, err) <
		0 ||
	    kl_weights_read_vector(model->weights, second, c->n_statistics, c->latents_std, err) <
		0)
		return -1;
	for (size_t i = 0; i < c->n_statistics; i++) {
		if (c->class == VAE_CLASS_FLUX2) /* a variance */
			c->latents_std[i] = sqrt(c->latents_std[i] + c->batch_norm_eps);
		if (!isfinite(c->latents_mean[i]) || !(c->latents_std[i] > 0) ||
		    !isfinite(c->latents_std[i]))
			return error_set(err, ERR_CONFIG,
					 "%s: tensor \"%s\": value %zu is no spread of latents",
					 kl_weights_name(model->weights), second, i);
	}
	return 0;
}

/* Its network tells all; a config that is there must not contradict. */
static int open_tiny(struct vae_model *model, struct error *err)
{
	const struct vae_config *c = &model->config;
	const struct tiny_network *network = NULL;
	struct vae_config told;
	size_t channels = 0;

	model->tiny = tiny_weights_open(model->weights_path, VAE_ENCODER, err);
	if (!model->tiny ||
	    tiny_network_find(model->tiny, VAE_ENCODER, &network, &channels, err) < 0)
		return -1;
	vae_config_tiny(network->downscale, channels, &told);
	if (model->config_path &&
	    (c->latent_channels != told.latent_channels || c->blocks != told.blocks))
		return error_set(err, ERR_CONFIG,
				 "%s: its config has %zu latent channels at 1/%zu, its weights %zu "
				 "at 1/%zu",
				 tiny_weights_name(model->tiny), c->latent_channels,
				 vae_config_downscale(c), channels, network->downscale);
	model->config = told;
	model->factors_told = true;
	return 0;
}

/* What stands in the weights' file beside the encoder: FLUX.2's batch norm, Playground's edm_mean. */
static int complete_config(struct vae_model *model, struct error *err)
{
	struct vae_config *c = &model->config;

	if (c->class == VAE_CLASS_FLUX2)
		return read_statistics(model, "bn.running_mean", "bn.running_var", err);
	if (model->config_path || !kl_weights_has(model->weights, "edm_mean"))
		return 0;
	c->n_statistics = c->latent_channels;
	if (c->n_statistics > VAE_MAX_STATISTICS)
		return error_set(err, ERR_CONFIG, "%s: %zu latent channels are too many",
				 kl_weights_name(model->weights), c->n_statistics);
	return read_statistics(model, "edm_mean", "edm_std", err);
}

static int open_model(struct vae_model *model, const char *path, const char *config,
		      struct error *err)
{
	int r;

	if (find_files(model, path, config, err) < 0)
		return -1;
	if (model->config_path ? model->config.class == VAE_CLASS_TINY
			       : tiny_weights_exist(model->weights_path))
		return open_tiny(model, err);
	model->weights = kl_weights_open(model->weights_path, err);
	if (!model->weights)
		return -1;
	r = model->config_path ? 0 : vae_shapes_config(model->weights, &model->config, err);
	model->factors_told = model->config_path || model->config.class == VAE_CLASS_FLUX2;
	return r == 0 ? complete_config(model, err) : -1;
}

struct vae_model *vae_model_open(const char *path, const char *config, struct error *err)
{
	struct vae_model *model = xcalloc(1, sizeof(*model));

	if (open_model(model, path, config, err) < 0) {
		vae_model_close(model);
		return NULL;
	}
	return model;
}

void vae_model_close(struct vae_model *model)
{
	if (!model)
		return;
	kl_weights_close(model->weights);
	tiny_weights_close(model->tiny);
	free(model->weights_path);
	free(model->config_path);
	free(model);
}

const char *vae_model_name(const struct vae_model *model)
{
	return model->tiny ? tiny_weights_name(model->tiny) : kl_weights_name(model->weights);
}

struct vae_model_tensors vae_model_tensors(const struct vae_model *model)
{
	const struct kl_weights *kl = model->weights;
	const struct tiny_weights *tiny = model->tiny;

	if (tiny)
		return (struct vae_model_tensors){
		    .naming = tiny_weights_diffusers(tiny) ? "diffusers" : "TAESD",
		    .prefix = tiny_weights_prefix(tiny),
		    .dtype = tiny_weights_dtype(tiny),
		    .tensors = tiny_weights_tensors(tiny),
		    .parameters = tiny_weights_parameters(tiny)};
	return (struct vae_model_tensors){.naming = vae_naming_title(kl_weights_naming(kl)),
					  .prefix = kl_weights_prefix(kl),
					  .dtype = kl_weights_dtype(kl),
					  .tensors = kl_weights_tensors(kl),
					  .parameters = kl_weights_parameters(kl)};
}
