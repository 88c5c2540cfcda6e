/*
 * Documents made from a table of settings: so that they say what the program does.
 */
#ifndef LATENTD_CONFIG_SETTINGS_DOCS_H
#define LATENTD_CONFIG_SETTINGS_DOCS_H

#include "config/settings.h"

/* A file with every setting: its default or an example, and what it means. It loads. */
void settings_example(FILE *out, const struct settings_group *group);
/* A table in Markdown, one row a setting. */
void settings_markdown(FILE *out, const struct settings_group *group);
/* Tagged paragraphs for a manual page. */
void settings_roff(FILE *out, const struct settings_group *group);

#endif
