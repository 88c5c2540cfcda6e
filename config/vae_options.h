/*
 * What is said of a VAE beside where it is, for files that do not say it themselves. A group, as in settings.h.
 */
#ifndef LATENTD_CONFIG_VAE_OPTIONS_H
#define LATENTD_CONFIG_VAE_OPTIONS_H

#include "config/settings.h"

struct vae_options {
	const char *config; /* a config.json; NULL: the model's own, or none */
	const char *model;  /* the name of a preset (vae_presets.h); NULL: what the files tell */
};

extern const struct settings_group vae_settings;

#endif
