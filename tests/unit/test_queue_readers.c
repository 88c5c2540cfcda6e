/*
 * Readers beside the one writer, and the log between them.
 *
 * No test opens the database file itself while a queue is open in this process: closing it would drop
 * SQLite's locks.
 */
#include "base/files.h"
#include "queue/queue_open.h"
#include "queue/queue_sqlite.h"
#include "tests/contract/contract_queue.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

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
			assert_ok(queue_jobs(reader,
					     &(struct job_filter){.dataset = f->dataset,
								  .state = JOB_COMPLETED},
					     stop_at_job, NULL, &f->err),
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

#define WAL_BOUND (20 << 20) /* a checkpoint starts at 16 MB; unbounded, the log would have 33 */

struct slow_reader {
	struct fixture *f;
	uint64_t rows;
};

static void write_rows(struct fixture *f, const char *prefix, size_t thousands)
{
	static struct job_spec specs[1000];
	static char names[1000][2][24];
	struct enqueue_counts counts = {0};

	for (size_t round = 0; round < thousands; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
			snprintf(names[i][0], sizeof(names[i][0]), "%.3s-%05zu", prefix,
				 round * 1000 + i);
			snprintf(names[i][1], sizeof(names[i][1]), "%.3s-%05zu.jpg", prefix,
				 round * 1000 + i);
			specs[i] = file_spec(names[i][1], names[i][0], 1);
		}
		assert_ok(queue_enqueue(f->q, f->dataset, specs, 1000, &counts, &f->err), &f->err);
	}
	assert_int_equal(counts.added, thousands * 1000);
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
	write_rows(slow->f, "new", 200);
	assert_int_equal(stat(wal, &st), 0);
	assert_true(st.st_size < WAL_BOUND);
	return 0;
}

static void a_reader_that_stops_in_its_callback_does_not_grow_the_log(void **state)
{
	struct fixture *f = *state;
	struct slow_reader slow = {.f = f};
	cleanup_queue struct queue *reader = NULL;

	/* More than a batch. */
	write_rows(f, "old", 2);
	assert_ok(queue_sqlite_open_readonly(f->path, &reader, &f->err), &f->err);
	assert_ok(queue_jobs(reader,
			     &(struct job_filter){.dataset = f->dataset, .state = JOB_AVAILABLE},
			     stop_for_a_while, &slow, &f->err),
		  &f->err);
	assert_true(slow.rows >= 2000);
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

	write_rows(f, "all", 100);
	assert_ok(queue_jobs(f->q,
			     &(struct job_filter){.dataset = f->dataset, .state = JOB_AVAILABLE},
			     count_job, &n, &f->err),
		  &f->err);
	assert_int_equal(n, 100000);
}

/* Each writes the same row anew, of a megabyte. */
static void grow_log(struct fixture *f, int megabytes)
{
	for (int i = 0; i < megabytes; i++) {
		cleanup_free char *name = xasprintf("%0*d", 1 << 20, i);
		struct queue_dataset_spec spec = {name, "/out", "00000000000000000000000000000000",
						  "{}"};
		int64_t id;

		assert_ok(queue_open_dataset(f->q, &spec, &id, &f->err), &f->err);
	}
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
	grow_log(f, 100);
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

/* One that stays must not fill the disk: what is under way ends, and nothing new is begun. */
static void beyond_its_bound_a_log_that_another_program_holds_stops_new_work(void **state)
{
	struct fixture *f = *state;
	struct queue_claim claim = {
	    .owner = ME, .now = NOW, .lease_until = NOW + LEASE, .limit = 1};
	struct job_spec spec = file_spec("b.jpg", "b", 1);
	struct job under_way = add_claimed(f, "a");
	struct enqueue_counts counts = {0};
	struct sqlite3 *shell = NULL;
	struct job job;
	size_t n = 0;

	sqlite_queue(f->q)->log_most = 4 << 20;
	sqlite3_busy_timeout(sqlite_queue(f->q)->db, 10);
	assert_int_equal(sqlite3_open_v2(f->path, &shell, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(shell, "BEGIN; SELECT count(*) FROM job", 0, 0, 0),
			 SQLITE_OK);
	grow_log(f, 5);
	assert_error(queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err), &f->err,
		     ERR_TRANSIENT);
	assert_non_null(strstr(f->err.message, "another program"));
	error_clear(&f->err);
	assert_error(queue_claim(f->q, &claim, &job, &n, &f->err), &f->err, ERR_TRANSIENT);
	error_clear(&f->err);
	assert_true(settle_one(f, outcome_of(&under_way, OUTCOME_ENCODED)));
	assert_int_equal(sqlite3_exec(shell, "COMMIT", 0, 0, 0), SQLITE_OK);
	assert_ok(queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err), &f->err);
	assert_int_equal(queue_claim(f->q, &claim, &job, &n, &f->err), 0);
	job_release(&job);
	job_release(&under_way);
	sqlite3_close(shell);
}

