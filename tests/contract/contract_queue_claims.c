#include "tests/contract/contract_queue.h"

static int claim_at(struct fixture *f, int64_t dataset, int64_t now, struct job *job)
{
	struct queue_claim claim = {
	    .dataset = dataset, .owner = ME, .now = now, .lease_until = now + LEASE, .limit = 1};
	size_t n = 0;
	int r = queue_claim(f->q, &claim, job, &n, &f->err);

	assert_true(r >= 0);
	assert_int_equal(n, r == 0 ? 1 : 0);
	fixture_after(f);
	return r;
}

static size_t rescue(struct fixture *f, const char *owner, int64_t now)
{
	size_t n = 99;

	assert_ok(queue_rescue(f->q, f->dataset, owner, now, &n, &f->err), &f->err);
	fixture_after(f);
	return n;
}

/* -- claim ---------------------------------------------------------------------------------------- */

static void a_claim_tells_all_about_the_job(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("dir/a.jpg", "k", 1);
	cleanup_job struct job job = {0};

	spec.root = 3;
	spec.size = 1234567890123;
	spec.rank = INT64_MAX;
	enqueue_one(f, f->dataset, spec);
	assert_int_equal(claim_jobs(f, ME, &job, 5), 1);
	assert_int_equal(job.id, 1);
	assert_int_equal(job.dataset, f->dataset);
	assert_true(job.fence > 0);
	assert_int_equal(job.attempts, 1);
	assert_int_equal(job.crashes, 0);
	assert_int_equal(job.root, 3);
	assert_int_equal(job.size, 1234567890123);
	assert_int_equal(job.rank, INT64_MAX);
	assert_string_equal(job.key, "k");
	assert_string_equal(job.path, "dir/a.jpg");
	assert_int_equal(state_of(f, 1), JOB_RUNNING);
}

static void nothing_to_claim_is_empty(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job running = add_claimed(f, "running");
	struct job job;

	job_in_state(f, "encoded", JOB_ENCODED);
	job_in_state(f, "quarantined", JOB_QUARANTINED);
	job_in_state(f, "skipped", JOB_SKIPPED);
	job_in_state(f, "gone", JOB_GONE);
	job_in_state(f, "completed", JOB_COMPLETED);
	assert_int_equal(claim_at(f, 0, NOW, &job), QUEUE_EMPTY);
	assert_int_equal(claim_at(f, 77, NOW, &job), QUEUE_EMPTY);
}

static void claims_go_in_rising_rank_and_then_in_order_of_enqueueing(void **state)
{
	static const uint64_t ranks[] = {5, 1, 5, 0, 1};
	static const int64_t order[] = {4, 2, 5, 1, 3};
	struct fixture *f = *state;
	struct job jobs[2];
	size_t seen = 0, n;

	for (size_t i = 0; i < ARRAY_SIZE(ranks); i++) {
		cleanup_free char *key = xasprintf("%zu", i);
		cleanup_free char *path = xasprintf("%zu.jpg", i);
		struct job_spec spec = file_spec(path, key, 1);

		spec.rank = ranks[i];
		enqueue_one(f, f->dataset, spec);
	}
	while ((n = claim_jobs(f, ME, jobs, 2)) > 0) {
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(jobs[i].id, order[seen++]);
			job_release(&jobs[i]);
		}
	}
	assert_int_equal(seen, ARRAY_SIZE(order));
}

static void a_claim_takes_from_one_dataset_or_from_all_by_rank(void **state)
{
	struct fixture *f = *state;
	int64_t other = make_dataset(f, "other");
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	struct job jobs[3];

	spec.rank = 2;
	enqueue_one(f, f->dataset, spec);
	spec.rank = 1;
	enqueue_one(f, other, spec);
	spec = file_spec("b.jpg", "b", 1);
	spec.rank = 0;
	enqueue_one(f, f->dataset, spec);

	assert_int_equal(claim_at(f, other, NOW, &jobs[0]), 0);
	assert_int_equal(jobs[0].dataset, other);
	assert_true(settle_one(f, outcome_of(&jobs[0], OUTCOME_RELEASE)));
	job_release(&jobs[0]);
	assert_int_equal(claim_jobs(f, ME, jobs, 3), 3);
	assert_int_equal(jobs[0].id, 3);
	assert_int_equal(jobs[1].id, 2);
	assert_int_equal(jobs[2].id, 1);
	for (size_t i = 0; i < 3; i++)
		job_release(&jobs[i]);
}

