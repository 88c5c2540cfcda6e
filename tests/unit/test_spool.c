#include "storage/spool.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/storage_faults.h"
#include "tests/storage_samples.h"
#include "tests/testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MANY 64

/* What an open handed out, by sample number. */
struct found {
	size_t n;
	size_t index[MANY];
	struct spool_place place[MANY];
	size_t damages;
	char damage[160];
	size_t drop_below; /* samples of a lower number are no longer needed */
};

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

/* Fails the test unless @record is exactly one of the samples. */
static int on_record(void *arg, const struct spool_place *place, const struct record *record)
{
	struct found *f = arg;
	cleanup_record struct record want = RECORD_INIT;
	size_t index = (size_t)record->job;

	assert_true(f->n < MANY);
	sample_small(index, &want);
	assert_true(sample_equal(record, &want, true));
	f->index[f->n] = index;
	f->place[f->n++] = *place;
	return index < f->drop_below;
}

static void on_damage(void *arg, const char *line)
{
	struct found *f = arg;

	f->damages++;
	snprintf(f->damage, sizeof(f->damage), "%s", line);
}

static int try_open(const char *dir, size_t segment_bytes, struct found *found, struct spool **s,
		    struct error *err)
{
	struct spool_options options = {
	    .segment_bytes = segment_bytes, .on_damage = on_damage, .damage_arg = found};

	found->n = 0;
	found->damages = 0;
	return spool_open(dir, &options, on_record, found, s, err);
}

static struct spool *open_spool(const char *dir, size_t segment_bytes, struct found *found)
{
	struct error err = ERROR_INIT;
	struct spool *s = NULL;

	assert_ok(try_open(dir, segment_bytes, found, &s, &err), &err);
	return s;
}

static struct spool_place append(struct spool *s, size_t index)
{
	struct error err = ERROR_INIT;
	struct spool_place place = {0, 0, 0};
	cleanup_record struct record r = RECORD_INIT;

	sample_small(index, &r);
	assert_ok(spool_append(s, &r, &place, &err), &err);
	return place;
}

static void sync_spool(struct spool *s)
{
	struct error err = ERROR_INIT;

	assert_ok(spool_sync(s, &err), &err);
}

static void assert_reads(struct spool *s, const struct spool_place *place, size_t index)
{
	struct error err = ERROR_INIT;
	cleanup_record struct record want = RECORD_INIT, got = RECORD_INIT;

	sample_small(index, &want);
	assert_ok(spool_read(s, place, &got, &err), &err);
	assert_true(sample_equal(&got, &want, true));
}

static void assert_found(const struct found *f, size_t first, size_t n)
{
	assert_int_equal(f->n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(f->index[i], first + i);
}

/*
 * A spool of @n samples in one segment, closed; the path of the segment, and where each record
 * ends.
 */
static char *make_log(const char *dir, size_t n, uint64_t *ends)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(dir, 0, &found);

	for (size_t i = 0; i < n; i++) {
		struct spool_place place = append(s, i);

		ends[i] = place.offset + place.size;
	}
	sync_spool(s);
	spool_close(s);
	return testing_path(dir, "0000000000000000.spool");
}

static void records_are_read_back_and_survive_a_restart(void **state)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(*state, 2000, &found);
	struct spool_place places[10];

	for (size_t i = 0; i < 10; i++)
		places[i] = append(s, i);
	for (size_t i = 0; i < 10; i++)
		assert_reads(s, &places[i], i);
	sync_spool(s);
	assert_int_equal(spool_records(s), 10);
	assert_true(sample_count_files(*state) > 2);
	spool_close(s);

	s = open_spool(*state, 2000, &found);
	assert_found(&found, 0, 10);
	assert_int_equal(found.damages, 0);
	assert_int_equal(spool_records(s), 10);
	for (size_t i = 0; i < 10; i++) {
		assert_memory_equal(&found.place[i], &places[i], sizeof(places[i]));
		assert_reads(s, &found.place[i], i);
	}
	append(s, 10);
	spool_close(s);
	spool_close(open_spool(*state, 2000, &found));
	assert_found(&found, 0, 11);
}

