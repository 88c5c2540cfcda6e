/*
 * What every store must do, run on each of them.
 */
#include "base/checked.h"
#include "base/files.h"
#include "storage/store_s3.h"
#include "tests/storage_samples.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
	const char *kind;
	char *dir;
	struct store *store;
};

/* Below a prefix that nobody had before. */
static void open_s3(struct fixture *f, const char *root)
{
	cleanup_free char *url =
	    xasprintf("%s/%s/x", getenv("S3_TEST_URL"), strrchr(f->dir, '/') + 1);
	const struct store_s3_options options = {
	    .folder = root, .url = url, .part_bytes = 64 << 10, .owner = "the tests"};
	struct error err = ERROR_INIT;

	assert_ok(store_s3_open(&options, &f->store, &err), &err);
}

static int setup(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	cleanup_free char *root = NULL;

	f->dir = testing_tempdir();
	root = testing_path(f->dir, ".out");
	if (strcmp(f->kind, "local") == 0)
		assert_ok(store_local_open(root, false, &f->store, &err), &err);
	else if (strcmp(f->kind, "s3") == 0)
		open_s3(f, root);
	else
		assert_ok(store_memory_open(&f->store, &err), &err);
	assert_string_equal(f->store->ops->name, f->kind);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	testing_tempdir_remove(f->dir);
	return 0;
}

static struct store_writer *begin(struct store *s, const char *text)
{
	struct error err = ERROR_INIT;
	struct store_writer *w = NULL;

	assert_ok(store_begin(s, &w, &err), &err);
	assert_ok(sink_write(store_writer_sink(w), text, strlen(text), &err), &err);
	return w;
}

static void put(struct store *s, const char *name, const char *text)
{
	struct error err = ERROR_INIT;
	struct store_writer *w = begin(s, text);

	assert_ok(store_flush(w, &err), &err);
	assert_ok(store_publish(w, name, &err), &err);
	store_discard(w);
}

static int append_name(void *arg, const char *name, uint64_t bytes)
{
	buffer_appendf(arg, "%s:%llu ", name, (unsigned long long)bytes);
	return 0;
}

static void assert_listed(struct store *s, const char *prefix, const char *want)
{
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer names = BUFFER_INIT;

	buffer_append_string(&names, "");
	assert_ok(store_list(s, prefix, append_name, &names, &err), &err);
	assert_string_equal((char *)names.data, want);
}

