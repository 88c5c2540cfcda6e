#include "tests/unit/config_rig.h"

#include "tests/testing.h"

#include <string.h>

struct daemon_config *config_rig_parse(const char *text)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;

	assert_ok(daemon_config_parse("/etc/latentd.yaml", text, strlen(text), &config, &err),
		  &err);
	return config;
}

void assert_refused(const char *text, const char *message)
{
	struct daemon_config *config = NULL;
	struct error err = ERROR_INIT;

	assert_error(daemon_config_parse("/f", text, strlen(text), &config, &err), &err,
		     ERR_CONFIG);
	assert_string_equal(err.message, message);
	assert_null(config);
}
