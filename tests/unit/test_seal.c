#include "storage/seal.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/storage_faults.h"
#include "tests/storage_samples.h"
#include "tests/testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define FOLDER "train/512x512"

static const struct shard_ops *wds(void)
{
	return shard_format("wds");
}

static int seal_in(struct store *s, const char *folder, unsigned first_number, seal_load_fn load,
		   void *arg, size_t n, struct sealed_shard *out, struct error *err)
{
	const struct seal_target target = {
	    .store = s, .format = wds(), .folder = folder, .first_number = first_number};

	return seal_shard(&target, load, arg, n, out, err);
}

static int setup(void **state)
{
	*state = testing_tempdir();
	faults_skip_syncs(false);
	return 0;
}

static int teardown(void **state)
{
	faults_end();
	testing_tempdir_remove(*state);
	return 0;
}

static int load_golden(void *arg, size_t index, struct record *out, struct error *err)
{
	(void)arg;
	(void)err;
	sample_golden(index, out);
	return 0;
}

static int load_small(void *arg, size_t index, struct record *out, struct error *err)
{
	(void)arg;
	(void)err;
	sample_small(index, out);
	return 0;
}

static int load_fails(void *arg, size_t index, struct record *out, struct error *err)
{
	if (index == 2)
		return error_set(err, ERR_TRANSIENT, "not today");
	return load_small(arg, index, out, err);
}

static struct store *open_store(const char *root)
{
	struct error err = ERROR_INIT;
	struct store *s = NULL;

	assert_ok(store_local_open(root, false, &s, &err), &err);
	return s;
}

static int count_object(void *arg, const char *name, uint64_t bytes)
{
	(void)name;
	(void)bytes;
	++*(size_t *)arg;
	return 0;
}

static size_t count_objects(struct store *s)
{
	struct error err = ERROR_INIT;
	size_t n = 0;

	assert_ok(store_list(s, "", count_object, &n, &err), &err);
	return n;
}

struct reading {
	const struct sealed_shard *sealed;
	size_t seen;
	bool golden;
};

static int check_record(void *arg, const struct record *record, const struct shard_span *span,
			struct error *err)
{
	struct reading *r = arg;
	cleanup_record struct record want = RECORD_INIT;

	(void)err;
	if (r->golden)
		sample_golden(r->seen, &want);
	else
		sample_small(r->seen, &want);
	assert_true(sample_equal(record, &want, false));
	if (r->sealed) {
		assert_int_equal(span->offset, r->sealed->spans[r->seen].offset);
		assert_int_equal(span->bytes, r->sealed->spans[r->seen].bytes);
	}
	r->seen++;
	return 0;
}

static void a_sealed_shard_is_the_golden_file_and_says_its_hashes(void **state)
{
	struct store *s = open_store(*state);
	struct sealed_shard sealed;
	struct error err = ERROR_INIT;
	struct reading reading = {.sealed = &sealed, .golden = true};
	char sha[SHA256_HEX_SIZE], xxh[HASH128_HEX_SIZE];
	struct sha256 sha256;
	struct hash128 xxh3;
	uint64_t bytes = 0;

	assert_ok(seal_in(s, FOLDER, 0, load_golden, NULL, GOLDEN_RECORDS, &sealed, &err), &err);
	assert_string_equal(sealed.name, FOLDER "/000000.tar");
	assert_int_equal(sealed.samples, GOLDEN_RECORDS);
	assert_int_equal(sealed.bytes, 7680);
	sha256_hex(&sealed.sha256, sha);
	hash128_hex(&sealed.xxh3, xxh);
	/* sha256sum and python-xxhash of what GNU tar makes of the same files (storage_make.py) */
	assert_string_equal(sha,
			    "322738cfb9fcf0d2d05ce18cfaa9818cbb17d4d687aacbaf8a278451a8982044");
	assert_string_equal(xxh, "7ee1b43d02f027b7d94ac6fbf280cb5c");
	assert_ok(shard_file_hashes(s, sealed.name, &bytes, &sha256, &xxh3, &err), &err);
	assert_int_equal(bytes, sealed.bytes);
	assert_memory_equal(&sha256, &sealed.sha256, sizeof(sha256));
	assert_memory_equal(&xxh3, &sealed.xxh3, sizeof(xxh3));
	assert_ok(shard_read_stored(s, sealed.name, check_record, &reading, &err), &err);
	assert_int_equal(reading.seen, GOLDEN_RECORDS);
	sealed_shard_release(&sealed);
	sealed_shard_release(&sealed);
	store_close(s);
}

