/*
 * config_docs example|markdown|roff: the documents that are made from the tables of latentd's configuration.
 * scripts/update-docs.py puts them where they belong.
 */
#include "config/daemon_settings.h"
#include "config/settings_docs.h"

#include "base/checked.h"

#include <string.h>

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*write)(FILE *out, const struct settings_group *group);
	} documents[] = {{"example", settings_example},
			 {"markdown", settings_markdown},
			 {"roff", settings_roff}};

	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(documents); i++) {
		if (strcmp(argv[1], documents[i].name) == 0) {
			documents[i].write(stdout, &daemon_settings);
			return fflush(stdout) == 0 ? 0 : 1;
		}
	}
	fprintf(stderr, "usage: config_docs example|markdown|roff\n");
	return 2;
}
