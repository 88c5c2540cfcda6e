/*
 * What only a queue in a file can do wrong: other files in its place, file systems, readers.
 *
 * No test opens the database file itself while a queue is open in this process: closing it would drop
 * SQLite's locks.
 */
#include "base/files.h"
#include "queue/queue_sqlite.h"
#include "tests/contract/contract_queue.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* Where the SQLite file format keeps these, big-endian: https://www.sqlite.org/fileformat.html */
#define USER_VERSION_AT	  60
#define APPLICATION_ID_AT 68
#define WRITE_VERSION_AT  18

static uint32_t pretended_f_type;

/* Linked with --wrap=statfs: a file system of any type. */
int __real_statfs(const char *path, struct statfs *st);
int __wrap_statfs(const char *path, struct statfs *st);

int __wrap_statfs(const char *path, struct statfs *st)
{
	int r = __real_statfs(path, st);

	if (pretended_f_type != 0)
		st->f_type = pretended_f_type;
	return r;
}

static uint32_t file_u32(const char *path, size_t at)
{
	cleanup_buffer struct buffer b = testing_read(path);

	assert_true(b.size >= at + 4);
	return (uint32_t)b.data[at] << 24 | (uint32_t)b.data[at + 1] << 16 |
	       (uint32_t)b.data[at + 2] << 8 | b.data[at + 3];
}

static void patch_u32(const char *path, size_t at, uint32_t value)
{
	cleanup_buffer struct buffer b = testing_read(path);

	for (size_t i = 0; i < 4; i++)
		b.data[at + i] = (uint8_t)(value >> (24 - 8 * i));
	testing_write(path, b.data, b.size);
}

/* Both ways of opening @path fail with @code and @word in the message, and leave the file as it is. */
static void assert_refused(const char *path, enum error_code code, const char *word)
{
	int (*const opens[])(const char *, struct queue **,
			     struct error *) = {queue_sqlite_open, queue_sqlite_open_readonly};
	cleanup_buffer struct buffer before = testing_read(path);

	for (size_t i = 0; i < ARRAY_SIZE(opens); i++) {
		struct error err = ERROR_INIT;
		struct queue *q = NULL;

		assert_error(opens[i](path, &q, &err), &err, code);
		assert_null(q);
		assert_non_null(strstr(err.message, word));
		assert_non_null(strstr(err.message, path));
		assert_file_is(path, &before);
	}
}

/* -- whose file it is ----------------------------------------------------------------------------- */

static void the_file_says_what_it_is(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer b = BUFFER_INIT;

	fixture_close(f);
	assert_int_equal(file_u32(f->path, USER_VERSION_AT), 2);
	assert_int_equal(file_u32(f->path, APPLICATION_ID_AT), 0x6c617464);
	b = testing_read(f->path);
	assert_int_equal(b.data[WRITE_VERSION_AT], 2); /* WAL */
}

static void a_newer_schema_is_refused_with_both_numbers(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	patch_u32(f->path, USER_VERSION_AT, 12);
	assert_refused(f->path, ERR_CONFIG, "12");
	assert_refused(f->path, ERR_CONFIG, "up to 2:");
}

static void a_database_of_another_program_is_refused(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	patch_u32(f->path, APPLICATION_ID_AT, 4711);
	assert_refused(f->path, ERR_CONFIG, "4711");
	patch_u32(f->path, APPLICATION_ID_AT, 0);
	assert_refused(f->path, ERR_CONFIG, "another program");
}

static void a_file_that_is_no_database_is_refused(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = testing_path(f->dir, "notes.txt");
	uint8_t bytes[8192];

	memset(bytes, 'x', sizeof(bytes));
	testing_write(path, bytes, sizeof(bytes));
	assert_refused(path, ERR_CONFIG, "not a database");
}

static void an_older_schema_is_not_read_before_it_is_migrated(void **state)
{
	struct fixture *f = *state;
	cleanup_queue struct queue *q = NULL;

	fixture_close(f);
	patch_u32(f->path, USER_VERSION_AT, 0);
	assert_error(queue_sqlite_open_readonly(f->path, &q, &f->err), &f->err, ERR_CONFIG);
	assert_non_null(strstr(f->err.message, "older"));
	error_clear(&f->err);
}

static void an_empty_file_is_made_a_queue_by_the_writer_only(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = testing_path(f->dir, "empty.db");
	struct queue *q = NULL;

	testing_write(path, "", 0);
	assert_error(queue_sqlite_open_readonly(path, &q, &f->err), &f->err, ERR_CONFIG);
	error_clear(&f->err);
	assert_ok(queue_sqlite_open(path, &q, &f->err), &f->err);
	queue_close(q);
	assert_int_equal(file_u32(path, USER_VERSION_AT), 2);
}

