/*
 * A mapping of a YAML file into the struct that a table of settings is about.
 *
 *	settings_defaults(table, n, &options);
 *	settings_yaml_read(&file, tree, &group, &options, err)
 *
 * ERR_CONFIG: "FILE:LINE:COLUMN: what was found, what was expected". An unknown setting is told the nearest known one.
 */
#ifndef LATENTD_CONFIG_SETTINGS_YAML_H
#define LATENTD_CONFIG_SETTINGS_YAML_H

#include "config/config_memory.h"
#include "config/settings.h"
#include "config/yaml_tree.h"

struct settings_file {
	const char *name;	      /* as messages say it */
	const char *folder;	      /* that relative paths begin at */
	struct config_memory *memory; /* that strings and lists go into */
};

/* Over what @options holds; items of lists begin with their table's defaults. */
int settings_yaml_read(const struct settings_file *file, const struct yaml_node *mapping,
		       const struct settings_group *group, void *options, struct error *err);

/* ERR_CONFIG with the place in front. */
int settings_refuse(const struct settings_file *file, const struct config_place *place,
		    struct error *err, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
