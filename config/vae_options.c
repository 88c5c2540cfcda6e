#include "config/vae_options.h"

#include "base/checked.h"
#include "config/vae_presets.h"

#define FIELD(f) offsetof(struct vae_options, f)

static bool is_preset(const char *text)
{
	return vae_preset_find(text) != NULL;
}

static const struct setting rows[] = {
    {"vae-config", SETTING_PATH, FIELD(config), .value_name = "FILE",
     .help = "config.json of a VAE that has none beside it"},
    {"model", SETTING_STRING, FIELD(model), .valid = is_preset,
     .expected = "a family that `latentctl model list` names, as sd15, sdxl or flux1",
     .value_name = "NAME", .help = "which family a bare file is of (sd15, sdxl, flux1, ...)"},
};

const struct settings_group vae_settings = {.rows = rows, .n = ARRAY_SIZE(rows)};
