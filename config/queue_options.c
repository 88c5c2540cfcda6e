#include "config/queue_options.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIELD(f) offsetof(struct queue_options, f)

/* The value of `postgres` is never repeated by a message: somebody may have put a password into it. */
static const struct setting rows[] = {
    {"postgres", SETTING_STRING, FIELD(postgres), .not_empty = true, .example = "service=latentd",
     .help = "a PostgreSQL database that several machines share, as libpq names it, without a "
	     "password; without it the queue is a file in state_dir; docs/scale.md"},
    {"node", SETTING_STRING, FIELD(node), .valid = node_name_valid, .expected = NODE_NAME_EXPECTED,
     .example = "gpu1",
     .help = "what this machine is called among those that share the queue (its host name)"},
    {"node-timeout", SETTING_DURATION, FIELD(node_timeout), .fallback = "60s", .min = 1000,
     .max = (uint64_t)24 * 3600000,
     .help = "a machine that was silent for so long is taken for dead: others do what it was at"},
    {"poll", SETTING_DURATION, FIELD(poll), .fallback = "20s", .min = 1000,
     .max = (uint64_t)24 * 3600000, .reloadable = true,
     .help = "how often a machine with nothing to do asks for images that others have found; it is "
	     "told of them at once, but not through a pooler"},
    {"forget-after", SETTING_DURATION, FIELD(forget_after), .fallback = "1h",
     .max = (uint64_t)30 * 24 * 3600000,
     .help = "the images in the spool of a machine that was silent for so long, and in no shard, "
	     "are encoded again by others; 0: never"},
    {"upkeep", SETTING_DURATION, FIELD(upkeep), .fallback = "24h",
     .max = (uint64_t)30 * 24 * 3600000, .reloadable = true,
     .help = "how often the machine that looks through the sources does `compact` and `gc` of a "
	     "dataset that is idle there, for the first time after an hour; 0: never"},
};

const struct settings_group queue_settings = {
    .rows = rows, .n = ARRAY_SIZE(rows), .size = sizeof(struct queue_options)};

static bool belongs(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '_' || c == '-';
}

bool node_name_valid(const char *name)
{
	size_t n = 0;

	while (belongs(name[n]))
		n++;
	return n > 0 && n < NODE_NAME_SIZE && name[n] == '\0';
}

char *node_name(const char *asked)
{
	char name[NODE_NAME_SIZE], host[256] = "";

	if (asked)
		return xstrdup(asked);
	gethostname(host, sizeof(host) - 1);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(host, "."), host);
	for (char *c = name; *c; c++) {
		if (!belongs(*c))
			*c = '-';
	}
	return xstrdup(*name ? name : "node");
}