/* The first page, which says that all have checksums, is written by each transaction that makes the file longer. */
static void a_first_checkpoint_that_a_reader_holds_back_leaves_a_whole_file(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer before = BUFFER_INIT;
	struct sqlite3 *shell = NULL;

	assert_int_equal(sqlite3_open_v2(f->path, &shell, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(shell, "BEGIN; SELECT count(*) FROM job", 0, 0, 0),
			 SQLITE_OK);
	grow_log(f, 1);
	queue_dump(f->q, &before);
	sqlite3_wal_checkpoint_v2(sqlite_queue(f->q)->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
				  NULL);
	assert_int_equal(sqlite3_exec(shell, "COMMIT", 0, 0, 0), SQLITE_OK);
	assert_int_equal(sqlite3_wal_checkpoint_v2(sqlite_queue(f->q)->db, NULL,
						   SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(shell);
	fixture_close(f);
	assert_ok(queue_sqlite_open(f->path, &f->q, &f->err), &f->err);
	assert_unchanged(f->q, &before);
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
	struct error errs[17] = {ERROR_INIT};
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
	queue_rescue(reader, f->dataset, ME, NOW, &n, &errs[5]);
	queue_requeue_lost(reader, f->dataset, NULL, 0, NOW, &n, &errs[6]);
	queue_retry(reader, &(struct job_filter){.dataset = f->dataset, .state = JOB_QUARANTINED},
		    NOW, &n, &errs[7]);
	queue_complete(reader, &shard, NULL, 0, NOW, &id, &errs[8]);
	queue_swap(reader, &swap, NOW, &id, &errs[9]);
	queue_drop_shard(reader, 1, NOW, &n, &errs[10]);
	queue_drop_samples(reader, 1, NULL, 0, NOW, &n, &errs[11]);
	queue_forget_retired(reader, &id, 1, &errs[12]);
	queue_cancel(reader, &(struct job_filter){.dataset = f->dataset}, NOW, &n, &errs[14]);
	queue_recaptioned(reader, &(struct recaptioned){1, 0}, 1, &errs[15]);
	queue_recaption(reader, f->dataset, &(const char *){"a"}, 1, &errs[16]);
	assert_ok(queue_scan_begin(reader, f->dataset, NULL, 0, &f->err), &f->err);
	queue_scan_end(reader, f->dataset, SCAN_KEEP, NOW, &scanned, &errs[13]);
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
	    contract_test(a_reader_sees_what_the_writer_committed),
	    contract_test(a_listing_that_was_ended_early_holds_no_transaction),
	    contract_test(a_reader_that_stops_in_its_callback_does_not_grow_the_log),
	    contract_test(a_listing_of_many_batches_has_every_row_once),
	    contract_test(a_log_that_grew_is_cut_back_when_the_queue_is_idle),
	    contract_test(beyond_its_bound_a_log_that_another_program_holds_stops_new_work),
	    contract_test(a_first_checkpoint_that_a_reader_holds_back_leaves_a_whole_file),
	    contract_test(a_reader_cannot_write),
	    contract_test(a_reader_leaves_the_folder_as_it_is),
	    contract_test(a_path_with_characters_of_uris_is_a_path),
	};

	fixture_use(&sqlite);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
