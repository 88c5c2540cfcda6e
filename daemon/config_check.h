/*
 * Everything that can be said about a configuration without starting: what `latentd --check-config`, a start and a
 * reload ask first. Nothing is made and nothing is printed.
 */
#ifndef LATENTD_DAEMON_CONFIG_CHECK_H
#define LATENTD_DAEMON_CONFIG_CHECK_H

#include "config/daemon_config.h"

/*
 * daemon_config_load(), and then what takes models: their configs and names of tensors, and whether each dataset's sizes
 * suit its model. Errors name file, line and column in the same way.
 */
int config_check(const char *path, struct daemon_config **config, struct error *err);

#endif
