/*
 * What only the S3 store does, against a real server (s3_rig.py).
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/clock.h"
#include "net/s3_upload.h"
#include "storage/store_s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PART = 64 << 10, BYTES = 4 * PART + 1000 };

struct fixture {
	char *dir, *root, *url;
	struct store *store;
};

static struct store *open_store(const struct fixture *f, const char *owner)
{
	const struct store_s3_options options = {
	    .folder = f->root, .url = f->url, .part_bytes = PART, .owner = owner};
	struct store *store = NULL;
	struct error err = ERROR_INIT;

	assert_ok(store_s3_open(&options, &store, &err), &err);
	return store;
}

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->dir = testing_tempdir();
	f->root = testing_path(f->dir, "out");
	f->url = xasprintf("%s/%s/", getenv("S3_TEST_URL"), strrchr(f->dir, '/') + 1);
	f->store = open_store(f, "first");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	testing_tempdir_remove(f->dir);
	free(f->root);
	free(f->url);
	free(f);
	return 0;
}

static void fill(uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
}

static int publish(struct store *s, const char *name, const void *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct store_writer *w = NULL;
	int r;

	assert_ok(store_begin(s, &w, &err), &err);
	assert_ok(sink_write(store_writer_sink(w), data, size, &err), &err);
	r = store_publish(w, name, &err);
	assert_true(r >= 0);
	store_discard(w);
	return r;
}

static void a_large_object_goes_in_parts_and_comes_back_the_same(void **state)
{
	const struct fixture *f = *state;
	uint8_t *data = xmalloc(BYTES), *got = xmalloc(BYTES);
	struct error err = ERROR_INIT;
	uint64_t bytes = 0;

	fill(data, BYTES);
	assert_int_equal(publish(f->store, "train/000000.tar", data, BYTES), 0);
	assert_ok(store_size(f->store, "train/000000.tar", &bytes, &err), &err);
	assert_int_equal(bytes, BYTES);
	for (size_t at = 0; at < BYTES; at += 1000) {
		size_t n = BYTES - at < 1000 ? BYTES - at : 1000;

		assert_ok(store_read(f->store, "train/000000.tar", got + at, n, at, &err), &err);
	}
	assert_memory_equal(got, data, BYTES);
	free(data);
	free(got);
}

static void what_another_life_has_published_is_known_by_its_bytes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(publish(f->store, "a.tar", "one", 3), 0);
	store_close(f->store);
	f->store = open_store(f, "first");
	assert_int_equal(publish(f->store, "a.tar", "one", 3), 0);
	assert_int_equal(publish(f->store, "a.tar", "two", 3), STORE_EXISTS);
}

static void a_prefix_has_one_owner(void **state)
{
	const struct fixture *f = *state;
	const struct store_s3_options options = {
	    .folder = f->root, .url = f->url, .owner = "second"};
	struct store *store = NULL;
	struct error err = ERROR_INIT;

	assert_error(store_s3_open(&options, &store, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "first"));
	assert_non_null(strstr(err.message, ".latentd/owner"));
	store_close(open_store(f, "first"));
	store_close(open_store(f, NULL));
}

struct short_file {
	size_t reads;
	char id[2048];
};

static int read_twice(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	(void)offset;
	if (++((struct short_file *)arg)->reads > 2)
		return error_set(err, ERR_IO, "the file ends");
	memset(data, 'x', size);
	return 0;
}

static int note_id(void *arg, const char *upload_id, struct error *err)
{
	(void)err;
	snprintf(((struct short_file *)arg)->id, sizeof(((struct short_file *)arg)->id), "%s",
		 upload_id);
	return 0;
}

struct leftovers {
	struct buffer found;
	bool go;
};

static bool note_leftover(void *arg, const char *key, int64_t begun_ms)
{
	struct leftovers *l = arg;

	assert_true(begun_ms > 0);
	buffer_appendf(&l->found, "%s ", key);
	return l->go;
}

static void an_upload_that_nobody_goes_on_with_is_found_and_forgotten(void **state)
{
	const struct fixture *f = *state;
	struct leftovers l = {.found = BUFFER_INIT};
	char *bucket = NULL, *prefix = NULL;
	struct error err = ERROR_INIT;
	struct short_file file = {.reads = 0};
	struct s3 *s3 = NULL;

	assert_ok(s3_url_parse(f->url, &bucket, &prefix, &err), &err);
	assert_ok(s3_open(&(struct s3_options){.place = {.bucket = bucket}}, &s3, &err), &err);
	cleanup_free char *key = xasprintf("%strain/x.tar", prefix);
	const struct s3_upload upload = {.key = key,
					 .size = BYTES,
					 .sha256 = SIGV4_NO_BODY,
					 .part_bytes = PART,
					 .read = read_twice,
					 .on_begun = note_id,
					 .arg = &file};
	assert_error(s3_upload(s3, &upload, &err), &err, ERR_IO);
	error_clear(&err);
	assert_true(file.id[0]);
	for (int i = 0; i < 2; i++) {
		buffer_reset(&l.found);
		l.go = i == 1;
		assert_ok(store_leftovers(f->store, note_leftover, &l, &err), &err);
		assert_non_null(l.found.data);
		assert_non_null(strstr((char *)l.found.data, "train/x.tar "));
	}
	buffer_reset(&l.found);
	assert_ok(store_leftovers(f->store, note_leftover, &l, &err), &err);
	assert_int_equal(l.found.size, 0);
	buffer_release(&l.found);
	s3_close(s3);
	free(bucket);
	free(prefix);
}

static int count_object(void *arg, const char *name, uint64_t bytes)
{
	(void)bytes;
	assert_string_equal(name, "train/a/1.tar");
	++*(size_t *)arg;
	return 0;
}

static void keys_that_are_no_names_of_objects_are_not_listed(void **state)
{
	const struct fixture *f = *state;
	static const char *const keys[] = {"train//x.tar", "train/a/", "train/.a/x.tar",
					   "train/a/1.tar"};
	char *bucket = NULL, *prefix = NULL;
	struct error err = ERROR_INIT;
	struct s3 *s3 = NULL;
	size_t n = 0;

	assert_ok(s3_url_parse(f->url, &bucket, &prefix, &err), &err);
	assert_ok(s3_open(&(struct s3_options){.place = {.bucket = bucket}}, &s3, &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		cleanup_free char *key = xasprintf("%s%s", prefix, keys[i]);

		assert_ok(s3_put(s3, key, "x", 1, S3_NEW, &err), &err);
	}
	assert_ok(store_list(f->store, "train", count_object, &n, &err), &err);
	assert_int_equal(n, 1);
	s3_close(s3);
	free(bucket);
	free(prefix);
}

static void a_bucket_that_is_not_there_is_one_clear_line(void **state)
{
	const struct fixture *f = *state;
	const struct store_s3_options options = {
	    .folder = f->root, .url = "s3://nobody-made-this/x", .owner = "first"};
	struct store *store = NULL;
	struct error err = ERROR_INIT;

	assert_error(store_s3_open(&options, &store, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "the bucket does not exist"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_large_object_goes_in_parts_and_comes_back_the_same),
	    TEST(what_another_life_has_published_is_known_by_its_bytes),
	    TEST(a_prefix_has_one_owner),
	    TEST(an_upload_that_nobody_goes_on_with_is_found_and_forgotten),
	    TEST(keys_that_are_no_names_of_objects_are_not_listed),
	    TEST(a_bucket_that_is_not_there_is_one_clear_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
