/*
 * How a source that is a manifest is read; of others nothing is used.
 */
#ifndef LATENTD_CONFIG_SOURCE_OPTIONS_H
#define LATENTD_CONFIG_SOURCE_OPTIONS_H

#include "config/settings.h"

struct source_options {
	const char *root;	    /* NULL: the folder that the manifest is in */
	const char *path_column;    /* NULL: the first that is there of those that are usual */
	const char *caption_column; /* the same */
};

extern const struct settings_group source_options_settings;

#endif
