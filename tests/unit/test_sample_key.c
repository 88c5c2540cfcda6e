/*
 * The cleaned part of each expectation is written by hand from the rule in sample_key.h; the tails
 * are xxhash.xxh3_64_hexdigest(stem)[:8] of python3-xxhash 4.1.0.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/text.h"
#include "source/sample_key.h"

#include <string.h>

#define K10 "kkkkkkkkkk"
#define K70 K10 K10 K10 K10 K10 K10 K10

struct example {
	const char *path, *key;
};

static void check(const struct example *examples, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char key[SAMPLE_KEY_SIZE];

		sample_key(examples[i].path, key);
		assert_string_equal(key, examples[i].key);
	}
}

static void a_harmless_path_is_its_own_key(void **state)
{
	static const struct example examples[] = {
	    {"a.jpg", "a"},
	    {"dir/sub/photo_0001.jpeg", "dir/sub/photo_0001"},
	    {"no_extension", "no_extension"},
	    {"caf\xc3\xa9/\xf0\x9f\x90\xb1.png", "caf\xc3\xa9/\xf0\x9f\x90\xb1"},
	    {"_one/x__y/z__.png", "_one/x__y/z__"},
	    {"it's(1)&[2]+#,;=@~!$.png", "it's(1)&[2]+#,;=@~!$"},
	    {K70 K10 ".jpg", K70 K10},
	};
	(void)state;
	check(examples, ARRAY_SIZE(examples));
}

static void what_readers_trip_over_becomes_an_underscore_and_leaves_a_tail(void **state)
{
	static const struct example examples[] = {
	    {"a.b.jpg", "a_b-390c9ebb"},
	    {"my photo.jpg", "my_photo-70e3b021"},
	    {"q\"\\*?<>|:%q.jpg", "q_________q-b9113683"},
	    {"tab\tnl\n.jpg", "tab_nl_-87fb66e1"},
	    {"del\x7f.jpg", "del_-cddcba5c"},
	    {"a/b..jpg", "a/b_-cca2b14c"},
	};
	(void)state;
	check(examples, ARRAY_SIZE(examples));
}

static void unicode_white_space_and_controls_are_one_underscore(void **state)
{
	static const struct example examples[] = {
	    {"nb\xc2\xa0sp.jpg", "nb_sp-da28c90a"},
	    {"id\xe3\x80\x80"
	     "eo.jpg",
	     "id_eo-a5e6e66d"},
	    {"c1\xc2\x85x.jpg", "c1_x-7626c73a"},
	};
	(void)state;
	check(examples, ARRAY_SIZE(examples));
}

static void each_byte_that_is_not_utf8_is_one_underscore(void **state)
{
	static const struct example examples[] = {
	    {"caf\xe9.jpg", "caf_-f8ff58fc"},
	    {"trunc\xe2\x82.jpg", "trunc__-22162c49"},
	};
	(void)state;
	check(examples, ARRAY_SIZE(examples));
}

static void no_part_begins_with_two_underscores(void **state)
{
	static const struct example examples[] = {
	    {"__init.jpg", "_-init-f26f2612"},
	    {"x/__y.jpg", "x/_-y-f177ca22"},
	    {"_/__/._x.png", "_/_-/_-x-88f02c81"},
	    {"../up.jpg", "_-/up-e8d5d962"},
	};
	(void)state;
	check(examples, ARRAY_SIZE(examples));
}

static void empty_parts_are_left_out(void **state)
{
	static const struct example examples[] = {
	    {"a//b.jpg", "a/b-c1f61978"}, {"/abs.jpg", "abs-94683eae"}, {"d/", "d-3cf259d5"},
	    {".jpg", "_jpg-251c0c8f"},	  {"", "_-2d068005"},
	};
	(void)state;
	check(examples, ARRAY_SIZE(examples));
}

static void a_long_key_is_cut_to_80_bytes_between_characters(void **state)
{
	static const struct example examples[] = {
	    {K70 K10 "k.jpg", K70 "k-8dab8c6c"},
	    {K70 K10 ".x.jpg", K70 "k-d4696a5d"},
	    /* a two-byte character lies over bytes 71 and 72 */
	    {K70 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
		 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9.jpg",
	     K70 "-7e2b75b1"},
	};
	(void)state;
	check(examples, ARRAY_SIZE(examples));
}

