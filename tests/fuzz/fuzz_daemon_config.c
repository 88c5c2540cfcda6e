/* Any bytes as a configuration file: what is accepted is the same as itself, and can be merged into itself. */
#include "config/daemon_config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct daemon_config *parse(const uint8_t *data, size_t size)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;

	if (daemon_config_parse("/etc/latentd.yaml", data, size, &config, &err) < 0 &&
	    err.code != ERR_CONFIG)
		abort();
	return config;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_changes changes = CONFIG_CHANGES_INIT;
	struct daemon_config *one = parse(data, size), *two = parse(data, size);
	struct error err = ERROR_INIT;

	if (!one != !two)
		abort();
	if (one) {
		if (daemon_config_merge(two, one, &changes, &err) < 0 || changes.n > 0)
			abort();
		config_changes_release(&changes);
	}
	daemon_config_free(one);
	daemon_config_free(two);
	return 0;
}
