/*
 * What of a list of URLs is a source, and what is said of the rest.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "source/source.h"

#include <stdio.h>
#include <string.h>

struct fixture {
	char *dir;
	char *path;
	char note[512]; /* the last one */
	size_t unread;
	struct source *source;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->dir = testing_tempdir();
	f->path = testing_path(f->dir, "list.urls");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	source_close(f->source);
	testing_tempdir_remove(f->dir);
	free(f->path);
	free(f);
	return 0;
}

static void keep_note(void *arg, const char *line)
{
	struct fixture *f = arg;

	snprintf(f->note, sizeof(f->note), "%s", line);
}

static void open_text(struct fixture *f, const char *text)
{
	const struct source_folder_options options = {
	    .note = keep_note, .note_arg = f, .unread = &f->unread};
	struct error err = ERROR_INIT;

	testing_write(f->path, text, strlen(text));
	assert_ok(source_open(f->path, &options, &f->source, &err), &err);
}

static void assert_next(struct fixture *f, const char *want)
{
	struct source_entry entry;
	struct error err = ERROR_INIT;

	assert_ok(source_next(f->source, &entry, &err), &err);
	assert_string_equal(entry.path, want);
}

static void assert_end(struct fixture *f)
{
	struct source_entry entry;
	struct error err = ERROR_INIT;

	assert_int_equal(source_next(f->source, &entry, &err), SOURCE_END);
	assert_int_equal(source_next(f->source, &entry, &err), SOURCE_END);
}

static void what_is_no_url_is_passed_over_and_told_by_its_line(void **state)
{
	struct fixture *f = *state;

	open_text(f,
		  "\xef\xbb\xbfhttp://a.example/1.jpg\r\n# no\n\n  http://a.example/2.jpg \nwhat\n"
		  "http://a.example/3.jpg");
	assert_next(f, "http://a.example/1.jpg");
	assert_next(f, "http://a.example/2.jpg");
	assert_next(f, "http://a.example/3.jpg");
	assert_end(f);
	assert_int_equal(f->unread, 1);
	assert_non_null(strstr(f->note, "line 5 "));
}

static void a_url_with_a_password_is_passed_over_and_not_repeated(void **state)
{
	struct fixture *f = *state;

	open_text(f, "http://joe:secret@a.example/1.jpg\n");
	assert_end(f);
	assert_int_equal(f->unread, 1);
	assert_non_null(strstr(f->note, "line 1 "));
	assert_null(strstr(f->note, "secret"));
}

/* Else all that it does not name for a moment would have vanished. */
static void a_list_that_is_written_anew_while_it_is_read_is_not_read_to_its_end(void **state)
{
	struct fixture *f = *state;
	static const char shorter[] = "http://a.example/1.jpg\n";

	open_text(f, "http://a.example/1.jpg\nhttp://a.example/2.jpg\n");
	assert_next(f, "http://a.example/1.jpg");
	testing_write(f->path, shorter, strlen(shorter));
	assert_next(f, "http://a.example/2.jpg"); /* which had been read already */
	assert_end(f);
	assert_int_equal(f->unread, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_is_no_url_is_passed_over_and_told_by_its_line,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(a_url_with_a_password_is_passed_over_and_not_repeated,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_list_that_is_written_anew_while_it_is_read_is_not_read_to_its_end, setup,
		teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
