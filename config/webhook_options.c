#include "config/webhook_options.h"

#include "base/checked.h"
#include "config/remote_options.h"

#include <string.h>

#define FIELD(f) offsetof(struct webhook_options, f)

static const char *const events[] = {"drained", "failed", "stalled", "disk_low"};

_Static_assert(ARRAY_SIZE(events) == WEBHOOK_EVENTS, "a name for each");

static bool is_event(const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		if (strcmp(text, events[i]) == 0)
			return true;
	}
	return false;
}

static const struct setting rows[] = {
    {"url", SETTING_STRING, FIELD(url), .valid = remote_url_valid, .expected = REMOTE_URL_EXPECTED,
     .reloadable = true, .example = "https://alerts.example.org/latentd",
     .help = "where messages are sent (POST, JSON)"},
    {"secret-file", SETTING_PATH, FIELD(secret_file), .reloadable = true,
     .example = "${CREDENTIALS_DIRECTORY}/webhook",
     .help = "file with the secret that comes with them (Authorization: Bearer)"},
    {"events", SETTING_TEXTS, FIELD(events), .valid = is_event,
     .expected = "drained, failed, stalled or disk_low", .reloadable = true, .example = "stalled",
     .help = "which messages; all of drained, failed, stalled and disk_low unless said"},
    {"interval", SETTING_DURATION, FIELD(interval), .fallback = "10min",
     .max = (uint64_t)7 * 24 * 3600000, .reloadable = true,
     .help = "no two messages of one kind about one dataset in less"},
    {"stalled-after", SETTING_DURATION, FIELD(stalled_after), .fallback = "10min", .min = 1000,
     .max = (uint64_t)7 * 24 * 3600000, .reloadable = true,
     .help = "a dataset that has something to do, and nothing got done of it for so long, is told"},
    {"disk-low", SETTING_BYTES, FIELD(disk_low), .fallback = "10GiB", .reloadable = true,
     .help = "a disk with less until nothing new is begun there is told"},
    {"allow-http", SETTING_FLAG, FIELD(allow_http), .fallback = "false", .reloadable = true,
     .help = "send the secret over http, which anybody on the way can read"},
};

const struct settings_group webhook_settings = {.rows = rows, .n = ARRAY_SIZE(rows)};

const char *webhook_event_name(enum webhook_event event)
{
	return events[event];
}

bool webhook_wants(const struct webhook_options *o, enum webhook_event event)
{
	for (size_t i = 0; o->url && i < o->events.n; i++) {
		if (strcmp(o->events.items[i], events[event]) == 0)
			return true;
	}
	return o->url && o->events.n == 0;
}

int webhook_options_check(const struct webhook_options *o, struct error *err)
{
	if (!o->url || !o->secret_file || o->allow_http || !remote_url_is_open(o->url))
		return 0;
	return error_set(err, ERR_CONFIG,
			 "url: the secret would travel to %s unencrypted: expected https, or "
			 "allow_http",
			 o->url);
}
