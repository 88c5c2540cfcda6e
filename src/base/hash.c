#include "base/hash.h"

#include "base/checked.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct hash128_stream {
	XXH3_state_t *state;
};

struct xxh64_stream {
	XXH64_state_t *state;
};

struct sha256_stream {
	EVP_MD_CTX *context;
};

static void hex_encode(const uint8_t *bytes, size_t size, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * size] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool hex_decode(const char *hex, uint8_t *out, size_t size)
{
	if (strlen(hex) != 2 * size)
		return false;
	for (size_t i = 0; i < size; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static struct hash128 hash128_from_xxh(XXH128_hash_t h)
{
	XXH128_canonical_t canonical;
	struct hash128 out;

	XXH128_canonicalFromHash(&canonical, h);
	memcpy(out.bytes, canonical.digest, sizeof(out.bytes));
	return out;
}

struct hash128 hash128_of(const void *data, size_t size)
{
	return hash128_from_xxh(XXH3_128bits(data, size));
}

bool hash128_equal(const struct hash128 *a, const struct hash128 *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void hash128_hex(const struct hash128 *h, char out[HASH128_HEX_SIZE])
{
	hex_encode(h->bytes, sizeof(h->bytes), out);
}

bool hash128_parse(const char *hex, struct hash128 *out)
{
	struct hash128 parsed;

	if (!hex_decode(hex, parsed.bytes, sizeof(parsed.bytes)))
		return false;
	*out = parsed;
	return true;
}

uint64_t hash64_of(const void *data, size_t size, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, size, seed);
}

struct hash128_stream *hash128_stream_new(void)
{
	struct hash128_stream *s = xmalloc(sizeof(*s));

	s->state = XXH3_createState();
	if (!s->state)
		memory_is_out();
	XXH3_128bits_reset(s->state);
	return s;
}

void hash128_stream_update(struct hash128_stream *s, const void *data, size_t size)
{
	XXH3_128bits_update(s->state, data, size);
}

struct hash128 hash128_stream_value(const struct hash128_stream *s)
{
	return hash128_from_xxh(XXH3_128bits_digest(s->state));
}

void hash128_stream_free(struct hash128_stream *s)
{
	if (!s)
		return;
	XXH3_freeState(s->state);
	free(s);
}

struct xxh64_stream *xxh64_stream_new(void)
{
	struct xxh64_stream *s = xmalloc(sizeof(*s));

	s->state = XXH64_createState();
	if (!s->state)
		memory_is_out();
	XXH64_reset(s->state, 0);
	return s;
}

void xxh64_stream_update(struct xxh64_stream *s, const void *data, size_t size)
{
	XXH64_update(s->state, data, size);
}

uint64_t xxh64_stream_value(const struct xxh64_stream *s)
{
	return XXH64_digest(s->state);
}

void xxh64_stream_free(struct xxh64_stream *s)
{
	if (!s)
		return;
	XXH64_freeState(s->state);
	free(s);
}

struct sha256 sha256_of(const void *data, size_t size)
{
	struct sha256_stream *s = sha256_stream_new();
	struct sha256 value;

	sha256_stream_update(s, data, size);
	value = sha256_stream_value(s);
	sha256_stream_free(s);
	return value;
}

void sha256_hex(const struct sha256 *h, char out[SHA256_HEX_SIZE])
{
	hex_encode(h->bytes, sizeof(h->bytes), out);
}

bool sha256_parse(const char *hex, struct sha256 *out)
{
	struct sha256 parsed;

	if (!hex_decode(hex, parsed.bytes, sizeof(parsed.bytes)))
		return false;
	*out = parsed;
	return true;
}

/* SHA-256 is always there in libcrypto, which has no other reason to fail. */
static void crypto_must(int ok)
{
	if (ok != 1)
		memory_is_out();
}

/*
 * libcrypto 3.0 follows a null pointer where memory runs out while it sets itself up. Refused, and without effect,
 * where another library has already used it.
 */
static void *crypto_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return xmalloc(size);
}

static void *crypto_realloc(void *p, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	if (size > 0)
		return xrealloc(p, 1, size);
	free(p);
	return NULL;
}

static void crypto_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	free(p);
}

static void crypto_begin(void)
{
	CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free);
}

static pthread_once_t crypto_once = PTHREAD_ONCE_INIT;

struct sha256_stream *sha256_stream_new(void)
{
	struct sha256_stream *s = xmalloc(sizeof(*s));

	pthread_once(&crypto_once, crypto_begin);
	s->context = EVP_MD_CTX_new();
	crypto_must(s->context != NULL);
	crypto_must(EVP_DigestInit_ex(s->context, EVP_sha256(), NULL));
	return s;
}

void sha256_stream_update(struct sha256_stream *s, const void *data, size_t size)
{
	crypto_must(EVP_DigestUpdate(s->context, data, size));
}

struct sha256 sha256_stream_value(struct sha256_stream *s)
{
	struct sha256 out;
	unsigned size = 0;

	crypto_must(EVP_DigestFinal_ex(s->context, out.bytes, &size));
	assert(size == sizeof(out.bytes));
	return out;
}

void sha256_stream_free(struct sha256_stream *s)
{
	if (!s)
		return;
	EVP_MD_CTX_free(s->context);
	free(s);
}

static struct sha256 sha256_of_two(const void *a, size_t a_size, const void *b, size_t b_size)
{
	struct sha256_stream *s = sha256_stream_new();
	struct sha256 out;

	sha256_stream_update(s, a, a_size);
	sha256_stream_update(s, b, b_size);
	out = sha256_stream_value(s);
	sha256_stream_free(s);
	return out;
}

struct sha256 sha256_hmac(const void *key, size_t key_size, const void *data, size_t size)
{
	uint8_t pad[64] = {0}; /* a block of SHA-256 */
	struct sha256 shorter, inner;

	if (key_size > sizeof(pad)) {
		shorter = sha256_of(key, key_size);
		memcpy(pad, shorter.bytes, sizeof(shorter.bytes));
	} else if (key_size > 0) {
		memcpy(pad, key, key_size);
	}
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36;
	inner = sha256_of_two(pad, sizeof(pad), data, size);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	inner = sha256_of_two(pad, sizeof(pad), inner.bytes, sizeof(inner.bytes));
	explicit_bzero(pad, sizeof(pad));
	return inner;
}

struct md5 md5_of(const void *data, size_t size)
{
	struct md5 out;
	unsigned length = 0;

	pthread_once(&crypto_once, crypto_begin);
	crypto_must(EVP_Digest(data, size, out.bytes, &length, EVP_md5(), NULL));
	assert(length == sizeof(out.bytes));
	return out;
}

void md5_base64(const struct md5 *h, char out[MD5_BASE64_SIZE])
{
	EVP_EncodeBlock((unsigned char *)out, h->bytes, (int)sizeof(h->bytes));
}
