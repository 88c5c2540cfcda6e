#include "config/settings.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const struct {
	const char *suffix;
	size_t factor;
} byte_units[] = {{"", 1},
		  {"KiB", (size_t)1 << 10},
		  {"MiB", (size_t)1 << 20},
		  {"GiB", (size_t)1 << 30},
		  {"TiB", (size_t)1 << 40}};

/* Digits only; *end is behind them. False: none, or too large. */
static bool parse_digits(const char *text, uint64_t *out, const char **end)
{
	uint64_t value = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	}
	*end = text;
	*out = value;
	return true;
}

static bool parse_bytes(const char *text, uint64_t *out)
{
	const char *end = NULL;
	uint64_t value = 0;

	if (!parse_digits(text, &value, &end))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(byte_units); i++) {
		if (strcmp(end, byte_units[i].suffix) == 0)
			return !__builtin_mul_overflow(value, (uint64_t)byte_units[i].factor, out);
	}
	return false;
}

/* "512" is a square, "768x512" width by height. */
static bool parse_sides(const char *text, uint64_t *width, uint64_t *height)
{
	const char *end = NULL;

	if (!parse_digits(text, width, &end))
		return false;
	*height = *width;
	return !*end || (*end == 'x' && parse_digits(end + 1, height, &end) && !*end);
}

/* Digits around at most one point: what strtod would also take (1e3, inf, 0x10, blanks) is refused. */
static bool parse_number(const char *text, double *out)
{
	static const char digits[] = "0123456789";
	size_t before = strspn(text, digits);
	const char *point = text + before;
	size_t behind = *point == '.' ? strspn(point + 1, digits) : 0;

	if (before == 0 || (*point == '.' && behind == 0) ||
	    point[behind > 0 ? behind + 1 : 0] != '\0')
		return false;
	*out = strtod(text, NULL);
	return true;
}

/* Its place among the choices; false: it is none. */
static bool find_choice(const struct setting *s, const char *text, unsigned *place)
{
	for (unsigned i = 0; s->choices[i]; i++) {
		if (strcmp(s->choices[i], text) == 0) {
			*place = i;
			return true;
		}
	}
	return false;
}

static char *choices_text(const struct setting *s, const char *between)
{
	char *text = xstrdup(s->choices[0]);

	for (size_t i = 1; s->choices[i]; i++) {
		char *longer = xasprintf("%s%s%s", text, between, s->choices[i]);

		free(text);
		text = longer;
	}
	return text;
}

static int bad_value(const struct setting *s, const char *text, const char *expected,
		     struct error *err)
{
	return error_set(err, ERR_CONFIG, "--%s %s: expected %s", s->name, text, expected);
}

/* "65536" as "64KiB": in the largest unit that leaves a whole number. */
static char *bytes_text(uint64_t bytes)
{
	size_t i = ARRAY_SIZE(byte_units) - 1;

	while (bytes % byte_units[i].factor != 0 || bytes < byte_units[i].factor) {
		if (i-- == 0)
			return xstrdup("0");
	}
	return xasprintf("%llu%s", (unsigned long long)(bytes / byte_units[i].factor),
			 byte_units[i].suffix);
}

/*
 * "a whole number from 1 to 100", "a multiple of 8 from 64 to 8192", "a size from 1KiB to 64GiB ...",
 * "a number from 0 to 1"
 */
static char *expected_number(const struct setting *s)
{
	cleanup_free char *multiple = NULL, *min = NULL, *max = NULL;
	const char *kind = s->type == SETTING_NUMBER ? "a number" : "a whole number";
	const char *two = s->type == SETTING_SIDES ? ", or two like 768x512" : "";

	if (s->type == SETTING_BYTES) {
		min = bytes_text(s->min);
		max = bytes_text(s->max);
		return s->max == 0 ? xstrdup("a size like 512MiB or 2GiB")
				   : xasprintf("a size like 512MiB, from %s to %s", min, max);
	}
	multiple = s->multiple == 0
		       ? xstrdup(kind)
		       : xasprintf("a multiple of %llu", (unsigned long long)s->multiple);
	return s->max == 0 ? xasprintf("%s%s", multiple, two)
			   : xasprintf("%s from %llu to %llu%s", multiple,
				       (unsigned long long)s->min, (unsigned long long)s->max, two);
}

static bool in_range(const struct setting *s, uint64_t value)
{
	return value >= s->min && (s->max == 0 || value <= s->max) &&
	       (s->multiple == 0 || value % s->multiple == 0);
}

