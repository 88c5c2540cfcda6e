/*
 * Private to queue/: how the databases find a job by its path or its key.
 *
 * A key that is the path without its extension, as nearly all are, is not stored: the path says it. Both are
 * found by a print of 64 bits; rows of one print may have different names, so the names decide.
 */
#ifndef LATENTD_QUEUE_QUEUE_NAMES_H
#define LATENTD_QUEUE_QUEUE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of @path without its extension, by the rule of sample keys: a leading dot begins none. */
size_t name_stem_size(const char *path, size_t size);

/*
 * Of a path's stem or a key. The upper half leaves the last four bytes out, so that names that count up (000123,
 * 000124) have neighbouring prints: a scan in order then fills pages of an index one after the other, where a
 * plain hash would write to every page.
 */
int64_t name_print(int64_t dataset, const char *name, size_t size);

bool name_equal(const char *a, size_t a_size, const char *b, size_t b_size);

#endif