static void a_missing_folder_or_file_is_an_io_error(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = testing_path(f->dir, "no/such/queue.db");
	cleanup_free char *file = testing_path(f->dir, "missing.db");
	struct queue *q = NULL;

	assert_error(queue_sqlite_open(path, &q, &f->err), &f->err, ERR_IO);
	error_clear(&f->err);
	assert_error(queue_sqlite_open_readonly(file, &q, &f->err), &f->err, ERR_IO);
	error_clear(&f->err);
	assert_false(file_exists(file));
}

static void a_network_file_system_is_refused(void **state)
{
	static const uint32_t types[] = {0x6969, 0xff534d42, 0x65735546, 0x0bd00bd0};
	struct fixture *f = *state;
	cleanup_free char *path = testing_path(f->dir, "new.db");
	struct queue *q = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		pretended_f_type = types[i];
		assert_error(queue_sqlite_open(path, &q, &f->err), &f->err, ERR_CONFIG);
		assert_non_null(strstr(f->err.message, network_file_system(types[i])));
		assert_non_null(strstr(f->err.message, "local disk"));
		error_clear(&f->err);
	}
	pretended_f_type = 0xef53; /* ext4 */
	assert_ok(queue_sqlite_open(path, &q, &f->err), &f->err);
	queue_close(q);
	pretended_f_type = 0;
}

/* -- migration ------------------------------------------------------------------------------------ */

static void assert_job(struct fixture *f, int64_t id, enum job_state state, uint32_t attempts,
		       uint32_t crashes, const char *key, const char *reason)
{
	cleanup_shown struct shown shown = show_job(f, id);

	assert_int_equal(shown.state, state);
	assert_int_equal(shown.attempts, attempts);
	assert_int_equal(shown.crashes, crashes);
	assert_string_equal(shown.key, key);
	assert_string_equal(shown.reason, reason);
}

static void open_version_1(struct fixture *f)
{
	cleanup_free char *golden = testing_golden("queue_v1.db");
	cleanup_buffer struct buffer bytes = testing_read(golden);

	queue_close(f->q);
	f->q = NULL;
	free(f->path);
	f->path = testing_path(f->dir, "version-1.db");
	testing_write(f->path, bytes.data, bytes.size);
	assert_error(queue_sqlite_open_readonly(f->path, &f->q, &f->err), &f->err, ERR_CONFIG);
	error_clear(&f->err);
	assert_ok(queue_sqlite_open(f->path, &f->q, &f->err), &f->err);
}

/* What is in it: tests/golden/queue_v1_make.c. */
static void a_database_of_version_1_is_migrated_with_all_it_has(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct queue_counts counts;

	open_version_1(f);
	queue_dump(f->q, &text);
	assert_job(f, 1, JOB_COMPLETED, 0, 0, "dir/0001", "");
	assert_job(f, 2, JOB_ENCODED, 1, 0, "dir/0002", "");
	assert_job(f, 3, JOB_RETRYABLE, 1, 0, "dir/0003", "timeout");
	assert_job(f, 4, JOB_QUARANTINED, 1, 1, "crash", "truncated");
	assert_job(f, 5, JOB_SKIPPED, 1, 0, "small", "min_side");
	assert_job(f, 6, JOB_GONE, 1, 0, "gone", "");
	assert_job(f, 7, JOB_AVAILABLE, 0, 0, "left", "");
	assert_job(f, 8, JOB_RUNNING, 1, 0, "run", "");
	assert_job(f, 9, JOB_COMPLETED, 0, 0, "copy", "");
	assert_job(f, 10, JOB_COMPLETED, 0, 0, "found", "");
	assert_ok(queue_counts(f->q, 1, &counts, &f->err), &f->err);
	assert_int_equal(counts.samples, 2);
	assert_int_equal(counts.shard_bytes, 10240);
	read_whole_queue(f->path);
}

