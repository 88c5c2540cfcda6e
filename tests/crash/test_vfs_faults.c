/*
 * The queue above a VFS whose n-th call fails: each operation then either happened whole or not at all, says so
 * where it did not, and the database opens again and goes on. What "whole" means, the queue in memory says: it
 * does the same beside it.
 *
 * For every kind of call, every fault, and as many n as there are in the long run (LATENTD_TEST_LONG=1); every
 * eleventh otherwise. LATENTD_VFS_CASE="CALL N FAULT", three numbers, runs one.
 */
#include "queue/queue_open.h"
#include "queue/queue_sqlite.h"
#include "tests/contract/contract_queue.h"
#include "tests/crash/vfs_shim.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILES = 60, CLAIMS = 8, IN_SHARD = 5 };

/* One of the two queues, and what its operations gave. */
struct side {
	struct queue *q;
	const char *path; /* NULL: in memory */
	int64_t dataset, shard;
	struct job jobs[CLAIMS];
	size_t n_jobs;
};

static void forget_jobs(struct side *s)
{
	for (size_t i = 0; i < s->n_jobs; i++)
		job_release(&s->jobs[i]);
	s->n_jobs = 0;
}

/* -- the operations -------------------------------------------------------------------------------- */

static int open_set(struct side *s, struct error *err)
{
	struct queue_dataset_spec spec = {"photos", "/out", "00000000000000000000000000000001",
					  "{}"};

	return queue_open_dataset(s->q, &spec, &s->dataset, err);
}

static int enqueue(struct side *s, int64_t mtime, struct error *err)
{
	struct job_spec specs[FILES];
	char keys[FILES][48], paths[FILES][64];
	struct enqueue_counts counts = {0};

	for (size_t i = 0; i < FILES; i++) {
		snprintf(keys[i], sizeof(keys[i]), "a_key_of_forty_bytes_or_nearly_so_%02u",
			 (unsigned)i % 100);
		snprintf(paths[i], sizeof(paths[i]), "%.47s.jpg", keys[i]);
		specs[i] = file_spec(paths[i], keys[i], mtime);
		specs[i].caption = (uint64_t)mtime;
	}
	return queue_enqueue(s->q, s->dataset, specs, FILES, &counts, err);
}

static int enqueue_new(struct side *s, struct error *err)
{
	return enqueue(s, 1, err);
}

static int enqueue_changed(struct side *s, struct error *err)
{
	return enqueue(s, 2, err);
}

static int claim(struct side *s, struct error *err)
{
	struct queue_claim what = {
	    .owner = ME, .now = NOW, .lease_until = NOW + LEASE, .limit = CLAIMS};

	forget_jobs(s);
	return queue_claim(s->q, &what, s->jobs, &s->n_jobs, err);
}

static int settle(struct side *s, struct error *err)
{
	struct job_outcome outcomes[CLAIMS];

	for (size_t i = 0; i < CLAIMS; i++)
		outcomes[i] = outcome_of(&s->jobs[i], i < IN_SHARD    ? OUTCOME_ENCODED
						      : i == IN_SHARD ? OUTCOME_RETRY
								      : OUTCOME_QUARANTINE);
	return queue_settle(s->q, outcomes, CLAIMS, NOW, NULL, err);
}

static int complete_shard(struct side *s, struct error *err)
{
	struct shard_row shard = shard_of(s->dataset, "train/512x512/000000.tar", IN_SHARD);
	struct sample_row samples[IN_SHARD];

	for (size_t i = 0; i < IN_SHARD; i++)
		samples[i] = sample_of(s->jobs[i].path, s->jobs[i].key, i * 4096);
	return queue_complete(s->q, &shard, samples, IN_SHARD, NOW, &s->shard, err);
}

static int rescue(struct side *s, struct error *err)
{
	size_t n;

	return queue_rescue(s->q, s->dataset, OTHER, NOW, &n, err);
}

static int retry(struct side *s, struct error *err)
{
	size_t n;

	return queue_retry(s->q,
			   &(struct job_filter){.dataset = s->dataset, .state = JOB_QUARANTINED},
			   NOW, &n, err);
}