static int bad_number(const struct setting *s, const char *text, struct error *err)
{
	cleanup_free char *expected = expected_number(s);

	return bad_value(s, text, expected, err);
}

static int store_whole(const struct setting *s, const char *text, void *field, struct error *err)
{
	const char *end = NULL;
	uint64_t number = 0;
	bool parsed = s->type == SETTING_BYTES ? parse_bytes(text, &number)
					       : parse_digits(text, &number, &end) && !*end;

	if (!parsed || !in_range(s, number))
		return bad_number(s, text, err);
	if (s->type == SETTING_U64)
		*(uint64_t *)field = number;
	else
		*(size_t *)field = (size_t)number;
	return 0;
}

static int store_number(const struct setting *s, const char *text, double *field, struct error *err)
{
	double number = 0;

	if (!parse_number(text, &number) || number < (double)s->min ||
	    (s->max != 0 && number > (double)s->max))
		return bad_number(s, text, err);
	*field = number;
	return 0;
}

static int store_sides(const struct setting *s, const char *text, struct setting_sides *field,
		       struct error *err)
{
	uint64_t width = 0, height = 0;

	if (!parse_sides(text, &width, &height) || !in_range(s, width) || !in_range(s, height))
		return bad_number(s, text, err);
	*field = (struct setting_sides){(size_t)width, (size_t)height};
	return 0;
}

static int store_string(const struct setting *s, const char *text, const char **field,
			struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (s->not_empty && !*text)
		return error_set(err, ERR_CONFIG, "--%s is empty", s->name);
	if (s->valid && !s->valid(text))
		return bad_value(s, text_quote(text, quoted), s->expected, err);
	*field = text;
	return 0;
}

static int store_choice(const struct setting *s, const char *text, void *field, struct error *err)
{
	cleanup_free char *choices = NULL;
	unsigned place = 0;

	if (!find_choice(s, text, &place)) {
		choices = choices_text(s, " or ");
		return bad_value(s, text, choices, err);
	}
	if (s->type == SETTING_ENUM)
		*(unsigned *)field = place;
	else
		*(const char **)field = s->choices[place];
	return 0;
}

static int setting_store(const struct setting *s, const char *text, void *options,
			 struct error *err)
{
	void *field = (char *)options + s->offset;

	switch (s->type) {
	case SETTING_STRING:
		return store_string(s, text, field, err);
	case SETTING_CHOICE:
	case SETTING_ENUM:
		return store_choice(s, text, field, err);
	case SETTING_BYTES:
	case SETTING_COUNT:
	case SETTING_U64:
		return store_whole(s, text, field, err);
	case SETTING_NUMBER:
		return store_number(s, text, field, err);
	case SETTING_SIDES:
		return store_sides(s, text, field, err);
	case SETTING_FLAG:
		*(bool *)field = true;
		return 0;
	case SETTING_GROUP:
		break;
	}
	return error_set(err, ERR_BUG, "--%s has no type", s->name);
}

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

		if (s->type == SETTING_GROUP) {
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

/* One option at argv[*i]; moves *i onto its value where that is a word of its own. */
static int parse_option(const struct setting *table, size_t n, int argc, char **argv, int *i,
			void *options, struct error *err)
{
	const char *word = strcmp(argv[*i], "-h") == 0 ? "--help" : argv[*i];
	const char *name = word + 2, *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);
	const struct setting *s = setting_find(table, n, name, length, &options);
	const char *value = equals ? equals + 1 : NULL;

	if (word[1] != '-' || !s)
		return error_set(err, ERR_CONFIG, "unknown option %s", argv[*i]);
	if (s->type == SETTING_FLAG && value)
		return error_set(err, ERR_CONFIG, "--%s takes no value", s->name);
	if (s->type != SETTING_FLAG && !value) {
		if (*i + 1 >= argc)
			return error_set(err, ERR_CONFIG, "--%s needs a value", s->name);
		value = argv[++*i];
	}
	return setting_store(s, value, options, err);
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
		value = s->choices && !s->value_name ? choices_text(s, "|")
						     : xstrdup(s->value_name ? s->value_name : "");
		left = xasprintf("--%s %s", s->name, value);
		fprintf(out, "  %-*s %s", HELP_LEFT, left, s->help);
		if (s->fallback)
			fprintf(out, " (%s)", s->fallback);
		if (s->choices && s->value_name)
			help_choices(out, s->choices);
		fputc('\n', out);
	}
}