static void a_distinct_key_has_its_tail_from_the_distinction(void **state)
{
	char key[SAMPLE_KEY_SIZE];

	(void)state;
	sample_key_distinct("a.jpg", "a.jpg", key);
	assert_string_equal(key, "a-0169276d");
	sample_key_distinct("a.png", "a.png", key);
	assert_string_equal(key, "a-f312fd6d");
	sample_key_distinct("a.png", "s1:a.png", key);
	assert_string_equal(key, "a-c68d5d48");
}

/* xorshift: the property test must see the same paths on every machine. */
static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void random_path(uint32_t *random, char *path, size_t size)
{
	static const char pieces[][5] = {"a",	 "/",	    ".", "_",	     "__",
					 " ",	 "%",	    "b", "\xc3\xa9", "\xe2\x82\xac",
					 "\xff", "\xe2\x82"};
	size_t n = next_random(random) % 120, used = 0;

	for (size_t i = 0; i < n; i++) {
		const char *piece = pieces[next_random(random) % ARRAY_SIZE(pieces)];

		if (used + strlen(piece) >= size)
			break;
		memcpy(path + used, piece, strlen(piece));
		used += strlen(piece);
	}
	path[used] = '\0';
}

static void no_image_has_a_key_that_ends_as_those_of_variants(void **state)
{
	static const struct example examples[] = {
	    {"cat-f.jpg", "cat-f-0cbbf387"},
	    {"a/cat-c12.png", "a/cat-c12-a93aa01d"},
	    {"cat-r1024.jpg", "cat-r1024-78de6981"},
	    {"cat-f1.jpg", "cat-f1"},
	    {"cat-c.jpg", "cat-c"},
	    {"cat-c1234.jpg", "cat-c1234"},
	    {"cat-r123456.jpg", "cat-r123456"},
	    {"catf.jpg", "catf"},
	    {"c12.jpg", "c12"},
	};
	(void)state;
	check(examples, ARRAY_SIZE(examples));
}

static void a_variant_has_the_key_of_its_image_and_a_tail_within_80_bytes(void **state)
{
	static const struct example examples[] = {
	    {"a/cat", "a/cat-f"},
	    {K70 "kkkkkkkk", K70 "kkkkkkkk-f"},
	    {K70 "kkkkkkkkk", "kkkkkkkkk" K10 K10 K10 K10 K10 K10 "-f1b18acd-f"},
	    {K70 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9",
	     "kkkkkkkkk" K10 K10 K10 K10 K10 K10 "-09df5a58-f"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		char key[SAMPLE_KEY_SIZE];

		sample_key_variant(examples[i].path, "-f", key);
		assert_string_equal(key, examples[i].key);
	}
}

static void assert_key_valid(const char *key)
{
	size_t length = strlen(key);

	assert_in_range(length, 1, 80);
	assert_true(utf8_valid(key, length));
	assert_null(strpbrk(key, "\"\\*?<>|:%. \t\n\r\v\f"));
	assert_false(strncmp(key, "__", 2) == 0);
	assert_null(strstr(key, "/__"));
	assert_null(strstr(key, "//"));
	assert_false(key[0] == '/');
	assert_false(key[length - 1] == '/');
}

static void any_path_gives_a_valid_key_and_always_the_same(void **state)
{
	uint32_t random = 2463534242u;

	(void)state;
	for (size_t i = 0; i < 20000; i++) {
		char path[512], first[SAMPLE_KEY_SIZE], again[SAMPLE_KEY_SIZE];

		random_path(&random, path, sizeof(path));
		sample_key(path, first);
		assert_key_valid(first);
		sample_key(path, again);
		assert_string_equal(first, again);
		sample_key_distinct(path, path, again);
		assert_key_valid(again);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_harmless_path_is_its_own_key),
	    cmocka_unit_test(what_readers_trip_over_becomes_an_underscore_and_leaves_a_tail),
	    cmocka_unit_test(unicode_white_space_and_controls_are_one_underscore),
	    cmocka_unit_test(each_byte_that_is_not_utf8_is_one_underscore),
	    cmocka_unit_test(no_part_begins_with_two_underscores),
	    cmocka_unit_test(empty_parts_are_left_out),
	    cmocka_unit_test(a_long_key_is_cut_to_80_bytes_between_characters),
	    cmocka_unit_test(a_distinct_key_has_its_tail_from_the_distinction),
	    cmocka_unit_test(no_image_has_a_key_that_ends_as_those_of_variants),
	    cmocka_unit_test(a_variant_has_the_key_of_its_image_and_a_tail_within_80_bytes),
	    cmocka_unit_test(any_path_gives_a_valid_key_and_always_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
