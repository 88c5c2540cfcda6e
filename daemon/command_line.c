#include "daemon/command_line.h"

#include "daemon/exit_codes.h"

#include "config/settings_complete.h"

#include <stdio.h>

bool command_line_read(const struct command_line *line, int argc, char **argv, void *options,
		       const bool *help, const char **words, size_t *n, int *code)
{
	struct error wrong = ERROR_INIT;

	*code = EXIT_OK;
	if (settings_complete(stdout, line->settings, line->n_settings, true, argc, argv))
		return false;
	settings_defaults(line->settings, line->n_settings, options);
	if (settings_parse(line->settings, line->n_settings, argc, argv, options, words, n,
			   &wrong) == 0 &&
	    !*help)
		line->check(options, *n, &wrong);
	if (wrong.code != ERR_NONE) {
		fprintf(stderr, "latentctl %s: %s (latentctl %s --help)\n", line->name,
			wrong.message, line->name);
		*code = EXIT_USAGE;
		return false;
	}
	if (*help)
		line->print_help();
	return !*help;
}