static void work_goes_on_in_a_migrated_database(void **state)
{
	struct fixture *f = *state;
	struct hash128 content = hash128_of("dir/0001.jpg", 12);
	struct content_found found;
	struct sample_row sample = sample_of("dir/0002.jpg", "dir/0002", 0);
	struct shard_row shard = shard_of(1, "train/512x512/000001.tar", 1);
	struct job_spec spec = {.path = "dir/0003.jpg",
				.key = "dir/0003",
				.key_distinct = "distinct",
				.size = 1003,
				.mtime_ns = 1700000000000000000,
				.inode = 43};
	struct job jobs[9];
	size_t n = 0;

	open_version_1(f);
	assert_int_equal(enqueue_one(f, 1, spec).known, 1);
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	assert_int_equal(state_of(f, 2), JOB_COMPLETED);
	/* The retryable one and the available one; fences go on where the highest was. */
	n = claim_jobs(f, "host:2", jobs, 9);
	assert_int_equal(n, 2);
	assert_int_equal(jobs[0].id, 3);
	assert_int_equal(jobs[0].fence, 3);
	assert_int_equal(jobs[1].id, 7);
	for (size_t i = 0; i < n; i++)
		job_release(&jobs[i]);
	/* The owner of the one that runs is remembered. */
	assert_ok(queue_rescue(f->q, "host:2", 1, &n, &f->err), &f->err);
	assert_int_equal(n, 0);
	assert_ok(
	    queue_find_content(f->q, "0123456789abcdef0123456789abcdef", &content, &found, &f->err),
	    &f->err);
	assert_int_equal(found.where, CONTENT_VISIBLE);
	assert_string_equal(found.key, "dir/0001");
	content_found_release(&found);
	assert_ok(queue_drop_shard(f->q, 2, NOW, &n, &f->err), &f->err);
	assert_int_equal(n, 1);
	assert_int_equal(state_of(f, 9), JOB_AVAILABLE);
}

/* -- readers -------------------------------------------------------------------------------------- */

static void a_reader_sees_what_the_writer_committed(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer written = BUFFER_INIT, read_again = BUFFER_INIT;
	cleanup_queue struct queue *reader = NULL;

	job_in_state(f, "a", JOB_QUARANTINED);
	job_in_state(f, "b", JOB_COMPLETED);
	assert_ok(queue_sqlite_open_readonly(f->path, &reader, &f->err), &f->err);
	queue_dump(f->q, &written);
	assert_unchanged(reader, &written);
	add_job(f, "c");
	queue_dump(f->q, &read_again);
	assert_unchanged(reader, &read_again);
}

static int stop_at_dataset(void *arg, const struct queue_dataset *row)
{
	(void)arg;
	return row->id > 0;
}

static int stop_at_job(void *arg, const struct job_row *row)
{
	(void)arg;
	return row->id > 0;
}

static int stop_at_shard(void *arg, const struct shard_row *row)
{
	(void)arg;
	return row->id > 0;
}

static int stop_at_sample(void *arg, const struct sample_row *row)
{
	(void)arg;
	return row->key != NULL;
}

/* A read transaction that stays open shows an old moment, and no checkpoint gets past it. */
static void a_listing_that_was_ended_early_holds_no_transaction(void **state)
{
	struct fixture *f = *state;
	cleanup_queue struct queue *reader = NULL;
	struct sample_row samples[] = {sample_of("a.jpg", "a", 0), sample_of("b.jpg", "b", 512)};
	struct shard_row shards[] = {shard_of(f->dataset, "1.tar", 2),
				     shard_of(f->dataset, "2.tar", 0)};

	make_dataset(f, "other");
	assert_int_equal(complete(f, &shards[0], samples, 2), 0);
	assert_int_equal(complete(f, &shards[1], NULL, 0), 0);
	assert_ok(queue_sqlite_open_readonly(f->path, &reader, &f->err), &f->err);
	for (int i = 0; i < 4; i++) {
		const char *const names[] = {"n0", "n1", "n2", "n3"};
		struct queue_counts counts;

		if (i == 0)
			assert_ok(queue_datasets(reader, stop_at_dataset, NULL, &f->err), &f->err);
		else if (i == 1)
			assert_ok(queue_jobs(reader, f->dataset, JOB_COMPLETED, stop_at_job, NULL,
					     &f->err),
				  &f->err);
		else if (i == 2)
			assert_ok(queue_shards(reader, f->dataset, stop_at_shard, NULL, &f->err),
				  &f->err);
		else
			assert_ok(queue_samples(reader, 1, stop_at_sample, NULL, &f->err), &f->err);
		add_job(f, names[i]);
		assert_ok(queue_counts(reader, f->dataset, &counts, &f->err), &f->err);
		assert_int_equal(counts.jobs[JOB_AVAILABLE], i + 1);
	}
}

#define WAL_BOUND (16 << 20)

struct slow_reader {
	struct fixture *f;
	uint64_t rows;
};

