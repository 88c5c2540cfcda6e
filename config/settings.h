/*
 * Settings as tables: name, type, default, help. Command lines, configuration files, defaults, `--help` and the
 * documents are all made from them, so there is one place to add a setting.
 *
 *	struct my_options { const char *out; size_t jobs; };
 *	static const struct setting table[] = {
 *		{"out", SETTING_PATH, offsetof(struct my_options, out), .value_name = "DIR", .help = "..."},
 *		...
 *	};
 *	settings_defaults(table, ARRAY_SIZE(table), &options);
 *	settings_parse(table, ARRAY_SIZE(table), argc, argv, &options, words, &n_words, err)
 *
 * A command line calls a setting `shard-samples`, a file `shard_samples`; the table has the dashes.
 *
 * Settings that several tables share are a group: a table of its own over a struct that the others embed. Without a
 * name its rows stand among the others; with one they are a mapping of that name in a file, and no command line has
 * them.
 *
 *		{.type = SETTING_GROUP, .offset = FIELD(pixels), .group = &placement_settings},
 *		{"output", SETTING_GROUP, FIELD(output), .group = &dataset_output_settings},
 *
 * A command line takes `--name value` and `--name=value`, -h for --help, and letters where rows have one; `--` ends the options. Strings point into
 * argv or the table. Every error is ERR_CONFIG and says what was given and what is expected.
 */
#ifndef LATENTD_CONFIG_SETTINGS_H
#define LATENTD_CONFIG_SETTINGS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A path that begins so is of a file that systemd hands over (LoadCredential=), and lies where it says. */
#define SETTING_CREDENTIAL "${CREDENTIALS_DIRECTORY}/"

enum setting_type {
	SETTING_STRING,	  /* const char * */
	SETTING_PATH,	  /* const char *, not empty; in a file relative to its folder */
	SETTING_COUNT,	  /* size_t, digits */
	SETTING_BYTES,	  /* size_t, digits with KiB, MiB, GiB or TiB */
	SETTING_U64,	  /* uint64_t, digits */
	SETTING_INTEGER,  /* int, digits with or without a minus */
	SETTING_NUMBER,	  /* double, digits with or without a point: 2, 0.25 */
	SETTING_SIDES,	  /* struct setting_sides, N or WxH */
	SETTING_DURATION, /* uint64_t, ms; digits with ms, s, min, h or d */
	SETTING_MODE,	  /* unsigned, octal digits */
	SETTING_CHOICE,	  /* const char *, one of choices */
	SETTING_ENUM,	  /* an enum: the place in choices, from 0 */
	SETTING_FLAG,	  /* bool: on a command line without a value, in a file true or false */
	SETTING_TEXTS,	  /* struct setting_texts, a text each time; in a file one, or a list */
	SETTING_GROUP,	  /* the struct that the rows of `group` are about */
	SETTING_LIST,	  /* a pointer to such structs and, at `count`, a size_t; in files only */
};

struct setting_sides {
	size_t width, height;
};

#define SETTING_TEXTS_MAX 64

struct setting_texts {
	const char *items[SETTING_TEXTS_MAX];
	size_t n;
};

struct settings_group;

struct setting {
	const char *name; /* without the dashes in front; NULL for a group among the others */
	enum setting_type type;
	size_t offset;		    /* of the field in the options struct */
	const char *fallback;	    /* as text; NULL: stays zero */
	const char *const *choices; /* NULL-terminated, for SETTING_CHOICE and _ENUM */
	const char *value_name;	    /* in --help; for choices: they stand on lines of their own */
	const char *help;	    /* one line; NULL: not shown */
	uint64_t min, max;	    /* of a number, a side or a duration; max 0: no bound */
				    /* of an integer: from -max to max */
	uint64_t multiple;	    /* a whole number must be one of this; 0: any */
	bool not_empty;		    /* of a string */
	bool (*valid)(const char *text);   /* of a string; NULL: whatever it is */
	const char *expected;		   /* what `valid` accepts, for errors */
	bool (*is_word)(const char *text); /* of a path: it is none, and stays as it is; or NULL */
	/* Of a group or a list; of a text: the mapping that a file may have in its place, over the same options. */
	const struct settings_group *group;
	size_t count; /* of a list: offset of its size_t */
	char letter;  /* on command lines, -o for --output; 0: none */
	/* Of files only. */
	bool required;
	bool reloadable;     /* it can change while the daemon runs; of a list: its items */
	const char *of;	     /* only where `type` in the same mapping says this; NULL: always */
	const char *prefix;  /* stored in front of the text; `valid` sees both */
	const char *example; /* shown where there is no default */
};

struct settings_group {
	const struct setting *rows;
	size_t n;
	size_t size;  /* of the struct, where it is an item of a list */
	size_t place; /* offset of its struct config_place, in items of a list */
	const char
	    *key;   /* name of the row that tells items apart, in lists; NULL: their place does */
	bool plain; /* an item may be the text of that row alone */
};

/* Where in a file something stands, from 1; line 0: it does not. */
struct config_place {
	size_t line, column;
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
