/*
 * Settings as one table: name, type, default, help. Parsing, defaults and `--help` come from it, so
 * there is one place to add a setting.
 *
 *	struct my_options { const char *out; size_t jobs; };
 *	static const struct setting table[] = {
 *		{"out", SETTING_STRING, offsetof(struct my_options, out), .value_name = "DIR", .help = "..."},
 *		...
 *	};
 *	settings_parse(table, ARRAY_SIZE(table), argc, argv, &options, words, &n_words, err)
 *
 * Options that several commands share are a group: a table of its own over a struct that their options embed.
 *
 *		{.type = SETTING_GROUP, .offset = offsetof(struct my_options, pixels), .group = &placement_settings},
 *
 * Accepts `--name value` and `--name=value`, and -h for --help; `--` ends the options. Strings point into argv
 * or the table. Every error is ERR_CONFIG and says what was given and what is expected.
 */
#ifndef LATENTD_CONFIG_SETTINGS_H
#define LATENTD_CONFIG_SETTINGS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum setting_type {
	SETTING_STRING, /* const char * */
	SETTING_COUNT,	/* size_t, digits */
	SETTING_BYTES,	/* size_t, digits with KiB, MiB, GiB or TiB */
	SETTING_U64,	/* uint64_t, digits */
	SETTING_NUMBER, /* double, digits with or without a point: 2, 0.25 */
	SETTING_SIDES,	/* struct setting_sides, N or WxH */
	SETTING_CHOICE, /* const char *, one of choices */
	SETTING_ENUM,	/* an enum: the place in choices, from 0 */
	SETTING_FLAG,	/* bool, no value */
	SETTING_GROUP,	/* the struct that the rows of `group` are about */
};

struct setting_sides {
	size_t width, height;
};

struct settings_group;

struct setting {
	const char *name; /* without the dashes; NULL for a group */
	enum setting_type type;
	size_t offset;		    /* of the field in the options struct */
	const char *fallback;	    /* as text; NULL: stays zero */
	const char *const *choices; /* NULL-terminated, for SETTING_CHOICE and _ENUM */
	const char *value_name;	    /* in --help; for choices: they stand on lines of their own */
	const char *help;	    /* one line; NULL: not shown */
	uint64_t min, max;	    /* of a number or a side; max 0: no bound */
	uint64_t multiple;	    /* a whole number must be one of this; 0: any */
	bool not_empty;		    /* of a string */
	bool (*valid)(const char *text); /* of a string; NULL: whatever it is */
	const char *expected;		 /* what `valid` accepts, for its error */
	const struct settings_group *group;
};

struct settings_group {
	const struct setting *rows;
	size_t n;
};

/* Sets every default. */
void settings_defaults(const struct setting *table, size_t n, void *options);
/*
 * Parses argv[1..argc-1] over what @options holds. Words that are no options go to @words, which has room
 * for argc pointers; *n_words says how many.
 */
int settings_parse(const struct setting *table, size_t n, int argc, char **argv, void *options,
		   const char **words, size_t *n_words, struct error *err);
void settings_help(FILE *out, const struct setting *table, size_t n);

#endif
