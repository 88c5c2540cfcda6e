/*
 * Files that change or vanish, contents that are known, jobs that are suspected.
 */
#include "tests/contract/contract_queue.h"

#define RECIPE "0123456789abcdef0123456789abcdef" /* of make_dataset */

static struct hash128 content_of(const char *text)
{
	return hash128_of(text, strlen(text));
}

/* "NAME.jpg" with its one sample in a shard "NAME.jpg", changed and claimed again. */
static struct job changed_and_claimed(struct fixture *f, const char *name, enum job_state state)
{
	cleanup_free char *path = xasprintf("%s.jpg", name);
	struct job job;

	job_in_state(f, name, state);
	assert_int_equal(enqueue_one(f, f->dataset, file_spec(path, name, 2)).superseding, 1);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	return job;
}

static struct queue_counts counts_of(struct fixture *f)
{
	struct queue_counts counts;

	assert_ok(queue_counts(f->q, f->dataset, &counts, &f->err), &f->err);
	return counts;
}

struct seen {
	struct sample_row rows[8];
	size_t n;
};

static int see_sample(void *arg, const struct sample_row *row)
{
	struct seen *seen = arg;

	seen->rows[seen->n] = *row;
	seen->rows[seen->n].key = seen->rows[seen->n].path = NULL;
	seen->n++;
	return 0;
}

static struct seen samples_of(struct fixture *f, int64_t shard)
{
	struct seen seen = {.n = 0};

	assert_ok(queue_samples(f->q, shard, see_sample, &seen, &f->err), &f->err);
	return seen;
}

/* -- superseding ---------------------------------------------------------------------------------- */

static void a_new_sample_makes_the_old_one_dead(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = changed_and_claimed(f, "a", JOB_COMPLETED);
	struct job_outcome outcome = outcome_of(&job, OUTCOME_ENCODED);
	struct sample_row sample = sample_of("a.jpg", "a", 0);
	struct shard_row shard = shard_of(f->dataset, "new.tar", 1);

	outcome.content = sample.content = content_of("new");
	assert_true(settle_one(f, outcome));
	assert_int_equal(counts_of(f).samples, 1);
	assert_false(samples_of(f, 1).rows[0].dead);
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	assert_int_equal(counts_of(f).samples, 1);
	assert_true(samples_of(f, 1).rows[0].dead);
	assert_false(samples_of(f, 2).rows[0].dead);
	assert_int_equal(state_of(f, job.id), JOB_COMPLETED);
}

static void only_the_same_variant_is_superseded(void **state)
{
	struct fixture *f = *state;
	struct sample_row both[] = {sample_of("a.jpg", "a", 0), sample_of("a.jpg", "a", 512)};
	struct shard_row shards[] = {shard_of(f->dataset, "1.tar", 2),
				     shard_of(f->dataset, "2.tar", 1)};

	both[1].variant = 1;
	add_job(f, "a");
	assert_int_equal(complete(f, &shards[0], both, 2), 0);
	assert_int_equal(enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 2)).superseding, 1);
	assert_int_equal(complete(f, &shards[1], &both[1], 1), 0);
	assert_false(samples_of(f, 1).rows[0].dead);
	assert_true(samples_of(f, 1).rows[1].dead);
}

static void a_record_of_a_changed_file_is_made_visible_without_completing_it(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = changed_and_claimed(f, "a", JOB_ENCODED);
	struct sample_row old = sample_of("a.jpg", "a", 0), fresh = old;
	struct shard_row shards[] = {shard_of(f->dataset, "old.tar", 1),
				     shard_of(f->dataset, "new.tar", 1)};
	struct job_outcome outcome = outcome_of(&job, OUTCOME_ENCODED);

	assert_int_equal(complete(f, &shards[0], &old, 1), 0);
	assert_int_equal(state_of(f, job.id), JOB_RUNNING);
	assert_int_equal(counts_of(f).samples, 1);
	outcome.content = fresh.content = content_of("new");
	assert_true(settle_one(f, outcome));
	assert_int_equal(complete(f, &shards[1], &fresh, 1), 0);
	assert_int_equal(state_of(f, job.id), JOB_COMPLETED);
	assert_true(samples_of(f, 1).rows[0].dead);
}

static void an_older_record_does_not_complete_a_job_that_was_encoded_anew(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = changed_and_claimed(f, "a", JOB_ENCODED);
	struct job_outcome outcome = outcome_of(&job, OUTCOME_ENCODED);
	struct sample_row old = sample_of("a.jpg", "a", 0);
	struct shard_row shard = shard_of(f->dataset, "old.tar", 1);

	outcome.content = content_of("new");
	assert_true(settle_one(f, outcome));
	assert_int_equal(complete(f, &shard, &old, 1), 0);
	assert_int_equal(state_of(f, job.id), JOB_ENCODED);
}

