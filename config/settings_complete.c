#include "config/settings_complete.h"

#include <string.h>

static void offer_options(FILE *out, const struct setting *table, size_t n, const char *begun)
{
	for (size_t i = 0; i < n; i++) {
		const struct setting *s = &table[i];

		if (s->type == SETTING_GROUP)
			offer_options(out, s->group->rows, s->group->n, begun);
		else if (s->help && strncmp(s->name, begun, strlen(begun)) == 0)
			fprintf(out, "--%s\t%s\n", s->name, s->help);
	}
}

static const struct setting *find(const struct setting *table, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		const struct setting *s = &table[i];

		if (s->type == SETTING_GROUP)
			s = find(s->group->rows, s->group->n, name);
		else if (strcmp(s->name, name) != 0)
			s = NULL;
		if (s)
			return s;
	}
	return NULL;
}

static void offer_values(FILE *out, const struct setting *s, const char *begun)
{
	if (s->type == SETTING_PATH)
		fprintf(out, "%s\n",
			s->value_name && strcmp(s->value_name, "FILE") == 0 ? "@file" : "@folder");
	for (size_t i = 0; s->choices && s->choices[i]; i++) {
		if (strncmp(s->choices[i], begun, strlen(begun)) == 0)
			fprintf(out, "%s\n", s->choices[i]);
	}
}

bool settings_complete(FILE *out, const struct setting *table, size_t n, bool files, int argc,
		       char **argv)
{
	const struct setting *s = NULL;

	if (argc != 4 || strcmp(argv[1], "--complete") != 0)
		return false;
	if (strncmp(argv[2], "--", 2) == 0)
		s = find(table, n, argv[2] + 2);
	if (s && s->type != SETTING_FLAG)
		offer_values(out, s, argv[3]);
	else if (argv[3][0] == '-')
		offer_options(out, table, n, argv[3] + strspn(argv[3], "-"));
	else if (files)
		fprintf(out, "@file\n");
	return true;
}