static void write_100000_rows(struct fixture *f)
{
	static struct job_spec specs[1000];
	static char names[1000][2][24];
	struct enqueue_counts counts = {0};

	for (size_t round = 0; round < 100; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
			snprintf(names[i][0], sizeof(names[i][0]), "new-%05zu", round * 1000 + i);
			snprintf(names[i][1], sizeof(names[i][1]), "new-%05zu.jpg",
				 round * 1000 + i);
			specs[i] = file_spec(names[i][1], names[i][0], 1);
		}
		assert_ok(queue_enqueue(f->q, f->dataset, specs, 1000, &counts, &f->err), &f->err);
	}
	assert_int_equal(counts.added, 100000);
}

/* In the middle of a batch: it has seen one row, and others are to come. */
static int stop_for_a_while(void *arg, const struct job_row *row)
{
	struct slow_reader *slow = arg;
	cleanup_free char *wal = xasprintf("%s-wal", slow->f->path);
	struct stat st;

	assert_non_null(row->path);
	if (slow->rows++ > 0)
		return 0;
	write_100000_rows(slow->f);
	assert_int_equal(stat(wal, &st), 0);
	assert_true(st.st_size < WAL_BOUND);
	return 0;
}

static void a_reader_that_stops_in_its_callback_does_not_grow_the_log(void **state)
{
	struct fixture *f = *state;
	struct slow_reader slow = {.f = f};
	cleanup_queue struct queue *reader = NULL;

	add_job(f, "a");
	add_job(f, "b");
	assert_ok(queue_sqlite_open_readonly(f->path, &reader, &f->err), &f->err);
	assert_ok(queue_jobs(reader, f->dataset, JOB_AVAILABLE, stop_for_a_while, &slow, &f->err),
		  &f->err);
	assert_int_equal(slow.rows, 2);
}

static int count_job(void *arg, const struct job_row *row)
{
	uint64_t *n = arg;

	assert_int_equal(row->id, ++*n);
	return 0;
}

static void a_listing_of_many_batches_has_every_row_once(void **state)
{
	struct fixture *f = *state;
	uint64_t n = 0;

	write_100000_rows(f);
	assert_ok(queue_jobs(f->q, f->dataset, JOB_AVAILABLE, count_job, &n, &f->err), &f->err);
	assert_int_equal(n, 100000);
}

/* A backup or a shell that reads for long makes the log grow; it shrinks when nothing is to be done. */
static void a_log_that_grew_is_cut_back_when_the_queue_is_idle(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *wal = xasprintf("%s-wal", f->path);
	struct queue_claim claim = {.dataset = 77, .owner = ME, .now = NOW, .limit = 1};
	struct sqlite3 *shell = NULL;
	struct stat st;
	struct job job;
	size_t n;

	assert_int_equal(sqlite3_open_v2(f->path, &shell, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(shell, "BEGIN; SELECT count(*) FROM job", 0, 0, 0),
			 SQLITE_OK);
	for (int i = 0; i < 100; i++) {
		/* Each writes the same row anew, of a megabyte. */
		cleanup_free char *name = xasprintf("%0*d", 1 << 20, i);
		struct queue_dataset_spec spec = {name, "/out", "00000000000000000000000000000000",
						  "{}"};
		int64_t id;

		assert_ok(queue_open_dataset(f->q, &spec, &id, &f->err), &f->err);
	}
	assert_int_equal(stat(wal, &st), 0);
	assert_true(st.st_size > WAL_LIMIT);
	/* The reader still stands in the way: not waited for. */
	assert_int_equal(queue_claim(f->q, &claim, &job, &n, &f->err), QUEUE_EMPTY);
	assert_int_equal(sqlite3_exec(shell, "COMMIT", 0, 0, 0), SQLITE_OK);
	assert_int_equal(queue_claim(f->q, &claim, &job, &n, &f->err), QUEUE_EMPTY);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_size, 0);
	sqlite3_close(shell);
}

