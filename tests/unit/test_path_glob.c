#include "tests/testing.h"

#include "base/checked.h"
#include "base/path_glob.h"

#include <string.h>
#include <time.h>

struct expected {
	const char *pattern, *path; /* one that ends in '/' is a folder */
	bool matches;
};

static bool is_folder(const char *path, char *bare)
{
	size_t n = strlen(path);

	strcpy(bare, path);
	if (path[n - 1] != '/')
		return false;
	bare[n - 1] = '\0';
	return true;
}

static void assert_matches(const struct expected *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct expected *e = &table[i];
		char path[256];
		bool folder = is_folder(e->path, path);

		if (!path_glob_valid(e->pattern))
			fail_msg("%s is not valid", e->pattern);
		if (path_glob_matches(e->pattern, path, folder) != e->matches)
			fail_msg("%s and %s: expected %d", e->pattern, e->path, e->matches);
	}
}

static void a_pattern_without_a_slash_is_a_name_at_any_depth(void **state)
{
	static const struct expected table[] = {
	    {"*.jpg", "a.jpg", true},	{"*.jpg", "a/b/c.jpg", true}, {"*.jpg", "a.jpg.png", false},
	    {"*.jpg", "a.JPG", false},	{"a.jpg", "b/a.jpg", true},   {"a.jpg", "b/aa.jpg", false},
	    {"raw", "raw", true},	{"raw", "a/raw/", true},      {"raw", "a/raw/b.jpg", false},
	    {"raw/", "a/raw/", true},	{"raw/", "raw", false},	      {"*", "a/b", true},
	    {"?.jpg", "ab.jpg", false}, {"?.jpg", "x/b.jpg", true},   {"*a*b*", "x/cacbc", true},
	    {"*a*b*", "x/cbca", false}, {"a*", "ba", false},	      {"*.tar", "a/b.tar/", true},
	};

	(void)state;
	assert_matches(table, ARRAY_SIZE(table));
}

static void one_with_a_slash_is_the_path_from_the_top(void **state)
{
	static const struct expected table[] = {
	    {"/a.jpg", "a.jpg", true},	  {"/a.jpg", "b/a.jpg", false},
	    {"a/b.jpg", "a/b.jpg", true}, {"a/b.jpg", "c/a/b.jpg", false},
	    {"a/*", "a/b", true},	  {"a/*", "a/b/c", false},
	    {"a/*", "a/", false},	  {"*/b", "a/b", true},
	    {"*/b", "b", false},	  {"a?b/c", "a/b/c", false},
	    {"a/b/", "a/b/", true},	  {"a/b/", "a/b", false},
	    {"/a/", "a/", true},	  {"/a/", "b/a/", false},
	};

	(void)state;
	assert_matches(table, ARRAY_SIZE(table));
}

static void two_stars_are_any_number_of_folders(void **state)
{
	static const struct expected table[] = {
	    {"a/**", "a/b", true},
	    {"a/**", "a/b/c/d.jpg", true},
	    {"a/**", "a/", true},
	    {"a/**", "b/a/c", false},
	    {"a/**", "ab/c", false},
	    {"**/b", "b", true},
	    {"**/b", "x/y/b", true},
	    {"**/b", "x/yb", false},
	    {"a/**/b", "a/b", true},
	    {"a/**/b", "a/x/y/b", true},
	    {"a/**/b", "a/x/y/c", false},
	    {"**", "a/b/c", true},
	    {"**/x/**/*.jpg", "a/x/y.jpg", true},
	    {"**/x/**/*.jpg", "x/a/b/y.jpg", true},
	    {"**/x/**/*.jpg", "a/y.jpg", false},
	    {"a/**/b/**/c", "a/b/b/x/c", true},
	    {"a/**/b/c", "a/b/x/b/c", true},
	    {"a/x**y/b", "a/x/y/b", false},
	    {"a/x**y/b", "a/xzzy/b", true},
	    {"a/**/", "a/b/", true},
	};

	(void)state;
	assert_matches(table, ARRAY_SIZE(table));
}

