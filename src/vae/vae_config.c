/*
 * A table of the keys that are plain numbers and booleans; lists and fixed words by hand. Upper bounds
 * are far above any published model and keep every later product of sizes from overflowing.
 */
#include "vae/vae_config.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#define CONFIG_FILE_LIMIT ((size_t)1 << 20)
#define MAX_CHANNELS	  ((size_t)65536)

static const char *const class_names[] = {
    [VAE_CLASS_KL] = "AutoencoderKL",
    [VAE_CLASS_FLUX2] = "AutoencoderKLFlux2",
    [VAE_CLASS_TINY] = "AutoencoderTiny",
};

static const struct vae_config class_defaults[] = {
    [VAE_CLASS_KL] = {.blocks = 1,
		      .block_out_channels = {64},
		      .decoder_channels = {64},
		      .layers_per_block = 1,
		      .norm_num_groups = 32,
		      .in_channels = 3,
		      .latent_channels = 4,
		      .use_quant_conv = true,
		      .use_post_quant_conv = true,
		      .mid_block_add_attention = true,
		      .force_upcast = true,
		      .scaling_factor = 0.18215,
		      .sample_size = 32,
		      .patch_size = 1},
    [VAE_CLASS_FLUX2] = {.class = VAE_CLASS_FLUX2,
			 .blocks = 4,
			 .block_out_channels = {128, 256, 512, 512},
			 .decoder_channels = {128, 256, 512, 512},
			 .layers_per_block = 2,
			 .norm_num_groups = 32,
			 .in_channels = 3,
			 .latent_channels = 32,
			 .use_quant_conv = true,
			 .use_post_quant_conv = true,
			 .mid_block_add_attention = true,
			 .force_upcast = true,
			 .scaling_factor = 1,
			 .sample_size = 1024,
			 .patch_size = 2,
			 .n_statistics = 128,
			 .batch_norm_eps = 1e-4},
    [VAE_CLASS_TINY] = {.class = VAE_CLASS_TINY,
			.blocks = 4,
			.block_out_channels = {64, 64, 64, 64},
			.in_channels = 3,
			.latent_channels = 4,
			.scaling_factor = 1,
			.patch_size = 1},
};

struct config_reader {
	const char *name; /* of the file, quoted */
	const json_t *root;
	struct error *err;
};

static int config_bad(const struct config_reader *r, const char *key, const char *expected)
{
	const json_t *found = json_object_get(r->root, key);
	cleanup_free char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

	if (!found)
		return error_set(r->err, ERR_CONFIG, "%s: %s is missing: expected %s", r->name, key,
				 expected);
	return error_set(r->err, ERR_CONFIG, "%s: %s is %.60s: expected %s", r->name, key,
			 text ? text : "unreadable", expected);
}

static bool json_count(const json_t *value, size_t max, size_t *out)
{
	json_int_t i = json_integer_value(value);

	if (!json_is_integer(value) || i < 1 || (uint64_t)i > max)
		return false;
	*out = (size_t)i;
	return true;
}

/* A number from 1 to @max; an absent key leaves @out. */
static int read_count(const struct config_reader *r, const char *key, size_t max, size_t *out)
{
	const json_t *value = json_object_get(r->root, key);
	char expected[64];

	if (!value || json_count(value, max, out))
		return 0;
	snprintf(expected, sizeof(expected), "a whole number from 1 to %zu", max);
	return config_bad(r, key, expected);
}

static int read_bool(const struct config_reader *r, const char *key, bool *out)
{
	const json_t *value = json_object_get(r->root, key);

	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return config_bad(r, key, "true or false");
	*out = json_is_true(value);
	return 0;
}

/* null is the same as absent: *has stays false. */
static int read_number(const struct config_reader *r, const char *key, bool *has, double *out)
{
	const json_t *value = json_object_get(r->root, key);

	*has = false;
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_number(value) || !isfinite(json_number_value(value)))
		return config_bad(r, key, "a number");
	*out = json_number_value(value);
	*has = true;
	return 0;
}

/* The class, and its defaults. */
static int read_class(const struct config_reader *r, struct vae_config *c)
{
	const char *key = "_class_name";
	const char *text = json_string_value(json_object_get(r->root, key));

	for (size_t i = 0; text && i < ARRAY_SIZE(class_names); i++) {
		if (strcmp(text, class_names[i]) == 0) {
			vae_config_defaults((enum vae_class)i, c);
			return 0;
		}
	}
	return config_bad(r, key,
			  "\"AutoencoderKL\", \"AutoencoderKLFlux2\" or \"AutoencoderTiny\"");
}

