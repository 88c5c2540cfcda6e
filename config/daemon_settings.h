/*
 * The tables of latentd's configuration, for what is made from them: reading, comparing, documents.
 */
#ifndef LATENTD_CONFIG_DAEMON_SETTINGS_H
#define LATENTD_CONFIG_DAEMON_SETTINGS_H

#include "config/settings.h"

extern const struct settings_group daemon_settings;  /* over struct daemon_config */
extern const struct settings_group encoder_settings; /* over struct encoder_config */

#endif