static void a_staged_shard_is_out_of_sight_until_it_is_revealed(void **state)
{
	struct store *s = open_store(*state);
	const struct seal_target target = {
	    .store = s, .format = wds(), .folder = FOLDER, .area = STORE_STAGED};
	struct error err = ERROR_INIT;
	struct sealed_shard sealed;

	assert_ok(seal_shard(&target, load_small, NULL, 2, &sealed, &err), &err);
	assert_int_equal(count_objects(s), 0);
	assert_ok(store_move(s, sealed.name, STORE_STAGED, STORE_VISIBLE, &err), &err);
	assert_int_equal(count_objects(s), 1);
	sealed_shard_release(&sealed);
	store_close(s);
}

static void a_taken_number_is_passed_over(void **state)
{
	struct store *s = open_store(*state);
	struct error err = ERROR_INIT;

	for (unsigned i = 0; i < 3; i++) {
		struct sealed_shard sealed;
		char want[64];

		assert_ok(seal_in(s, FOLDER, i == 2 ? 0 : 7, load_small, NULL, 2, &sealed, &err),
			  &err);
		snprintf(want, sizeof(want), FOLDER "/%06u.tar", i == 2 ? 0 : 7 + i);
		assert_string_equal(sealed.name, want);
		sealed_shard_release(&sealed);
	}
	assert_int_equal(count_objects(s), 3);
	store_close(s);
}

static void a_record_that_does_not_load_or_fit_leaves_nothing(void **state)
{
	cleanup_free char *partial = testing_path(*state, ".latentd/partial");
	struct store *s = open_store(*state);
	struct sealed_shard sealed = {.samples = 42};
	struct error err = ERROR_INIT;

	assert_error(seal_in(s, FOLDER, 0, load_fails, NULL, 4, &sealed, &err), &err,
		     ERR_TRANSIENT);
	error_clear(&err);
	assert_error(seal_in(s, FOLDER, 0, load_small, NULL, 0, &sealed, &err), &err, ERR_BUG);
	error_clear(&err);
	assert_error(seal_in(s, "../out", 0, load_small, NULL, 1, &sealed, &err), &err, ERR_CONFIG);
	assert_int_equal(sealed.samples, 42);
	assert_int_equal(count_objects(s), 0);
	assert_int_equal(sample_count_files(partial), 0);
	store_close(s);
}

