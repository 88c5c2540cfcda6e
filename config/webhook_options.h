/*
 * `webhook:` of a configuration: whom the daemon tells what people want to know without looking.
 */
#ifndef LATENTD_CONFIG_WEBHOOK_OPTIONS_H
#define LATENTD_CONFIG_WEBHOOK_OPTIONS_H

#include "config/settings.h"

/* Of the settings and of the messages; their names stand in webhook_options.c. */
enum webhook_event {
	WEBHOOK_DRAINED,
	WEBHOOK_FAILED,
	WEBHOOK_STALLED,
	WEBHOOK_DISK_LOW,
	WEBHOOK_EVENTS,
};

struct webhook_options {
	const char *url; /* NULL: nobody is told */
	const char *secret_file;
	struct setting_texts events; /* names; none: all of them */
	uint64_t interval;	     /* ms between two messages of one event about one dataset */
	uint64_t stalled_after;	     /* ms */
	size_t disk_low;	     /* bytes, of what is usable */
	bool allow_http;
};

extern const struct settings_group webhook_settings;

const char *webhook_event_name(enum webhook_event event);
bool webhook_wants(const struct webhook_options *options, enum webhook_event event);
/* What no single setting can tell: a secret that would travel unencrypted. ERR_CONFIG. */
int webhook_options_check(const struct webhook_options *options, struct error *err);

#endif
