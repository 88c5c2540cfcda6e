/*
 * The two hashes of the house: XXH3-128 for identity of content and for checks (fast, not against
 * attackers), SHA-256 for names that must not collide (recipe, weights, shard files).
 *
 * A hash128 is kept in canonical order (big-endian, as xxhsum and Python's xxhash print it), so its
 * hex form compares equal with other tools.
 */
#ifndef LATENTD_BASE_HASH_H
#define LATENTD_BASE_HASH_H

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash128 {
	uint8_t bytes[16];
};

struct sha256 {
	uint8_t bytes[32];
};

#define HASH128_HEX_SIZE 33
#define SHA256_HEX_SIZE	 65

struct hash128 hash128_of(const void *data, size_t size);
bool hash128_equal(const struct hash128 *a, const struct hash128 *b);
void hash128_hex(const struct hash128 *h, char out[HASH128_HEX_SIZE]);
/* False if @hex is not exactly 32 lower-case hex digits. */
bool hash128_parse(const char *hex, struct hash128 *out);
/* XXH3-64 with a seed, for orders and tails. */
uint64_t hash64_of(const void *data, size_t size, uint64_t seed);

/* Data that comes in pieces: new, update ..., then the value; free. NULL may be freed. */
struct hash128_stream;
struct hash128_stream *hash128_stream_new(void);
void hash128_stream_update(struct hash128_stream *s, const void *data, size_t size);
struct hash128 hash128_stream_value(const struct hash128_stream *s);
void hash128_stream_free(struct hash128_stream *s);

/* XXH64, seed 0: the checksum of zstd and the hash of other people's formats, for nothing else. */
struct xxh64_stream;
struct xxh64_stream *xxh64_stream_new(void);
void xxh64_stream_update(struct xxh64_stream *s, const void *data, size_t size);
uint64_t xxh64_stream_value(const struct xxh64_stream *s);
void xxh64_stream_free(struct xxh64_stream *s);

struct sha256 sha256_of(const void *data, size_t size);
/* HMAC with SHA-256, RFC 2104. */
struct sha256 sha256_hmac(const void *key, size_t key_size, const void *data, size_t size);
void sha256_hex(const struct sha256 *h, char out[SHA256_HEX_SIZE]);
bool sha256_parse(const char *hex, struct sha256 *out);

/* MD5, for names and checksums of other programs and for nothing else. */
struct md5 {
	uint8_t bytes[16];
};
struct md5 md5_of(const void *data, size_t size);
#define MD5_BASE64_SIZE 25
void md5_base64(const struct md5 *h, char out[MD5_BASE64_SIZE]);

struct sha256_stream;
struct sha256_stream *sha256_stream_new(void);
void sha256_stream_update(struct sha256_stream *s, const void *data, size_t size);
/* Ends the stream; only free may follow. */
struct sha256 sha256_stream_value(struct sha256_stream *s);
void sha256_stream_free(struct sha256_stream *s);

static inline void hash128_stream_free_p(struct hash128_stream **s)
{
	hash128_stream_free(*s);
}

static inline void sha256_stream_free_p(struct sha256_stream **s)
{
	sha256_stream_free(*s);
}

static inline void xxh64_stream_free_p(struct xxh64_stream **s)
{
	xxh64_stream_free(*s);
}

#define cleanup_xxh64_stream   cleanup_with(xxh64_stream_free_p)
#define cleanup_hash128_stream cleanup_with(hash128_stream_free_p)
#define cleanup_sha256_stream  cleanup_with(sha256_stream_free_p)

#endif