static int drop_shard(struct side *s, struct error *err)
{
	size_t n;

	return queue_drop_shard(s->q, s->shard, NOW, &n, err);
}

static int requeue_lost(struct side *s, struct error *err)
{
	size_t n;

	return queue_requeue_lost(s->q, s->dataset, NULL, 0, NOW, &n, err);
}

/* Those of the last call. */
static int recaptioned(struct side *s, struct error *err)
{
	struct recaptioned done[FILES];

	for (size_t i = 0; i < FILES; i++)
		done[i] = (struct recaptioned){(int64_t)i + 1, 2};
	return queue_recaptioned(s->q, done, FILES, err);
}

static int cancel(struct side *s, struct error *err)
{
	size_t n;

	return queue_cancel(s->q, &(struct job_filter){.dataset = s->dataset, .limit = 3}, NOW, &n,
			    err);
}

/* Closing checkpoints, and says nothing where it fails. */
static int open_again(struct side *s, struct error *err)
{
	if (!s->path)
		return 0;
	queue_close(s->q);
	s->q = NULL;
	return queue_sqlite_open(s->path, &s->q, err);
}

static int (*const script[])(struct side *, struct error *) = {
    open_set,	enqueue_new, claim,  settle,	      complete_shard, open_again,
    claim,	rescue,	     retry,  enqueue_changed, recaptioned,    cancel,
    drop_shard, claim,	     settle, requeue_lost,    claim,	      open_again,
};

/* -- a case ---------------------------------------------------------------------------------------- */

static bool shows(struct queue *q, const struct buffer *wanted)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	queue_dump(q, &text);
	return text.size == wanted->size && memcmp(text.data, wanted->data, text.size) == 0;
}

/* Every page is whole, and has its checksum. */
static void integrity_is_ok(const char *path)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, page_sums_vfs()),
			 SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
	sqlite3_finalize(stmt);
	sqlite3_close(db);
}

/* The operation failed: it is done, or not begun; in both cases the script can go on after it. */
static void mend(struct side *s, size_t step, struct side *model, const struct buffer *before,
		 const struct buffer *after)
{
	struct error err = ERROR_INIT;

	queue_close(s->q);
	s->q = NULL;
	assert_ok(queue_sqlite_open(s->path, &s->q, &err), &err);
	if (!shows(s->q, after) || script[step] == open_again) {
		if (!shows(s->q, before))
			fail_msg("step %zu happened by half", step);
		assert_ok(script[step](s, &err), &err);
		assert_true(shows(s->q, after));
		return;
	}
	/* It was done though it failed: what it gave is not known, but the model's is the same. */
	s->dataset = model->dataset;
	s->shard = model->shard;
	if (script[step] == claim) {
		forget_jobs(s);
		for (s->n_jobs = 0; s->n_jobs < model->n_jobs; s->n_jobs++) {
			struct job *job = &s->jobs[s->n_jobs];

			*job = model->jobs[s->n_jobs];
			job->key = xstrdup(job->key);
			job->path = xstrdup(job->path);
		}
	}
}

/* Both sides through the script, with a fault armed: whether it came. */
static bool run_script(struct side *real, struct side *model)
{
	cleanup_buffer struct buffer before = BUFFER_INIT;
	bool fired = false;

	queue_dump(model->q, &before);
	for (size_t step = 0; step < ARRAY_SIZE(script); step++) {
		cleanup_buffer struct buffer after = BUFFER_INIT;
		struct error err = ERROR_INIT;
		int r;

		assert_ok(script[step](model, &err), &err);
		queue_dump(model->q, &after);
		r = real->q ? script[step](real, &err) : open_again(real, &err);
		if (r < 0) {
			assert_true(err.message[0] != '\0');
			fired = vfs_shim_disarm() || fired;
			assert_true(fired);
			mend(real, step, model, &before, &after);
		}
		assert_int_equal(r > 0, false);
		buffer_release(&before);
		before = after;
		after = (struct buffer)BUFFER_INIT;
	}
	return vfs_shim_disarm() || fired;
}

