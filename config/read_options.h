/*
 * The options of the commands that look at an output or a shard.
 */
#ifndef LATENTD_CONFIG_READ_OPTIONS_H
#define LATENTD_CONFIG_READ_OPTIONS_H

#include "config/settings.h"

#include <stdbool.h>

struct read_options {
	const char *out;
	const char *name;   /* of one dataset; NULL: all */
	const char *reason; /* failed, retry */
	const char *to;	    /* extract */
	bool json;
	bool help;
};

/*
 * Parses the options that @accepted lists by name ("out name json"), which must be in read_options. Prints
 * help or the mistake by itself: 0 to go on, else 1 and *exit_code.
 */
int read_options_parse(int argc, char **argv, const char *accepted, const char *usage,
		       struct read_options *options, const char **words, size_t *n_words,
		       int *exit_code);

#endif
