#include "config/settings.h"

#include "config/setting_value.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

void settings_defaults(const struct setting *table, size_t n, void *options)
{
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < n; i++) {
		if (table[i].type == SETTING_GROUP)
			settings_defaults(table[i].group->rows, table[i].group->n,
					  (char *)options + table[i].offset);
		else if (table[i].fallback &&
			 setting_store(&table[i], table[i].fallback, options, &err) < 0)
			abort(); /* the table itself is wrong */
	}
}

/* The row of that name; *options moves to the struct that its offset is into. */
static const struct setting *setting_find(const struct setting *table, size_t n, const char *name,
					  size_t length, void **options)
{
	for (size_t i = 0; i < n; i++) {
		const struct setting *s = &table[i];

		if (s->type == SETTING_GROUP) { /* here only those without a name */
			void *inner = (char *)*options + s->offset;

			s = setting_find(s->group->rows, s->group->n, name, length, &inner);
			if (!s)
				continue;
			*options = inner;
			return s;
		}
		if (strlen(s->name) == length && strncmp(s->name, name, length) == 0)
			return s;
	}
	return NULL;
}

/* The name of the option at @word, @length of it; what is no option has none. */
static const char *option_name(const struct setting *table, size_t n, const char *word,
			       size_t *length)
{
	const char *name = word + 2, *equals = strchr(name, '=');

	*length = 0;
	if (word[1] == '-') {
		*length = equals ? (size_t)(equals - name) : strlen(name);
		return name;
	}
	if (word[2] != '\0')
		return "";
	if (word[1] == 'h')
		name = "help";
	for (size_t i = 0; i < n; i++) {
		if (table[i].letter == word[1])
			name = table[i].name;
	}
	*length = strlen(name);
	return name;
}

/* One option at argv[*i]; moves *i onto its value where that is a word of its own. */
static int parse_option(const struct setting *table, size_t n, int argc, char **argv, int *i,
			void *options, struct error *err)
{
	size_t length = 0;
	const char *name = option_name(table, n, argv[*i], &length);
	const char *equals = argv[*i][1] == '-' ? strchr(argv[*i], '=') : NULL;
	const struct setting *s = setting_find(table, n, name, length, &options);
	const char *value = equals ? equals + 1 : NULL;
	struct error bad = ERROR_INIT;

	if (!s)
		return error_set(err, ERR_CONFIG, "unknown option %s", argv[*i]);
	if (s->type == SETTING_FLAG && value)
		return error_set(err, ERR_CONFIG, "--%s takes no value", s->name);
	if (s->type != SETTING_FLAG && !value) {
		if (*i + 1 >= argc)
			return error_set(err, ERR_CONFIG, "--%s needs a value", s->name);
		value = argv[++*i];
	}
	if (setting_store(s, value ? value : "true", options, &bad) < 0)
		return error_set(err, ERR_CONFIG, "--%s %s", s->name, bad.message);
	return 0;
}

int settings_parse(const struct setting *table, size_t n, int argc, char **argv, void *options,
		   const char **words, size_t *n_words, struct error *err)
{
	bool only_words = false;

	*n_words = 0;
	for (int i = 1; i < argc; i++) {
		if (!only_words && strcmp(argv[i], "--") == 0)
			only_words = true;
		else if (only_words || argv[i][0] != '-' || argv[i][1] == '\0')
			words[(*n_words)++] = argv[i];
		else if (parse_option(table, n, argc, argv, &i, options, err) < 0)
			return -1;
	}
	return 0;
}

enum { HELP_LEFT = 30, HELP_INDENT = HELP_LEFT + 3, HELP_COLUMNS = 100 };

static void help_choices(FILE *out, const char *const *choices)
{
	size_t column = HELP_COLUMNS;

	for (; *choices; choices++) {
		const char *comma = choices[1] ? "," : "";
		size_t length = strlen(*choices) + strlen(comma);

		if (column + 1 + length > HELP_COLUMNS)
			column = (size_t)fprintf(out, "\n%*s", HELP_INDENT, "") - 1;
		else
			column += (size_t)fprintf(out, " ");
		fprintf(out, "%s%s", *choices, comma);
		column += length;
	}
}

void settings_help(FILE *out, const struct setting *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct setting *s = &table[i];
		cleanup_free char *value = NULL, *left = NULL;

		if (s->type == SETTING_GROUP)
			settings_help(out, s->group->rows, s->group->n);
		if (!s->help)
			continue;
		value = s->choices && !s->value_name ? setting_choices(s, "|")
						     : xstrdup(s->value_name ? s->value_name : "");
		left = s->letter ? xasprintf("-%c, --%s %s", s->letter, s->name, value)
				 : xasprintf("--%s %s", s->name, value);
		fprintf(out, "  %-*s %s", HELP_LEFT, left, s->help);
		if (s->fallback && s->type != SETTING_FLAG)
			fprintf(out, " (%s)", s->fallback);
		if (s->choices && s->value_name)
			help_choices(out, s->choices);
		fputc('\n', out);
	}
}
