#include "config/recipe_options.h"

#include "base/checked.h"
#include "config/vae_presets.h"

#include <string.h>

static const char *const posteriors[] = {"mean", "moments", "draw", NULL};
static const char *const dtypes[] = {"float16", "float32", NULL};

#define FIELD(f) offsetof(struct recipe_options, f)

/* In a file a relative path of two parts begins with a dot; ORG/NAME is a hub id. */
static bool is_no_path(const char *text)
{
	return strcmp(text, RECIPE_VAE_FAKE) == 0 || vae_preset_find(text) ||
	       vae_hub_id_valid(text);
}

static const struct setting rows[] = {
    {"vae", SETTING_PATH, FIELD(vae), .is_word = is_no_path, .required = true,
     .example = "/models/sd-vae-ft-mse", .value_name = "VAE",
     .help = "folder, .safetensors file, hub id or name (sdxl); docs/MODELS.md"},
    {.type = SETTING_GROUP, .offset = FIELD(vae_options), .group = &vae_settings},
    {.type = SETTING_GROUP, .offset = FIELD(pixels), .group = &placement_settings},
    {.type = SETTING_GROUP, .offset = FIELD(pixels), .group = &drawing_settings},
    {"posterior", SETTING_CHOICE, FIELD(posterior), .fallback = "mean", .choices = posteriors,
     .help = "what is kept of the distribution"},
    {"scaled", SETTING_FLAG, FIELD(scaled), .fallback = "false",
     .help = "store (z - shift_factor) * scaling_factor, what a model is trained on"},
    {"dtype", SETTING_CHOICE, FIELD(dtype), .fallback = "float16", .choices = dtypes,
     .help = "of the stored latents"},
    {"seed", SETTING_U64, FIELD(seed), .fallback = "0", .max = INT64_MAX, .value_name = "N",
     .help = "of draws and of the order in shards"},
};

const struct settings_group recipe_settings = {.rows = rows, .n = ARRAY_SIZE(rows)};

int recipe_options_check(const struct recipe_options *o, struct error *err)
{
	if (o->scaled && strcmp(o->posterior, "moments") == 0)
		return error_set(err, ERR_CONFIG,
				 "scaled: moments have no scale, expected posterior mean or draw");
	return pixel_options_check(&o->pixels, err);
}
