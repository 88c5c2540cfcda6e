/* Files of the daemon's configuration, made of pieces. */
#ifndef LATENTD_TESTS_UNIT_CONFIG_RIG_H
#define LATENTD_TESTS_UNIT_CONFIG_RIG_H

#include "config/daemon_config.h"

/* A dataset and an encoder: what every other file here begins or ends with. */
#define DATASET                                                                                    \
	"datasets:\n"                                                                              \
	"  - name: photos\n"                                                                       \
	"    source: {path: /data/photos}\n"                                                       \
	"    output: {path: /data/latents}\n"                                                      \
	"    recipe: {vae: /models/vae}\n"
#define ENCODER "encoders: {type: cpu}\n"

/* Another one, behind that or the first of all. */
#define OTHER(name, source, output, recipe)                                                        \
	"  - name: " name "\n"                                                                     \
	"    source: " source "\n"                                                                 \
	"    output: {path: " output "}\n"                                                         \
	"    recipe: " recipe "\n"

struct daemon_config *config_rig_parse(const char *text);
/* The file is refused with exactly this message. */
void assert_refused(const char *text, const char *message);

#endif