static void assert_missing(struct store *s, const char *name)
{
	struct error err = ERROR_INIT;
	uint64_t bytes = 42;
	char c;

	assert_error(store_size(s, name, &bytes, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "missing");
	assert_int_equal(bytes, 42);
	error_clear(&err);
	assert_error(store_read(s, name, &c, 1, 0, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "missing");
}

static void an_object_is_visible_once_published_and_not_before(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	struct error err = ERROR_INIT;
	struct store_writer *w = begin(s, "hello ");
	uint64_t bytes = 0;
	char text[16] = "";

	assert_listed(s, "", "");
	assert_ok(sink_write(store_writer_sink(w), "world", 5, &err), &err);
	assert_ok(store_flush(w, &err), &err);
	assert_ok(store_writer_read(w, text, 5, 6, &err), &err);
	assert_string_equal(text, "world");
	assert_missing(s, "train/a.tar");
	assert_listed(s, "", "");
	assert_ok(store_publish(w, "train/a.tar", &err), &err);
	store_discard(w);
	assert_listed(s, "", "train/a.tar:11 ");
	assert_ok(store_size(s, "train/a.tar", &bytes, &err), &err);
	assert_int_equal(bytes, 11);
	assert_ok(store_read(s, "train/a.tar", text, 3, 8, &err), &err);
	assert_memory_equal(text, "rld", 3);
}

static void what_is_written_after_a_flush_is_published_too(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	struct error err = ERROR_INIT;
	struct store_writer *w = begin(s, "one");

	assert_ok(store_flush(w, &err), &err);
	assert_ok(sink_write(store_writer_sink(w), "two", 3, &err), &err);
	assert_ok(store_publish(w, "a.tar", &err), &err);
	store_discard(w);
	assert_listed(s, "", "a.tar:6 ");
}

static void a_discarded_object_never_was(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;

	store_discard(begin(s, "hello"));
	store_discard(NULL);
	assert_listed(s, "", "");
}

static void a_taken_name_is_left_alone_and_another_can_be_tried(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	struct error err = ERROR_INIT;
	struct store_writer *w;
	char c = 0;

	put(s, "train/000000.tar", "old");
	w = begin(s, "newer");
	assert_int_equal(store_publish(w, "train/000000.tar", &err), STORE_EXISTS);
	assert_int_equal(err.code, ERR_NONE);
	assert_ok(store_read(s, "train/000000.tar", &c, 1, 0, &err), &err);
	assert_int_equal(c, 'o');
	assert_ok(store_publish(w, "train/000001.tar", &err), &err);
	store_discard(w);
	assert_listed(s, "", "train/000000.tar:3 train/000001.tar:5 ");
}

static void the_listing_is_sorted_and_stays_in_its_folder(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;

	put(s, "train/832x1216/000000.tar", "1");
	put(s, "train/1024x1024/000001.tar", "22");
	put(s, "train/1024x1024/000000.tar", "333");
	put(s, "train-2/1024x1024/000000.tar", "4444");
	assert_listed(s, "",
		      "train-2/1024x1024/000000.tar:4 train/1024x1024/000000.tar:3 "
		      "train/1024x1024/000001.tar:2 train/832x1216/000000.tar:1 ");
	assert_listed(s, "train",
		      "train/1024x1024/000000.tar:3 train/1024x1024/000001.tar:2 "
		      "train/832x1216/000000.tar:1 ");
	assert_listed(s, "train/1024x1024",
		      "train/1024x1024/000000.tar:3 train/1024x1024/000001.tar:2 ");
	assert_listed(s, "val", "");
}

static int check_rising(void *arg, const char *name, uint64_t bytes)
{
	char *last = arg;

	assert_int_equal(bytes, 1);
	assert_true(strcmp(last, name) < 0);
	snprintf(last, 64, "%s", name);
	return 0;
}

static void the_listing_is_sorted_whatever_the_order_of_publishing(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	struct error err = ERROR_INIT;
	char last[64] = "", name[32];

	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "%u/%06u.tar", i % 3, i * 17 % 40);
		put(s, name, "x");
	}
	assert_ok(store_list(s, "", check_rising, last, &err), &err);
	assert_memory_equal(last, "2/", 2);
}

static int stop(void *arg, const char *name, uint64_t bytes)
{
	(void)name;
	(void)bytes;
	++*(int *)arg;
	return 9;
}

static void a_listing_ends_with_what_its_caller_returns(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	struct error err = ERROR_INIT;
	int seen = 0;

	put(s, "a.tar", "1");
	put(s, "b.tar", "2");
	assert_int_equal(store_list(s, "", stop, &seen, &err), 9);
	assert_int_equal(seen, 1);
}

static void reading_behind_the_end_is_truncated(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	static const struct {
		size_t size;
		uint64_t offset;
	} cases[] = {{6, 0}, {1, 5}, {2, 4}, {1, UINT64_MAX}, {SIZE_MAX, 1}};
	char buffer[8];

	put(s, "a.tar", "hello");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = ERROR_INIT;

		assert_error(store_read(s, "a.tar", buffer, cases[i].size, cases[i].offset, &err),
			     &err, ERR_DATA);
		assert_string_equal(err.reason, "truncated");
	}
}

static void names_that_lead_elsewhere_are_refused(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	static const char *const names[] = {"",	    "/a.tar",	"a//b.tar",   "a/",
					    "..",   "../a.tar", "a/../b.tar", ".latentd/a.tar",
					    "a/.b", "."};
	struct store_writer *w = begin(s, "hello");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct error err = ERROR_INIT;
		uint64_t bytes;
		char c;

		assert_error(store_publish(w, names[i], &err), &err, ERR_CONFIG);
		error_clear(&err);
		assert_error(store_size(s, names[i], &bytes, &err), &err, ERR_CONFIG);
		error_clear(&err);
		assert_error(store_read(s, names[i], &c, 1, 0, &err), &err, ERR_CONFIG);
		error_clear(&err);
		assert_error(store_quarantine(s, names[i], &err), &err, ERR_CONFIG);
	}
	store_discard(w);
	assert_listed(s, "", "");
}