static int on_golden(void *arg, const struct spool_place *place, const struct record *record)
{
	cleanup_record struct record want = RECORD_INIT;

	(void)place;
	sample_golden(*(size_t *)arg, &want);
	assert_true(sample_equal(record, &want, true));
	++*(size_t *)arg;
	return 0;
}

static void a_segment_of_version_1_is_read(void **state)
{
	cleanup_free char *golden = testing_golden("storage_v1.spool");
	cleanup_free char *path = testing_path(*state, "0000000000000005.spool");
	cleanup_buffer struct buffer bytes = testing_read(golden), after = BUFFER_INIT;
	struct error err = ERROR_INIT;
	struct spool *s = NULL;
	size_t seen = 0;

	testing_write(path, bytes.data, bytes.size);
	assert_ok(spool_open(*state, NULL, on_golden, &seen, &s, &err), &err);
	assert_int_equal(seen, GOLDEN_RECORDS);
	spool_close(s);
	after = testing_read(path);
	assert_int_equal(after.size, bytes.size);
	assert_memory_equal(after.data, bytes.data, bytes.size);
}

static void the_segment_written_is_the_documented_one(void **state)
{
	cleanup_free char *golden = testing_golden("storage_v1.spool");
	cleanup_free char *before = testing_path(*state, "0000000000000004.spool");
	cleanup_free char *path = testing_path(*state, "0000000000000005.spool");
	cleanup_buffer struct buffer want = testing_read(golden), got = BUFFER_INIT;
	struct found found = {.n = 0};
	struct spool *s;

	testing_write(before, "", 0);
	s = open_spool(*state, 0, &found);
	for (size_t i = 0; i < GOLDEN_RECORDS; i++) {
		cleanup_record struct record r = RECORD_INIT;
		struct error err = ERROR_INIT;
		struct spool_place place;

		sample_golden(i, &r);
		assert_ok(spool_append(s, &r, &place, &err), &err);
	}
	spool_close(s);
	got = testing_read(path);
	assert_int_equal(got.size, want.size);
	assert_memory_equal(got.data, want.data, want.size);
}

/* A new file each time: truncating an old one makes ext4 write it out at once. */
static void rewrite(const char *path, const struct buffer *bytes, size_t size)
{
	unlink(path);
	testing_write(path, bytes->data, size);
}

/* -- damage ------------------------------------------------------------------------------- */

static void a_tail_torn_at_any_byte_is_cut_back_and_the_log_goes_on(void **state)
{
	uint64_t ends[4];
	cleanup_free char *path = make_log(*state, 3, ends);
	cleanup_buffer struct buffer whole = testing_read(path);

	faults_skip_syncs(true);
	assert_int_equal(whole.size, ends[2]);
	for (size_t size = (size_t)ends[1]; size < whole.size; size++) {
		struct found found = {.n = 0};
		struct spool *s;
		struct stat st;

		rewrite(path, &whole, size);
		s = open_spool(*state, 0, &found);
		assert_found(&found, 0, 2);
		assert_int_equal(found.damages, size > ends[1]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, ends[1]);
		append(s, 2);
		append(s, 3);
		spool_close(s);
		spool_close(open_spool(*state, 0, &found));
		assert_found(&found, 0, 4);
		assert_int_equal(found.damages, 0);
	}
}

static void a_segment_cut_off_in_its_header_is_nothing(void **state)
{
	uint64_t ends[2];
	cleanup_free char *path = make_log(*state, 2, ends);
	cleanup_free char *next = testing_path(*state, "0000000000000001.spool");
	cleanup_buffer struct buffer whole = testing_read(path);

	faults_skip_syncs(true);
	for (size_t size = 0; size < 32; size++) {
		struct found found = {.n = 0};
		struct spool *s;

		testing_write(next, whole.data, size);
		s = open_spool(*state, 0, &found);
		assert_found(&found, 0, 2);
		assert_int_equal(found.damages, 0);
		assert_false(file_exists(next));
		assert_int_equal(append(s, 5).segment, 2);
		spool_close(s);
		spool_close(open_spool(*state, 0, &found));
		assert_int_equal(found.n, 3);
		testing_tempdir_remove(*state);
		*state = testing_tempdir();
		free(path);
		free(next);
		path = testing_path(*state, "0000000000000000.spool");
		next = testing_path(*state, "0000000000000001.spool");
		testing_write(path, whole.data, whole.size);
	}
}

