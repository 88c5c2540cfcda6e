/*
 * config.json of a diffusers AutoencoderKL, AutoencoderKLFlux2 (the same encoder) or AutoencoderTiny, reduced to what
 * decides the encoder and what becomes of its latents. Keys that are absent have the class's defaults; unknown keys are ignored,
 * as diffusers does.
 *
 * What a model is trained on is made of the latent z [C][h][w] by
 *	x = (z - shift_factor) * scaling_factor			nearly everywhere; no shift: 0
 *	x = (z - mean) * scaling_factor / std			by channel, where there are statistics
 * AutoencoderKLFlux2 first makes patches: channel c, row dy, column dx of a patch become channel
 * c * 4 + dy * 2 + dx of [4C][h/2][w/2]; its statistics are of those. Nothing of it is applied here. What an
 * AutoencoderTiny gives is scaled already, and no distribution: its scaling is 1, its shift none.
 */
#ifndef LATENTD_VAE_VAE_CONFIG_H
#define LATENTD_VAE_VAE_CONFIG_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define VAE_MAX_BLOCKS	   8
#define VAE_MAX_STATISTICS 128

enum vae_class { VAE_CLASS_KL, VAE_CLASS_FLUX2, VAE_CLASS_TINY };
enum vae_part { VAE_ENCODER, VAE_DECODER };

struct vae_config {
	enum vae_class class;
	size_t blocks;				   /* n = len(block_out_channels) */
	size_t block_out_channels[VAE_MAX_BLOCKS]; /* b_0 .. b_{n-1}; of a tiny one its widths */
	size_t decoder_channels
	    [VAE_MAX_BLOCKS];	      /* the same of the decoder, which only FLUX.2 may have */
	size_t layers_per_block;      /* L, default 1; the decoder has one more */
	size_t norm_num_groups;	      /* G, default 32; divides every b_i */
	size_t in_channels;	      /* 3 */
	size_t latent_channels;	      /* C, default 4 */
	bool use_quant_conv;	      /* default true */
	bool use_post_quant_conv;     /* of the decoder; default true */
	bool mid_block_add_attention; /* default true */
	bool force_upcast;	      /* default true */
	double scaling_factor;	      /* default 0.18215; FLUX.2, which has none: 1 */
	bool has_shift_factor;
	double shift_factor;
	size_t sample_size;  /* diffusers' tile size, default 32 */
	size_t patch_size;   /* 1; FLUX.2: 2 */
	size_t n_statistics; /* 0: none; else C * patch_size^2 */
	double latents_mean[VAE_MAX_STATISTICS], latents_std[VAE_MAX_STATISTICS];
	double
	    batch_norm_eps; /* FLUX.2: mean and std are those of a batch norm in the weights' file */
};

/* "AutoencoderKL", as in _class_name. */
const char *vae_class_name(enum vae_class class);

/* What @class has where config.json says nothing. */
void vae_config_defaults(enum vae_class class, struct vae_config *out);

/*
 * Reads and checks it. ERR_CONFIG names the file and the key: not JSON, another _class_name, a value of
 * the wrong type or range, a down_block_type other than DownEncoderBlock2D, act_fn other than silu.
 */
int vae_config_read(const char *path, struct vae_config *out, struct error *err);
/* The same from text; @name stands in messages. */
int vae_config_parse(const char *json, size_t size, const char *name, struct vae_config *out,
		     struct error *err);

/* "encoder", "decoder": what names of tensors begin with. */
const char *vae_part_name(enum vae_part part);
/* Channels of the blocks of @part, those at full size first. */
const size_t *vae_config_channels(const struct vae_config *config, enum vae_part part);

/* Pixels per latent along one axis: 2^(blocks - 1). */
size_t vae_config_downscale(const struct vae_config *config);

/* Whether an image has one latent, not a distribution of them, and one that is scaled as a model takes it. */
bool vae_config_deterministic(const struct vae_config *config);
/* Of an AutoencoderTiny with that many pixels per latent, 8 or 32. */
void vae_config_tiny(size_t downscale, size_t latent_channels, struct vae_config *out);

#endif
