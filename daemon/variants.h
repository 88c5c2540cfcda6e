/*
 * The variants of one image: what else is encoded of the same decoded picture, under a recipe that asks for it. Each is a
 * sample of its own; they are claimed, encoded, spooled, sealed and replaced together, so that none is ever there without
 * the others.
 *
 * A record in the spool is a bundle: the plain record, with the others encoded in one member of it. In a shard they stand
 * side by side, the plain one first.
 */
#ifndef LATENTD_DAEMON_VARIANTS_H
#define LATENTD_DAEMON_VARIANTS_H

#include "daemon/resolutions.h"
#include "source/sample_key.h"
#include "storage/record.h"

#include "base/hash.h"

/*
 * The number of a variant is stored: never renumber. 32 times its resolution, where 0 is the dataset's first, twice the number of its
 * crop, where 0 is the rule's own, and 1 more where it is mirrored left to right.
 */
#define VARIANT_PLAIN	       0
#define VARIANT_FLIP	       1
#define VARIANT_CROPS	       8 /* at most, beside the rule's own */
#define VARIANT_RESOLUTION     32
#define VARIANT_RESOLUTION_MAX 8192
#define VARIANTS	       (RESOLUTIONS_MAX * 2 * (1 + VARIANT_CROPS))

static inline bool variant_is_mirrored(uint32_t variant)
{
	return variant & 1;
}

static inline uint32_t variant_crop(uint32_t variant)
{
	return variant % VARIANT_RESOLUTION / 2;
}

/* 0: the dataset's first. */
static inline uint32_t variant_resolution(uint32_t variant)
{
	return variant / VARIANT_RESOLUTION;
}

/* Whether the number can be one. */
static inline bool variant_valid(uint64_t variant)
{
	return variant % VARIANT_RESOLUTION <= 2 * VARIANT_CROPS + 1 &&
	       variant / VARIANT_RESOLUTION <= VARIANT_RESOLUTION_MAX;
}

/*
 * Where in the resized image, which is not mirrored, @variant lies: @placement is that of the rule for its resolution. Crops lie where XXH3-64, seed
 * @seed, of the 16 bytes of the content's hash and a byte, the number of the crop, says: its upper half for left, its lower half for top,
 * each scaled to the places that there are: inside the image, and no more than half a target from the rule's own.
 */
void variant_place(const struct bucket_placement *placement, const struct hash128 *content,
		   uint64_t seed, uint32_t variant, size_t *left, size_t *top);

/* The key of a sample, from that of its image; of the plain one it is the same. */
void variant_key(const char *image, uint32_t variant, char out[SAMPLE_KEY_SIZE]);

/*
 * What the noise of a draw is made from in place of the content, so that each variant has its own: the hash of the content's and of the
 * number, as a byte, or as four (little-endian) of a further resolution.
 */
struct hash128 variant_noise(const struct hash128 *content, uint32_t variant);

/* Puts @record, of @variant, into the bundle that @plain begins; each once. */
int variant_put(struct record *plain, uint32_t variant, const struct record *record,
		struct error *err);
/*
 * Takes a record out of @bundle, which is without it afterwards: the plain one last. ERR_DATA `record`: it is not in it, or
 * damaged.
 */
int variant_take(struct record *bundle, uint32_t variant, struct record *out, struct error *err);

#endif
