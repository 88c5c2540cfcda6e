/*
 * What the records of a manifest are, and where its paths are found again.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/files.h"
#include "source/manifest_index.h"
#include "source/manifest_reader.h"
#include "source/source.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct fixture {
	char *dir;
	int fd;
	struct manifest_reader *reader;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->dir = testing_tempdir();
	f->fd = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	manifest_reader_close(f->reader);
	if (f->fd >= 0)
		close(f->fd);
	testing_tempdir_remove(f->dir);
	free(f);
	return 0;
}

static void open_bytes(struct fixture *f, const char *name, const void *bytes, size_t size)
{
	const struct manifest_columns columns = {NULL, NULL};
	cleanup_free char *path = testing_path(f->dir, name);
	struct error err = ERROR_INIT;
	enum manifest_format format;

	testing_write(path, bytes, size);
	assert_true(manifest_format_of(path, &format));
	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_ok(manifest_reader_open(f->fd, format, &columns, &f->reader, &err), &err);
}

static void open_text(struct fixture *f, const char *name, const char *text)
{
	open_bytes(f, name, text, strlen(text));
}

/* "PATH|CAPTION|META" of the next record, "LINE: WHAT" of a wrong one, "" at the end. */
static void assert_next(struct fixture *f, const char *want)
{
	struct manifest_item item;
	struct manifest_place place;
	struct error err = ERROR_INIT;
	char got[400] = "";
	int r = manifest_reader_next(f->reader, false, &item, &place, &err);

	if (r < 0)
		fail_msg("%s", err.message);
	if (r == 0 && place.bad)
		snprintf(got, sizeof(got), "%llu: %s", (unsigned long long)place.line, place.bad);
	else if (r == 0)
		snprintf(got, sizeof(got), "%s|%s|%s", item.path, item.caption ? item.caption : "-",
			 item.meta ? item.meta : "-");
	assert_string_equal(got, want);
}

static void rows_are_those_of_rfc_4180(void **state)
{
	struct fixture *f = *state;

	open_text(f, "a.csv",
		  "\xef\xbb\xbf"
		  "path,caption,\"a \"\"b\"\"\"\r\n"
		  "\"a,b.jpg\",\"two\r\nlines, \"\"quoted\"\"\",1\r\n"
		  "\r\n"
		  "c.jpg,5\" pipe,\n"
		  "d.jpg,,\"\"");
	assert_next(f, "a,b.jpg|two\r\nlines, \"quoted\"|{\"a \\\"b\\\"\":\"1\"}");
	assert_next(f, "c.jpg|5\" pipe|-");
	assert_next(f, "d.jpg|-|-");
	assert_next(f, "");
	assert_next(f, "");
}

static void a_row_that_is_wrong_does_not_spoil_the_next(void **state)
{
	struct fixture *f = *state;

	open_text(f, "a.csv",
		  "path,caption\na.jpg\nb.jpg,x,y\nc.jpg,\"x\"y\nd.jpg,\"open\ne.jpg,x\nf.jpg,\"o");
	assert_next(f, "2: it has fewer fields than the first row");
	assert_next(f, "3: it has more fields than the first row");
	assert_next(f, "4: there is text behind a closing quote");
	assert_next(f, "5: there is text behind a closing quote");
	assert_next(f, "e.jpg|x|-");
	assert_next(f, "7: a quote in it is not closed, or it is over 4 MiB");
	assert_next(f, "");
}

