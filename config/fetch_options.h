/*
 * How files of URLs are fetched, in lists of URLs and in manifests; of other sources nothing is used.
 */
#ifndef LATENTD_CONFIG_FETCH_OPTIONS_H
#define LATENTD_CONFIG_FETCH_OPTIONS_H

#include "config/settings.h"

struct fetch_options {
	size_t connections, host_connections;
	size_t host_rate; /* requests a second; 0: no limit */
	size_t file_limit;
	uint64_t recheck;  /* ms; 0: never */
	const char *cache; /* folder; NULL: none */
	size_t cache_size;
	bool private_hosts;
};

extern const struct settings_group fetch_settings;

#endif