/* on_record fails the test if what a damaged log gives is not one of the records written. */
static void a_flipped_bit_anywhere_never_gives_a_wrong_record(void **state)
{
	uint64_t ends[3];
	cleanup_free char *path = make_log(*state, 3, ends);
	cleanup_buffer struct buffer whole = testing_read(path);

	faults_skip_syncs(true);
	for (size_t bit = 0; bit < 8 * whole.size; bit++) {
		struct found found = {.n = 0};
		size_t at = bit / 8;

		whole.data[at] ^= (uint8_t)(1u << bit % 8);
		rewrite(path, &whole, whole.size);
		spool_close(open_spool(*state, 0, &found));
		whole.data[at] ^= (uint8_t)(1u << bit % 8);
		assert_true(found.damages > 0);
		if (at < 32)
			assert_found(&found, 0, 3);
		else
			assert_true(found.n < 3);
		/* Payloads: the others are still there. */
		if (at >= 32 + 16 && at < ends[1] && !(at >= ends[0] && at < ends[0] + 16))
			assert_int_equal(found.n, 2);
		if (at >= ends[1])
			assert_found(&found, 0, 2);
	}
}

static void damage_in_an_older_segment_is_reported_and_left(void **state)
{
	uint64_t ends[3];
	cleanup_free char *path = make_log(*state, 3, ends);
	cleanup_free char *next = testing_path(*state, "0000000000000001.spool");
	cleanup_buffer struct buffer whole = testing_read(path);
	struct found found = {.n = 0};
	struct spool *s;
	struct stat st;

	whole.data[ends[1] + 3] ^= 1;
	testing_write(path, whole.data, whole.size);
	testing_write(next, "", 0);
	s = open_spool(*state, 0, &found);
	assert_found(&found, 0, 2);
	assert_int_equal(found.damages, 1);
	assert_non_null(strstr(found.damage, "0000000000000000"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, whole.size);
	spool_close(s);
}

static void a_segment_of_a_newer_version_is_refused_and_not_touched(void **state)
{
	uint64_t ends[1], hash;
	cleanup_free char *path = make_log(*state, 1, ends);
	cleanup_buffer struct buffer bytes = testing_read(path), after = BUFFER_INIT;
	struct found found = {.n = 0};
	struct error err = ERROR_INIT;
	struct spool *s = NULL;

	bytes.data[8] = 2;
	hash = hash64_of(bytes.data, 24, 0);
	for (int i = 0; i < 8; i++)
		bytes.data[24 + i] = (uint8_t)(hash >> 8 * i);
	bytes.size -= 5;
	testing_write(path, bytes.data, bytes.size);
	assert_error(try_open(*state, 0, &found, &s, &err), &err, ERR_CONFIG);
	assert_null(s);
	assert_int_equal(found.n, 0);
	after = testing_read(path);
	assert_int_equal(after.size, bytes.size);
	assert_memory_equal(after.data, bytes.data, bytes.size);
}

static void a_record_damaged_while_open_is_not_returned(void **state)
{
	uint64_t ends[2];
	cleanup_free char *path = make_log(*state, 2, ends);
	cleanup_buffer struct buffer bytes = testing_read(path);
	struct found found = {.n = 0};
	struct spool *s = open_spool(*state, 0, &found);
	struct error err = ERROR_INIT;
	struct record r = {.rank = 42};

	bytes.data[ends[0] - 1] ^= 1;
	testing_write(path, bytes.data, bytes.size);
	assert_error(spool_read(s, &found.place[0], &r, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "spool");
	assert_int_equal(r.rank, 42);
	assert_reads(s, &found.place[1], 1);
	spool_close(s);
}

/* -- dropping ----------------------------------------------------------------------------- */

static void a_segment_goes_when_its_last_record_is_dropped(void **state)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(*state, 1000, &found);
	struct spool_place places[8];
	struct error err = ERROR_INIT;
	uint64_t bytes;
	size_t files;

	for (size_t i = 0; i < 8; i++)
		places[i] = append(s, i);
	sync_spool(s);
	files = sample_count_files(*state);
	bytes = spool_bytes(s);
	assert_int_equal(places[0].segment, places[1].segment);
	assert_ok(spool_drop(s, &places[1], &err), &err);
	assert_int_equal(sample_count_files(*state), files);
	faults_begin();
	assert_ok(spool_drop(s, &places[0], &err), &err);
	assert_string_equal(faults_log(), "unlink fsync-dir");
	faults_end();
	assert_int_equal(sample_count_files(*state), files - 1);
	assert_true(spool_bytes(s) < bytes);
	assert_int_equal(spool_records(s), 6);
	spool_close(s);
	spool_close(open_spool(*state, 1000, &found));
	assert_found(&found, 2, 6);
}

static void a_dropped_place_is_gone(void **state)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(*state, 0, &found);
	struct spool_place place = append(s, 0), other = append(s, 1), wrong = other;
	cleanup_record struct record r = RECORD_INIT;
	struct error err = ERROR_INIT;

	wrong.offset++;
	assert_error(spool_read(s, &wrong, &r, &err), &err, ERR_BUG);
	error_clear(&err);
	assert_ok(spool_drop(s, &place, &err), &err);
	assert_error(spool_read(s, &place, &r, &err), &err, ERR_BUG);
	error_clear(&err);
	assert_error(spool_drop(s, &place, &err), &err, ERR_BUG);
	assert_reads(s, &other, 1);
	spool_close(s);
}

