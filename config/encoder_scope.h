/*
 * What an encoder of a configuration can compute, as far as that can be told before an endpoint is asked: the one place where it
 * is decided, for checks of a configuration, for opening encoders, and for giving them work.
 */
#ifndef LATENTD_CONFIG_ENCODER_SCOPE_H
#define LATENTD_CONFIG_ENCODER_SCOPE_H

#include "config/daemon_config.h"

/* Whether it may encode @vae of a recipe. What an endpoint really has, it tells itself (encoder/encoder_remote.h). */
bool encoder_scope_has(const struct encoder_config *encoder, const char *vae);

/* What endpoints are to do, in the words of the settings; NULL: nothing special. */
struct encoder_scope_wish {
	bool declared; /* they do not tell their weights */
	const char *posterior, *precision, *tiling, *send;
};

/* ERR_CONFIG: an endpoint cannot; says what can be had. */
int encoder_scope_endpoint(const struct encoder_scope_wish *wish, struct error *err);

#endif
