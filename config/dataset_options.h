/*
 * Choices and checks that `latentctl encode` and the datasets of a daemon share.
 */
#ifndef LATENTD_CONFIG_DATASET_OPTIONS_H
#define LATENTD_CONFIG_DATASET_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Further files of the same content: a sample each, or none. */
enum on_duplicate { ON_DUPLICATE_KEEP, ON_DUPLICATE_DROP };
extern const char *const on_duplicate_words[]; /* NULL-terminated, as the next */
/* Samples of files that are no longer there. */
enum on_delete { ON_DELETE_KEEP, ON_DELETE_REMOVE };
extern const char *const on_delete_words[];

/* A folder's name that can be shown and typed: one path component of UTF-8, at most 100 bytes, not hidden. */
bool dataset_name_valid(const char *name);
#define DATASET_NAME_EXPECTED                                                                      \
	"a folder name of at most 100 bytes, without '/', not beginning with a dot"

/* Part I of N, "I/N" with 1 <= I <= N <= 65536, as 0 .. N-1 of N; false if @text is not that. */
bool dataset_part_parse(const char *text, uint32_t *part, uint32_t *parts);
bool dataset_part_valid(const char *text);
#define DATASET_PART_EXPECTED "I/N, as in 2/3"

#endif
