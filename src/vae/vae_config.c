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

/* A key that may only have one value; @required: it must be there. */
static int read_word(const struct config_reader *r, const char *key, const char *word,
		     bool required)
{
	const json_t *value = json_object_get(r->root, key);
	const char *text = json_string_value(value);
	char expected[64];

	if (!value && !required)
		return 0;
	if (text && strcmp(text, word) == 0)
		return 0;
	snprintf(expected, sizeof(expected), "\"%s\"", word);
	return config_bad(r, key, expected);
}

static int read_blocks(const struct config_reader *r, struct vae_config *c)
{
	const char *key = "block_out_channels";
	const json_t *list = json_object_get(r->root, key);
	const char *expected = "a list of 1 to 8 channel counts";

	if (!list) {
		c->blocks = 1;
		c->block_out_channels[0] = 64;
		return 0;
	}
	if (!json_is_array(list) || json_array_size(list) < 1 ||
	    json_array_size(list) > VAE_MAX_BLOCKS)
		return config_bad(r, key, expected);
	c->blocks = json_array_size(list);
	for (size_t i = 0; i < c->blocks; i++) {
		if (!json_count(json_array_get(list, i), MAX_CHANNELS, &c->block_out_channels[i]))
			return config_bad(r, key, expected);
	}
	return 0;
}

static int read_block_types(const struct config_reader *r, const struct vae_config *c)
{
	const char *key = "down_block_types";
	const json_t *list = json_object_get(r->root, key);
	char expected[64];

	snprintf(expected, sizeof(expected), "%zu times \"DownEncoderBlock2D\"", c->blocks);
	if (!list && c->blocks == 1)
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
	}
	return 0;
}

static int read_factors(const struct config_reader *r, struct vae_config *c)
{
	bool has_scaling;

	if (read_number(r, "scaling_factor", &has_scaling, &c->scaling_factor) < 0 ||
	    read_number(r, "shift_factor", &c->has_shift_factor, &c->shift_factor) < 0)
		return -1;
	if (c->scaling_factor <= 0)
		return config_bad(r, "scaling_factor", "a number above 0");
	return 0;
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

static int read_all(const struct config_reader *r, struct vae_config *c)
{
	if (read_word(r, "_class_name", "AutoencoderKL", true) < 0 ||
	    read_word(r, "act_fn", "silu", false) < 0 || read_blocks(r, c) < 0 ||
	    read_block_types(r, c) < 0 || read_groups(r, c) < 0 ||
	    read_count(r, "layers_per_block", 64, &c->layers_per_block) < 0 ||
	    read_count(r, "latent_channels", 4096, &c->latent_channels) < 0 ||
	    read_count(r, "in_channels", MAX_CHANNELS, &c->in_channels) < 0 ||
	    read_bool(r, "use_quant_conv", &c->use_quant_conv) < 0 ||
	    read_bool(r, "mid_block_add_attention", &c->mid_block_add_attention) < 0 ||
	    read_bool(r, "force_upcast", &c->force_upcast) < 0 || read_factors(r, c) < 0 ||
	    read_sample_size(r, c) < 0)
		return -1;
	if (c->in_channels != 3)
		return config_bad(r, "in_channels", "3");
	return 0;
}

static const struct vae_config class_defaults = {
    .layers_per_block = 1,
    .norm_num_groups = 32,
    .in_channels = 3,
    .latent_channels = 4,
    .use_quant_conv = true,
    .mid_block_add_attention = true,
    .force_upcast = true,
    .scaling_factor = 0.18215,
    .sample_size = 32,
};

int vae_config_parse(const char *json, size_t size, const char *name, struct vae_config *out,
		     struct error *err)
{
	struct vae_config c = class_defaults;
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

size_t vae_config_downscale(const struct vae_config *config)
{
	return (size_t)1 << (config->blocks - 1);
}