static void what_the_caller_no_longer_needs_is_dropped_on_open(void **state)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(*state, 1000, &found);
	size_t files;

	for (size_t i = 0; i < 8; i++)
		append(s, i);
	spool_close(s);
	files = sample_count_files(*state);
	found.drop_below = 5;
	s = open_spool(*state, 1000, &found);
	assert_int_equal(spool_records(s), 3);
	assert_int_equal(sample_count_files(*state), files - 2);
	spool_close(s);
	found.drop_below = 8;
	s = open_spool(*state, 1000, &found);
	assert_int_equal(spool_records(s), 0);
	assert_int_equal(spool_bytes(s), 0);
	assert_int_equal(sample_count_files(*state), 0);
	spool_close(s);
}

static void the_disk_stays_bounded_while_records_come_and_go(void **state)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(*state, 4096, &found);
	struct spool_place window[4];
	struct error err = ERROR_INIT;

	faults_skip_syncs(true);
	for (size_t i = 0; i < 1000; i++) {
		if (i >= 4)
			assert_ok(spool_drop(s, &window[i % 4], &err), &err);
		window[i % 4] = append(s, i);
		assert_true(sample_count_files(*state) <= 2);
		assert_true(spool_bytes(s) <= 2 * 4096);
	}
	assert_int_equal(spool_records(s), 4);
	for (size_t i = 1000; i < 1004; i++)
		assert_ok(spool_drop(s, &window[i % 4], &err), &err);
	assert_true(spool_bytes(s) <= 4096 / 16);
	spool_close(s);
}

/* -- faults ------------------------------------------------------------------------------- */

static void a_sync_is_one_fdatasync_and_only_when_something_is_new(void **state)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(*state, 0, &found);

	faults_begin();
	append(s, 0);
	assert_string_equal(faults_log(), "write fsync fsync-dir write");
	append(s, 1);
	sync_spool(s);
	sync_spool(s);
	assert_string_equal(faults_log(), "write fsync fsync-dir write fdatasync");
	assert_int_equal(faults_count("fdatasync"), 1);
	faults_end();
	spool_close(s);
}

