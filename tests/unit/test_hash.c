/*
 * XXH3: python3-xxhash 4.1.0 (libxxhash 0.8.4). SHA-256: FIPS 180-2 appendix B, and Python's
 * hashlib for the pattern.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/hash.h"

#include <string.h>

static uint8_t pattern[5000];

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + 3);
	return 0;
}

static void xxh3_gives_the_published_values_in_canonical_order(void **state)
{
	/* sizes on both sides of the algorithm's own borders at 16, 128, 240 */
	static const struct {
		size_t size;
		const char *hex128;
		uint64_t h64, h64_seed42;
	} examples[] = {
	    {0, "99aa06d3014798d86001c324468d497f", 0x2d06800538d394c2, 0xb029411ff43d84d2},
	    {17, "bfd327edcc2fbd12eeed7654312a26d7", 0x714a04408e79b80f, 0x148ada809b3845dd},
	    {200, "32200a52a918beaf380142cdd5843bbd", 0x746cd0025327bf5b, 0xb04cc37ae5a4a48d},
	    {241, "ac6c3492c3d6b45d8beadd3a8874fe17", 0x8beadd3a8874fe17, 0x59fdc74e63a7aee7},
	    {5000, "c98ae385d09887cc799aaddd7339581d", 0x799aaddd7339581d, 0xab56be339593b1ce},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		struct hash128 h = hash128_of(pattern, examples[i].size);
		char hex[HASH128_HEX_SIZE];

		hash128_hex(&h, hex);
		assert_string_equal(hex, examples[i].hex128);
		assert_true(hash64_of(pattern, examples[i].size, 0) == examples[i].h64);
		assert_true(hash64_of(pattern, examples[i].size, 42) == examples[i].h64_seed42);
	}
}

static void xxh3_of_abc_is_known(void **state)
{
	struct hash128 h = hash128_of("abc", 3);
	char hex[HASH128_HEX_SIZE];

	(void)state;
	hash128_hex(&h, hex);
	assert_string_equal(hex, "06b05ab6733a618578af5f94892f3950");
}

static void xxh64_gives_the_published_values(void **state)
{
	cleanup_xxh64_stream struct xxh64_stream *none = xxh64_stream_new(),
						 *abc = xxh64_stream_new();

	(void)state;
	xxh64_stream_update(abc, "a", 1);
	xxh64_stream_update(abc, "bc", 2);
	assert_true(xxh64_stream_value(none) == 0xef46db3751d8e999);
	assert_true(xxh64_stream_value(abc) == 0x44bc2cf5ad770999);
}

static void a_stream_in_any_pieces_gives_the_same_value(void **state)
{
	static const size_t pieces[] = {1, 3, 64, 255, 257, 4999, 5000};
	struct hash128 want = hash128_of(pattern, sizeof(pattern));
	struct sha256 want_sha = sha256_of(pattern, sizeof(pattern));

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		cleanup_hash128_stream struct hash128_stream *s = hash128_stream_new();
		cleanup_sha256_stream struct sha256_stream *sha = sha256_stream_new();
		struct hash128 got;
		struct sha256 got_sha;

		for (size_t at = 0; at < sizeof(pattern); at += pieces[i]) {
			size_t left = sizeof(pattern) - at, n = left < pieces[i] ? left : pieces[i];

			hash128_stream_update(s, pattern + at, n);
			sha256_stream_update(sha, pattern + at, n);
		}
		got = hash128_stream_value(s);
		got_sha = sha256_stream_value(sha);
		assert_true(hash128_equal(&got, &want));
		assert_memory_equal(got_sha.bytes, want_sha.bytes, sizeof(want_sha.bytes));
	}
}

static void sha256_gives_the_published_values(void **state)
{
	static const struct {
		const char *data, *hex;
	} examples[] = {
	    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	};
	struct sha256 h;
	char hex[SHA256_HEX_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		h = sha256_of(examples[i].data, strlen(examples[i].data));
		sha256_hex(&h, hex);
		assert_string_equal(hex, examples[i].hex);
	}
	h = sha256_of(pattern, sizeof(pattern));
	sha256_hex(&h, hex);
	assert_string_equal(hex,
			    "34398b85297bf7d9dfb59b8d511d8bbb44ab23e891570e4395e7871475fc8afb");
}

static void hex_comes_back_and_anything_else_is_refused(void **state)
{
	static const char *const bad[] = {
	    "", "99aa06d3014798d86001c324468d497", "99aa06d3014798d86001c324468d497f0",
	    "99aa06d3014798d86001c324468d497g", "99aa06d3014798d8 001c324468d497f"};
	struct hash128 want = hash128_of("x", 1), got = {{0}}, kept;
	struct sha256 want_sha = sha256_of("x", 1), got_sha;
	char hex[HASH128_HEX_SIZE], hex_sha[SHA256_HEX_SIZE];

	(void)state;
	hash128_hex(&want, hex);
	assert_true(hash128_parse(hex, &got));
	assert_true(hash128_equal(&want, &got));
	sha256_hex(&want_sha, hex_sha);
	assert_true(sha256_parse(hex_sha, &got_sha));
	assert_memory_equal(&want_sha, &got_sha, sizeof(got_sha));
	assert_false(sha256_parse(hex, &got_sha));
	kept = got;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(hash128_parse(bad[i], &got));
	assert_true(hash128_equal(&kept, &got));
}

static void freeing_nothing_is_fine(void **state)
{
	(void)state;
	hash128_stream_free(NULL);
	sha256_stream_free(NULL);
}

/* RFC 1321, A.5 */
static void md5_is_that_of_the_rfc(void **state)
{
	static const uint8_t want[] = {0xc3, 0xfc, 0xd3, 0xd7, 0x61, 0x92, 0xe4, 0x00,
				       0x7d, 0xfb, 0x49, 0x6c, 0xca, 0x67, 0xe1, 0x3b};
	struct md5 got = md5_of("abcdefghijklmnopqrstuvwxyz", 26);

	(void)state;
	assert_memory_equal(got.bytes, want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(xxh3_gives_the_published_values_in_canonical_order),
	    cmocka_unit_test(xxh3_of_abc_is_known),
	    cmocka_unit_test(xxh64_gives_the_published_values),
	    cmocka_unit_test(a_stream_in_any_pieces_gives_the_same_value),
	    cmocka_unit_test(sha256_gives_the_published_values),
	    cmocka_unit_test(hex_comes_back_and_anything_else_is_refused),
	    cmocka_unit_test(freeing_nothing_is_fine),
	    cmocka_unit_test(md5_is_that_of_the_rfc),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
