/*
 * The queue in a file under faults: damaged bytes, a killed writer, a full disk.
 *
 * No test opens the database file itself while a queue is open in this process: closing it would drop
 * SQLite's locks.
 */
#include "tests/contract/contract_queue.h"

#include "queue/queue_open.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A test fails by crashing or by a sanitizer's report here; what a damaged file says is up to SQLite. */
static void damage_anywhere_in_the_file_ends_in_an_error_or_in_rows(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer whole = BUFFER_INIT;

	job_in_state(f, "quarantined", JOB_QUARANTINED);
	job_in_state(f, "retryable", JOB_RETRYABLE);
	job_in_state(f, "completed", JOB_COMPLETED);
	add_job(f, "available");
	fixture_close(f);
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

	fixture_close(f);
	for (size_t i = 0; i < 20; i++) {
		cleanup_buffer struct buffer text = BUFFER_INIT;
		struct queue_counts counts;
		uint64_t jobs = 0;
		size_t rescued;

		kill_a_writer(f->path, 3 * i % 31, &added, &completed);
		assert_ok(queue_sqlite_open(f->path, &f->q, &f->err), &f->err);
		queue_dump(f->q, &text);
		assert_ok(queue_rescue(f->q, f->dataset, OTHER, NOW, &rescued, &f->err), &f->err);
		assert_ok(queue_counts(f->q, f->dataset, &counts, &f->err), &f->err);
		for (int s = 0; s < JOB_STATES; s++)
			jobs += counts.jobs[s];
		/* Of each writer one operation may be done that it could not say any more. */
		assert_in_range(jobs, added, added + i + 1);
		assert_in_range(counts.samples, completed, completed + i + 1);
		assert_true(rescued <= 1);
		fixture_close(f);
	}
}

static void a_reader_does_not_checkpoint_what_a_dead_writer_left(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *wal = testing_path(f->dir, "queue.db-wal");
	cleanup_buffer struct buffer file = BUFFER_INIT, log = BUFFER_INIT;
	uint64_t added = 0, completed = 0;

	fixture_close(f);
	kill_a_writer(f->path, 20, &added, &completed);
	file = testing_read(f->path);
	log = testing_read(wal);
	assert_true(log.size > 0);
	read_whole_queue(f->path);
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
	    contract_test(damage_anywhere_in_the_file_ends_in_an_error_or_in_rows),
	    contract_test(a_killed_writer_leaves_what_it_acknowledged_and_nothing_half_done),
	    contract_test(a_reader_does_not_checkpoint_what_a_dead_writer_left),
	    contract_test(a_full_disk_is_an_io_error_that_changes_nothing_and_passes),
	};

	fixture_use(&sqlite);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
