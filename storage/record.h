/*
 * A finished record: everything that goes into a shard for one sample, as named members. Storage
 * has never heard of latents: a member is bytes with a suffix ("json", "latent.npy.zst", "txt").
 *
 *	cleanup_record struct record r = RECORD_INIT;
 *	record_init(&r, key, "512x512");
 *	record_add(&r, "json", bytes, size);
 *
 * Its encoding (spool segments) is explicit little-endian and documented in record.c.
 */
#ifndef LATENTD_STORAGE_RECORD_H
#define LATENTD_STORAGE_RECORD_H

#include "base/buffer.h"
#include "base/hash.h"

#define RECORD_KEY_SIZE	   89 /* 80 bytes of sample key, 8 of variant suffix, NUL */
#define RECORD_GROUP_SIZE  64
#define RECORD_SUFFIX_SIZE 32
#define RECORD_MAX_MEMBERS 8

struct record_member {
	char suffix[RECORD_SUFFIX_SIZE];
	struct buffer data;
	struct hash128 hash; /* of data: checked again when a shard is sealed */
};

struct record {
	char key[RECORD_KEY_SIZE];
	char group[RECORD_GROUP_SIZE]; /* records of one shard share it; names its folder */
	uint64_t rank;		       /* order inside a shard */
	int64_t dataset, job;	       /* the queue's numbers */
	uint64_t fence;
	size_t n_members;
	struct record_member members[RECORD_MAX_MEMBERS];
};

#define RECORD_INIT                                                                                \
	{                                                                                          \
		.n_members = 0                                                                     \
	}

/* @key must fit and not be empty, @group must fit; ERR_BUG otherwise. */
int record_init(struct record *r, const char *key, const char *group, struct error *err);
/*
 * Copies @data and hashes it. ERR_BUG: @suffix is empty, too long, has a '/' or is there already,
 * or the record is full.
 */
int record_add(struct record *r, const char *suffix, const void *data, size_t size,
	       struct error *err);
/* The same without a copy: @data's memory becomes the record's, and @data is empty afterwards. */
int record_add_buffer(struct record *r, const char *suffix, struct buffer *data, struct error *err);
/* The same, in the place of the member of that suffix where there is one. */
int record_put_buffer(struct record *r, const char *suffix, struct buffer *data, struct error *err);
void record_release(struct record *r);
/* Sum of the members' sizes. */
size_t record_bytes(const struct record *r);
/* NULL if there is none with that suffix. */
const struct record_member *record_member(const struct record *r, const char *suffix);

void record_encode(const struct record *r, struct buffer *out);
/* Every length is checked, every member against its hash. ERR_DATA `record`. */
int record_decode(const uint8_t *bytes, size_t size, struct record *out, struct error *err);

#define cleanup_record cleanup_with(record_release)

#endif