static int read_activation(const struct config_reader *r, const char *wanted)
{
	const json_t *value = json_object_get(r->root, "act_fn");
	const char *text = json_string_value(value);
	char expected[16];

	if (!value || (text && strcmp(text, wanted) == 0))
		return 0;
	snprintf(expected, sizeof(expected), "\"%s\"", wanted);
	return config_bad(r, "act_fn", expected);
}

/* The decoder's are the encoder's, unless FLUX.2's config has others. */
static int read_decoder_blocks(const struct config_reader *r, struct vae_config *c)
{
	const char *key = "decoder_block_out_channels";
	const json_t *list = json_object_get(r->root, key);
	char expected[64];

	memcpy(c->decoder_channels, c->block_out_channels, sizeof(c->decoder_channels));
	if (c->class != VAE_CLASS_FLUX2 || !list || json_is_null(list))
		return 0;
	snprintf(expected, sizeof(expected), "null or a list of %zu channel counts", c->blocks);
	if (json_array_size(list) != c->blocks)
		return config_bad(r, key, expected);
	for (size_t i = 0; i < c->blocks; i++) {
		if (!json_count(json_array_get(list, i), MAX_CHANNELS, &c->decoder_channels[i]))
			return config_bad(r, key, expected);
	}
	return 0;
}

static int read_blocks(const struct config_reader *r, struct vae_config *c)
{
	const char *key = "block_out_channels";
	const json_t *list = json_object_get(r->root, key);
	const char *expected = "a list of 1 to 8 channel counts";

	if (!list)
		return read_decoder_blocks(r, c);
	if (!json_is_array(list) || json_array_size(list) < 1 ||
	    json_array_size(list) > VAE_MAX_BLOCKS)
		return config_bad(r, key, expected);
	c->blocks = json_array_size(list);
	for (size_t i = 0; i < c->blocks; i++) {
		if (!json_count(json_array_get(list, i), MAX_CHANNELS, &c->block_out_channels[i]))
			return config_bad(r, key, expected);
	}
	return read_decoder_blocks(r, c);
}

static int read_block_types(const struct config_reader *r, const struct vae_config *c)
{
	const char *key = "down_block_types";
	const json_t *list = json_object_get(r->root, key);
	char expected[64];

	snprintf(expected, sizeof(expected), "%zu times \"DownEncoderBlock2D\"", c->blocks);
	if (!list && (c->blocks == 1 || c->class == VAE_CLASS_FLUX2))
		return 0;
	if (json_array_size(list) != c->blocks)
		return config_bad(r, key, expected);
	for (size_t i = 0; i < c->blocks; i++) {
		const char *type = json_string_value(json_array_get(list, i));

		if (!type || strcmp(type, "DownEncoderBlock2D") != 0)
			return config_bad(r, key, expected);
	}
	return 0;
}

static int read_groups(const struct config_reader *r, struct vae_config *c)
{
	if (read_count(r, "norm_num_groups", MAX_CHANNELS, &c->norm_num_groups) < 0)
		return -1;
	for (size_t i = 0; i < c->blocks; i++) {
		if (c->block_out_channels[i] % c->norm_num_groups != 0)
			return error_set(r->err, ERR_CONFIG,
					 "%s: norm_num_groups is %zu: expected a divisor of every "
					 "number in block_out_channels, which has %zu",
					 r->name, c->norm_num_groups, c->block_out_channels[i]);
		if (c->decoder_channels[i] % c->norm_num_groups != 0)
			return error_set(r->err, ERR_CONFIG,
					 "%s: norm_num_groups is %zu: expected a divisor of every "
					 "number in decoder_block_out_channels, which has %zu",
					 r->name, c->norm_num_groups, c->decoder_channels[i]);
	}
	return 0;
}

/* A list of one number a channel; *has stays false where it is absent or null. */
static int read_statistic(const struct config_reader *r, const char *key, size_t n, bool *has,
			  double *out)
{
	const json_t *list = json_object_get(r->root, key);
	char expected[64];

	*has = list && !json_is_null(list);
	if (!*has)
		return 0;
	snprintf(expected, sizeof(expected), "null or a list of %zu numbers", n);
	if (json_array_size(list) != n || n > VAE_MAX_STATISTICS)
		return config_bad(r, key, expected);
	for (size_t i = 0; i < n; i++) {
		const json_t *value = json_array_get(list, i);

		if (!json_is_number(value) || !isfinite(json_number_value(value)))
			return config_bad(r, key, expected);
		out[i] = json_number_value(value);
	}
	return 0;
}

