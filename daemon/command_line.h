/*
 * What a command that has a table of settings of its own does with argv before it begins.
 *
 *	if (!command_line_read(&line, argc, argv, &options, &options.help, words, &n, &code))
 *		return code;
 */
#ifndef LATENTD_DAEMON_COMMAND_LINE_H
#define LATENTD_DAEMON_COMMAND_LINE_H

#include "config/settings.h"

#include <stdbool.h>

struct command_line {
	const char *name; /* "export" */
	const struct setting *settings;
	size_t n_settings;
	/* What the table cannot tell, for @n words that are no options; not called for --help. */
	void (*check)(const void *options, size_t n, struct error *err);
	void (*print_help)(void);
};

/*
 * @words has room for argc pointers. false: there is nothing more to do and *code is the exit status; it was asked what could
 * come next or for help, or the words are wrong, which has been said.
 */
bool command_line_read(const struct command_line *line, int argc, char **argv, void *options,
		       const bool *help, const char **words, size_t *n, int *code);

#endif
