#include "config/recipe_options.h"

#include "config/encoder_scope.h"

#include "base/checked.h"
#include "config/remote_options.h"
#include "config/vae_presets.h"

#include <string.h>

static const char *const posteriors[] = {"mean", "moments", "draw", NULL};
static const char *const tilings[] = {"none", "diffusers", NULL};
const char *const recipe_precisions[] = {"auto", "f32", "bf16", "f16", NULL};
static const char *const roundings[] = {"none", "bf16", "6bit", "step", NULL};
static const char *const dtypes[] = {"float16", "float32", NULL};

#define FIELD(f) offsetof(struct recipe_options, f)

/* In a file a relative path of two parts begins with a dot; ORG/NAME is a hub id. */
static bool is_no_path(const char *text)
{
	return vae_source_of(text, NULL) != VAE_SOURCE_FILES || vae_preset_find(text) ||
	       vae_hub_id_valid(text);
}

/* Whether there is such a model, the rest of the configuration tells. */
static bool is_declared(const char *text)
{
	return text[strlen(RECIPE_VAE_DECLARED)] != '\0';
}

static bool is_endpoint(const char *text)
{
	return remote_url_valid(text + strlen(RECIPE_VAE_ENDPOINT));
}

static const struct setting vae_rows[] = {
    {"path", SETTING_PATH, FIELD(vae), .is_word = is_no_path, .example = "/models/sd-vae-ft-mse",
     .help = "folder, .safetensors file, hub id or name, as above"},
    {"config", SETTING_PATH, FIELD(vae_options.config),
     .help = "config.json of a VAE that has none beside it"},
    {"declared", SETTING_STRING, FIELD(vae), .prefix = RECIPE_VAE_DECLARED, .valid = is_declared,
     .expected = "the name of a model, as sdxl", .example = "sdxl",
     .help = "what an endpoint that does not tell its weights computes: a name of `latentctl "
	     "model list`, or the model of an encoder"},
    {"endpoint", SETTING_STRING, FIELD(vae), .prefix = RECIPE_VAE_ENDPOINT, .valid = is_endpoint,
     .expected = REMOTE_URL_EXPECTED, .example = "http://gpu7:8188/",
     .help = "the model that the latentd there serves"},
};

static const struct settings_group vae_mapping = {.rows = vae_rows, .n = ARRAY_SIZE(vae_rows)};

static const struct setting rows[] = {
    {"vae", SETTING_PATH, FIELD(vae), .is_word = is_no_path, .required = true,
     .group = &vae_mapping, .example = "/models/sd-vae-ft-mse", .value_name = "VAE",
     .help = "folder, .safetensors file, hub id or name (sdxl); docs/MODELS.md"},
    {.type = SETTING_GROUP, .offset = FIELD(vae_options), .group = &vae_settings},
    {.type = SETTING_GROUP, .offset = FIELD(pixels), .group = &placement_settings},
    {.type = SETTING_GROUP, .offset = FIELD(pixels), .group = &drawing_settings},
    {"flip", SETTING_FLAG, FIELD(flip), .fallback = "false",
     .help = "encode the mirrored picture, too: a sample of its own, with key KEY-f"},
    {"crops", SETTING_COUNT, FIELD(crops), .fallback = "0", .max = 8, .value_name = "N",
     .help = "encode N further crops of each image, too, at places that its content and the seed "
	     "decide: samples KEY-c1, KEY-c2 and so on"},
    {"posterior", SETTING_CHOICE, FIELD(posterior), .fallback = "mean", .choices = posteriors,
     .help = "what is kept of the distribution"},
    {"tiling", SETTING_CHOICE, FIELD(tiling), .fallback = "none", .choices = tilings,
     .help = "diffusers: large images in its blended tiles, to match latents made so"},
    {"precision", SETTING_CHOICE, FIELD(precision), .fallback = "auto",
     .choices = recipe_precisions,
     .help = "of the network's products. auto: f32; where GPUs alone encode f16, or bf16 for a "
	     "model that may overflow. bf16 is faster with AVX512_BF16 too, and less exact"},
    {"scaled", SETTING_FLAG, FIELD(scaled), .fallback = "false",
     .help = "store (z - shift_factor) * scaling_factor, what a model is trained on"},
    {"dtype", SETTING_CHOICE, FIELD(dtype), .fallback = "float16", .choices = dtypes,
     .help = "of the stored latents"},
    {"round", SETTING_CHOICE, FIELD(round), .fallback = "none", .choices = roundings,
     .help = "coarser latents, which are smaller: to bfloat16 (SNR about 55 dB), 6 bits of "
	     "mantissa (49) or "
	     "steps of a 64th of a standard deviation (47)"},
    {"seed", SETTING_U64, FIELD(seed), .fallback = "0", .max = INT64_MAX, .value_name = "N",
     .help = "of draws, of further crops and of the order in shards"},
};

const struct settings_group recipe_settings = {.rows = rows, .n = ARRAY_SIZE(rows)};

int recipe_options_check(const struct recipe_options *o, struct error *err)
{
	enum vae_source source = o->vae ? vae_source_of(o->vae, NULL) : VAE_SOURCE_FILES;
	const struct encoder_scope_wish wish = {.declared = source == VAE_SOURCE_DECLARED,
						.posterior = o->posterior,
						.precision = o->precision,
						.tiling = o->tiling};

	if (o->scaled && strcmp(o->posterior, "moments") == 0)
		return error_set(err, ERR_CONFIG,
				 "scaled: moments have no scale, expected posterior mean or draw");
	if ((wish.declared || source == VAE_SOURCE_ENDPOINT) &&
	    encoder_scope_endpoint(&wish, err) < 0)
		return -1;
	return pixel_options_check(&o->pixels, err);
}
