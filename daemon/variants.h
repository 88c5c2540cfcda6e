/*
 * The variants of one image: what else is encoded of the same decoded picture, under a recipe that asks for it. Each is a
 * sample of its own; they are claimed, encoded, spooled, sealed and replaced together, so that none is ever there without
 * the others.
 *
 * A record in the spool is a bundle: the plain record, and each further one encoded as a member of it. In a shard they stand
 * side by side, the plain one first.
 */
#ifndef LATENTD_DAEMON_VARIANTS_H
#define LATENTD_DAEMON_VARIANTS_H

#include "source/sample_key.h"
#include "storage/record.h"

#include "base/hash.h"

/* Stored as these numbers: never renumber. */
enum variant {
	VARIANT_PLAIN = 0,
	VARIANT_FLIP = 1, /* mirrored left to right */
};
#define VARIANTS 2

/* The key of a sample, from that of its image; of the plain one it is the same. */
void variant_key(const char *image, uint32_t variant, char out[SAMPLE_KEY_SIZE]);

/* What the noise of a draw is made from in place of the content, so that each variant has its own. */
struct hash128 variant_noise(const struct hash128 *content, uint32_t variant);

/* Puts @record, of @variant, into the bundle that @plain begins. */
int variant_put(struct record *plain, uint32_t variant, const struct record *record,
		struct error *err);
/*
 * Takes a record out of @bundle, which is without it afterwards: the plain one last. ERR_DATA `record`: it is not in it, or
 * damaged.
 */
int variant_take(struct record *bundle, uint32_t variant, struct record *out, struct error *err);

#endif