static void a_line_that_is_wrong_does_not_spoil_the_next(void **state)
{
	struct fixture *f = *state;

	open_text(
	    f, "a.jsonl",
	    "{\"path\":\"a.jpg\"}\n[]\n{\"path\":\"b.jpg\"\n\n{\"caption\":\"x\"}\n"
	    "{\"file_name\":\"c.jpg\",\"text\":null,\"n\":1.5,\"a\":[true]}\n{\"path\":\"\xff\"}\n"
	    "{\"path\":\"d.jpg\",\"caption\":\"d\",\"phash\":17000000000000000000,\"n\":1}\n"
	    "{\"path\":\"e.jpg\",\"n\":1e999}");
	assert_next(f, "a.jpg|-|-");
	assert_next(f, "2: it is no JSON object");
	assert_next(f, "3: it is no JSON object");
	assert_next(f, "5: it has no path");
	assert_next(f, "c.jpg|-|{\"a\":[true],\"n\":1.5}");
	assert_next(f, "7: it is no JSON object");
	assert_next(f, "d.jpg|d|{\"n\":1.0,\"phash\":1.7e19}");
	assert_next(f, "9: it is no JSON object");
	assert_next(f, "");
}

static void what_python_writes_for_no_number_is_null(void **state)
{
	struct fixture *f = *state;

	open_text(f, "a.jsonl",
		  "{\"path\":\"a.jpg\",\"score\":NaN,\"all\":[Infinity,-Infinity,1]}\n"
		  "{\"path\":\"b.jpg\",\"caption\":\"a \\\"NaN\\\" in it\\\\\",\"n\":NaN,"
		  "\"Infinity\":17000000000000000000}\n"
		  "{\"path\":\"c.jpg\",\"n\":-NaN}\n"
		  "{\"path\":\"d.jpg\",\"n\":NaNs}\n"
		  "{\"path\":\"e.jpg\",\"n\":NaN,\"open\":\"\\");
	assert_next(f, "a.jpg|-|{\"all\":[null,null,1],\"score\":null}");
	assert_next(f, "b.jpg|a \"NaN\" in it\\|{\"Infinity\":1.7e19,\"n\":null}");
	assert_next(f, "3: it is no JSON object");
	assert_next(f, "4: it is no JSON object");
	assert_next(f, "5: it is no JSON object");
	assert_next(f, "");
}

static void members_of_kohyas_json_are_found_one_by_one(void **state)
{
	struct fixture *f = *state;

	open_text(f, "a.json",
		  "{ \"a}\\\"\" : {\"caption\": \"x\", \"tags\": \"{b, [c\"} ,\n\"c\":3,\n"
		  "\"d\": {\"tags\": \"t\"}}\n");
	assert_next(f, "a}\"|x, {b, [c|{\"tags\":\"{b, [c\"}");
	assert_next(f, "2: it is no \"path\": {...}");
	assert_next(f, "d|t|{\"tags\":\"t\"}");
	assert_next(f, "");
}

static void kohyas_json_that_ends_early_says_so(void **state)
{
	struct fixture *f = *state;

	open_text(f, "a.json", "{\"a\": {\"caption\": \"x\"},\n\"b\": {\"caption\": \"y");
	assert_next(f, "a|x|-");
	assert_next(f, "2: the file ends in the middle of it");
	assert_next(f, "");
}

static void a_line_without_end_is_passed_over_in_bounded_memory(void **state)
{
	struct fixture *f = *state;
	size_t size = 3 * MANIFEST_RECORD_MAX;
	cleanup_buffer struct buffer text = BUFFER_INIT;

	buffer_append_string(&text, "{\"path\":\"a.jpg\",\"caption\":\"");
	while (text.size < size)
		buffer_append_string(&text, "0123456789abcdef");
	buffer_append_string(&text, "\"}\n{\"path\":\"b.jpg\"}\n");
	open_bytes(f, "a.jsonl", text.data, text.size);
	assert_next(f, "1: it is over 4 MiB");
	assert_next(f, "b.jpg|-|-");
	assert_next(f, "");
}

/* -- index ---------------------------------------------------------------------------------------- */

static uint64_t hash_for(uint64_t i)
{
	return (i % 3000000) * 0x9e3779b97f4a7c15u;
}