static void what_is_quarantined_is_out_of_sight_and_its_name_is_free(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	struct error err = ERROR_INIT;

	for (int i = 0; i < 3; i++) {
		put(s, "train/512x512/000000.tar", "bad");
		assert_ok(store_quarantine(s, "train/512x512/000000.tar", &err), &err);
		assert_missing(s, "train/512x512/000000.tar");
		assert_listed(s, "", "");
	}
	assert_error(store_quarantine(s, "train/512x512/000000.tar", &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "missing");
}

static void assert_area(struct store *s, enum store_area area, const char *want)
{
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer names = BUFFER_INIT;

	buffer_append_string(&names, "");
	assert_ok(store_list_area(s, area, append_name, &names, &err), &err);
	assert_string_equal((char *)names.data, want);
}

static void stage(struct store *s, const char *name, const char *text)
{
	struct error err = ERROR_INIT;
	struct store_writer *w = begin(s, text);

	assert_ok(store_stage(w, name, &err), &err);
	store_discard(w);
}

static void an_object_takes_the_place_of_another_without_both_in_sight(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	const char *name = "train/512x512/000000.tar";
	struct error err = ERROR_INIT;
	char text[4] = "";

	put(s, name, "old");
	stage(s, name, "newer");
	assert_listed(s, "", "train/512x512/000000.tar:3 ");
	assert_area(s, STORE_STAGED, "train/512x512/000000.tar:5 ");
	assert_int_equal(store_move(s, name, STORE_STAGED, STORE_VISIBLE, &err), STORE_EXISTS);
	assert_ok(store_move(s, name, STORE_VISIBLE, STORE_RETIRED, &err), &err);
	assert_listed(s, "", "");
	assert_missing(s, name);
	assert_ok(store_move(s, name, STORE_STAGED, STORE_VISIBLE, &err), &err);
	assert_area(s, STORE_STAGED, "");
	assert_area(s, STORE_RETIRED, "train/512x512/000000.tar:3 ");
	assert_ok(store_read(s, name, text, 3, 0, &err), &err);
	assert_string_equal(text, "new");
	assert_ok(store_remove(s, STORE_RETIRED, name, &err), &err);
	assert_ok(store_remove(s, STORE_RETIRED, name, &err), &err);
	assert_area(s, STORE_RETIRED, "");
	assert_listed(s, "", "train/512x512/000000.tar:5 ");
}

static void what_is_not_in_an_area_cannot_leave_it(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	struct error err = ERROR_INIT;

	put(s, "a.tar", "seen");
	assert_error(store_move(s, "a.tar", STORE_STAGED, STORE_VISIBLE, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "missing");
	assert_listed(s, "", "a.tar:4 ");
}

static void a_staged_name_that_is_taken_is_left_alone(void **state)
{
	struct store *s = ((struct fixture *)*state)->store;
	struct store_writer *w = begin(s, "second");
	struct error err = ERROR_INIT;

	stage(s, "a.tar", "first");
	assert_int_equal(store_stage(w, "a.tar", &err), STORE_EXISTS);
	assert_ok(store_stage(w, "b.tar", &err), &err);
	store_discard(w);
	assert_area(s, STORE_STAGED, "a.tar:5 b.tar:6 ");
}

/* -- local only --------------------------------------------------------------------------- */

static void the_local_store_sweeps_what_a_dead_writer_left(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *root = testing_path(f->dir, ".out");
	cleanup_free char *partial = testing_path(root, ".latentd/partial");
	struct store_writer *dead = begin(f->store, "half");
	struct error err = ERROR_INIT;
	struct store *reader = NULL, *next = NULL;

	assert_int_equal(sample_count_files(partial), 1);
	assert_ok(store_local_open(root, true, &reader, &err), &err);
	assert_int_equal(sample_count_files(partial), 1);
	store_close(reader);
	assert_ok(store_local_open(root, false, &next, &err), &err);
	assert_int_equal(sample_count_files(partial), 0);
	store_close(next);
	store_discard(dead);
}

static void a_store_that_is_opened_beside_another_leaves_what_that_is_writing(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *root = testing_path(f->dir, ".out");
	struct error err = ERROR_INIT;
	struct store *writes = NULL, *beside = NULL;
	struct store_writer *w;

	assert_ok(store_local_open_shared(root, "a", &writes, &err), &err);
	w = begin(writes, "half");
	assert_ok(store_local_open_beside(root, "a", &beside, &err), &err);
	store_close(beside);
	assert_ok(store_flush(w, &err), &err);
	assert_ok(store_publish(w, "train/000000-a.tar", &err), &err);
	store_discard(w);
	store_close(writes);
}

static void quarantine_keeps_every_file(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	cleanup_free char *second =
	    testing_path(f->dir, ".out/.latentd/quarantine/train_000000.tar.1");
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	put(f->store, "train/000000.tar", "first");
	assert_ok(store_quarantine(f->store, "train/000000.tar", &err), &err);
	put(f->store, "train/000000.tar", "second");
	assert_ok(store_quarantine(f->store, "train/000000.tar", &err), &err);
	bytes = testing_read(second);
	assert_string_equal((char *)bytes.data, "second");
}

static void a_root_that_was_moved_away_is_not_made_anew(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *root = testing_path(f->dir, ".out");
	cleanup_free char *away = testing_path(f->dir, "away");
	struct store_writer *w = begin(f->store, "half"), *next = NULL;
	struct error err = ERROR_INIT;

	assert_int_equal(rename(root, away), 0);
	assert_error(store_publish(w, "train/000000.tar", &err), &err, ERR_IO);
	error_clear(&err);
	assert_error(store_begin(f->store, &next, &err), &err, ERR_IO);
	assert_false(file_exists(root));
	error_clear(&err);
	assert_ok(dir_make(root, &err), &err); /* another folder in its place */
	assert_error(store_begin(f->store, &next, &err), &err, ERR_IO);
	assert_int_equal(sample_count_files(root), 0);
	store_discard(w);
}

static void a_root_that_was_there_on_open_is_never_made(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *root = testing_path(f->dir, "there");
	cleanup_free char *away = testing_path(f->dir, "away");
	struct error err = ERROR_INIT;
	struct store_writer *w = NULL;
	struct store *s = NULL;

	assert_ok(dir_make(root, &err), &err);
	assert_ok(store_local_open(root, false, &s, &err), &err);
	assert_int_equal(rename(root, away), 0);
	assert_error(store_begin(s, &w, &err), &err, ERR_IO);
	assert_false(file_exists(root));
	store_close(s);
}

/* A folder that is moved away in the moment before something is made in it. */
static const char *move_from, *move_to;

int __real_mkdirat(int folder, const char *path, mode_t mode);
int __wrap_mkdirat(int folder, const char *path, mode_t mode);

int __wrap_mkdirat(int folder, const char *path, mode_t mode)
{
	const char *from = move_from;

	move_from = NULL;
	if (from && rename(from, move_to) < 0)
		return -1;
	return __real_mkdirat(folder, path, mode);
}

static void a_root_that_is_moved_away_just_then_is_not_made_anew(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *root = testing_path(f->dir, ".out");
	cleanup_free char *away = testing_path(f->dir, "away");
	struct store_writer *w = begin(f->store, "whole"), *next = NULL;
	struct error err = ERROR_INIT;

	move_to = away;
	move_from = root;
	assert_error(store_publish(w, "train/000000.tar", &err), &err, ERR_IO);
	assert_null(move_from);
	assert_false(file_exists(root));
	error_clear(&err);
	assert_int_equal(rename(away, root), 0);
	assert_ok(store_publish(w, "train/000000.tar", &err), &err);
	store_discard(w);
	assert_ok(store_begin(f->store, &next, &err), &err);
	store_discard(next);
	assert_listed(f->store, "", "train/000000.tar:5 ");
}

static void a_readonly_store_makes_nothing(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *root = testing_path(f->dir, "plain");
	cleanup_free char *nowhere = testing_path(f->dir, "nowhere");
	cleanup_free char *file = testing_path(root, "a.tar");
	struct error err = ERROR_INIT;
	struct store_writer *w = NULL;
	struct store *s = NULL;

	assert_ok(dir_make(root, &err), &err);
	testing_write(file, "hello", 5);
	assert_ok(store_local_open(root, true, &s, &err), &err);
	assert_listed(s, "", "a.tar:5 ");
	assert_error(store_begin(s, &w, &err), &err, ERR_BUG);
	assert_null(w);
	error_clear(&err);
	assert_error(store_quarantine(s, "a.tar", &err), &err, ERR_BUG);
	assert_int_equal(sample_count_files(root), 1);
	store_close(s);
	error_clear(&err);
	assert_error(store_local_open(nowhere, true, &s, &err), &err, ERR_IO);
	assert_false(file_exists(nowhere));
}

static void links_folders_and_fifos_are_no_objects(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *ring = testing_path(f->dir, ".out/ring");
	cleanup_free char *fifo = testing_path(f->dir, ".out/fifo.tar");

	put(f->store, "a.tar", "hello");
	assert_int_equal(symlink(".", ring), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_listed(f->store, "", "a.tar:5 ");
	assert_missing(f->store, "fifo.tar");
	assert_missing(f->store, "ring");
	assert_missing(f->store, "a.tar/b.tar");
}

#define STORE_TEST(fn) cmocka_unit_test_prestate_setup_teardown(fn, setup, teardown, &fixture)

int main(void)
{
	/* Of a bucket only where s3_rig.py has a server for it. */
	static const char *const everywhere[] = {"local", "memory", NULL}, *const bucket[] = {"s3",
											      NULL};
	const char *const *kinds = getenv("S3_TEST_URL") ? bucket : everywhere;
	struct fixture fixture = {.kind = "local"};
	const struct CMUnitTest local_tests[] = {
	    STORE_TEST(the_local_store_sweeps_what_a_dead_writer_left),
	    STORE_TEST(a_store_that_is_opened_beside_another_leaves_what_that_is_writing),
	    STORE_TEST(quarantine_keeps_every_file),
	    STORE_TEST(a_root_that_was_moved_away_is_not_made_anew),
	    STORE_TEST(a_root_that_was_there_on_open_is_never_made),
	    STORE_TEST(a_root_that_is_moved_away_just_then_is_not_made_anew),
	    STORE_TEST(a_readonly_store_makes_nothing),
	    STORE_TEST(links_folders_and_fifos_are_no_objects),
	};
	int failed = kinds == everywhere
			 ? cmocka_run_group_tests_name("local only", local_tests, NULL, NULL)
			 : 0;

	for (size_t i = 0; kinds[i]; i++) {
		const struct CMUnitTest tests[] = {
		    STORE_TEST(an_object_is_visible_once_published_and_not_before),
		    STORE_TEST(what_is_written_after_a_flush_is_published_too),
		    STORE_TEST(a_discarded_object_never_was),
		    STORE_TEST(a_taken_name_is_left_alone_and_another_can_be_tried),
		    STORE_TEST(the_listing_is_sorted_and_stays_in_its_folder),
		    STORE_TEST(the_listing_is_sorted_whatever_the_order_of_publishing),
		    STORE_TEST(a_listing_ends_with_what_its_caller_returns),
		    STORE_TEST(reading_behind_the_end_is_truncated),
		    STORE_TEST(names_that_lead_elsewhere_are_refused),
		    STORE_TEST(what_is_quarantined_is_out_of_sight_and_its_name_is_free),
		    STORE_TEST(an_object_takes_the_place_of_another_without_both_in_sight),
		    STORE_TEST(what_is_not_in_an_area_cannot_leave_it),
		    STORE_TEST(a_staged_name_that_is_taken_is_left_alone),
		};

		fixture.kind = kinds[i];
		failed += cmocka_run_group_tests_name(kinds[i], tests, NULL, NULL);
	}
	return failed;
}
