/*
 * Damages the bytes of an image file, the same way for the same seed and number, on every machine.
 */
#ifndef LATENTD_TESTS_COMPONENT_MUTATE_BYTES_H
#define LATENTD_TESTS_COMPONENT_MUTATE_BYTES_H

#include "base/buffer.h"

struct mutation {
	uint64_t seed, number;
	uint64_t drawn; /* random numbers so far; 0 at first */
};

uint64_t mutation_random(struct mutation *m);
/* One to four damages to @file; @other: a file to take pieces from. */
void mutate_bytes(struct mutation *m, struct buffer *file, const uint8_t *other, size_t other_size);

#endif
