/*
 * What lies beside images, held against looking for it among all names.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "source/bucket_beside.h"
#include "source/source_path.h"

#include <stdio.h>
#include <string.h>

enum { NAMES = 4000, ROUNDS = 200 };

static unsigned next_random(unsigned *random)
{
	*random = *random * 1664525u + 1013904223u;
	return *random >> 8;
}

static int by_bytes(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Names that begin each other, with what stands before and behind '-' and '.'. */
static char *some_name(unsigned *random)
{
	static const char *const parts[] = {"a", "b", "a-", "a.", "a/", ",", "0", "-mask", "\xff"};
	static const char *const endings[] = {".jpg",	   ".png",     ".JPG",	    ".txt",
					      ".caption",  ".json",    "-mask.png", ".mask.png",
					      "-MASK.PNG", ".jpg.txt", ""};
	char name[64] = "";

	for (unsigned n = 1 + next_random(random) % 4; n > 0; n--)
		strcat(name, parts[next_random(random) % ARRAY_SIZE(parts)]);
	return xasprintf("%s%s", name, endings[next_random(random) % ARRAY_SIZE(endings)]);
}

static enum bucket_kind kind_of(const char *path)
{
	if (source_path_is_mask(path))
		return BUCKET_MASK;
	if (source_path_is_image(path))
		return BUCKET_IMAGE;
	return source_path_is_caption(path) ? BUCKET_TEXT : BUCKET_OTHER;
}

/* 1 and its place; 0: it is not there. */
static uint64_t stamp_of(char *const *names, size_t n, const char *image, const char *ending)
{
	cleanup_free char *name = xasprintf("%.*s%s", (int)source_path_stem(image), image, ending);
	char *const *found = bsearch(&name, names, n, sizeof(*names), by_bytes);

	return found ? (uint64_t)(found - names) + 1 : 0;
}

static void assert_beside(char *const *names, size_t n, const struct bucket_image *image)
{
	const struct beside *b = &image->beside;
	uint64_t mask = 0;
	size_t ending = 0;

	assert_int_equal(b->text, stamp_of(names, n, image->path, ".txt"));
	assert_int_equal(b->caption, stamp_of(names, n, image->path, ".caption"));
	assert_int_equal(b->json, stamp_of(names, n, image->path, ".json"));
	for (; mask == 0 && source_path_mask_ending(ending); ending++)
		mask = stamp_of(names, n, image->path, source_path_mask_ending(ending));
	assert_int_equal(b->mask, mask);
	if (mask != 0)
		assert_int_equal(b->mask_ending, ending - 1);
}

static size_t take_all(struct bucket_beside *b, char *const *names, size_t n)
{
	struct bucket_image image;
	size_t taken = 0;

	for (; bucket_beside_take(b, &image); taken++) {
		assert_beside(names, n, &image);
		assert_string_equal(names[image.stamp - 1], image.path);
		free(image.path);
	}
	return taken;
}

static void each_image_has_what_lies_beside_it_wherever_that_stands_in_the_list(void **state)
{
	unsigned random = 1;

	(void)state;
	for (size_t round = 0; round < ROUNDS; round++) {
		size_t n = 0, images = 0, taken = 0, wanted = 1 + next_random(&random) % 60;
		struct bucket_beside *b = bucket_beside_new();
		char *names[60];

		for (size_t i = 0; i < wanted; i++)
			names[i] = some_name(&random);
		qsort(names, wanted, sizeof(names[0]), by_bytes);
		for (size_t i = 0; i < wanted; i++) {
			if (n > 0 && strcmp(names[n - 1], names[i]) == 0)
				free(names[i]);
			else
				names[n++] = names[i];
		}
		for (size_t i = 0; i < n; i++) {
			images += kind_of(names[i]) == BUCKET_IMAGE;
			bucket_beside_put(b, kind_of(names[i]), names[i], 7, i + 1);
			taken += take_all(b, names, n);
		}
		bucket_beside_end(b);
		assert_int_equal(taken + take_all(b, names, n), images);
		bucket_beside_free(b);
		for (size_t i = 0; i < n; i++)
			free(names[i]);
	}
}

static void an_image_waits_for_no_more_than_its_own_names(void **state)
{
	struct bucket_beside *b = bucket_beside_new();
	struct bucket_image image;
	char name[32];

	(void)state;
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "%05u.jpg", i);
		bucket_beside_put(b, BUCKET_IMAGE, name, i, 1);
		assert_int_equal(bucket_beside_take(b, &image), i > 0);
		if (i == 0)
			continue;
		assert_int_equal(image.size, i - 1);
		assert_false(bucket_beside_take(b, &image));
		free(image.path);
	}
	bucket_beside_free(b);
}

static void what_is_there_survives_as_a_word(void **state)
{
	char word[BESIDE_WORD_SIZE];
	struct beside back;

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		const struct beside b = {i & 1, i / 2 & 1, i / 4 & 1, i / 8 & 1, i & 8 ? 4 : 0};

		beside_write(&b, word);
		assert_true(beside_read(word, &back));
		assert_memory_equal(&back, &b, sizeof(b));
	}
	assert_false(beside_read("", &back));
	assert_false(beside_read("\"etag\"", &back));
	assert_false(beside_read("=t5", &back));
	assert_false(beside_read("=t\xff", &back));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_image_has_what_lies_beside_it_wherever_that_stands_in_the_list),
	    cmocka_unit_test(an_image_waits_for_no_more_than_its_own_names),
	    cmocka_unit_test(what_is_there_survives_as_a_word)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