static void sets_and_escapes_match_one_character(void **state)
{
	static const struct expected table[] = {
	    {"[abc].x", "b.x", true},
	    {"[abc].x", "d.x", false},
	    {"[!abc].x", "d.x", true},
	    {"[^abc].x", "a.x", false},
	    {"[a-c]x", "bx", true},
	    {"[a-c]x", "-x", false},
	    {"[a-]x", "-x", true},
	    {"[]a]x", "]x", true},
	    {"[!]]x", "]x", false},
	    {"[\\]]x", "]x", true},
	    {"*.[jJ][pP][gG]", "a.JpG", true},
	    {"\\*", "*", true},
	    {"\\*", "a", false},
	    {"\\!a", "!a", true},
	    {"[[]x", "[x", true},
	    {"?.x", "\xc3\xa4.x", true},
	    {"??.x", "\xc3\xa4.x", false},
	    {"?.x", "\xff.x", true},
	    {"[\xc3\xa4\xc3\xb6]", "\xc3\xb6", true},
	    {"[\xc3\xa4\xc3\xb6]", "\xc3\xbc", false},
	    {"[\xd0\xb0-\xd1\x8f]", "\xd0\xb6", true},
	    {"\xc3\xa4", "\xc3\xa4", true},
	};

	(void)state;
	assert_matches(table, ARRAY_SIZE(table));
}

static void what_can_match_nothing_is_not_valid(void **state)
{
	static const char *const wrong[] = {"",	  "/",	     "//",  "a//b", "./a", "a/..", "..",
					    "[",  "[a",	     "[]",  "[!]",  "a\\", "[a-",  "[\\",
					    "!a", "a/[b/c]", "///", "a\\/", "."};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (path_glob_valid(wrong[i]))
			fail_msg("%s is valid", wrong[i]);
	}
}

static void what_is_in_a_folder_that_matches_is_covered(void **state)
{
	static const char *const items[] = {"masks/", "/a/x", "*.tar"};
	const struct path_globs globs = {items, ARRAY_SIZE(items)};

	(void)state;
	assert_true(path_globs_cover(&globs, "masks", true));
	assert_false(path_globs_cover(&globs, "masks", false));
	assert_true(path_globs_cover(&globs, "a/masks/b/c.jpg", false));
	assert_true(path_globs_cover(&globs, "a/x/b.jpg", false));
	assert_false(path_globs_cover(&globs, "b/a/x/b.jpg", false));
	assert_true(path_globs_cover(&globs, "b/c.tar/d/e.jpg", false));
	assert_false(path_globs_cover(&(struct path_globs){NULL, 0}, "a", false));
}

static void only_folders_that_lead_to_a_match_are_reached(void **state)
{
	static const struct expected table[] = {
	    {"*.jpg", "a/b", true},	 {"a/b/*.jpg", "a", true},  {"a/b/*.jpg", "a/b", true},
	    {"a/b/*.jpg", "a/c", false}, {"a/b/*.jpg", "b", false}, {"a/**/c", "a/x/y", true},
	    {"a/**/c", "b/x", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct path_globs globs = {&table[i].pattern, 1};

		if (path_globs_reach(&globs, table[i].path) != table[i].matches)
			fail_msg("%s and %s", table[i].pattern, table[i].path);
	}
}

/* Where every star may be tried again this takes longer than the universe has. */
static void many_stars_take_no_longer_than_their_length(void **state)
{
	char pattern[2 * 64 + 2], parts[5 * 32 + 2], path[8001];
	clock_t began = clock();

	(void)state;
	for (size_t i = 0; i < 64; i++)
		memcpy(pattern + 2 * i, "*a", 2);
	strcpy(pattern + 128, "b");
	for (size_t i = 0; i < 32; i++)
		memcpy(parts + 5 * i, "**/a/", 5);
	strcpy(parts + 160, "b");
	memset(path, 'a', 250);
	path[250] = '\0';
	assert_false(path_glob_matches(pattern, path, false));
	for (size_t i = 0; i < 4000; i++)
		memcpy(path + 2 * i, "a/", 2);
	path[7999] = '\0';
	assert_false(path_glob_matches(parts, path, false));
	assert_true(clock() - began < 20 * CLOCKS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_pattern_without_a_slash_is_a_name_at_any_depth),
	    cmocka_unit_test(one_with_a_slash_is_the_path_from_the_top),
	    cmocka_unit_test(two_stars_are_any_number_of_folders),
	    cmocka_unit_test(sets_and_escapes_match_one_character),
	    cmocka_unit_test(what_can_match_nothing_is_not_valid),
	    cmocka_unit_test(what_is_in_a_folder_that_matches_is_covered),
	    cmocka_unit_test(only_folders_that_lead_to_a_match_are_reached),
	    cmocka_unit_test(many_stars_take_no_longer_than_their_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
