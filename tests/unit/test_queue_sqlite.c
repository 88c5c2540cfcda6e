/*
 * What only a queue in a file can do wrong: other files in its place, readers, killed writers, full disks.
 *
 * No test opens the database file itself while a queue is open in this process: closing it would drop
 * SQLite's locks.
 */
#include "base/files.h"
#include "queue/queue_sqlite.h"
#include "tests/contract/contract_queue.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
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

static void close_queue(struct fixture *f)
{
	queue_close(f->q);
	f->q = NULL;
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

static void assert_file_is(const char *path, const struct buffer *bytes)
{
	cleanup_buffer struct buffer now = testing_read(path);

	assert_int_equal(now.size, bytes->size);
	assert_memory_equal(now.data, bytes->data, bytes->size);
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

	close_queue(f);
	assert_int_equal(file_u32(f->path, USER_VERSION_AT), 1);
	assert_int_equal(file_u32(f->path, APPLICATION_ID_AT), 0x6c617464);
	b = testing_read(f->path);
	assert_int_equal(b.data[WRITE_VERSION_AT], 2); /* WAL */
}

static void a_newer_schema_is_refused_with_both_numbers(void **state)
{
	struct fixture *f = *state;

	close_queue(f);
	patch_u32(f->path, USER_VERSION_AT, 12);
	assert_refused(f->path, ERR_CONFIG, "12");
	assert_refused(f->path, ERR_CONFIG, "up to 1:");
}

static void a_database_of_another_program_is_refused(void **state)
{
	struct fixture *f = *state;

	close_queue(f);
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

	close_queue(f);
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
	assert_int_equal(file_u32(path, USER_VERSION_AT), 1);
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

/* A test fails by crashing or by a sanitizer's report here; what a damaged file says is up to SQLite. */
static void damage_anywhere_in_the_file_ends_in_an_error_or_in_rows(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer whole = BUFFER_INIT;

	job_in_state(f, "quarantined", JOB_QUARANTINED);
	job_in_state(f, "retryable", JOB_RETRYABLE);
	job_in_state(f, "completed", JOB_COMPLETED);
	add_job(f, "available");
	close_queue(f);
	whole = testing_read(f->path);
	for (size_t at = 100; at < whole.size; at += 97) {
		struct queue_claim claim = {
		    .owner = ME, .now = NOW, .lease_until = NOW, .limit = 9};
		struct job_spec spec = file_spec("available.jpg", "available", 2);
		struct enqueue_counts counts = {0};
		struct queue_counts total;
		struct error err = ERROR_INIT;
		cleanup_queue struct queue *q = NULL;
		struct job jobs[9];
		size_t n = 0;

		whole.data[at] ^= 0x55;
		testing_write(f->path, whole.data, whole.size);
		whole.data[at] ^= 0x55;
		if (queue_sqlite_open(f->path, &q, &err) < 0)
			continue;
		if (queue_counts(q, 1, &total, &err) < 0 ||
		    queue_enqueue(q, 1, &spec, 1, &counts, &err) < 0 ||
		    queue_claim(q, &claim, jobs, &n, &err) < 0)
			error_clear(&err);
		for (size_t i = 0; i < n; i++)
			job_release(&jobs[i]);
	}
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
	struct error errs[9] = {ERROR_INIT};
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
	queue_retry(reader, f->dataset, NULL, NOW, &n, &errs[7]);
	queue_complete(reader, &shard, NULL, 0, NOW, &id, &errs[8]);
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

static void read_all(const char *path)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_queue struct queue *reader = NULL;
	struct error err = ERROR_INIT;

	assert_ok(queue_sqlite_open_readonly(path, &reader, &err), &err);
	queue_dump(reader, &text);
}

static void assert_reading_leaves_the_folder(struct fixture *f)
{
	cleanup_free char *before = folder_text(f->dir), *after = NULL;

	read_all(f->path);
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
	close_queue(f);
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
	read_all(path);
	assert_int_equal(unlink(wal), 0);
	read_all(path);
}

/* -- a writer that is killed ---------------------------------------------------------------------- */

/*
 * Adds a file, encodes and completes it, again and again, and says so byte by byte: 'a' once it is added,
 * 'c' once it is completed.
 */
static void write_until_killed(const char *path, int fd)
{
	struct error err = ERROR_INIT;
	struct queue *q = NULL;
	struct queue_counts counts;

	if (queue_sqlite_open(path, &q, &err) < 0 || queue_counts(q, 1, &counts, &err) < 0)
		return;
	for (uint64_t i = 0;; i++) {
		struct queue_claim claim = {
		    .owner = ME, .now = NOW, .lease_until = NOW + LEASE, .limit = 1};
		cleanup_free char *key = xasprintf("%d-%llu", getpid(), (unsigned long long)i);
		cleanup_free char *name = xasprintf("%s.jpg", key);
		struct job_spec spec = file_spec(name, key, 1);
		struct enqueue_counts added = {0};
		struct job job = {0};
		struct job_outcome outcome;
		struct sample_row sample;
		struct shard_row shard;
		int64_t shard_id;
		size_t n;

		if (queue_enqueue(q, 1, &spec, 1, &added, &err) < 0 || write(fd, "a", 1) != 1 ||
		    queue_claim(q, &claim, &job, &n, &err) != 0)
			return;
		outcome = outcome_of(&job, OUTCOME_ENCODED);
		sample = sample_of(job.path, job.key, 0);
		shard = shard_of(1, job.path, 1);
		if (queue_settle(q, &outcome, 1, NOW, NULL, &err) < 0 ||
		    queue_complete(q, &shard, &sample, 1, NOW, &shard_id, &err) != 0 ||
		    write(fd, "c", 1) != 1)
			return;
		job_release(&job);
	}
}

/* Runs the writer in a child and kills it after @acknowledged bytes; adds up what it said. */
static void kill_a_writer(const char *path, size_t acknowledged, uint64_t *added,
			  uint64_t *completed)
{
	int fds[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		write_until_killed(path, fds[1]);
		_exit(1);
	}
	close(fds[1]);
	for (size_t i = 0; read(fds[0], &byte, 1) == 1; i++) {
		*added += byte == 'a';
		*completed += byte == 'c';
		if (i == acknowledged)
			kill(pid, SIGKILL);
	}
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void a_killed_writer_leaves_what_it_acknowledged_and_nothing_half_done(void **state)
{
	struct fixture *f = *state;
	uint64_t added = 0, completed = 0;

	close_queue(f);
	for (size_t i = 0; i < 20; i++) {
		cleanup_buffer struct buffer text = BUFFER_INIT;
		struct queue_counts counts;
		uint64_t jobs = 0;
		size_t rescued;

		kill_a_writer(f->path, 3 * i % 31, &added, &completed);
		assert_ok(queue_sqlite_open(f->path, &f->q, &f->err), &f->err);
		queue_dump(f->q, &text);
		assert_ok(queue_rescue(f->q, OTHER, NOW, &rescued, &f->err), &f->err);
		assert_ok(queue_counts(f->q, f->dataset, &counts, &f->err), &f->err);
		for (int s = 0; s < JOB_STATES; s++)
			jobs += counts.jobs[s];
		/* Of each writer one operation may be done that it could not say any more. */
		assert_in_range(jobs, added, added + i + 1);
		assert_in_range(counts.samples, completed, completed + i + 1);
		assert_true(rescued <= 1);
		close_queue(f);
	}
}

static void a_reader_does_not_checkpoint_what_a_dead_writer_left(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *wal = testing_path(f->dir, "queue.db-wal");
	cleanup_buffer struct buffer file = BUFFER_INIT, log = BUFFER_INIT;
	uint64_t added = 0, completed = 0;

	close_queue(f);
	kill_a_writer(f->path, 20, &added, &completed);
	file = testing_read(f->path);
	log = testing_read(wal);
	assert_true(log.size > 0);
	read_all(f->path);
	assert_file_is(f->path, &file);
	assert_file_is(wal, &log);
}

/* -- a disk that is full -------------------------------------------------------------------------- */

static void a_full_disk_is_an_io_error_that_changes_nothing_and_passes(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *wal = testing_path(f->dir, "queue.db-wal");
	cleanup_buffer struct buffer before = BUFFER_INIT;
	struct job_spec specs[200];
	char names[200][2][16];
	struct enqueue_counts counts = {0};
	struct rlimit limit, unlimited;
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		snprintf(names[i][0], sizeof(names[i][0]), "%zu", i);
		snprintf(names[i][1], sizeof(names[i][1]), "%zu.jpg", i);
		specs[i] = file_spec(names[i][1], names[i][0], 1);
	}
	add_job(f, "a");
	queue_dump(f->q, &before);
	assert_int_equal(stat(wal, &st), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
	limit = unlimited;
	limit.rlim_cur = (rlim_t)st.st_size + 5000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_error(queue_enqueue(f->q, f->dataset, specs, 200, &counts, &f->err), &f->err,
		     ERR_IO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
	assert_non_null(strstr(f->err.message, f->path));
	error_clear(&f->err);
	assert_unchanged(f->q, &before);
	assert_ok(queue_enqueue(f->q, f->dataset, specs, 200, &counts, &f->err), &f->err);
	assert_int_equal(counts.added, 200);
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
	    contract_test(damage_anywhere_in_the_file_ends_in_an_error_or_in_rows),
	    contract_test(a_network_file_system_is_refused),
	    contract_test(a_reader_sees_what_the_writer_committed),
	    contract_test(a_reader_cannot_write),
	    contract_test(a_reader_leaves_the_folder_as_it_is),
	    contract_test(a_path_with_characters_of_uris_is_a_path),
	    contract_test(a_killed_writer_leaves_what_it_acknowledged_and_nothing_half_done),
	    contract_test(a_reader_does_not_checkpoint_what_a_dead_writer_left),
	    contract_test(a_full_disk_is_an_io_error_that_changes_nothing_and_passes),
	};

	fixture_use(&sqlite);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