/* A process that died may have left records in the page cache only. */
static void what_an_open_hands_out_is_made_durable_first(void **state)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(*state, 0, &found);
	struct error err = ERROR_INIT;

	append(s, 0);
	spool_close(s);
	faults_begin();
	s = open_spool(*state, 0, &found);
	assert_string_equal(faults_log(), "mkdir fsync");
	faults_end();
	assert_found(&found, 0, 1);
	spool_close(s);
	s = NULL;
	faults_begin();
	faults_fail_all("fsync", EIO);
	assert_error(try_open(*state, 0, &found, &s, &err), &err, ERR_IO);
	faults_end();
	assert_null(s);
}

static void a_full_segment_is_synced_before_the_next_is_begun(void **state)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(*state, 1000, &found);

	append(s, 0);
	append(s, 1);
	faults_begin();
	append(s, 2);
	assert_string_equal(faults_log(), "fdatasync write fsync fsync-dir write");
	faults_end();
	spool_close(s);
}

static void after_a_failed_sync_nothing_goes_on_and_nothing_unsynced_comes_back(void **state)
{
	static const char *const calls[] = {"fdatasync", "write"};

	for (size_t i = 0; i < 2; i++) {
		cleanup_free char *name = xasprintf("%s-%zu", (char *)*state, i);
		struct found found = {.n = 0};
		struct spool *s = open_spool(name, 0, &found);
		struct error err = ERROR_INIT;
		struct spool_place place = append(s, 0);
		cleanup_record struct record r = RECORD_INIT;

		sync_spool(s);
		append(s, 1);
		sample_small(2, &r);
		faults_begin();
		faults_fail_all(calls[i], ENOSPC);
		if (i == 0)
			assert_error(spool_sync(s, &err), &err, ERR_IO);
		else
			assert_error(spool_append(s, &r, &place, &err), &err, ERR_IO);
		faults_end();
		error_clear(&err);
		assert_error(spool_append(s, &r, &place, &err), &err, ERR_IO);
		error_clear(&err);
		assert_error(spool_sync(s, &err), &err, ERR_IO);
		spool_close(s);
		s = open_spool(name, 0, &found);
		assert_found(&found, 0, 1);
		assert_int_equal(found.damages, 0);
		append(s, 1);
		sync_spool(s);
		spool_close(s);
		testing_tempdir_remove(TAKE(name));
	}
}

/* What the child has done, seen by its parent. */
struct progress {
	size_t synced, dropped;
};

/* Appends 24 samples in small segments, syncs every third, drops some. Any failure ends it. */
static void work(const char *dir, struct progress *p)
{
	struct found found = {.n = 0};
	struct spool_place places[24], place;
	struct error err = ERROR_INIT;
	struct spool *s = NULL;

	if (try_open(dir, 1000, &found, &s, &err) < 0)
		return;
	for (size_t i = 0; i < 24; i++) {
		cleanup_record struct record r = RECORD_INIT;

		sample_small(i, &r);
		if (spool_append(s, &r, &place, &err) < 0)
			break;
		places[i] = place;
		if (i % 3 == 2) {
			if (spool_sync(s, &err) < 0)
				break;
			p->synced = i + 1;
		}
		if (i > 9) {
			p->dropped = i - 9;
			if (spool_drop(s, &places[i - 10], &err) < 0)
				break;
		}
	}
	spool_close(s);
}

/* Everything that was synced and not dropped is there, and what is there is what was appended. */
static void assert_recovers(const char *dir, const struct progress *p)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(dir, 1000, &found);
	size_t next = p->dropped;

	for (size_t i = 0; i < found.n; i++) {
		if (found.index[i] == next)
			next++;
	}
	assert_true(next >= p->synced);
	append(s, 30);
	sync_spool(s);
	spool_close(s);
	spool_close(open_spool(dir, 1000, &found));
	assert_int_equal(found.index[found.n - 1], 30);
	assert_int_equal(found.damages, 0);
}

