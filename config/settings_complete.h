/*
 * What a shell offers while a command line is typed, from the table that parses it.
 *
 *	latentctl COMMAND --complete PREVIOUS CURRENT
 *
 * prints one candidate a line, with what it means behind a tab. "@file" and "@folder" stand for names that the shell
 * finds itself. The shells' scripts in contrib/completions/ ask for it at each key, so they never go stale.
 */
#ifndef LATENTD_CONFIG_SETTINGS_COMPLETE_H
#define LATENTD_CONFIG_SETTINGS_COMPLETE_H

#include "config/settings.h"

/* True if argv asked for that, and then it has been done. @files: words that are no options are names of files. */
bool settings_complete(FILE *out, const struct setting *table, size_t n, bool files, int argc,
		       char **argv);

#endif
