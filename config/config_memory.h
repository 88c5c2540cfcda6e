/*
 * What the strings and lists of a configuration lie in: freed all at once.
 */
#ifndef LATENTD_CONFIG_CONFIG_MEMORY_H
#define LATENTD_CONFIG_CONFIG_MEMORY_H

#include <stddef.h>

struct config_memory;

struct config_memory *config_memory_new(void);
/* NULL is accepted. */
void config_memory_free(struct config_memory *memory);

/* @count zeroed items of @size bytes; NULL for none. */
void *config_memory_items(struct config_memory *memory, size_t count, size_t size);
/* Takes @text, which malloc gave. Returns it. */
char *config_memory_take(struct config_memory *memory, char *text);
/* A copy; NULL of NULL. */
char *config_memory_copy(struct config_memory *memory, const char *text);

#endif
