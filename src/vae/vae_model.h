/*
 * A VAE as people have it: which files it is, how its tensors are named, and its config.
 *
 *	struct vae_model *model = vae_model_open("models/sd-vae-ft-mse", NULL, err);
 *	... look at model->config, complete what the files do not tell (vae_model.h: factors_told)
 *	struct vae_encoder *vae = vae_encoder_load(model, &vae_engine_onednn, 0, err);
 *	vae_model_close(model);
 *
 * A path is
 *	a diffusers folder    config.json and diffusion_pytorch_model.safetensors (or .fp16.safetensors)
 *	a pipeline's folder   whose vae/ is one
 *	a .safetensors file   with any naming and prefix of kl_weights.h, alone or among a checkpoint's other tensors.
 *			      Beside a file named diffusion_pytorch_model* a config.json is its config; otherwise the
 *			      config is the one given, or what the shapes tell
 * each with the encoder of an AutoencoderKL, or of an AutoencoderTiny as tiny_vae.h says.
 *
 * Opening reads config and header only.
 */
#ifndef LATENTD_VAE_VAE_MODEL_H
#define LATENTD_VAE_VAE_MODEL_H

#include "vae/kl_weights.h"
#include "vae/tiny_weights.h"
#include "vae/vae_config.h"

enum vae_layout { VAE_LAYOUT_FOLDER, VAE_LAYOUT_PIPELINE, VAE_LAYOUT_FILE };

struct vae_model {
	enum vae_layout layout;
	char *weights_path;
	char *config_path;	    /* NULL: there is none, the shapes told the config */
	struct kl_weights *weights; /* NULL of an AutoencoderTiny */
	struct tiny_weights *tiny;  /* NULL of all others */
	struct vae_config config;
	/* whether scaling, shift and statistics are known: from a config, or by what it is */
	bool factors_told;
};

/*
 * @config: a config.json to be used instead of the one that lies there; may be NULL. ERR_CONFIG: there is no such
 * file or folder, it is not a model, a pickle, or the config is wrong.
 */
struct vae_model *vae_model_open(const char *path, const char *config, struct error *err);
void vae_model_close(struct vae_model *model);

/* The weights' file, quoted, for messages. */
const char *vae_model_name(const struct vae_model *model);

/* What is known of the tensors that were read so far. */
struct vae_model_tensors {
	const char *naming, *prefix; /* "CompVis/LDM"; what stands before the names */
	const char *dtype;	     /* "F32", "mixed" */
	size_t tensors, parameters;
};
struct vae_model_tensors vae_model_tensors(const struct vae_model *model);

/* For people: "diffusers folder". */
const char *vae_layout_title(enum vae_layout layout);

#endif
