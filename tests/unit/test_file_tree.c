#include "tests/testing.h"

#include "base/checked.h"
#include "base/file_tree.h"
#include "base/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct seen {
	struct buffer text; /* "KIND:BELOW " of each visit */
	const char *skip;   /* a folder that is not looked into */
	const char *stop;   /* where the visit fails */
	const char *remove; /* a file that is removed when the first thing is visited */
};

static int setup(void **state)
{
	*state = testing_tempdir();
	return 0;
}

static int teardown(void **state)
{
	testing_tempdir_remove(*state);
	return 0;
}

static int visit(void *arg, const struct file_tree_entry *entry, struct error *err)
{
	static const char kinds[] = {'d', 'f', 'l', 'o', 'u'};
	struct seen *seen = arg;

	if (seen->remove)
		remove(seen->remove);
	seen->remove = NULL;
	assert_string_equal(entry->path + strlen(entry->path) - strlen(entry->below), entry->below);
	assert_string_equal(entry->below + strlen(entry->below) - strlen(entry->name), entry->name);
	buffer_append(&seen->text, &kinds[entry->kind], 1);
	buffer_append_string(&seen->text, ":");
	buffer_append_string(&seen->text, entry->below);
	buffer_append_string(&seen->text, " ");
	if (seen->stop && strcmp(entry->below, seen->stop) == 0)
		return error_set(err, ERR_CONFIG, "stopped");
	return seen->skip && strcmp(entry->below, seen->skip) == 0 ? FILE_TREE_SKIP : 0;
}

/* b/, b/c/, b/c/2.txt, b/1.txt, a.txt, and a link to b. */
static void make_tree(const char *root)
{
	static const char *const files[] = {"b/c/2.txt", "b/1.txt", "a.txt", ".h"};
	cleanup_free char *folder = testing_path(root, "b/c"), *link = testing_path(root, "link");
	struct error err = ERROR_INIT;

	assert_ok(dir_make(folder, &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		cleanup_free char *path = testing_path(root, files[i]);

		testing_write(path, "x", 1);
	}
	assert_int_equal(symlink("b", link), 0);
}

static void everything_comes_in_the_order_of_names_and_links_are_not_followed(void **state)
{
	struct seen seen = {.text = BUFFER_INIT};
	struct error err = ERROR_INIT;

	make_tree(*state);
	assert_ok(file_tree_walk(*state, visit, &seen, &err), &err);
	assert_string_equal(seen.text.data, "f:.h f:a.txt d:b f:b/1.txt d:b/c f:b/c/2.txt l:link ");
	buffer_release(&seen.text);
}

static void a_root_may_be_a_link_and_end_with_a_slash(void **state)
{
	cleanup_free char *link = testing_path(*state, "link"), *root = testing_path(*state, "b/");
	struct seen seen = {.text = BUFFER_INIT};
	struct error err = ERROR_INIT;

	make_tree(*state);
	assert_ok(file_tree_walk(link, visit, &seen, &err), &err);
	assert_ok(file_tree_walk(root, visit, &seen, &err), &err);
	assert_string_equal(seen.text.data, "f:1.txt d:c f:c/2.txt f:1.txt d:c f:c/2.txt ");
	buffer_release(&seen.text);
}

static void a_folder_can_be_passed_over_and_a_walk_ended(void **state)
{
	struct seen seen = {.text = BUFFER_INIT, .skip = "b", .stop = "link"};
	struct error err = ERROR_INIT;

	make_tree(*state);
	assert_error(file_tree_walk(*state, visit, &seen, &err), &err, ERR_CONFIG);
	assert_string_equal(seen.text.data, "f:.h f:a.txt d:b l:link ");
	buffer_release(&seen.text);
}

static void a_root_that_cannot_be_read_is_an_error_with_its_name(void **state)
{
	cleanup_free char *root = testing_path(*state, "no\nthing");
	struct error err = ERROR_INIT;

	assert_error(file_tree_walk(root, visit, NULL, &err), &err, ERR_IO);
	assert_non_null(strstr(err.message, "no\\nthing"));
	error_clear(&err);
	assert_error(file_tree_walk("", visit, NULL, &err), &err, ERR_IO);
}

static void what_vanishes_while_it_is_walked_is_passed_over(void **state)
{
	cleanup_free char *gone = testing_path(*state, "gone");
	struct seen seen = {.text = BUFFER_INIT, .remove = gone};
	struct error err = ERROR_INIT;

	make_tree(*state);
	assert_int_equal(mkdir(gone, 0777), 0);
	assert_ok(file_tree_walk(*state, visit, &seen, &err), &err);
	assert_non_null(strstr((char *)seen.text.data, "d:gone l:link "));
	buffer_release(&seen.text);
}

/* A name that is too long for a path stands for every folder that opendir refuses, also where root runs the test. */
static void a_folder_that_cannot_be_read_is_told_after_it_was_visited(void **state)
{
	char name[200];
	struct seen seen = {.text = BUFFER_INIT};
	struct error err = ERROR_INIT;
	int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(chdir(*state), 0);
	for (int i = 0; i < 30; i++) {
		assert_int_equal(mkdir(name, 0777), 0);
		assert_int_equal(chdir(name), 0);
	}
	assert_ok(file_tree_walk(*state, visit, &seen, &err), &err);
	assert_non_null(strstr((char *)seen.text.data, "u:nnn"));
	for (int i = 0; i < 30; i++) { /* teardown would find it too deep */
		assert_int_equal(chdir(".."), 0);
		assert_int_equal(rmdir(name), 0);
	}
	assert_int_equal(fchdir(before), 0);
	close(before);
	buffer_release(&seen.text);
}

static void depth_costs_no_descriptors(void **state)
{
	struct rlimit before, few;
	cleanup_buffer struct buffer deep = BUFFER_INIT;
	struct seen seen = {.text = BUFFER_INIT};
	struct error err = ERROR_INIT;
	int next = dup(0);

	close(next);
	buffer_append_string(&deep, *state);
	for (int i = 0; i < 100; i++)
		buffer_append_string(&deep, "/d");
	assert_ok(dir_make((char *)deep.data, &err), &err);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){(rlim_t)next + 1, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_ok(file_tree_walk(*state, visit, &seen, &err), &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_null(strstr((char *)seen.text.data, "u:"));
	assert_int_equal(seen.text.size, 100 * 2 + 100 * 101);
	buffer_release(&seen.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TREE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	    TREE_TEST(everything_comes_in_the_order_of_names_and_links_are_not_followed),
	    TREE_TEST(a_root_may_be_a_link_and_end_with_a_slash),
	    TREE_TEST(a_folder_can_be_passed_over_and_a_walk_ended),
	    TREE_TEST(a_root_that_cannot_be_read_is_an_error_with_its_name),
	    TREE_TEST(what_vanishes_while_it_is_walked_is_passed_over),
	    TREE_TEST(a_folder_that_cannot_be_read_is_told_after_it_was_visited),
	    TREE_TEST(depth_costs_no_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