static void the_fence_and_the_attempts_rise_with_every_claim(void **state)
{
	struct fixture *f = *state;

	uint64_t last = 0;

	add_job(f, "a");
	for (uint32_t i = 1; i <= 3; i++) {
		cleanup_job struct job job = {0};

		assert_int_equal(claim_at(f, 0, NOW + 500, &job), 0);
		assert_true(job.fence > last);
		last = job.fence;
		assert_int_equal(job.attempts, i);
		assert_true(settle_one(f, outcome_of(&job, OUTCOME_RETRY)));
	}
}

/* -- settle --------------------------------------------------------------------------------------- */

static void a_retry_waits_for_its_time(void **state)
{
	struct fixture *f = *state;
	int64_t id = job_in_state(f, "a", JOB_RETRYABLE);
	struct job job = {0};

	assert_int_equal(claim_at(f, 0, NOW + 499, &job), QUEUE_LATER);
	assert_int_equal(claim_at(f, 0, NOW + 500, &job), 0);
	assert_int_equal(job.id, id);
	job_release(&job);
}

static void what_is_postponed_waits_for_its_time_and_is_not_charged(void **state)
{
	struct fixture *f = *state;
	struct job job = {0};

	add_job(f, "a");
	assert_int_equal(claim_at(f, 0, NOW + 400, &job), 0);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_POSTPONE)));
	job_release(&job);
	assert_int_equal(claim_at(f, 0, NOW + 499, &job), QUEUE_LATER);
	assert_int_equal(claim_at(f, 0, NOW + 500, &job), 0);
	assert_int_equal(job.attempts, 1);
	job_release(&job);
}

/* A source that is not there would keep a dataset from ever being done. */
static void only_what_is_wanted_counts_as_due_later(void **state)
{
	struct fixture *f = *state;
	const uint32_t there[] = {1}, missing[] = {0};
	struct queue_claim claim = {.dataset = f->dataset,
				    .owner = ME,
				    .now = NOW + 499,
				    .lease_until = NOW + LEASE,
				    .limit = 5,
				    .roots = there,
				    .n_roots = 1};
	struct job job;
	size_t n = 0;

	job_in_state(f, "a", JOB_RETRYABLE); /* of source 0 */
	assert_int_equal(queue_claim(f->q, &claim, &job, &n, &f->err), QUEUE_EMPTY);
	claim.roots = missing;
	assert_int_equal(queue_claim(f->q, &claim, &job, &n, &f->err), QUEUE_LATER);
	claim.suspects = true;
	assert_int_equal(queue_claim(f->q, &claim, &job, &n, &f->err), QUEUE_EMPTY);
	claim.suspects = false;
	claim.dataset++;
	assert_int_equal(queue_claim(f->q, &claim, &job, &n, &f->err), QUEUE_EMPTY);
}

static void due_retries_and_available_jobs_mix_by_rank(void **state)
{
	struct fixture *f = *state;
	struct queue_claim claim = {
	    .owner = ME, .now = NOW + 500, .lease_until = NOW + LEASE, .limit = 2};
	struct job jobs[2];
	size_t n = 0;

	job_in_state(f, "first", JOB_RETRYABLE);
	add_job(f, "second");
	assert_ok(queue_claim(f->q, &claim, jobs, &n, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(n, 2);
	assert_int_equal(jobs[0].id, 1);
	assert_int_equal(jobs[1].id, 2);
	for (size_t i = 0; i < n; i++)
		job_release(&jobs[i]);
}

static void a_release_takes_the_attempt_back(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = add_claimed(f, "a"), again = {0};

	assert_true(settle_one(f, outcome_of(&job, OUTCOME_RELEASE)));
	assert_int_equal(state_of(f, job.id), JOB_AVAILABLE);
	assert_int_equal(claim_at(f, 0, NOW, &again), 0);
	assert_int_equal(again.attempts, 1);
	assert_true(again.fence > job.fence);
}

static void outcomes_show_their_reason_and_message(void **state)
{
	static const struct {
		enum job_state state;
		const char *reason, *message;
	} expected[] = {
	    {JOB_RETRYABLE, "timeout", "no answer"},
	    {JOB_QUARANTINED, "truncated", "ends at byte 7"},
	    {JOB_SKIPPED, "min_side", "12 x 9 pixels"},
	    {JOB_GONE, "", ""},
	    {JOB_ENCODED, "", ""},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		int64_t id = job_in_state(f, job_state_name(expected[i].state), expected[i].state);
		cleanup_shown struct shown shown = show_job(f, id);

		assert_int_equal(shown.state, expected[i].state);
		assert_string_equal(shown.reason, expected[i].reason);
		assert_string_equal(shown.message, expected[i].message);
		assert_int_equal(shown.attempts, 1);
		assert_int_equal(shown.updated_at, NOW + 10);
	}
}

static void a_release_leaves_the_reason_and_success_removes_it(void **state)
{
	struct fixture *f = *state;
	int64_t id = job_in_state(f, "a", JOB_RETRYABLE);
	cleanup_job struct job job = {0}, again = {0};
	cleanup_shown struct shown released = {0}, encoded = {0};

	assert_int_equal(claim_at(f, 0, NOW + 500, &job), 0);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_RELEASE)));
	released = show_job(f, id);
	assert_string_equal(released.reason, "timeout");
	assert_int_equal(claim_at(f, 0, NOW + 500, &again), 0);
	assert_true(settle_one(f, outcome_of(&again, OUTCOME_ENCODED)));
	encoded = show_job(f, id);
	assert_string_equal(encoded.reason, "");
	assert_string_equal(encoded.message, "");
}