static int read_statistics(const struct config_reader *r, struct vae_config *c)
{
	size_t n = c->latent_channels;
	bool has_mean, has_std;

	if (read_statistic(r, "latents_mean", n, &has_mean, c->latents_mean) < 0 ||
	    read_statistic(r, "latents_std", n, &has_std, c->latents_std) < 0)
		return -1;
	if (has_mean != has_std)
		return config_bad(r, has_mean ? "latents_std" : "latents_mean",
				  "as many numbers as its counterpart has");
	c->n_statistics = has_mean ? n : 0;
	for (size_t i = 0; i < c->n_statistics; i++) {
		if (c->latents_std[i] <= 0)
			return config_bad(r, "latents_std", "numbers above 0");
	}
	return 0;
}

/* Its statistics stand in the weights' file. */
static int read_flux2(const struct config_reader *r, struct vae_config *c)
{
	const json_t *patch = json_object_get(r->root, "patch_size");
	size_t most = VAE_MAX_STATISTICS / (c->patch_size * c->patch_size);
	bool has;

	if (patch && (json_array_size(patch) != 2 ||
		      json_integer_value(json_array_get(patch, 0)) != (json_int_t)c->patch_size ||
		      json_integer_value(json_array_get(patch, 1)) != (json_int_t)c->patch_size))
		return config_bad(r, "patch_size", "[2, 2]");
	if (read_number(r, "batch_norm_eps", &has, &c->batch_norm_eps) < 0)
		return -1;
	if (c->batch_norm_eps <= 0)
		return config_bad(r, "batch_norm_eps", "a number above 0");
	if (c->latent_channels > most)
		return config_bad(r, "latent_channels", "a whole number from 1 to 32");
	c->n_statistics = c->latent_channels * c->patch_size * c->patch_size;
	return 0;
}

static int read_factors(const struct config_reader *r, struct vae_config *c)
{
	bool has_scaling;

	if (c->class == VAE_CLASS_FLUX2)
		return read_flux2(r, c);
	if (read_number(r, "scaling_factor", &has_scaling, &c->scaling_factor) < 0 ||
	    read_number(r, "shift_factor", &c->has_shift_factor, &c->shift_factor) < 0)
		return -1;
	if (c->scaling_factor <= 0)
		return config_bad(r, "scaling_factor", "a number above 0");
	return read_statistics(r, c);
}

/* An integer, or a list whose first is taken, as diffusers does. */
static int read_sample_size(const struct config_reader *r, struct vae_config *c)
{
	const json_t *value = json_object_get(r->root, "sample_size");

	if (json_is_array(value))
		value = json_array_get(value, 0);
	else if (!value)
		return 0;
	if (!json_count(value, MAX_CHANNELS, &c->sample_size))
		return config_bad(r, "sample_size", "a whole number from 1 to 65536");
	return 0;
}

/* A list of exactly those counts; absent: it is. */
static bool is_list(const struct config_reader *r, const char *key, const size_t *counts, size_t n)
{
	const json_t *list = json_object_get(r->root, key);

	if (list && json_array_size(list) != n)
		return false;
	for (size_t i = 0; list && i < n; i++) {
		if (json_integer_value(json_array_get(list, i)) != (json_int_t)counts[i])
			return false;
	}
	return true;
}

/* Its factors have to be those of a latent that is scaled already. */
static int read_tiny_factors(const struct config_reader *r)
{
	double scaling = 1, shift = 0;
	bool has;

	if (read_number(r, "scaling_factor", &has, &scaling) < 0 ||
	    read_number(r, "shift_factor", &has, &shift) < 0)
		return -1;
	if (scaling < 1 || scaling > 1)
		return config_bad(r, "scaling_factor", "1: an AutoencoderTiny scales by itself");
	if (shift < 0 || shift > 0)
		return config_bad(r, "shift_factor", "0: an AutoencoderTiny shifts by itself");
	return 0;
}