/* More than two loads, so that they are merged. */
static void an_index_finds_every_pair_and_is_kept(void **state)
{
	struct fixture *f = *state;
	struct manifest_index *x = NULL, *kept;
	struct error err = ERROR_INIT;
	const uint64_t n = 3000001;
	uint64_t offset = 0, at;

	assert_ok(manifest_index_begin(f->dir, &x, &err), &err);
	for (uint64_t i = 0; i < n; i++)
		assert_ok(manifest_index_add(x, hash_for(i), 7 * i, &err), &err);
	assert_ok(manifest_index_end(x, 42, &err), &err);
	assert_null(manifest_index_open(f->dir, 41));
	kept = manifest_index_open(f->dir, 42);
	assert_non_null(kept);
	assert_true(manifest_index_has_doubles(kept));
	for (uint64_t i = 1; i < 3000000; i += 9973) {
		at = manifest_index_find(kept, hash_for(i));
		assert_true(manifest_index_at(kept, at, hash_for(i), &offset));
		assert_int_equal(offset, 7 * i);
		assert_false(manifest_index_at(kept, at + 1, hash_for(i), &offset));
	}
	at = manifest_index_find(kept, hash_for(0));
	assert_true(manifest_index_at(kept, at + 1, hash_for(0), &offset));
	assert_int_equal(offset, 7 * 3000000);
	manifest_index_close(kept);
	manifest_index_close(x);
}

static void an_index_that_is_cut_is_none(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = testing_path(f->dir, "manifest");
	struct manifest_index *x = NULL;
	struct error err = ERROR_INIT;

	assert_ok(manifest_index_begin(f->dir, &x, &err), &err);
	for (uint64_t i = 0; i < 10; i++)
		assert_ok(manifest_index_add(x, hash_for(i), i, &err), &err);
	assert_ok(manifest_index_end(x, 42, &err), &err);
	manifest_index_close(x);
	assert_int_equal(truncate(path, 100), 0);
	assert_null(manifest_index_open(f->dir, 42));
	assert_int_equal(truncate(path, 10), 0);
	assert_null(manifest_index_open(f->dir, 42));
}

/* -- source --------------------------------------------------------------------------------------- */

static void put(const struct fixture *f, const char *name, const char *text)
{
	cleanup_free char *path = testing_path(f->dir, name);

	testing_write(path, text, strlen(text));
}

static struct source *open_source(const struct fixture *f, const char *name, size_t *unread)
{
	const struct source_folder_options options = {.captions = true, .unread = unread};
	cleanup_free char *path = testing_path(f->dir, name);
	struct source *s = NULL;
	struct error err = ERROR_INIT;

	assert_ok(source_open(path, &options, &s, &err), &err);
	return s;
}

static void of_a_path_that_stands_twice_the_last_line_counts(void **state)
{
	struct fixture *f = *state;
	struct source_entry entry;
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer caption = BUFFER_INIT;
	size_t unread = 0;
	struct source *s;

	put(f, "a.jpg", "x");
	put(f, "b.jpg", "x");
	put(f, "m.csv", "path,caption\n./a.jpg,old\nb.jpg,b\na.jpg,new\n");
	s = open_source(f, "m.csv", &unread);
	assert_ok(source_next(s, &entry, &err), &err);
	assert_string_equal(entry.path, "b.jpg");
	assert_ok(source_next(s, &entry, &err), &err);
	assert_string_equal(entry.path, "a.jpg");
	assert_int_equal(source_next(s, &entry, &err), SOURCE_END);
	assert_int_equal(unread, 0);
	assert_ok(source_caption(s, "a.jpg", &caption, &err), &err);
	assert_string_equal(caption.data, "new");
	source_close(s);
}

static void a_caption_beside_the_image_counts_where_the_manifest_has_none(void **state)
{
	struct fixture *f = *state;
	struct source_entry entry;
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer caption = BUFFER_INIT;
	struct source *s;

	put(f, "a.jpg", "x");
	put(f, "a.txt", "beside");
	put(f, "m.csv", "path,caption\na.jpg,\n");
	s = open_source(f, "m.csv", NULL);
	assert_ok(source_next(s, &entry, &err), &err);
	assert_int_not_equal(entry.caption, 0);
	assert_ok(source_caption(s, "a.jpg", &caption, &err), &err);
	assert_string_equal(caption.data, "beside");
	source_close(s);
}