static void a_reader_cannot_write(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	struct shard_row shard = shard_of(f->dataset, "1.tar", 0);
	struct queue_dataset_spec dataset = {"new", "/out", "00000000000000000000000000000000",
					     "{}"};
	struct queue_claim claim = {.owner = ME, .limit = 1};
	struct job_outcome outcome = {.job = 1, .fence = 1};
	struct enqueue_counts counts = {0};
	cleanup_queue struct queue *reader = NULL;
	struct queue_swap swap = {0};
	struct scan_counts scanned;
	struct error errs[14] = {ERROR_INIT};
	int64_t id = 0;
	struct job job;
	size_t n = 0;

	add_job(f, "a");
	assert_ok(queue_sqlite_open_readonly(f->path, &reader, &f->err), &f->err);
	queue_open_dataset(reader, &dataset, &id, &errs[0]);
	queue_enqueue(reader, f->dataset, &spec, 1, &counts, &errs[1]);
	queue_claim(reader, &claim, &job, &n, &errs[2]);
	queue_extend(reader, ME, NOW, &errs[3]);
	queue_settle(reader, &outcome, 1, NOW, NULL, &errs[4]);
	queue_rescue(reader, ME, NOW, &n, &errs[5]);
	queue_requeue_lost(reader, NULL, 0, NOW, &n, &errs[6]);
	queue_retry(reader, f->dataset, JOB_QUARANTINED, NULL, NOW, &n, &errs[7]);
	queue_complete(reader, &shard, NULL, 0, NOW, &id, &errs[8]);
	queue_swap(reader, &swap, NOW, &id, &errs[9]);
	queue_drop_shard(reader, 1, NOW, &n, &errs[10]);
	queue_drop_samples(reader, 1, NULL, 0, NOW, &n, &errs[11]);
	queue_forget_retired(reader, &id, 1, &errs[12]);
	assert_ok(queue_scan_begin(reader, f->dataset, NULL, 0, &f->err), &f->err);
	queue_scan_end(reader, SCAN_KEEP, NOW, &scanned, &errs[13]);
	for (size_t i = 0; i < ARRAY_SIZE(errs); i++)
		assert_int_equal(errs[i].code, ERR_BUG);
}

/* Names and sizes in a folder, sorted. */
static char *folder_text(const char *dir)
{
	struct buffer text = BUFFER_INIT;
	struct dirent **entries;
	int n = scandir(dir, &entries, NULL, alphasort);

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		cleanup_free char *path = testing_path(dir, entries[i]->d_name);
		struct stat st;

		assert_int_equal(stat(path, &st), 0);
		if (S_ISREG(st.st_mode))
			buffer_appendf(&text, "%s %lld\n", entries[i]->d_name,
				       (long long)st.st_size);
		free(entries[i]);
	}
	free(entries);
	return (char *)text.data;
}

static void assert_reading_leaves_the_folder(struct fixture *f)
{
	cleanup_free char *before = folder_text(f->dir), *after = NULL;

	read_whole_queue(f->path);
	after = folder_text(f->dir);
	assert_string_equal(before, after);
}

static void a_reader_leaves_the_folder_as_it_is(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *wal = testing_path(f->dir, "queue.db-wal");
	cleanup_free char *shm = testing_path(f->dir, "queue.db-shm");

	add_job(f, "a");
	assert_reading_leaves_the_folder(f);
	fixture_close(f);
	assert_reading_leaves_the_folder(f);
	/* A copy of the file alone. */
	assert_int_equal(unlink(wal), 0);
	assert_int_equal(unlink(shm), 0);
	assert_reading_leaves_the_folder(f);
}

static void a_path_with_characters_of_uris_is_a_path(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = testing_path(f->dir, "50%41 a?b#c&d\n\xff.db");
	cleanup_free char *wal = xasprintf("%s-wal", path);
	struct queue *q = NULL;

	assert_ok(queue_sqlite_open(path, &q, &f->err), &f->err);
	queue_close(q);
	assert_true(file_exists(path));
	read_whole_queue(path);
	assert_int_equal(unlink(wal), 0);
	read_whole_queue(path);
}

int main(void)
{
	static const struct queue_backend sqlite = {"sqlite", queue_sqlite_open, false};
	const struct CMUnitTest tests[] = {
	    contract_test(the_file_says_what_it_is),
	    contract_test(a_newer_schema_is_refused_with_both_numbers),
	    contract_test(a_database_of_another_program_is_refused),
	    contract_test(a_file_that_is_no_database_is_refused),
	    contract_test(an_older_schema_is_not_read_before_it_is_migrated),
	    contract_test(an_empty_file_is_made_a_queue_by_the_writer_only),
	    contract_test(a_missing_folder_or_file_is_an_io_error),
	    contract_test(a_network_file_system_is_refused),
	    contract_test(a_database_of_version_1_is_migrated_with_all_it_has),
	    contract_test(work_goes_on_in_a_migrated_database),
	    contract_test(a_reader_sees_what_the_writer_committed),
	    contract_test(a_listing_that_was_ended_early_holds_no_transaction),
	    contract_test(a_reader_that_stops_in_its_callback_does_not_grow_the_log),
	    contract_test(a_listing_of_many_batches_has_every_row_once),
	    contract_test(a_log_that_grew_is_cut_back_when_the_queue_is_idle),
	    contract_test(a_reader_cannot_write),
	    contract_test(a_reader_leaves_the_folder_as_it_is),
	    contract_test(a_path_with_characters_of_uris_is_a_path),
	};

	fixture_use(&sqlite);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
