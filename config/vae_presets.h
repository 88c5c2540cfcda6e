/*
 * The published families of VAEs, as numbers: what a file of weights does not say of itself (which scaling factor,
 * which size its model is trained on), and where on the Hugging Face hub each is. The sources are the models'
 * config.json and the pipelines of diffusers; docs/MODELS.md shows the table.
 */
#ifndef LATENTD_CONFIG_VAE_PRESETS_H
#define LATENTD_CONFIG_VAE_PRESETS_H

#include <stdbool.h>
#include <stddef.h>

/* The shape of an encoder. */
enum vae_network {
	VAE_NETWORK_STANDARD, /* 128, 256, 512, 512 channels, two layers a block, attention in the middle */
	VAE_NETWORK_COGVIEW4, /* 128, 512, 1024, 1024 channels, three layers a block, no attention */
	/* AutoencoderTiny, whose latents are scaled already: 1/8 of each side, 1/32 */
	VAE_NETWORK_TINY,
	VAE_NETWORK_TINY_32,
};

struct vae_preset {
	const char *name;  /* "sdxl" */
	const char *title; /* "Stable Diffusion XL" */
	enum vae_network network;
	size_t latent_channels;
	bool quant_conv;
	bool
	    batch_norm; /* FLUX.2: patches, and statistics in the weights' file, in place of factors */
	double scaling_factor;
	bool has_shift_factor;
	double shift_factor;
	const double *mean, *std; /* [latent_channels]; NULL: none */
	size_t multiple;	  /* of an image's sides, as the model's pipelines have it */
	size_t resolution;	  /* the side that its model is trained on */
	size_t tile; /* sample_size of its config: diffusers' tiles; 0: the same as resolution */
	/*
	 * dB of a picture that it encoded and decoded, at least: below it a picture is none of its source's. What is
	 * measured keeps ten more; foliage, the worst, one to four.
	 */
	double least_psnr;
	bool fits_float16; /* its activations: known not to overflow, whatever its config says */
	const char
	    *probe; /* a tensor that only a checkpoint of this family has beside the VAE; NULL */
};

extern const struct vae_preset vae_presets[];
extern const size_t n_vae_presets;

/* By its name, or that of a VAE's repository ("sdxl-vae-fp16-fix"). NULL: there is none. */
const struct vae_preset *vae_preset_find(const char *name);

/* Whether both name one model: the same preset in two spellings, or else the same text. */
bool vae_name_same(const char *a, const char *b);

/* A repository on the hub and the preset that its VAE is. */
struct vae_hub {
	const char *id;	    /* "stabilityai/sdxl-vae" */
	const char *folder; /* of the VAE in it: "vae/" or "" */
	const char *preset;
};

extern const struct vae_hub vae_hubs[];
extern const size_t n_vae_hubs;

/* NULL: nothing is known of it. */
const struct vae_hub *vae_hub_find(const char *id);
/* ORG/NAME, as the hub allows it. */
bool vae_hub_id_valid(const char *text);

#endif
