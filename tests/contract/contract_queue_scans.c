/*
 * Files that vanish, and jobs that are suspected.
 */
#include "tests/contract/contract_queue.h"

static struct queue_counts counts_of(struct fixture *f)
{
	struct queue_counts counts;

	assert_ok(queue_counts(f->q, f->dataset, &counts, &f->err), &f->err);
	return counts;
}

static int see_dead(void *arg, const struct sample_row *row)
{
	(void)arg;
	assert_true(row->dead);
	return 0;
}

/* -- scans ---------------------------------------------------------------------------------------- */

/* Not reopened in between: a scan ends with the queue that was open. */
static struct scan_counts scan(struct fixture *f, const char *met, const uint32_t *roots, size_t n,
			       enum scan_end how)
{
	cleanup_free char *path = xasprintf("%s.jpg", met);
	struct job_spec spec = file_spec(path, met, 1);
	struct enqueue_counts enqueued = {0};
	struct scan_counts counts = {0};

	assert_ok(queue_scan_begin(f->q, f->dataset, roots, n, &f->err), &f->err);
	assert_ok(queue_enqueue(f->q, f->dataset, &spec, 1, &enqueued, &f->err), &f->err);
	assert_ok(queue_enqueue(f->q, f->dataset, &spec, 1, &enqueued, &f->err), &f->err);
	assert_ok(queue_scan_end(f->q, f->dataset, how, NOW + 30, &counts, &f->err), &f->err);
	if (how == SCAN_COUNT)
		assert_ok(queue_scan_end(f->q, f->dataset, SCAN_ABANDON, NOW,
					 &(struct scan_counts){0}, &f->err),
			  &f->err);
	fixture_after(f);
	return counts;
}

static void jobs_that_a_scan_misses_are_gone(void **state)
{
	static const enum job_state states[] = {JOB_RETRYABLE, JOB_QUARANTINED, JOB_SKIPPED,
						JOB_AVAILABLE};
	struct fixture *f = *state;
	struct scan_counts counts;
	cleanup_shown struct shown shown = {0};
	struct job job;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		job_in_state(f, job_state_name(states[i]), states[i]);
	counts = scan(f, "available", NULL, 0, SCAN_KEEP);
	assert_int_equal(counts.met, 1);
	assert_int_equal(counts.missed, 3);
	assert_int_equal(counts.missed_done, 0);
	shown = show_job(f, 2);
	assert_int_equal(shown.state, JOB_GONE);
	assert_string_equal(shown.reason, "");
	assert_int_equal(shown.updated_at, NOW + 30);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_int_equal(job.id, 4);
	job_release(&job);
	/* Not counted twice, and back when they are there again. */
	assert_int_equal(scan(f, "available", NULL, 0, SCAN_KEEP).missed, 0);
	scan(f, "skipped", NULL, 0, SCAN_KEEP);
	assert_int_equal(state_of(f, 3), JOB_AVAILABLE);
}

static void what_runs_or_lies_in_the_spool_is_left_to_the_next_scan(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job running = add_claimed(f, "running");
	int64_t encoded = job_in_state(f, "encoded", JOB_ENCODED);
	struct scan_counts counts = scan(f, "new", NULL, 0, SCAN_REMOVE);

	assert_int_equal(counts.met + counts.missed + counts.missed_done, 0);
	assert_int_equal(state_of(f, running.id), JOB_RUNNING);
	assert_int_equal(state_of(f, encoded), JOB_ENCODED);
	assert_int_equal(state_of(f, 3), JOB_AVAILABLE);
}

static void samples_of_missed_jobs_are_kept_or_removed(void **state)
{
	struct fixture *f = *state;
	int64_t id = job_in_state(f, "a", JOB_COMPLETED);

	assert_int_equal(scan(f, "b", NULL, 0, SCAN_KEEP).missed_done, 1);
	assert_int_equal(state_of(f, id), JOB_COMPLETED);
	assert_int_equal(counts_of(f).samples, 1);
	assert_int_equal(scan(f, "b", NULL, 0, SCAN_REMOVE).missed_done, 1);
	assert_int_equal(state_of(f, id), JOB_GONE);
	assert_int_equal(counts_of(f).samples, 0);
	assert_ok(queue_samples(f->q, 1, see_dead, NULL, &f->err), &f->err);
}