static void the_old_sample_stays_while_the_new_file_is_bad(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = changed_and_claimed(f, "a", JOB_COMPLETED);

	assert_true(settle_one(f, outcome_of(&job, OUTCOME_QUARANTINE)));
	assert_int_equal(state_of(f, job.id), JOB_QUARANTINED);
	assert_int_equal(counts_of(f).samples, 1);
}

static struct job_outcome kept(const struct job *job, const char *content)
{
	struct job_outcome outcome = outcome_of(job, OUTCOME_KEPT);

	outcome.has_content = true;
	outcome.content = content_of(content);
	return outcome;
}

static void content_that_is_kept_brings_the_job_back_where_it_was(void **state)
{
	static const enum job_state states[] = {JOB_COMPLETED, JOB_ENCODED};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		const char *name = job_state_name(states[i]);
		cleanup_free char *path = xasprintf("%s.jpg", name);
		cleanup_job struct job job = changed_and_claimed(f, name, states[i]);

		assert_true(settle_one(f, kept(&job, path)));
		assert_int_equal(state_of(f, job.id), states[i]);
		assert_int_equal(enqueue_one(f, f->dataset, file_spec(path, name, 2)).known, 1);
		assert_false(settle_one(f, kept(&job, path)));
	}
	assert_int_equal(counts_of(f).samples, 1);
}

static void a_record_that_came_into_a_shard_meanwhile_is_kept_too(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = changed_and_claimed(f, "a", JOB_ENCODED);
	struct sample_row old = sample_of("a.jpg", "a", 0);
	struct shard_row shard = shard_of(f->dataset, "old.tar", 1);

	assert_int_equal(complete(f, &shard, &old, 1), 0);
	assert_true(settle_one(f, kept(&job, "a.jpg")));
	assert_int_equal(state_of(f, job.id), JOB_COMPLETED);
}