static void a_stale_fence_changes_nothing_and_is_lost(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job old = add_claimed(f, "a"), current = {0};
	cleanup_buffer struct buffer before = BUFFER_INIT;

	assert_int_equal(rescue(f, OTHER, NOW), 1);
	assert_int_equal(claim_at(f, 0, NOW, &current), 0);
	queue_dump(f->q, &before);
	assert_false(settle_one(f, outcome_of(&old, OUTCOME_ENCODED)));
	assert_false(settle_one(f, outcome_of(&old, OUTCOME_QUARANTINE)));
	assert_false(settle_one(f, outcome_of(&old, OUTCOME_RELEASE)));
	assert_unchanged(f->q, &before);
	assert_true(settle_one(f, outcome_of(&current, OUTCOME_ENCODED)));
}

static void outcomes_of_jobs_that_do_not_run_are_lost(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = add_claimed(f, "a");
	struct job unknown = {.id = 99, .fence = 1, .path = job.path};

	assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
	assert_false(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
	assert_false(settle_one(f, outcome_of(&job, OUTCOME_RETRY)));
	assert_false(settle_one(f, outcome_of(&unknown, OUTCOME_GONE)));
	assert_int_equal(state_of(f, job.id), JOB_ENCODED);
}

static void a_lost_outcome_does_not_stop_the_others(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job a = add_claimed(f, "a"), b = add_claimed(f, "b");
	struct job_outcome outcomes[] = {outcome_of(&a, OUTCOME_SKIP),
					 outcome_of(&a, OUTCOME_ENCODED),
					 outcome_of(&b, OUTCOME_ENCODED)};
	size_t lost = 0;

	assert_ok(queue_settle(f->q, outcomes, 3, NOW, &lost, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(lost, 1);
	assert_int_equal(state_of(f, a.id), JOB_SKIPPED);
	assert_int_equal(state_of(f, b.id), JOB_ENCODED);
	assert_ok(queue_settle(f->q, outcomes, 3, NOW, NULL, &f->err), &f->err);
}

/* -- leases --------------------------------------------------------------------------------------- */

static void rescue_leaves_leases_of_its_own_that_run(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = add_claimed(f, "a");

	assert_int_equal(rescue(f, ME, NOW + LEASE), 0);
	assert_int_equal(state_of(f, job.id), JOB_RUNNING);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
}

static void an_expired_lease_is_rescued_without_counting_a_crash(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = add_claimed(f, "a");
	cleanup_shown struct shown shown = {0};

	assert_int_equal(rescue(f, ME, NOW + LEASE + 1), 1);
	shown = show_job(f, job.id);
	assert_int_equal(shown.state, JOB_AVAILABLE);
	assert_int_equal(shown.crashes, 0);
	assert_int_equal(shown.attempts, 1);
	assert_int_equal(shown.updated_at, NOW + LEASE + 1);
	assert_false(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
}

static void another_owners_job_counts_a_crash_instead_of_the_attempt(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = add_claimed(f, "a"), again = {0};

	assert_int_equal(rescue(f, OTHER, NOW), 1);
	assert_int_equal(claim_at(f, 0, NOW, &again), 0);
	assert_int_equal(again.id, job.id);
	assert_int_equal(again.crashes, 1);
	assert_int_equal(again.attempts, 1);
	assert_true(again.fence > job.fence);
	assert_int_equal(rescue(f, OTHER, NOW), 1);
	assert_int_equal(rescue(f, OTHER, NOW), 0);
}

static void rescue_touches_running_jobs_only(void **state)
{
	static const enum job_state states[] = {JOB_ENCODED,  JOB_COMPLETED,   JOB_RETRYABLE,
						JOB_SKIPPED,  JOB_QUARANTINED, JOB_GONE,
						JOB_AVAILABLE};
	struct fixture *f = *state;
	cleanup_buffer struct buffer before = BUFFER_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		job_in_state(f, job_state_name(states[i]), states[i]);
	queue_dump(f->q, &before);
	assert_int_equal(rescue(f, OTHER, NOW + 100 * LEASE), 0);
	assert_unchanged(f->q, &before);
}

static void extend_lengthens_the_leases_of_its_owner_only(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job mine = add_claimed(f, "a"), theirs = {0};

	add_job(f, "b");
	assert_int_equal(claim_jobs(f, OTHER, &theirs, 1), 1);
	assert_ok(queue_extend(f->q, ME, NOW + 5 * LEASE, &f->err), &f->err);
	fixture_after(f);
	assert_ok(queue_extend(f->q, "nobody", NOW + 9 * LEASE, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(rescue(f, ME, NOW + 5 * LEASE), 1);
	assert_int_equal(state_of(f, mine.id), JOB_RUNNING);
	assert_int_equal(state_of(f, theirs.id), JOB_AVAILABLE);
	assert_int_equal(rescue(f, ME, NOW + 5 * LEASE + 1), 1);
}

/* -- what was encoded but not kept, what was bad but is tried again ---------------------------------- */

static void encoded_jobs_that_the_spool_lacks_are_available_again(void **state)
{
	struct fixture *f = *state;
	int64_t ids[4];
	size_t n = 99;

	for (size_t i = 0; i < 4; i++) {
		char name[] = {(char)('a' + i), '\0'};

		ids[i] = job_in_state(f, name, JOB_ENCODED);
	}
	job_in_state(f, "skipped", JOB_SKIPPED);
	assert_ok(queue_requeue_lost(f->q, f->dataset, (int64_t[]){-5, ids[1], ids[3], 1000}, 4,
				     NOW + 30, &n, &f->err),
		  &f->err);
	fixture_after(f);
	assert_int_equal(n, 2);
	assert_int_equal(state_of(f, ids[0]), JOB_AVAILABLE);
	assert_int_equal(state_of(f, ids[1]), JOB_ENCODED);
	assert_int_equal(state_of(f, ids[2]), JOB_AVAILABLE);
	assert_int_equal(state_of(f, ids[3]), JOB_ENCODED);
	assert_ok(queue_requeue_lost(f->q, f->dataset, NULL, 0, NOW + 30, &n, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(n, 2);
	for (size_t i = 0; i < 4; i++) {
		cleanup_job struct job job = {0};

		assert_int_equal(claim_at(f, 0, NOW + 40, &job), 0);
		assert_false(job.has_content); /* else it would be taken for kept */
	}
}

static void quarantined(struct fixture *f, const char *name, const char *reason)
{
	cleanup_job struct job job = add_claimed(f, name);
	struct job_outcome outcome = outcome_of(&job, OUTCOME_QUARANTINE);

	outcome.reason = reason;
	assert_true(settle_one(f, outcome));
}

static void retry_frees_quarantined_jobs_of_a_reason_or_all(void **state)
{
	struct fixture *f = *state;
	cleanup_shown struct shown shown = {0};
	size_t n = 99;

	quarantined(f, "a", "truncated");
	quarantined(f, "b", "bomb");
	quarantined(f, "c", NULL);
	job_in_state(f, "skipped", JOB_SKIPPED);
	assert_ok(queue_retry(f->q,
			      &(struct job_filter){.dataset = f->dataset,
						   .state = JOB_QUARANTINED,
						   .reason = "no such"},
			      NOW + 30, &n, &f->err),
		  &f->err);
	assert_int_equal(n, 0);
	assert_ok(
	    queue_retry(f->q,
			&(struct job_filter){.dataset = f->dataset + 1, .state = JOB_QUARANTINED},
			NOW + 30, &n, &f->err),
	    &f->err);
	assert_int_equal(n, 0);
	assert_ok(queue_retry(f->q,
			      &(struct job_filter){.dataset = f->dataset,
						   .state = JOB_QUARANTINED,
						   .reason = "bomb"},
			      NOW + 30, &n, &f->err),
		  &f->err);
	assert_int_equal(n, 1);
	fixture_after(f);
	shown = show_job(f, 2);
	assert_int_equal(shown.state, JOB_AVAILABLE);
	assert_int_equal(shown.attempts, 0);
	assert_string_equal(shown.reason, "");
	assert_string_equal(shown.message, "");
	assert_int_equal(state_of(f, 1), JOB_QUARANTINED);
	assert_ok(queue_retry(f->q,
			      &(struct job_filter){.dataset = f->dataset, .state = JOB_QUARANTINED},
			      NOW + 30, &n, &f->err),
		  &f->err);
	assert_int_equal(n, 2);
	fixture_after(f);
}

static void retry_frees_skipped_jobs_when_they_are_asked_for(void **state)
{
	struct fixture *f = *state;
	size_t n = 99;

	quarantined(f, "a", "truncated");
	job_in_state(f, "small", JOB_SKIPPED);
	assert_ok(queue_retry(f->q,
			      &(struct job_filter){
				  .dataset = f->dataset, .state = JOB_SKIPPED, .reason = "no such"},
			      NOW, &n, &f->err),
		  &f->err);
	assert_int_equal(n, 0);
	assert_ok(queue_retry(f->q,
			      &(struct job_filter){.dataset = f->dataset, .state = JOB_SKIPPED},
			      NOW, &n, &f->err),
		  &f->err);
	assert_int_equal(n, 1);
	fixture_after(f);
	assert_int_equal(state_of(f, 1), JOB_QUARANTINED);
	assert_int_equal(state_of(f, 2), JOB_AVAILABLE);
}

static void a_job_that_is_retried_stays_suspected(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = add_claimed(f, "a"), again = {0}, last = {0};
	size_t n;

	assert_int_equal(rescue(f, OTHER, NOW), 1);
	assert_int_equal(claim_at(f, 0, NOW, &again), 0);
	assert_true(settle_one(f, outcome_of(&again, OUTCOME_QUARANTINE)));
	assert_ok(queue_retry(f->q,
			      &(struct job_filter){.dataset = f->dataset, .state = JOB_QUARANTINED},
			      NOW, &n, &f->err),
		  &f->err);
	fixture_after(f);
	assert_int_equal(claim_at(f, 0, NOW, &last), 0);
	assert_int_equal(last.crashes, 1);
	assert_int_equal(last.attempts, 1);
}

int contract_queue_claims(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(a_claim_tells_all_about_the_job),
	    contract_test(nothing_to_claim_is_empty),
	    contract_test(claims_go_in_rising_rank_and_then_in_order_of_enqueueing),
	    contract_test(a_claim_takes_from_one_dataset_or_from_all_by_rank),
	    contract_test(the_fence_and_the_attempts_rise_with_every_claim),
	    contract_test(a_retry_waits_for_its_time),
	    contract_test(what_is_postponed_waits_for_its_time_and_is_not_charged),
	    contract_test(only_what_is_wanted_counts_as_due_later),
	    contract_test(due_retries_and_available_jobs_mix_by_rank),
	    contract_test(a_release_takes_the_attempt_back),
	    contract_test(outcomes_show_their_reason_and_message),
	    contract_test(a_release_leaves_the_reason_and_success_removes_it),
	    contract_test(a_stale_fence_changes_nothing_and_is_lost),
	    contract_test(outcomes_of_jobs_that_do_not_run_are_lost),
	    contract_test(a_lost_outcome_does_not_stop_the_others),
	    contract_test(rescue_leaves_leases_of_its_own_that_run),
	    contract_test(an_expired_lease_is_rescued_without_counting_a_crash),
	    contract_test(another_owners_job_counts_a_crash_instead_of_the_attempt),
	    contract_test(rescue_touches_running_jobs_only),
	    contract_test(extend_lengthens_the_leases_of_its_owner_only),
	    contract_test(encoded_jobs_that_the_spool_lacks_are_available_again),
	    contract_test(retry_frees_quarantined_jobs_of_a_reason_or_all),
	    contract_test(retry_frees_skipped_jobs_when_they_are_asked_for),
	    contract_test(a_job_that_is_retried_stays_suspected),
	};

	fixture_use(backend);
	return cmocka_run_group_tests_name("queue: claims", tests, NULL, NULL);
}