static void a_file_of_another_kind_is_no_shard(void **state)
{
	struct store *s = open_store(*state);
	cleanup_free char *path = testing_path(*state, "README.md");
	struct error err = ERROR_INIT;

	testing_write(path, "hello", 5);
	assert_error(shard_read_stored(s, "README.md", check_record, NULL, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "shard");
	store_close(s);
}

/* -- order and faults --------------------------------------------------------------------- */

static void sealing_is_write_fsync_rename_fsync_of_the_folder(void **state)
{
	struct store *s = open_store(*state);

	for (int i = 0; i < 2; i++) {
		struct sealed_shard sealed;
		struct error err = ERROR_INIT;

		faults_begin();
		assert_ok(seal_in(s, FOLDER, 0, load_small, NULL, 3, &sealed, &err), &err);
		faults_end();
		sealed_shard_release(&sealed);
		assert_int_equal(faults_count("fsync"), 1);
		/* The first one also makes four folders, and each is durable in its parent. */
		assert_int_equal(faults_count("fsync-dir"), i == 0 ? 5 : 1);
		assert_string_equal(faults_log(),
				    i == 0 ? "mkdir fsync-dir mkdir fsync-dir write fsync mkdir "
					     "fsync-dir mkdir fsync-dir renameat2 fsync-dir"
					   : "write fsync renameat2 fsync-dir");
	}
	store_close(s);
}

static struct store_writer *begin_object(struct store *s)
{
	struct error err = ERROR_INIT;
	struct store_writer *w = NULL;

	assert_ok(store_begin(s, &w, &err), &err);
	assert_ok(sink_write(store_writer_sink(w), "hello", 5, &err), &err);
	return w;
}

static void what_is_written_after_a_flush_is_synced_again(void **state)
{
	struct store *s = open_store(*state);
	struct store_writer *w = begin_object(s);
	struct error err = ERROR_INIT;

	faults_begin();
	assert_ok(store_flush(w, &err), &err);
	assert_ok(store_flush(w, &err), &err);
	assert_int_equal(faults_count("fsync"), 1);
	assert_ok(sink_write(store_writer_sink(w), "world", 5, &err), &err);
	assert_ok(store_publish(w, "a.tar", &err), &err);
	assert_int_equal(faults_count("fsync"), 2);
	assert_string_equal(faults_log(), "fsync write fsync renameat2 fsync-dir");
	faults_end();
	store_discard(w);
	store_close(s);
}

static void after_a_failed_write_or_flush_a_writer_publishes_nothing(void **state)
{
	struct store *s = open_store(*state);

	for (int flush = 0; flush < 2; flush++) {
		struct store_writer *w = begin_object(s);
		struct error err = ERROR_INIT;

		faults_begin();
		faults_fail_all(flush ? "fsync" : "write", EIO);
		if (flush)
			assert_error(store_flush(w, &err), &err, ERR_IO);
		else
			assert_error(sink_write(store_writer_sink(w), "world", 5, &err), &err,
				     ERR_IO);
		faults_end();
		error_clear(&err);
		assert_error(store_flush(w, &err), &err, ERR_IO);
		error_clear(&err);
		assert_error(store_publish(w, "a.tar", &err), &err, ERR_IO);
		store_discard(w);
	}
	assert_int_equal(count_objects(s), 0);
	store_close(s);
}

/* After a fault at @root: whole shards only, and sealing works again. */
static void assert_recovers(const char *root, bool claimed)
{
	cleanup_free char *partial = testing_path(root, ".latentd/partial");
	struct store *s = open_store(root);
	struct sealed_shard sealed;
	struct error err = ERROR_INIT;
	size_t visible = count_objects(s);
	struct reading reading = {.sealed = NULL};

	assert_true(visible <= 1 && visible >= claimed);
	assert_int_equal(sample_count_files(partial), 0);
	if (visible == 1) {
		assert_ok(shard_read_stored(s, FOLDER "/000000.tar", check_record, &reading, &err),
			  &err);
		assert_int_equal(reading.seen, 3);
	}
	assert_ok(seal_in(s, FOLDER, 0, load_small, NULL, 3, &sealed, &err), &err);
	assert_string_equal(sealed.name, visible ? FOLDER "/000001.tar" : FOLDER "/000000.tar");
	sealed_shard_release(&sealed);
	store_close(s);
}

/* Runs one seal; whether it claims that the shard is there. */
static bool seal_once(const char *root)
{
	struct error err = ERROR_INIT;
	struct sealed_shard sealed;
	struct store *s = NULL;
	int r = store_local_open(root, false, &s, &err);

	if (r == 0)
		r = seal_in(s, FOLDER, 0, load_small, NULL, 3, &sealed, &err);
	if (r == 0)
		sealed_shard_release(&sealed);
	store_close(s);
	return r == 0;
}

static void a_call_that_fails_leaves_nothing_or_the_whole_shard(void **state)
{
	faults_skip_syncs(true);
	for (size_t n = 0;; n++) {
		cleanup_free char *root = xasprintf("%s-%zu", (char *)*state, n);
		bool claimed;

		faults_begin();
		faults_fail_nth(n, EIO);
		claimed = seal_once(root);
		faults_end();
		assert_recovers(root, claimed);
		testing_tempdir_remove(TAKE(root));
		if (n >= faults_calls()) {
			assert_true(claimed);
			break;
		}
	}
}

static void a_process_that_dies_at_any_call_leaves_nothing_or_the_whole_shard(void **state)
{
	int status = 0;

	faults_skip_syncs(true);
	for (size_t n = 0; n == 0 || WEXITSTATUS(status) == FAULTS_DIED; n++) {
		cleanup_free char *root = xasprintf("%s-%zu", (char *)*state, n);
		pid_t child;

		fflush(NULL);
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			faults_begin();
			faults_die_nth(n);
			_exit(seal_once(root) ? 0 : 1);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 1);
		assert_recovers(root, WEXITSTATUS(status) == 0);
		testing_tempdir_remove(TAKE(root));
	}
}

/* -- a store that lies -------------------------------------------------------------------- */

/* Passes all on to a store in memory, with one bit of what is read back, or written, changed. */
struct lying_store {
	struct store base;
	struct store *honest;
	uint64_t bad_read, bad_write; /* offset of the byte; UINT64_MAX: none */
};

struct lying_writer {
	struct store_writer base;
	struct store_writer *honest;
	uint64_t written;
	bool flushed; /* since the last write */
};

static void lie(void *data, size_t size, uint64_t offset, uint64_t bad)
{
	if (bad >= offset && bad - offset < size)
		((uint8_t *)data)[bad - offset] ^= 16;
}

static int lying_write(struct sink *sink, const void *data, size_t size, struct error *err)
{
	struct lying_writer *w = (struct lying_writer *)sink;
	const struct lying_store *s = (struct lying_store *)w->base.store;
	cleanup_buffer struct buffer copy = BUFFER_INIT;

	buffer_append(&copy, data, size);
	lie(copy.data, size, w->written, s->bad_write);
	w->written += size;
	w->flushed = false;
	return sink_write(store_writer_sink(w->honest), copy.data, size, err);
}

