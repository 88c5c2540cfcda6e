/*
 * One setting's value: from text into its struct and back.
 */
#ifndef LATENTD_CONFIG_SETTING_VALUE_H
#define LATENTD_CONFIG_SETTING_VALUE_H

#include "config/settings.h"

/* Room for a name as a file has it. */
#define SETTING_KEY_SIZE 48

/*
 * Stores what @text says in the row's field of @options; a string field points to @text then. Not for groups and
 * lists. ERR_CONFIG: `"12x": expected a whole number from 1 to 16`.
 */
int setting_store(const struct setting *row, const char *text, void *options, struct error *err);
/* Whether an error may repeat @text: a URL with a user may have a password too. */
bool setting_is_public(const char *text);
/* The field's value as such a text (texts as a list in YAML), to be freed; NULL: nothing was stored there, and there is no default. */
char *setting_text(const struct setting *row, const void *options);
/* As if nothing had been stored there. */
void setting_clear(const struct setting *row, void *options);
/* "a whole number from 1 to 16"; to be freed. */
char *setting_expected(const struct setting *row);
/* Its choices with @between between them; to be freed. */
char *setting_choices(const struct setting *row, const char *between);
/* The name of a setting as a file has it: shard_samples. Returns @key. */
const char *setting_key(const char *name, char key[SETTING_KEY_SIZE]);

#endif
