#include "daemon/picture_cache.h"

#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

/* What a picture with a name of one letter takes besides its data. */
#define EACH (PICTURE_CACHE_EACH + sizeof("a"))

static bool has(struct picture_cache *c, const char *name, const char *want)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	bool there = picture_cache_get(c, name, &out);

	if (there) {
		assert_int_equal(out.size, strlen(want));
		assert_memory_equal(out.data, want, out.size);
	}
	return there;
}

static void what_was_not_asked_for_longest_goes_first(void **state)
{
	struct picture_cache *c = picture_cache_new(2 * EACH + 10);
	char large[2 * EACH + 10] = {0};

	(void)state;
	memset(large, 'd', EACH + 10);
	picture_cache_put(c, "a", "aaaa", 4);
	picture_cache_put(c, "b", "bbbb", 4);
	assert_true(has(c, "a", "aaaa"));
	picture_cache_put(c, "c", "cccc", 4);
	assert_true(has(c, "a", "aaaa"));
	assert_false(has(c, "b", ""));
	assert_true(has(c, "c", "cccc"));
	picture_cache_put(c, "d", large, EACH + 10);
	assert_false(has(c, "a", ""));
	assert_false(has(c, "c", ""));
	assert_true(has(c, "d", large));
	picture_cache_free(c);
}

static void one_name_has_one_picture_and_a_huge_one_none(void **state)
{
	struct picture_cache *c = picture_cache_new(2 * EACH + 10);
	char large[EACH + 11] = {0};

	(void)state;
	picture_cache_put(c, "a", "old", 3);
	picture_cache_put(c, "b", "stays", 5);
	picture_cache_put(c, "a", "newer", 5);
	assert_true(has(c, "a", "newer"));
	assert_true(has(c, "b", "stays"));
	picture_cache_put(c, "a", large, sizeof(large));
	assert_false(has(c, "a", ""));
	assert_true(has(c, "b", "stays"));
	picture_cache_free(c);
	picture_cache_free(NULL);
}

static void thousands_of_pictures_take_no_more_than_the_limit(void **state)
{
	struct picture_cache *c =
	    picture_cache_new(100 * (PICTURE_CACHE_EACH + sizeof("1234") + 10));
	char name[16];
	size_t there = 0;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "%04d", i);
		picture_cache_put(c, name, "0123456789", 10);
	}
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "%04d", i);
		there += has(c, name, "0123456789");
	}
	assert_int_equal(there, 100);
	picture_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_not_asked_for_longest_goes_first),
	    cmocka_unit_test(one_name_has_one_picture_and_a_huge_one_none),
	    cmocka_unit_test(thousands_of_pictures_take_no_more_than_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