static int lying_begin(struct store *base, struct store_writer **out, struct error *err)
{
	struct lying_writer *w = xcalloc(1, sizeof(*w));

	w->base = (struct store_writer){.sink = {.write = lying_write}, .store = base};
	*out = &w->base;
	return store_begin(((struct lying_store *)base)->honest, &w->honest, err);
}

static int lying_flush(struct store_writer *base, struct error *err)
{
	struct lying_writer *w = (struct lying_writer *)base;

	w->flushed = true;
	return store_flush(w->honest, err);
}

static int lying_writer_read(struct store_writer *base, void *data, size_t size, uint64_t offset,
			     struct error *err)
{
	struct lying_writer *w = (struct lying_writer *)base;

	assert_true(w->flushed);
	if (store_writer_read(w->honest, data, size, offset, err) < 0)
		return -1;
	lie(data, size, offset, ((struct lying_store *)base->store)->bad_read);
	return 0;
}

static int lying_publish(struct store_writer *base, enum store_area area, const char *name,
			 struct error *err)
{
	struct lying_writer *w = (struct lying_writer *)base;

	assert_int_equal(area, STORE_VISIBLE);
	assert_true(w->flushed);
	return store_publish(w->honest, name, err);
}

static void lying_discard(struct store_writer *base)
{
	struct lying_writer *w = (struct lying_writer *)base;

	store_discard(w->honest);
	free(w);
}

static const struct store_ops lying_ops = {
    .name = "lying",
    .begin = lying_begin,
    .flush = lying_flush,
    .writer_read = lying_writer_read,
    .publish = lying_publish,
    .discard = lying_discard,
};

static void a_bit_that_changes_on_its_way_is_noticed_wherever_it_is(void **state)
{
	struct lying_store s = {.base = {.ops = &lying_ops}, .bad_read = 7680, .bad_write = 7680};
	struct sealed_shard sealed;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(store_memory_open(&s.honest, &err), &err);
	for (uint64_t at = 0; at < 7680; at++) {
		for (int write = 0; write < 2; write++) {
			s.bad_write = write ? at : UINT64_MAX;
			s.bad_read = write ? UINT64_MAX : at;
			error_clear(&err);
			assert_error(seal_in(&s.base, FOLDER, 0, load_golden, NULL, GOLDEN_RECORDS,
					     &sealed, &err),
				     &err, ERR_DATA);
			assert_string_equal(err.reason, "verify");
		}
	}
	assert_int_equal(count_objects(s.honest), 0);
	s.bad_read = s.bad_write = UINT64_MAX;
	error_clear(&err);
	assert_ok(seal_in(&s.base, FOLDER, 0, load_golden, NULL, GOLDEN_RECORDS, &sealed, &err),
		  &err);
	assert_int_equal(count_objects(s.honest), 1);
	sealed_shard_release(&sealed);
	store_close(s.honest);
}

/* A member whose bytes are no longer what was hashed when the record was made. */
static int load_spoiled(void *arg, size_t index, struct record *out, struct error *err)
{
	load_small(arg, index, out, err);
	if (index == 1)
		out->members[1].data.data[100] ^= 1;
	return 0;
}

static void a_record_spoiled_in_memory_is_noticed(void **state)
{
	struct store *s = open_store(*state);
	struct sealed_shard sealed;
	struct error err = ERROR_INIT;

	assert_error(seal_in(s, FOLDER, 0, load_spoiled, NULL, 3, &sealed, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "verify");
	assert_int_equal(count_objects(s), 0);
	store_close(s);
}

#define SEAL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    SEAL_TEST(a_sealed_shard_is_the_golden_file_and_says_its_hashes),
	    SEAL_TEST(a_taken_number_is_passed_over),
	    SEAL_TEST(a_staged_shard_is_out_of_sight_until_it_is_revealed),
	    SEAL_TEST(a_record_that_does_not_load_or_fit_leaves_nothing),
	    SEAL_TEST(a_file_of_another_kind_is_no_shard),
	    SEAL_TEST(sealing_is_write_fsync_rename_fsync_of_the_folder),
	    SEAL_TEST(what_is_written_after_a_flush_is_synced_again),
	    SEAL_TEST(after_a_failed_write_or_flush_a_writer_publishes_nothing),
	    SEAL_TEST(a_call_that_fails_leaves_nothing_or_the_whole_shard),
	    SEAL_TEST(a_process_that_dies_at_any_call_leaves_nothing_or_the_whole_shard),
	    SEAL_TEST(a_bit_that_changes_on_its_way_is_noticed_wherever_it_is),
	    SEAL_TEST(a_record_spoiled_in_memory_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
