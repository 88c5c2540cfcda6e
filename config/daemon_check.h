/*
 * Whether settings that are each good also go together.
 */
#ifndef LATENTD_CONFIG_DAEMON_CHECK_H
#define LATENTD_CONFIG_DAEMON_CHECK_H

#include "config/daemon_config.h"
#include "config/yaml_tree.h"

/*
 * @tree: what the configuration was read from, for the places in messages; NULL: those of datasets and encoders have
 * to do. @look: also at the file system: are the folders there, and do paths lead to the same place?
 */
int daemon_check(const struct daemon_config *config, const struct yaml_node *tree, bool look,
		 struct error *err);

#endif