static void a_call_that_fails_loses_nothing_that_was_synced(void **state)
{
	faults_skip_syncs(true);
	for (size_t n = 0;; n++) {
		cleanup_free char *name = xasprintf("%s-%zu", (char *)*state, n);
		struct progress p = {0, 0};

		faults_begin();
		faults_fail_nth(n, EIO);
		work(name, &p);
		faults_end();
		assert_recovers(name, &p);
		testing_tempdir_remove(TAKE(name));
		if (n >= faults_calls()) {
			assert_int_equal(p.synced, 24);
			break;
		}
	}
}

static void a_process_that_dies_at_any_call_loses_nothing_that_was_synced(void **state)
{
	struct progress *p =
	    mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;

	assert_ptr_not_equal(p, MAP_FAILED);
	faults_skip_syncs(true);
	for (size_t n = 0; n == 0 || WEXITSTATUS(status) == FAULTS_DIED; n++) {
		cleanup_free char *name = xasprintf("%s-%zu", (char *)*state, n);
		pid_t child;

		*p = (struct progress){0, 0};
		fflush(NULL);
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			faults_begin();
			faults_die_nth(n);
			work(name, p);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_recovers(name, p);
		testing_tempdir_remove(TAKE(name));
	}
	assert_int_equal(p->synced, 24);
	munmap(p, sizeof(*p));
}

static void a_segment_that_cannot_be_removed_is_tried_again(void **state)
{
	struct found found = {.n = 0};
	struct spool *s = open_spool(*state, 1000, &found);
	struct spool_place places[6];
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < 6; i++)
		places[i] = append(s, i);
	assert_ok(spool_drop(s, &places[0], &err), &err);
	faults_begin();
	faults_fail_all("unlink", EACCES);
	assert_error(spool_drop(s, &places[1], &err), &err, ERR_IO);
	faults_end();
	assert_int_equal(sample_count_files(*state), 3);
	error_clear(&err);
	assert_ok(spool_drop(s, &places[2], &err), &err);
	assert_int_equal(sample_count_files(*state), 2);
	spool_close(s);
}

#define SPOOL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    SPOOL_TEST(records_are_read_back_and_survive_a_restart),
	    SPOOL_TEST(a_segment_of_version_1_is_read),
	    SPOOL_TEST(the_segment_written_is_the_documented_one),
	    SPOOL_TEST(a_tail_torn_at_any_byte_is_cut_back_and_the_log_goes_on),
	    SPOOL_TEST(a_segment_cut_off_in_its_header_is_nothing),
	    SPOOL_TEST(a_flipped_bit_anywhere_never_gives_a_wrong_record),
	    SPOOL_TEST(damage_in_an_older_segment_is_reported_and_left),
	    SPOOL_TEST(a_segment_of_a_newer_version_is_refused_and_not_touched),
	    SPOOL_TEST(a_record_damaged_while_open_is_not_returned),
	    SPOOL_TEST(a_segment_goes_when_its_last_record_is_dropped),
	    SPOOL_TEST(a_dropped_place_is_gone),
	    SPOOL_TEST(what_the_caller_no_longer_needs_is_dropped_on_open),
	    SPOOL_TEST(the_disk_stays_bounded_while_records_come_and_go),
	    SPOOL_TEST(a_sync_is_one_fdatasync_and_only_when_something_is_new),
	    SPOOL_TEST(what_an_open_hands_out_is_made_durable_first),
	    SPOOL_TEST(a_full_segment_is_synced_before_the_next_is_begun),
	    SPOOL_TEST(after_a_failed_sync_nothing_goes_on_and_nothing_unsynced_comes_back),
	    SPOOL_TEST(a_call_that_fails_loses_nothing_that_was_synced),
	    SPOOL_TEST(a_process_that_dies_at_any_call_loses_nothing_that_was_synced),
	    SPOOL_TEST(a_segment_that_cannot_be_removed_is_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
