/*
 * Where in a manifest each path stands: pairs of a path's hash and an offset, sorted, in a file of 16 bytes a pair. It is
 * made with 16 MiB of memory, however many there are, and asked with a few reads.
 *
 *	manifest_index_begin(folder, &x, err)
 *	manifest_index_add(x, hash, offset, err)        for each record
 *	manifest_index_end(x, key, err)                 afterwards it can be asked
 *	for (i = manifest_index_find(x, hash); manifest_index_at(x, i, hash, &offset); i++)
 *	manifest_index_close(x)
 *
 * Kept in a folder, it is there the next time: manifest_index_open() with the same key.
 */
#ifndef LATENTD_SOURCE_MANIFEST_INDEX_H
#define LATENTD_SOURCE_MANIFEST_INDEX_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct manifest_index;

/* @folder NULL: in a file without a name, in TMPDIR or /tmp. ERR_IO. */
int manifest_index_begin(const char *folder, struct manifest_index **out, struct error *err);
int manifest_index_add(struct manifest_index *x, uint64_t hash, uint64_t offset, struct error *err);
/* @key: a hash of all that it depends on. */
int manifest_index_end(struct manifest_index *x, uint64_t key, struct error *err);
/* NULL: none of @key is kept in @folder. */
struct manifest_index *manifest_index_open(const char *folder, uint64_t key);
/* NULL is fine. */
void manifest_index_close(struct manifest_index *x);

/* The first pair that is not before @hash. */
uint64_t manifest_index_find(const struct manifest_index *x, uint64_t hash);
/* Pair @i is of @hash; those of one hash stand in the order of their offsets. */
bool manifest_index_at(const struct manifest_index *x, uint64_t i, uint64_t hash, uint64_t *offset);
/* Some hash is there twice. */
bool manifest_index_has_doubles(const struct manifest_index *x);

#endif
