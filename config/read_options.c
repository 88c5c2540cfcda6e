#include "config/read_options.h"

#include "base/checked.h"

#include <string.h>

#define FIELD(f) offsetof(struct read_options, f)

static const struct setting all[] = {
    {"out", SETTING_STRING, FIELD(out), NULL, NULL, "DIR", "output folder of latentctl encode"},
    {"name", SETTING_STRING, FIELD(name), NULL, NULL, "NAME", "only this dataset of the output"},
    {"reason", SETTING_STRING, FIELD(reason), NULL, NULL, "R",
     "only this reason (truncated, unsupported, ...)"},
    {"to", SETTING_STRING, FIELD(to), ".", NULL, "DIR", "folder to write to"},
    {"json", SETTING_FLAG, FIELD(json), NULL, NULL, NULL, "one JSON object a line"},
    {"help", SETTING_FLAG, FIELD(help), NULL, NULL, NULL, "this text"},
};

/* True if @name stands in the space-separated list @accepted. */
static bool listed(const char *accepted, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = accepted; (p = strstr(p, name)); p += n) {
		if ((p == accepted || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
			return true;
	}
	return false;
}

int read_options_parse(int argc, char **argv, const char *accepted, const char *usage,
		       struct read_options *options, const char **words, size_t *n_words,
		       int *exit_code)
{
	struct setting table[ARRAY_SIZE(all)];
	struct error err = ERROR_INIT;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (listed(accepted, all[i].name) || strcmp(all[i].name, "help") == 0)
			table[n++] = all[i];
	}
	settings_defaults(table, n, options);
	if (settings_parse(table, n, argc, argv, options, words, n_words, &err) == 0) {
		if (listed(accepted, "out") && !options->out && !options->help)
			error_set(&err, ERR_CONFIG, "--out is missing");
	}
	if (err.code != ERR_NONE) {
		fprintf(stderr, "latentctl %s: %s\nusage: latentctl %s\n", argv[0], err.message,
			usage);
		*exit_code = 2;
		return 1;
	}
	if (options->help) {
		printf("usage: latentctl %s\n\n", usage);
		settings_help(stdout, table, n);
		*exit_code = 0;
		return 1;
	}
	return 0;
}