/* A file that changed after it had been encoded, and was deleted before its new content was. */
static void
a_missed_job_that_is_not_completed_is_gone_and_its_sample_dies_when_removed(void **state)
{
	struct fixture *f = *state;
	int64_t id = job_in_state(f, "a", JOB_COMPLETED);
	struct job_spec changed = file_spec("a.jpg", "a", 2);
	struct enqueue_counts enqueued = {0};

	assert_ok(queue_enqueue(f->q, f->dataset, &changed, 1, &enqueued, &f->err), &f->err);
	assert_int_equal(state_of(f, id), JOB_AVAILABLE);
	assert_int_equal(scan(f, "b", NULL, 0, SCAN_KEEP).missed_done, 1);
	assert_int_equal(state_of(f, id), JOB_GONE);
	assert_int_equal(counts_of(f).samples, 1);
	assert_int_equal(scan(f, "b", NULL, 0, SCAN_REMOVE).missed_done, 1);
	assert_int_equal(counts_of(f).samples, 0);
	assert_int_equal(scan(f, "b", NULL, 0, SCAN_REMOVE).missed, 0);
}

static void counting_and_abandoning_a_scan_change_nothing(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer before = BUFFER_INIT;
	struct scan_counts counts;

	job_in_state(f, "done", JOB_QUARANTINED);
	add_job(f, "met");
	add_job(f, "missed");
	queue_dump(f->q, &before);
	counts = scan(f, "met", NULL, 0, SCAN_COUNT);
	assert_int_equal(counts.met, 1);
	assert_int_equal(counts.missed, 2);
	scan(f, "met", NULL, 0, SCAN_ABANDON);
	assert_unchanged(f->q, &before);
}

static void a_scan_is_of_its_dataset_and_its_sources_only(void **state)
{
	struct fixture *f = *state;
	int64_t other = make_dataset(f, "other");
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	uint32_t roots[] = {4, 2};

	enqueue_one(f, other, spec);
	enqueue_one(f, f->dataset, spec);
	spec = file_spec("b.jpg", "b", 1);
	spec.root = 2;
	enqueue_one(f, f->dataset, spec);
	assert_int_equal(scan(f, "c", roots, 2, SCAN_KEEP).missed, 1);
	assert_int_equal(state_of(f, 1), JOB_AVAILABLE);
	assert_int_equal(state_of(f, 2), JOB_AVAILABLE);
	assert_int_equal(state_of(f, 3), JOB_GONE);
	assert_int_equal(scan(f, "c", roots, 0, SCAN_KEEP).missed, 0);
}

static void one_scan_of_a_dataset_is_open_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct scan_counts counts;

	assert_error(queue_scan_end(f->q, f->dataset, SCAN_KEEP, NOW, &counts, &f->err), &f->err,
		     ERR_BUG);
	error_clear(&f->err);
	assert_error(queue_scan_begin(f->q, 77, NULL, 0, &f->err), &f->err, ERR_BUG);
	error_clear(&f->err);
	assert_ok(queue_scan_begin(f->q, f->dataset, NULL, 0, &f->err), &f->err);
	assert_error(queue_scan_begin(f->q, f->dataset, NULL, 0, &f->err), &f->err, ERR_BUG);
	error_clear(&f->err);
	assert_ok(queue_scan_end(f->q, f->dataset, SCAN_ABANDON, NOW, &counts, &f->err), &f->err);
}

/* Enqueues without reopening, which would end the scan. */
static void meet(struct fixture *f, int64_t dataset, struct job_spec spec)
{
	struct enqueue_counts counts = {0};

	assert_ok(queue_enqueue(f->q, dataset, &spec, 1, &counts, &f->err), &f->err);
}

