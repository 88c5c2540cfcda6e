#include "daemon/sources.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

struct fixture {
	char *dir; /* has the folders a, b, c/a and the state */
	char *state;
};

static char *folder(const struct fixture *f, const char *name)
{
	struct error err = ERROR_INIT;
	char *path = testing_path(f->dir, name);

	assert_ok(dir_make(path, &err), &err);
	return path;
}

static int setup(void **state)
{
	static struct fixture f;

	f.dir = testing_tempdir();
	f.state = folder(&f, "state");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->state);
	testing_tempdir_remove(f->dir);
	return 0;
}

/* The numbers of the folders @a and @b (NULL: of @a alone) below f->dir; how many others are known. */
static size_t number(const struct fixture *f, const char *a, const char *b, uint32_t numbers[2])
{
	cleanup_free char *first = testing_path(f->dir, a),
			  *second = b ? testing_path(f->dir, b) : NULL;
	char *paths[] = {first, second};
	struct sources_numbers out = {.numbers = numbers};
	struct error err = ERROR_INIT;

	assert_ok(sources_number(f->state, "photos", paths, b ? 2 : 1, &out, &err), &err);
	return out.others;
}

static void assert_numbers(const struct fixture *f, const char *a, uint32_t want_a, const char *b,
			   uint32_t want_b)
{
	uint32_t numbers[2] = {99, want_b};

	number(f, a, b, numbers);
	assert_int_equal(numbers[0], want_a);
	assert_int_equal(numbers[1], want_b);
}

static void make(const struct fixture *f, const char *name)
{
	free(folder(f, name));
}

static void move(const struct fixture *f, const char *from, const char *to)
{
	cleanup_free char *old = testing_path(f->dir, from), *new = testing_path(f->dir, to);

	assert_int_equal(rename(old, new), 0);
}

static void a_folder_keeps_its_number_in_any_order(void **state)
{
	struct fixture *f = *state;

	make(f, "a");
	make(f, "b");
	assert_numbers(f, "a", 0, "b", 1);
	assert_numbers(f, "b", 1, "a", 0);
	assert_numbers(f, "b", 1, NULL, 0);
}

static void a_further_folder_gets_the_next_number(void **state)
{
	struct fixture *f = *state;

	make(f, "a");
	make(f, "b");
	make(f, "c");
	assert_numbers(f, "a", 0, "b", 1);
	assert_numbers(f, "a", 0, "c", 2);
	assert_numbers(f, "c", 2, "b", 1);
}

static void a_tree_that_moved_keeps_its_number(void **state)
{
	struct fixture *f = *state;

	make(f, "a");
	make(f, "b");
	make(f, "new");
	assert_numbers(f, "a", 0, "b", 1);
	move(f, "b", "new/b");
	assert_numbers(f, "new/b", 1, "a", 0);
}

static void a_folder_that_was_renamed_keeps_its_number(void **state)
{
	struct fixture *f = *state;

	make(f, "a");
	assert_numbers(f, "a", 0, NULL, 0);
	move(f, "a", "renamed");
	assert_numbers(f, "renamed", 0, NULL, 0);
}

static void a_number_stays_with_a_path_that_is_taken_again(void **state)
{
	struct fixture *f = *state;

	make(f, "a");
	assert_numbers(f, "a", 0, NULL, 0);
	move(f, "a", "renamed");
	make(f, "a");
	assert_numbers(f, "renamed", 1, "a", 0);
}

static void another_folder_never_gets_the_number_of_one_that_is_gone(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *gone = folder(f, "a");

	make(f, "b"); /* there before the other goes, so that no inode is used again */
	assert_numbers(f, "a", 0, NULL, 0);
	assert_int_equal(rmdir(gone), 0);
	assert_numbers(f, "b", 1, NULL, 0);
}

static void a_folder_of_the_same_name_is_another_while_the_old_one_is_there(void **state)
{
	struct fixture *f = *state;

	make(f, "a");
	make(f, "b");
	make(f, "c/a");
	assert_numbers(f, "a", 0, "b", 1);
	assert_numbers(f, "c/a", 2, "b", 1);
}

static void known_folders_that_are_not_asked_for_are_counted(void **state)
{
	struct fixture *f = *state;
	uint32_t numbers[2];

	make(f, "a");
	make(f, "b");
	make(f, "c");
	assert_int_equal(number(f, "a", "b", numbers), 0);
	assert_int_equal(number(f, "b", "c", numbers), 1);
	assert_int_equal(number(f, "c", NULL, numbers), 2);
}

static void datasets_number_their_folders_by_themselves(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *b = folder(f, "b");
	char *paths[] = {b};
	uint32_t one[1] = {99};
	struct sources_numbers out = {.numbers = one, .others = 99};
	struct error err = ERROR_INIT;

	make(f, "a");
	assert_numbers(f, "a", 0, "b", 1);
	assert_ok(sources_number(f->state, "other", paths, 1, &out, &err), &err);
	assert_int_equal(one[0], 0);
	assert_int_equal(out.others, 0);
}

static void a_name_that_is_not_utf8_is_known_again(void **state)
{
	struct fixture *f = *state;

	make(f, "a%41\xff");
	make(f, "b");
	assert_numbers(f, "b", 0, "a%41\xff", 1);
	assert_numbers(f, "a%41\xff", 1, "b", 0);
}

static void a_file_that_is_damaged_is_refused_and_left_alone(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "7"};
	struct fixture *f = *state;
	cleanup_free char *file = testing_path(f->state, "photos.sources.json");
	cleanup_free char *a = folder(f, "a");
	char *paths[] = {a};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		uint32_t numbers[1] = {99};
		struct sources_numbers out = {.numbers = numbers, .others = 99};
		struct error err = ERROR_INIT;
		cleanup_buffer struct buffer after = BUFFER_INIT;

		testing_write(file, texts[i], strlen(texts[i]));
		assert_error(sources_number(f->state, "photos", paths, 1, &out, &err), &err,
			     ERR_CONFIG);
		assert_non_null(strstr(err.message, "photos.sources.json"));
		assert_int_equal(out.others, 99);
		after = testing_read(file);
		assert_int_equal(after.size, strlen(texts[i]));
	}
}

#define sources_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    sources_test(a_folder_keeps_its_number_in_any_order),
	    sources_test(a_further_folder_gets_the_next_number),
	    sources_test(a_tree_that_moved_keeps_its_number),
	    sources_test(a_folder_that_was_renamed_keeps_its_number),
	    sources_test(a_number_stays_with_a_path_that_is_taken_again),
	    sources_test(another_folder_never_gets_the_number_of_one_that_is_gone),
	    sources_test(a_folder_of_the_same_name_is_another_while_the_old_one_is_there),
	    sources_test(known_folders_that_are_not_asked_for_are_counted),
	    sources_test(datasets_number_their_folders_by_themselves),
	    sources_test(a_name_that_is_not_utf8_is_known_again),
	    sources_test(a_file_that_is_damaged_is_refused_and_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