/* A caption that is asked for meanwhile is that of before, or has to wait; it is never none. */
static void a_manifest_that_is_being_written_is_taken_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct source_entry entry;
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer caption = BUFFER_INIT;
	cleanup_free char *path = testing_path(f->dir, "m.jsonl");
	const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
	/* A little ahead is now, however long this test takes. */
	const struct timespec now[2] = {{time(NULL) + 1800, 0}, {time(NULL) + 1800, 0}};
	struct source *s;

	put(f, "a.jpg", "x");
	put(f, "m.jsonl", "{\"path\":\"a.jpg\",\"caption\":\"one\"}\n");
	s = open_source(f, "m.jsonl", NULL);
	assert_ok(source_next(s, &entry, &err), &err);
	assert_int_equal(source_next(s, &entry, &err), SOURCE_END);
	put(f, "m.jsonl", "{\"path\":\"a.jpg\",\"caption\":\"one\"}\n{\"pa");
	assert_int_equal(utimensat(AT_FDCWD, path, now, 0), 0);
	assert_ok(source_caption(s, "a.jpg", &caption, &err), &err);
	assert_string_equal(caption.data, "one");
	assert_error(source_caption(s, "b.jpg", &caption, &err), &err, ERR_TRANSIENT);
	error_clear(&err);
	unlink(path);
	assert_error(source_caption(s, "a.jpg", &caption, &err), &err, ERR_TRANSIENT);
	put(f, "m.jsonl", "{\"path\":\"a.jpg\",\"caption\":\"two\"}\n");
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	error_clear(&err);
	buffer_reset(&caption);
	assert_ok(source_caption(s, "a.jpg", &caption, &err), &err);
	assert_string_equal(caption.data, "two");
	source_close(s);
}

/* What is asked of it meanwhile closes nothing that the listing reads. */
static void a_manifest_that_breaks_while_it_is_listed_is_listed_to_its_end(void **state)
{
	struct fixture *f = *state;
	const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
	cleanup_free char *path = testing_path(f->dir, "m.csv"),
			  *other = testing_path(f->dir, "new");
	cleanup_buffer struct buffer caption = BUFFER_INIT;
	struct source_entry entry;
	struct error err = ERROR_INIT;
	size_t unread = 0;
	struct source *s;

	put(f, "a.jpg", "x");
	put(f, "b.jpg", "x");
	put(f, "m.csv", "path,caption\na.jpg,one\nb.jpg,two\n");
	s = open_source(f, "m.csv", &unread);
	assert_ok(source_next(s, &entry, &err), &err);
	put(f, "new", "name,size\n");
	assert_int_equal(utimensat(AT_FDCWD, other, old, 0), 0);
	assert_int_equal(rename(other, path), 0);
	assert_ok(source_caption(s, "a.jpg", &caption, &err), &err);
	assert_string_equal(caption.data, "one");
	assert_ok(source_next(s, &entry, &err), &err);
	assert_string_equal(entry.path, "b.jpg");
	assert_int_equal(source_next(s, &entry, &err), SOURCE_END);
	assert_error(source_caption(s, "a.jpg", &caption, &err), &err, ERR_CONFIG);
	source_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(rows_are_those_of_rfc_4180, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_row_that_is_wrong_does_not_spoil_the_next, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_line_that_is_wrong_does_not_spoil_the_next, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_python_writes_for_no_number_is_null, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(members_of_kohyas_json_are_found_one_by_one, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(kohyas_json_that_ends_early_says_so, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_line_without_end_is_passed_over_in_bounded_memory,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(an_index_finds_every_pair_and_is_kept, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_index_that_is_cut_is_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(of_a_path_that_stands_twice_the_last_line_counts, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(
		a_caption_beside_the_image_counts_where_the_manifest_has_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_manifest_that_breaks_while_it_is_listed_is_listed_to_its_end, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_manifest_that_is_being_written_is_taken_as_it_was,
					    setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
