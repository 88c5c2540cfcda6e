/*
 * config.json of a diffusers AutoencoderKL, reduced to what decides the encoder. Keys that are absent
 * have the class's defaults; unknown keys are ignored, as diffusers does.
 */
#ifndef LATENTD_VAE_VAE_CONFIG_H
#define LATENTD_VAE_VAE_CONFIG_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define VAE_MAX_BLOCKS 8

struct vae_config {
	size_t blocks;				   /* n = len(block_out_channels) */
	size_t block_out_channels[VAE_MAX_BLOCKS]; /* b_0 .. b_{n-1} */
	size_t layers_per_block;		   /* L, default 1 */
	size_t norm_num_groups;			   /* G, default 32; divides every b_i */
	size_t in_channels;			   /* 3 */
	size_t latent_channels;			   /* C, default 4 */
	bool use_quant_conv;			   /* default true */
	bool mid_block_add_attention;		   /* default true */
	bool force_upcast;			   /* default true */
	double scaling_factor;			   /* default 0.18215 */
	bool has_shift_factor;
	double shift_factor;
	size_t sample_size; /* diffusers' tile size, default 32 */
};

/*
 * Reads and checks it. ERR_CONFIG names the file and the key: not JSON, another _class_name, a value of
 * the wrong type or range, a down_block_type other than DownEncoderBlock2D, act_fn other than silu.
 */
int vae_config_read(const char *path, struct vae_config *out, struct error *err);
/* The same from text; @name stands in messages. */
int vae_config_parse(const char *json, size_t size, const char *name, struct vae_config *out,
		     struct error *err);

/* Pixels per latent along one axis: 2^(blocks - 1). */
size_t vae_config_downscale(const struct vae_config *config);

#endif