static void what_is_not_there_to_be_kept_is_a_release(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job other = changed_and_claimed(f, "a", JOB_COMPLETED);
	cleanup_job struct job lost = {0}, again = {0};
	cleanup_shown struct shown shown = {0};
	size_t n;

	assert_true(settle_one(f, kept(&other, "another content")));
	shown = show_job(f, other.id);
	assert_int_equal(shown.state, JOB_AVAILABLE);
	assert_int_equal(shown.attempts, 0);
	assert_int_equal(claim_jobs(f, ME, &again, 1), 1);
	lost = changed_and_claimed(f, "b", JOB_ENCODED);
	assert_ok(queue_requeue_lost(f->q, NULL, 0, NOW, &n, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(n, 0);
	assert_int_equal(state_of(f, lost.id), JOB_RUNNING);
	assert_true(settle_one(f, kept(&lost, "b.jpg")));
	assert_int_equal(state_of(f, lost.id), JOB_AVAILABLE);
}

/* -- content -------------------------------------------------------------------------------------- */

static struct content_found find(struct fixture *f, const char *recipe, const char *content)
{
	struct hash128 hash = content_of(content);
	struct content_found found;

	assert_ok(queue_find_content(f->q, recipe, &hash, &found, &f->err), &f->err);
	return found;
}

static void a_content_is_found_in_the_spool_and_then_in_its_shard(void **state)
{
	struct fixture *f = *state;
	int64_t id = job_in_state(f, "a", JOB_ENCODED);
	struct sample_row sample = sample_of("a.jpg", "a", 1024);
	struct shard_row shard = shard_of(f->dataset, "train/1.tar", 1);
	struct content_found found = find(f, RECIPE, "a.jpg");

	assert_int_equal(found.where, CONTENT_SPOOLED);
	assert_int_equal(found.job, id);
	assert_int_equal(found.dataset, f->dataset);
	assert_string_equal(found.key, "a");
	content_found_release(&found);
	sample.variant = 3;
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	found = find(f, RECIPE, "a.jpg");
	assert_int_equal(found.where, CONTENT_VISIBLE);
	assert_int_equal(found.job, id);
	assert_int_equal(found.dataset, f->dataset);
	assert_int_equal(found.shard, 1);
	assert_int_equal(found.variant, 3);
	assert_int_equal(found.offset, 1024);
	assert_int_equal(found.bytes, 512);
	assert_string_equal(found.key, "a");
	assert_string_equal(found.shard_path, "train/1.tar");
	content_found_release(&found);
}

static void a_content_is_found_in_every_dataset_of_its_recipe_only(void **state)
{
	struct fixture *f = *state;
	struct queue_dataset_spec other = {"other", "/out", "ffffffffffffffffffffffffffffffff",
					   "{}"};
	struct content_found found;
	int64_t id;

	assert_ok(queue_open_dataset(f->q, &other, &id, &f->err), &f->err);
	job_in_state(f, "a", JOB_COMPLETED);
	job_in_state(f, "b", JOB_ENCODED);
	assert_int_equal(find(f, other.recipe_id, "a.jpg").where, CONTENT_NONE);
	assert_int_equal(find(f, other.recipe_id, "b.jpg").where, CONTENT_NONE);
	assert_int_equal(find(f, RECIPE, "c.jpg").where, CONTENT_NONE);
	make_dataset(f, "second");
	found = find(f, RECIPE, "a.jpg");
	assert_int_equal(found.where, CONTENT_VISIBLE);
	content_found_release(&found);
}

static void a_dead_sample_and_a_lost_record_are_not_found(void **state)
{
	struct fixture *f = *state;
	uint64_t offset = 0;
	size_t n;

	job_in_state(f, "a", JOB_COMPLETED);
	job_in_state(f, "b", JOB_ENCODED);
	assert_ok(queue_drop_samples(f->q, 1, &offset, 1, NOW, &n, &f->err), &f->err);
	assert_ok(queue_requeue_lost(f->q, NULL, 0, NOW, &n, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(find(f, RECIPE, "a.jpg").where, CONTENT_NONE);
	assert_int_equal(find(f, RECIPE, "b.jpg").where, CONTENT_NONE);
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
	assert_ok(queue_scan_end(f->q, how, NOW + 30, &counts, &f->err), &f->err);
	if (how == SCAN_COUNT)
		assert_ok(
		    queue_scan_end(f->q, SCAN_ABANDON, NOW, &(struct scan_counts){0}, &f->err),
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
	assert_true(samples_of(f, 1).rows[0].dead);
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

static void one_scan_is_open_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct scan_counts counts;

	assert_error(queue_scan_end(f->q, SCAN_KEEP, NOW, &counts, &f->err), &f->err, ERR_BUG);
	error_clear(&f->err);
	assert_error(queue_scan_begin(f->q, 77, NULL, 0, &f->err), &f->err, ERR_BUG);
	error_clear(&f->err);
	assert_ok(queue_scan_begin(f->q, f->dataset, NULL, 0, &f->err), &f->err);
	assert_error(queue_scan_begin(f->q, f->dataset, NULL, 0, &f->err), &f->err, ERR_BUG);
	error_clear(&f->err);
	assert_ok(queue_scan_end(f->q, SCAN_ABANDON, NOW, &counts, &f->err), &f->err);
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

	assert_true(r == 0 || r == QUEUE_EMPTY);
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
		assert_ok(queue_rescue(f->q, OTHER, NOW, &n, &f->err), &f->err);
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

static void a_suspect_whose_owner_dies_is_quarantined(void **state)
{
	struct fixture *f = *state;
	cleanup_shown struct shown shown = {0};
	cleanup_job struct job job = {0}, again = {0};
	size_t n = 99;

	add_job(f, "a");
	crash(f, QUEUE_SUSPECT_CRASHES);
	assert_int_equal(claim_suspects(f, ME, &job), 1);
	assert_ok(queue_rescue(f->q, OTHER, NOW, &n, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(n, 0);
	shown = show_job(f, job.id);
	assert_int_equal(shown.state, JOB_QUARANTINED);
	assert_string_equal(shown.reason, "crash");
	assert_string_equal(shown.message, "its owner died 4 times, at last while it ran alone");
	assert_int_equal(shown.crashes, 4);
	/* Retried, it runs alone again. */
	assert_ok(queue_retry(f->q, f->dataset, JOB_QUARANTINED, "crash", NOW, &n, &f->err),
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
	assert_ok(queue_rescue(f->q, ME, NOW + LEASE + 1, &n, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(n, 1);
	assert_int_equal(state_of(f, job.id), JOB_AVAILABLE);
}

int contract_queue_changes(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(a_new_sample_makes_the_old_one_dead),
	    contract_test(only_the_same_variant_is_superseded),
	    contract_test(a_record_of_a_changed_file_is_made_visible_without_completing_it),
	    contract_test(an_older_record_does_not_complete_a_job_that_was_encoded_anew),
	    contract_test(the_old_sample_stays_while_the_new_file_is_bad),
	    contract_test(content_that_is_kept_brings_the_job_back_where_it_was),
	    contract_test(a_record_that_came_into_a_shard_meanwhile_is_kept_too),
	    contract_test(what_is_not_there_to_be_kept_is_a_release),
	    contract_test(a_content_is_found_in_the_spool_and_then_in_its_shard),
	    contract_test(a_content_is_found_in_every_dataset_of_its_recipe_only),
	    contract_test(a_dead_sample_and_a_lost_record_are_not_found),
	    contract_test(jobs_that_a_scan_misses_are_gone),
	    contract_test(what_runs_or_lies_in_the_spool_is_left_to_the_next_scan),
	    contract_test(samples_of_missed_jobs_are_kept_or_removed),
	    contract_test(counting_and_abandoning_a_scan_change_nothing),
	    contract_test(a_scan_is_of_its_dataset_and_its_sources_only),
	    contract_test(one_scan_is_open_at_a_time),
	    contract_test(suspects_are_handed_out_one_by_one_and_on_request),
	    contract_test(a_suspect_whose_owner_dies_is_quarantined),
	    contract_test(a_suspect_of_a_living_owner_is_not_blamed),
	};

	fixture_use(backend);
	return cmocka_run_group_tests_name("queue: changes", tests, NULL, NULL);
}
