#include "config/settings.h"

#include "base/checked.h"
#include "base/cleanup.h"

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

static bool is_choice(const struct setting *s, const char *text)
{
	for (size_t i = 0; s->choices[i]; i++) {
		if (strcmp(s->choices[i], text) == 0)
			return true;
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

/* "a whole number from 1 to 100", "a multiple of 8 from 64 to 8192", "a size from 1KiB to 64GiB ..." */
static char *expected_number(const struct setting *s)
{
	cleanup_free char *multiple = NULL, *min = NULL, *max = NULL;

	if (s->type == SETTING_BYTES) {
		min = bytes_text(s->min);
		max = bytes_text(s->max);
		return s->max == 0 ? xstrdup("a size like 512MiB or 2GiB")
				   : xasprintf("a size like 512MiB, from %s to %s", min, max);
	}
	multiple = s->multiple == 0
		       ? xstrdup("a whole number")
		       : xasprintf("a multiple of %llu", (unsigned long long)s->multiple);
	return s->max == 0 ? TAKE(multiple)
			   : xasprintf("%s from %llu to %llu", multiple, (unsigned long long)s->min,
				       (unsigned long long)s->max);
}

static bool in_range(const struct setting *s, uint64_t value)
{
	return value >= s->min && (s->max == 0 || value <= s->max) &&
	       (s->multiple == 0 || value % s->multiple == 0);
}

static int store_number(const struct setting *s, const char *text, void *field, struct error *err)
{
	const char *end = NULL;
	uint64_t number = 0;
	bool parsed = s->type == SETTING_BYTES ? parse_bytes(text, &number)
					       : parse_digits(text, &number, &end) && !*end;

	if (!parsed || !in_range(s, number)) {
		cleanup_free char *expected = expected_number(s);

		return bad_value(s, text, expected, err);
	}
	if (s->type == SETTING_U64)
		*(uint64_t *)field = number;
	else
		*(size_t *)field = (size_t)number;
	return 0;
}

static int setting_store(const struct setting *s, const char *text, void *options,
			 struct error *err)
{
	void *field = (char *)options + s->offset;

	switch (s->type) {
	case SETTING_STRING:
		if (s->not_empty && !*text)
			return error_set(err, ERR_CONFIG, "--%s is empty", s->name);
		*(const char **)field = text;
		return 0;
	case SETTING_CHOICE:
		if (!is_choice(s, text)) {
			cleanup_free char *choices = choices_text(s, " or ");

			return bad_value(s, text, choices, err);
		}
		*(const char **)field = text;
		return 0;
	case SETTING_BYTES:
	case SETTING_COUNT:
	case SETTING_U64:
		return store_number(s, text, field, err);
	case SETTING_FLAG:
		*(bool *)field = true;
		return 0;
	}
	return error_set(err, ERR_BUG, "--%s has no type", s->name);
}

void settings_defaults(const struct setting *table, size_t n, void *options)
{
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < n; i++) {
		if (table[i].fallback &&
		    setting_store(&table[i], table[i].fallback, options, &err) < 0)
			abort(); /* the table itself is wrong */
	}
}

static const struct setting *setting_find(const struct setting *table, size_t n, const char *name,
					  size_t length)
{
	for (size_t i = 0; i < n; i++) {
		if (strlen(table[i].name) == length && strncmp(table[i].name, name, length) == 0)
			return &table[i];
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
	const struct setting *s = setting_find(table, n, name, length);
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

void settings_help(FILE *out, const struct setting *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct setting *s = &table[i];
		cleanup_free char *value = NULL, *left = NULL;

		if (!s->help)
			continue;
		value = s->type == SETTING_CHOICE ? choices_text(s, "|")
						  : xstrdup(s->value_name ? s->value_name : "");
		left = xasprintf("--%s %s", s->name, value);
		fprintf(out, "  %-30s %s", left, s->help);
		if (s->fallback)
			fprintf(out, " (%s)", s->fallback);
		fputc('\n', out);
	}
}