static void scans_of_several_datasets_know_nothing_of_each_other(void **state)
{
	struct fixture *f = *state;
	int64_t other = make_dataset(f, "other");
	struct job_spec a = file_spec("a.jpg", "a", 1), b = file_spec("b.jpg", "b", 1);
	struct scan_counts counts;

	for (size_t i = 0; i < 2; i++) {
		enqueue_one(f, i == 0 ? f->dataset : other, a);
		enqueue_one(f, i == 0 ? f->dataset : other, b);
	}
	assert_ok(queue_scan_begin(f->q, f->dataset, NULL, 0, &f->err), &f->err);
	meet(f, f->dataset, a);
	assert_ok(queue_scan_begin(f->q, other, NULL, 0, &f->err), &f->err);
	meet(f, other, b);
	meet(f, f->dataset, b);
	assert_ok(queue_scan_end(f->q, f->dataset, SCAN_KEEP, NOW, &counts, &f->err), &f->err);
	assert_int_equal(counts.met, 2);
	assert_int_equal(counts.missed, 0);
	assert_ok(queue_scan_end(f->q, other, SCAN_KEEP, NOW, &counts, &f->err), &f->err);
	assert_int_equal(counts.met, 1);
	assert_int_equal(counts.missed, 1);
	assert_int_equal(state_of(f, 3), JOB_GONE);
}

static void a_file_that_is_not_settled_is_met_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct job_spec known = file_spec("a.jpg", "a", 1), fresh = file_spec("b.jpg", "b", 1);
	struct enqueue_counts counts = {0};
	struct scan_counts scanned;
	struct queue_counts all;

	enqueue_one(f, f->dataset, known);
	known.mtime_ns = 2;
	known.unsettled = fresh.unsettled = true;
	assert_ok(queue_scan_begin(f->q, f->dataset, NULL, 0, &f->err), &f->err);
	assert_ok(queue_enqueue(f->q, f->dataset, &known, 1, &counts, &f->err), &f->err);
	assert_ok(queue_enqueue(f->q, f->dataset, &fresh, 1, &counts, &f->err), &f->err);
	assert_int_equal(counts.unsettled, 2);
	assert_int_equal(counts.added + counts.known + counts.requeued + counts.busy, 0);
	assert_ok(queue_scan_end(f->q, f->dataset, SCAN_KEEP, NOW, &scanned, &f->err), &f->err);
	assert_int_equal(scanned.met, 1);
	assert_int_equal(scanned.missed, 0);
	assert_ok(queue_counts(f->q, f->dataset, &all, &f->err), &f->err);
	assert_int_equal(all.jobs[JOB_AVAILABLE], 1);
	known.unsettled = false;
	assert_int_equal(enqueue_one(f, f->dataset, known).requeued, 1);
}

/* -- blame ---------------------------------------------------------------------------------------- */

static size_t claim_suspects(struct fixture *f, const char *owner, struct job *jobs)
{
	struct queue_claim claim = {.owner = owner,
				    .now = NOW + 500,
				    .lease_until = NOW + LEASE,
				    .limit = 5,
				    .suspects = true};
	size_t n = 0;
	int r = queue_claim(f->q, &claim, jobs, &n, &f->err);

	assert_true(r >= 0);
	fixture_after(f);
	return n;
}

/* Its owners die @times with it. */
static void crash(struct fixture *f, size_t times)
{
	for (size_t i = 0; i < times; i++) {
		struct job jobs[5];
		size_t claimed = claim_jobs(f, ME, jobs, 5), n = 0;

		assert_true(claimed > 0);
		for (size_t k = 0; k < claimed; k++)
			job_release(&jobs[k]);
		assert_ok(queue_rescue(f->q, f->dataset, OTHER, NOW, &n, &f->err), &f->err);
		fixture_after(f);
		assert_int_equal(n, claimed);
	}
}