/* Of a network whose every number is fixed only the channels of its latent and, beyond diffusers, its downscale. */
static int read_tiny(const struct config_reader *r, struct vae_config *c)
{
	static const char *const widths = "encoder_block_out_channels";
	static const size_t blocks[] = {1, 3, 3, 3};
	struct vae_config larger;

	vae_config_tiny(32, c->latent_channels, &larger);
	if (json_array_size(json_object_get(r->root, widths)) == larger.blocks)
		*c = larger;
	if (!is_list(r, widths, c->block_out_channels, c->blocks))
		return config_bad(r, widths, "[64, 64, 64, 64]");
	if (!is_list(r, "num_encoder_blocks", blocks, ARRAY_SIZE(blocks)))
		return config_bad(r, "num_encoder_blocks", "[1, 3, 3, 3]");
	if (read_activation(r, "relu") < 0 ||
	    read_count(r, "latent_channels", 4096, &c->latent_channels) < 0 ||
	    read_count(r, "in_channels", MAX_CHANNELS, &c->in_channels) < 0 ||
	    read_tiny_factors(r) < 0)
		return -1;
	return c->in_channels == 3 ? 0 : config_bad(r, "in_channels", "3");
}

static int read_all(const struct config_reader *r, struct vae_config *c)
{
	if (read_class(r, c) < 0)
		return -1;
	if (c->class == VAE_CLASS_TINY)
		return read_tiny(r, c);
	if (read_activation(r, "silu") < 0 || read_blocks(r, c) < 0 || read_block_types(r, c) < 0 ||
	    read_groups(r, c) < 0 ||
	    read_count(r, "layers_per_block", 64, &c->layers_per_block) < 0 ||
	    read_count(r, "latent_channels", 4096, &c->latent_channels) < 0 ||
	    read_count(r, "in_channels", MAX_CHANNELS, &c->in_channels) < 0 ||
	    read_bool(r, "use_quant_conv", &c->use_quant_conv) < 0 ||
	    read_bool(r, "use_post_quant_conv", &c->use_post_quant_conv) < 0 ||
	    read_bool(r, "mid_block_add_attention", &c->mid_block_add_attention) < 0 ||
	    read_bool(r, "force_upcast", &c->force_upcast) < 0 || read_factors(r, c) < 0 ||
	    read_sample_size(r, c) < 0)
		return -1;
	if (c->in_channels != 3)
		return config_bad(r, "in_channels", "3");
	return 0;
}

int vae_config_parse(const char *json, size_t size, const char *name, struct vae_config *out,
		     struct error *err)
{
	struct vae_config c = {.blocks = 0};
	struct config_reader r = {.name = name, .err = err};
	json_error_t why;
	json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &why);
	int result;

	if (!root)
		return error_set(err, ERR_CONFIG, "%s: line %d, column %d: %s", name, why.line,
				 why.column, why.text);
	r.root = root;
	if (json_is_object(root))
		result = read_all(&r, &c);
	else
		result = error_set(err, ERR_CONFIG, "%s: expected a JSON object", name);
	json_decref(root);
	if (result == 0)
		*out = c;
	return result;
}

int vae_config_read(const char *path, struct vae_config *out, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];

	if (file_read_all(path, CONFIG_FILE_LIMIT, &text, err) < 0) {
		if (err->code == ERR_DATA)
			err->code = ERR_CONFIG;
		return -1;
	}
	return vae_config_parse((const char *)text.data, text.size, text_quote(path, quoted), out,
				err);
}

const char *vae_class_name(enum vae_class class)
{
	return class_names[class];
}

void vae_config_defaults(enum vae_class class, struct vae_config *out)
{
	*out = class_defaults[class];
}

const char *vae_part_name(enum vae_part part)
{
	return part == VAE_ENCODER ? "encoder" : "decoder";
}

const size_t *vae_config_channels(const struct vae_config *config, enum vae_part part)
{
	return part == VAE_ENCODER ? config->block_out_channels : config->decoder_channels;
}

bool vae_config_deterministic(const struct vae_config *config)
{
	return config->class == VAE_CLASS_TINY;
}

void vae_config_tiny(size_t downscale, size_t latent_channels, struct vae_config *out)
{
	static const size_t larger[] = {32, 64, 64, 64, 64, 64};

	vae_config_defaults(VAE_CLASS_TINY, out);
	out->latent_channels = latent_channels;
	if (downscale == 32) {
		out->blocks = ARRAY_SIZE(larger);
		memcpy(out->block_out_channels, larger, sizeof(larger));
	}
}

size_t vae_config_downscale(const struct vae_config *config)
{
	return (size_t)1 << (config->blocks - 1);
}
