/*
 * `api:` of a configuration: where a daemon is steered, and by whom.
 */
#ifndef LATENTD_CONFIG_API_CONFIG_H
#define LATENTD_CONFIG_API_CONFIG_H

#include "config/settings.h"

struct api_config {
	const char *socket;
	unsigned mode;		/* of the socket: who may write to it may steer */
	const char *group;	/* NULL: the daemon's */
	const char *listen;	/* "HOST:PORT", TCP; NULL: the socket alone */
	const char *token_file; /* NULL: nothing is changed over TCP */
	const char *tls_cert, *tls_key;
	bool
	    behind_proxy; /* what is reached from elsewhere is reached only through a proxy with TLS */
	struct setting_texts hosts; /* further names that it answers to */
};

extern const struct settings_group api_settings;

/*
 * What no single setting can tell: an address that other machines may reach needs a token, and TLS here or in a
 * proxy. ERR_CONFIG, with the setting that it is about in *which, as a file calls it.
 */
int api_config_check(const struct api_config *config, const char **which, struct error *err);
/* Certificate, token and key are there, and the last two for nobody else to read; the same otherwise. */
int api_config_check_files(const struct api_config *config, const char **which, struct error *err);

#endif