static bool one_case(enum vfs_call call, unsigned n, enum vfs_fault fault)
{
	char *dir = testing_tempdir();
	cleanup_free char *path = testing_path(dir, "queue.db");
	struct side real = {.path = path}, model = {.path = NULL};
	struct error err = ERROR_INIT;
	bool fired;

	print_message("case %d %u %d: %s %u %s\n", call, n, fault, vfs_call_names[call], n,
		      vfs_fault_names[fault]);
	assert_ok(queue_memory_open(&model.q, &err), &err);
	vfs_shim_arm(call, n, fault);
	if (queue_sqlite_open(path, &real.q, &err) < 0) {
		assert_true(vfs_shim_disarm());
		error_clear(&err);
		assert_ok(queue_sqlite_open(path, &real.q, &err), &err);
	}
	fired = run_script(&real, &model);
	queue_close(real.q);
	queue_close(model.q);
	forget_jobs(&real);
	forget_jobs(&model);
	integrity_is_ok(path);
	testing_tempdir_remove(dir);
	return fired;
}

/* -- all cases ------------------------------------------------------------------------------------- */

static bool applies(enum vfs_call call, enum vfs_fault fault)
{
	bool writes = call == VFS_WRITE || call == VFS_SYNC || call == VFS_SHM_MAP;

	return (fault != VFS_HALF || call == VFS_WRITE || call == VFS_READ) &&
	       (fault != VFS_FULL || writes);
}

static void every_operation_happens_whole_or_not_at_all(void **state)
{
	unsigned step = getenv("LATENTD_TEST_LONG") ? 1 : 11, cases = 0;
	const char *chosen = getenv("LATENTD_VFS_CASE");
	unsigned call = 0, n = 0, fault = 0;

	(void)state;
	if (chosen) {
		assert_int_equal(sscanf(chosen, "%u %u %u", &call, &n, &fault), 3);
		assert_true(one_case(call, n, fault));
		return;
	}
	for (call = 0; call < VFS_CALLS; call++) {
		for (fault = 0; fault < VFS_FAULTS; fault++) {
			if (!applies(call, fault))
				continue;
			/* Where a call comes seldom, each is tried. */
			for (n = 1; one_case(call, n, fault); n += n < 5 ? 1 : step)
				cases++;
		}
	}
	print_message("%u cases\n", cases);
}

/* Pages would be written without them, and called damaged by the next one who reads them. */
static void a_header_that_cannot_be_read_is_not_taken_for_one_without_checksums(void **state)
{
	static const enum vfs_fault faults[] = {VFS_FAILS, VFS_HALF};
	struct fixture *f = *state;

	fixture_close(f);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		vfs_shim_arm(VFS_READ, 1, faults[i]);
		assert_error(queue_sqlite_open(f->path, &f->q, &f->err), &f->err, ERR_IO);
		assert_true(vfs_shim_disarm());
		assert_non_null(strstr(f->err.message, f->path));
		error_clear(&f->err);
	}
	assert_ok(queue_sqlite_open(f->path, &f->q, &f->err), &f->err);
}

/* A log at its bound is cut back before work is begun; what keeps it from that is not always a reader. */
static void a_log_that_the_disk_keeps_from_being_cut_back_names_the_disk(void **state)
{
	static const enum vfs_call calls[] = {VFS_SYNC, VFS_WRITE, VFS_TRUNCATE};
	struct fixture *f = *state;
	sqlite_queue(f->q)->log_most = 0;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		struct job_spec spec = file_spec("a.jpg", "a", (int64_t)i); /* to be written */
		struct enqueue_counts counts = {0};

		vfs_shim_arm(calls[i], 1, VFS_FAILS);
		assert_error(queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err), &f->err,
			     ERR_IO);
		assert_true(vfs_shim_disarm());
		assert_non_null(strstr(f->err.message, f->path));
		assert_null(strstr(f->err.message, "another program"));
		error_clear(&f->err);
		assert_ok(queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err), &f->err);
	}
}

int main(void)
{
	static const struct queue_backend sqlite = {"sqlite", queue_sqlite_open, false};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_operation_happens_whole_or_not_at_all),
	    contract_test(a_header_that_cannot_be_read_is_not_taken_for_one_without_checksums),
	    contract_test(a_log_that_the_disk_keeps_from_being_cut_back_names_the_disk),
	};

	vfs_shim_register();
	fixture_use(&sqlite);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