static void suspects_are_handed_out_one_by_one_and_on_request(void **state)
{
	struct fixture *f = *state;
	struct job jobs[5];

	add_job(f, "a");
	add_job(f, "b");
	crash(f, QUEUE_SUSPECT_CRASHES - 1);
	assert_int_equal(claim_suspects(f, ME, jobs), 0);
	crash(f, 1);
	assert_int_equal(claim_jobs(f, ME, jobs, 5), 0);
	for (int64_t id = 1; id <= 2; id++) {
		assert_int_equal(claim_suspects(f, ME, jobs), 1);
		assert_int_equal(jobs[0].id, id);
		assert_int_equal(jobs[0].crashes, QUEUE_SUSPECT_CRASHES);
		/* A reason of its own does not free it from suspicion. */
		assert_true(
		    settle_one(f, outcome_of(jobs, id == 1 ? OUTCOME_ENCODED : OUTCOME_RETRY)));
		job_release(&jobs[0]);
	}
	assert_int_equal(state_of(f, 1), JOB_ENCODED);
	assert_int_equal(claim_suspects(f, ME, jobs), 1);
	assert_true(settle_one(f, outcome_of(jobs, OUTCOME_RELEASE)));
	job_release(&jobs[0]);
	assert_int_equal(claim_jobs(f, ME, jobs, 5), 0);
	assert_int_equal(claim_suspects(f, ME, jobs), 1);
	job_release(&jobs[0]);
}

static void a_suspect_whose_owners_die_again_and_again_is_quarantined(void **state)
{
	struct fixture *f = *state;
	cleanup_shown struct shown shown = {0};
	cleanup_job struct job job = {0}, again = {0};
	size_t n = 99;

	add_job(f, "a");
	crash(f, QUEUE_SUSPECT_CRASHES);
	for (size_t i = QUEUE_SUSPECT_CRASHES; i < QUEUE_BLAMED_CRASHES; i++) {
		job_release(&job);
		assert_int_equal(claim_suspects(f, ME, &job), 1);
		assert_ok(queue_rescue(f->q, f->dataset, OTHER, NOW, &n, &f->err), &f->err);
		fixture_after(f);
		assert_int_equal(n, i + 1 < QUEUE_BLAMED_CRASHES);
	}
	shown = show_job(f, job.id);
	assert_int_equal(shown.state, JOB_QUARANTINED);
	assert_string_equal(shown.reason, "crash");
	assert_string_equal(shown.message, "its owner died 8 times, at last while it ran alone");
	assert_int_equal(shown.crashes, 8);
	/* Retried, it runs alone again. */
	assert_ok(queue_retry(f->q,
			      &(struct job_filter){.dataset = f->dataset,
						   .state = JOB_QUARANTINED,
						   .reason = "crash"},
			      NOW, &n, &f->err),
		  &f->err);
	fixture_after(f);
	assert_int_equal(claim_jobs(f, ME, &again, 1), 0);
	assert_int_equal(claim_suspects(f, ME, &again), 1);
}

static void a_suspect_of_a_living_owner_is_not_blamed(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = {0};
	size_t n = 99;

	add_job(f, "a");
	crash(f, QUEUE_SUSPECT_CRASHES);
	assert_int_equal(claim_suspects(f, ME, &job), 1);
	assert_ok(queue_rescue(f->q, f->dataset, ME, NOW + LEASE + 1, &n, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(n, 1);
	assert_int_equal(state_of(f, job.id), JOB_AVAILABLE);
}

int contract_queue_scans(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(jobs_that_a_scan_misses_are_gone),
	    contract_test(what_runs_or_lies_in_the_spool_is_left_to_the_next_scan),
	    contract_test(samples_of_missed_jobs_are_kept_or_removed),
	    contract_test(
		a_missed_job_that_is_not_completed_is_gone_and_its_sample_dies_when_removed),
	    contract_test(counting_and_abandoning_a_scan_change_nothing),
	    contract_test(a_scan_is_of_its_dataset_and_its_sources_only),
	    contract_test(one_scan_of_a_dataset_is_open_at_a_time),
	    contract_test(a_file_that_is_not_settled_is_met_and_nothing_else),
	    contract_test(scans_of_several_datasets_know_nothing_of_each_other),
	    contract_test(suspects_are_handed_out_one_by_one_and_on_request),
	    contract_test(a_suspect_whose_owners_die_again_and_again_is_quarantined),
	    contract_test(a_suspect_of_a_living_owner_is_not_blamed),
	};

	fixture_use(backend);
	return cmocka_run_group_tests_name("queue: scans", tests, NULL, NULL);
}
