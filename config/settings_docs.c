#include "config/settings_docs.h"

#include "config/setting_value.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <string.h>

/* -- an example ---------------------------------------------------------------------------------- */

enum { COMMENT_COLUMN = 44, COLUMNS = 110 };

/* " # words", wrapped; the line has @column columns already. */
static void put_comment(FILE *out, size_t column, const char *text)
{
	size_t at = COLUMNS;

	for (const char *word = text; *word;) {
		size_t n = strcspn(word, " ");

		if (at + 1 + n > COLUMNS) {
			if (word != text)
				fputc('\n', out);
			at = word == text && column >= COMMENT_COLUMN ? column + 1 : COMMENT_COLUMN;
			fprintf(out, "%*s#", (int)(word == text ? at - column : at), "");
			at++;
		}
		fprintf(out, " %.*s", (int)n, word);
		at += 1 + n;
		word += n;
		word += strspn(word, " ");
	}
	fputc('\n', out);
}

/* What it means, and what may be said. */
static char *explanation(const struct setting *s)
{
	cleanup_free char *choices = NULL;

	if (!s->choices || !s->choices[1])
		return xstrdup(s->help);
	choices = setting_choices(s, " | ");
	return xasprintf("%s [%s]", s->help, choices);
}

/* How rows of an example stand. */
struct example {
	FILE *out;
	const char *type; /* of the item that is shown; NULL: none */
	int indent;
	bool off; /* inside something that is commented out */
};

static void example_group(const struct example *e, const struct settings_group *group, bool item);

/*
 * What is for another type than the one that is shown, or has neither default nor need, is commented out; so is a group of
 * such settings alone.
 */
static bool example_is_off(const struct example *e, const struct setting *s)
{
	if (e->off || (s->of && e->type && strcmp(s->of, e->type) != 0))
		return true;
	if (s->fallback || s->required || s->type == SETTING_LIST)
		return false;
	for (size_t i = 0; s->type == SETTING_GROUP && i < s->group->n; i++) {
		if (!example_is_off(e, &s->group->rows[i]))
			return false;
	}
	return true;
}

static void example_row(const struct example *e, const struct setting *s, const char *lead)
{
	cleanup_free char *text = explanation(s), *left = NULL;
	const char *value = s->fallback ? s->fallback : s->example ? s->example : "";
	bool off = example_is_off(e, s);
	char key[SETTING_KEY_SIZE];
	struct example below = *e;

	left = xasprintf("%*s%s%s%s:%s%s", e->indent, "", off ? "# " : "", lead,
			 setting_key(s->name, key), *value ? " " : "", value);
	fputs(left, e->out);
	put_comment(e->out, strlen(left), text);
	below.indent += (int)strlen(lead) + 2;
	below.off = off;
	if (s->type == SETTING_GROUP || s->type == SETTING_LIST)
		example_group(&below, s->group, s->type == SETTING_LIST);
}

static const char *example_type(const struct settings_group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		if (group->rows[i].name && strcmp(group->rows[i].name, "type") == 0)
			return group->rows[i].example;
	}
	return NULL;
}

static void example_group(const struct example *e, const struct settings_group *group, bool item)
{
	struct example rows = *e;

	if (item)
		rows.type = example_type(group);
	for (size_t i = 0; i < group->n; i++) {
		const struct setting *s = &group->rows[i];
		struct example row = rows;

		if (item && i > 0)
			row.indent += 2;
		if (!s->name)
			example_group(&row, s->group, false);
		else
			example_row(&row, s, item && i == 0 ? "- " : "");
	}
}

void settings_example(FILE *out, const struct settings_group *group)
{
	const struct example e = {.out = out};

	example_group(&e, group, false);
}

/* -- tables -------------------------------------------------------------------------------------- */

struct document {
	FILE *out;
	void (*row)(FILE *out, const char *name, const struct setting *s);
};

/* Every setting with its full name: datasets[].recipe.vae */
static void each_row(const struct document *d, const struct settings_group *group,
		     const char *prefix)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct setting *s = &group->rows[i];
		cleanup_free char *name = NULL;
		char key[SETTING_KEY_SIZE];

		if (!s->name) {
			each_row(d, s->group, prefix);
			continue;
		}
		name = xasprintf("%s%s%s", prefix, setting_key(s->name, key),
				 s->type == SETTING_LIST ? "[]" : "");
		d->row(d->out, name, s);
		if (s->group) {
			cleanup_free char *below = xasprintf("%s.", name);

			each_row(d, s->group, below);
		}
	}
}

static char *default_text(const struct setting *s)
{
	return xstrdup(s->fallback ? s->fallback : s->required ? "required" : "");
}

static void markdown_row(FILE *out, const char *name, const struct setting *s)
{
	cleanup_free char *expected = setting_expected(s), *fallback = default_text(s);
	const char *tick = s->fallback ? "`" : "";

	fprintf(out, "| `%s` | %s | %s | %s%s%s | %s |\n", name, s->help, expected, tick, fallback,
		tick, s->reloadable ? "yes" : "");
}

void settings_markdown(FILE *out, const struct settings_group *group)
{
	const struct document d = {out, markdown_row};

	fprintf(out,
		"| setting | meaning | expected | default | reload |\n|---|---|---|---|---|\n");
	each_row(&d, group, "");
}

/* Text in which roff finds nothing to do. */
static void put_roff(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else if (*text == '\'')
			fputs("\\(aq", out);
		else
			fputc(*text, out);
	}
}

static void roff_row(FILE *out, const char *name, const struct setting *s)
{
	cleanup_free char *expected = setting_expected(s);

	fprintf(out, ".TP\n.B ");
	put_roff(out, name);
	fprintf(out, "\n");
	put_roff(out, s->help);
	fprintf(out, ".\n");
	if (s->type != SETTING_GROUP && s->type != SETTING_LIST) {
		fprintf(out, "Expected: ");
		put_roff(out, expected);
		fprintf(out, ".\n");
	}
	if (s->fallback) {
		fprintf(out, "Default: ");
		put_roff(out, s->fallback);
		fprintf(out, ".\n");
	}
	if (s->required)
		fprintf(out, "Required.\n");
	if (s->of)
		fprintf(out, "Only of type %s.\n", s->of);
	if (s->reloadable)
		fprintf(out, "Changes on reload.\n");
}

void settings_roff(FILE *out, const struct settings_group *group)
{
	const struct document d = {out, roff_row};

	each_row(&d, group, "");
}
