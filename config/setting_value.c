#include "config/setting_value.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <string.h>

struct unit {
	const char *suffix;
	uint64_t factor;
};

static const struct unit byte_units[] = {{"", 1},
					 {"KiB", (uint64_t)1 << 10},
					 {"MiB", (uint64_t)1 << 20},
					 {"GiB", (uint64_t)1 << 30},
					 {"TiB", (uint64_t)1 << 40}};
static const struct unit time_units[] = {
    {"ms", 1}, {"s", 1000}, {"min", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}};

/* -- from text ---------------------------------------------------------------------------------- */

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

static bool parse_whole(const char *text, uint64_t *out)
{
	const char *end = NULL;

	return parse_digits(text, out, &end) && !*end;
}

/* A number and one of the units; 0 needs none. */
static bool parse_units(const char *text, const struct unit *units, size_t n, uint64_t *out)
{
	const char *end = NULL;
	uint64_t value = 0;

	if (!parse_digits(text, &value, &end))
		return false;
	if (value == 0 && !*end) {
		*out = 0;
		return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(end, units[i].suffix) == 0)
			return !__builtin_mul_overflow(value, units[i].factor, out);
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
	return !*end || (*end == 'x' && parse_whole(end + 1, height));
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

/* Permissions: three octal digits, with or without 0 in front. */
static bool parse_mode(const char *text, unsigned *out)
{
	size_t n = strlen(text);

	if (strspn(text, "01234567") != n || n < 3 || n > 4 || (n == 4 && *text != '0'))
		return false;
	*out = (unsigned)strtoul(text, NULL, 8);
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

static bool in_range(const struct setting *s, uint64_t value)
{
	return value >= s->min && (s->max == 0 || value <= s->max) &&
	       (s->multiple == 0 || value % s->multiple == 0);
}

static bool store_whole(const struct setting *s, const char *text, void *field)
{
	uint64_t number = 0;
	bool parsed = s->type == SETTING_BYTES
			  ? parse_units(text, byte_units, ARRAY_SIZE(byte_units), &number)
		      : s->type == SETTING_DURATION
			  ? parse_units(text, time_units, ARRAY_SIZE(time_units), &number)
			  : parse_whole(text, &number);

	if (!parsed || !in_range(s, number))
		return false;
	if (s->type == SETTING_U64 || s->type == SETTING_DURATION)
		*(uint64_t *)field = number;
	else
		*(size_t *)field = (size_t)number;
	return true;
}

static bool store_integer(const struct setting *s, const char *text, int *field)
{
	bool negative = *text == '-';
	uint64_t number = 0;

	if (!parse_whole(text + negative, &number) || number > s->max)
		return false;
	*field = negative ? -(int)number : (int)number;
	return true;
}

static bool store_number(const struct setting *s, const char *text, double *field)
{
	double number = 0;

	if (!parse_number(text, &number) || number < (double)s->min ||
	    (s->max != 0 && number > (double)s->max))
		return false;
	*field = number;
	return true;
}

static bool store_sides(const struct setting *s, const char *text, struct setting_sides *field)
{
	uint64_t width = 0, height = 0;

	if (!parse_sides(text, &width, &height) || !in_range(s, width) || !in_range(s, height))
		return false;
	*field = (struct setting_sides){(size_t)width, (size_t)height};
	return true;
}

static bool store_string(const struct setting *s, const char *text, const char **field)
{
	if ((s->valid && !s->valid(text)) || ((s->not_empty || s->type == SETTING_PATH) && !*text))
		return false;
	*field = text;
	return true;
}

static bool store_texts(const struct setting *s, const char *text, struct setting_texts *field)
{
	if (field->n == SETTING_TEXTS_MAX || !*text || (s->valid && !s->valid(text)))
		return false;
	field->items[field->n++] = text;
	return true;
}

static bool store_choice(const struct setting *s, const char *text, void *field)
{
	unsigned place = 0;

	if (!find_choice(s, text, &place))
		return false;
	if (s->type == SETTING_ENUM)
		*(unsigned *)field = place;
	else
		*(const char **)field = s->choices[place];
	return true;
}

static bool store_flag(const char *text, bool *field)
{
	bool on = strcmp(text, "true") == 0;

	if (!on && strcmp(text, "false") != 0)
		return false;
	*field = on;
	return true;
}

static bool store(const struct setting *s, const char *text, void *field)
{
	switch (s->type) {
	case SETTING_STRING:
	case SETTING_PATH:
		return store_string(s, text, field);
	case SETTING_CHOICE:
	case SETTING_ENUM:
		return store_choice(s, text, field);
	case SETTING_BYTES:
	case SETTING_COUNT:
	case SETTING_U64:
	case SETTING_DURATION:
		return store_whole(s, text, field);
	case SETTING_INTEGER:
		return store_integer(s, text, field);
	case SETTING_NUMBER:
		return store_number(s, text, field);
	case SETTING_SIDES:
		return store_sides(s, text, field);
	case SETTING_MODE:
		return parse_mode(text, field);
	case SETTING_FLAG:
		return store_flag(text, field);
	case SETTING_TEXTS:
		return store_texts(s, text, field);
	case SETTING_GROUP:
	case SETTING_LIST:
		break;
	}
	return false;
}

bool setting_is_public(const char *text)
{
	const char *authority = strstr(text, "://");

	return !authority || !memchr(authority + 3, '@', strcspn(authority + 3, "/?#"));
}

int setting_store(const struct setting *s, const char *text, void *options, struct error *err)
{
	cleanup_free char *expected = NULL;
	char quoted[TEXT_QUOTE_SIZE];

	if (store(s, text, (char *)options + s->offset))
		return 0;
	expected = setting_expected(s);
	return error_set(err, ERR_CONFIG, "%s: expected %s",
			 setting_is_public(text) ? text_quote(text, quoted) : "a URL with a user",
			 expected);
}

/* -- to text ------------------------------------------------------------------------------------ */

/* "65536" as "64KiB": in the largest unit that leaves a whole number. */
static char *units_text(uint64_t value, const struct unit *units, size_t n)
{
	size_t i = n - 1;

	if (value == 0)
		return xstrdup("0");
	while (value % units[i].factor != 0)
		i--;
	return xasprintf("%llu%s", (unsigned long long)(value / units[i].factor), units[i].suffix);
}

static char *bytes_text(uint64_t bytes)
{
	return units_text(bytes, byte_units, ARRAY_SIZE(byte_units));
}

static char *duration_text(uint64_t ms)
{
	return units_text(ms, time_units, ARRAY_SIZE(time_units));
}

/* No exponent: parse_number() takes it back. */
static char *number_text(double number)
{
	char *text = xasprintf("%.9f", number);
	size_t n = strlen(text);

	while (text[n - 1] == '0')
		n--;
	text[text[n - 1] == '.' ? n - 1 : n] = '\0';
	return text;
}

static char *sides_text(const struct setting_sides *sides)
{
	if (sides->width == 0)
		return NULL;
	return sides->width == sides->height ? xasprintf("%zu", sides->width)
					     : xasprintf("%zux%zu", sides->width, sides->height);
}

/* ["a", "b"], a backslash before quotes and backslashes; NULL: there are none. */
static char *texts_text(const struct setting_texts *texts)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;

	for (size_t i = 0; i < texts->n; i++) {
		buffer_append_string(&out, i == 0 ? "[\"" : ", \"");
		for (const char *c = texts->items[i]; *c; c++) {
			if (*c == '"' || *c == '\\')
				buffer_put_u8(&out, '\\');
			buffer_put_u8(&out, (uint8_t)*c);
		}
		buffer_put_u8(&out, '"');
	}
	if (texts->n == 0)
		return NULL;
	buffer_put_u8(&out, ']');
	return xasprintf("%.*s", (int)out.size, (const char *)out.data);
}

char *setting_text(const struct setting *s, const void *options)
{
	const void *field = (const char *)options + s->offset;
	const char *text = NULL;
	uint64_t duration = 0;

	switch (s->type) {
	case SETTING_STRING:
	case SETTING_PATH:
	case SETTING_CHOICE:
		text = *(const char *const *)field;
		return text ? xstrdup(text) : NULL;
	case SETTING_ENUM:
		return xstrdup(s->choices[*(const unsigned *)field]);
	case SETTING_BYTES:
		return bytes_text(*(const size_t *)field);
	case SETTING_COUNT:
		return xasprintf("%zu", *(const size_t *)field);
	case SETTING_U64:
		return xasprintf("%llu", (unsigned long long)*(const uint64_t *)field);
	case SETTING_DURATION:
		duration = *(const uint64_t *)field;
		return duration == 0 && s->min > 0 ? NULL : duration_text(duration);
	case SETTING_INTEGER:
		return xasprintf("%d", *(const int *)field);
	case SETTING_NUMBER:
		return number_text(*(const double *)field);
	case SETTING_SIDES:
		return sides_text(field);
	case SETTING_MODE:
		return xasprintf("%04o", *(const unsigned *)field);
	case SETTING_FLAG:
		return xstrdup(*(const bool *)field ? "true" : "false");
	case SETTING_TEXTS:
		return texts_text(field);
	case SETTING_GROUP:
	case SETTING_LIST:
		break;
	}
	return NULL;
}

void setting_clear(const struct setting *s, void *options)
{
	static const size_t sizes[] = {
	    [SETTING_STRING] = sizeof(char *), [SETTING_PATH] = sizeof(char *),
	    [SETTING_CHOICE] = sizeof(char *), [SETTING_COUNT] = sizeof(size_t),
	    [SETTING_BYTES] = sizeof(size_t),  [SETTING_U64] = sizeof(uint64_t),
	    [SETTING_INTEGER] = sizeof(int),   [SETTING_NUMBER] = sizeof(double),
	    [SETTING_MODE] = sizeof(unsigned), [SETTING_SIDES] = sizeof(struct setting_sides),
	    [SETTING_ENUM] = sizeof(unsigned), [SETTING_DURATION] = sizeof(uint64_t),
	    [SETTING_FLAG] = sizeof(bool),     [SETTING_TEXTS] = sizeof(struct setting_texts),
	};

	memset((char *)options + s->offset, 0, sizes[s->type]);
}

/* -- what it should be -------------------------------------------------------------------------- */

char *setting_choices(const struct setting *s, const char *between)
{
	char *text = xstrdup(s->choices[0]);

	for (size_t i = 1; s->choices[i]; i++) {
		char *longer = xasprintf("%s%s%s", text, between, s->choices[i]);

		free(text);
		text = longer;
	}
	return text;
}

static char *expected_units(const struct setting *s, const char *what, char *(*text)(uint64_t))
{
	cleanup_free char *min = text(s->min), *max = text(s->max);

	return s->max == 0 ? xstrdup(what) : xasprintf("%s, from %s to %s", what, min, max);
}

/* "a whole number from 1 to 100", "a multiple of 8 from 64 to 8192, or two ...", "a number from 0 to 1" */
static char *expected_number(const struct setting *s)
{
	cleanup_free char *multiple = NULL;
	const char *kind = s->type == SETTING_NUMBER ? "a number" : "a whole number";
	const char *minus = s->type == SETTING_INTEGER ? "-" : "";
	const char *two = s->type == SETTING_SIDES ? ", or two like 768x512" : "";

	multiple = s->multiple == 0
		       ? xstrdup(kind)
		       : xasprintf("a multiple of %llu", (unsigned long long)s->multiple);
	return s->max == 0 ? xasprintf("%s%s", multiple, two)
			   : xasprintf("%s from %s%llu to %llu%s", multiple, minus,
				       (unsigned long long)(*minus ? s->max : s->min),
				       (unsigned long long)s->max, two);
}

char *setting_expected(const struct setting *s)
{
	switch (s->type) {
	case SETTING_STRING:
	case SETTING_TEXTS:
		return xstrdup(s->valid	      ? s->expected
			       : s->not_empty ? "a text that is not empty"
					      : "a text");
	case SETTING_PATH:
		return xstrdup("a path");
	case SETTING_CHOICE:
	case SETTING_ENUM:
		return setting_choices(s, " or ");
	case SETTING_BYTES:
		return expected_units(s, "a size like 512MiB or 2GiB", bytes_text);
	case SETTING_DURATION:
		return expected_units(s, "a duration like 10s, 5min or 24h", duration_text);
	case SETTING_MODE:
		return xstrdup("permissions as octal digits, like 0660");
	case SETTING_FLAG:
		return xstrdup("true or false");
	case SETTING_GROUP:
		return xstrdup("settings (a mapping)");
	case SETTING_LIST:
		return xstrdup("a list of settings, or one");
	case SETTING_COUNT:
	case SETTING_U64:
	case SETTING_INTEGER:
	case SETTING_NUMBER:
	case SETTING_SIDES:
		break;
	}
	return expected_number(s);
}

const char *setting_key(const char *name, char key[SETTING_KEY_SIZE])
{
	size_t n = 0;

	for (; name[n] && n < SETTING_KEY_SIZE - 1; n++)
		key[n] = name[n] == '-' ? '_' : name[n];
	key[n] = '\0';
	return key;
}
