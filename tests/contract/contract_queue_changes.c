/*
 * Files that change, and contents that are known.
 */
#include "tests/contract/contract_queue.h"

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

static void assert_content(const struct job *job, const char *text)
{
	struct hash128 wanted = content_of(text);

	assert_true(job->has_content);
	assert_true(hash128_equal(&job->content, &wanted));
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
	job_in_state(f, "a", JOB_ENCODED);
	assert_int_equal(complete(f, &shards[0], both, 2), 0);
	assert_int_equal(enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 2)).superseding, 1);
	assert_int_equal(complete(f, &shards[1], &both[1], 1), 0);
	assert_false(samples_of(f, 1).rows[0].dead);
	assert_true(samples_of(f, 1).rows[1].dead);
}

static void all_variants_of_a_job_are_superseded_by_one_shard(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_of("a.jpg", "a", 0), sample_of("a.jpg", "a", 512)};
	struct shard_row shards[] = {shard_of(f->dataset, "1.tar", 2),
				     shard_of(f->dataset, "2.tar", 2),
				     shard_of(f->dataset, "3.tar", 2)};
	cleanup_job struct job job = {.id = 0};
	struct job_outcome outcome;
	int64_t id = job_in_state(f, "a", JOB_ENCODED);

	samples[1].variant = 1;
	assert_int_equal(complete(f, &shards[0], samples, 2), 0);
	assert_int_equal(complete(f, &shards[2], samples, 2), QUEUE_CONFLICT);
	assert_int_equal(enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 2)).superseding, 1);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	outcome = outcome_of(&job, OUTCOME_ENCODED);
	outcome.content = samples[0].content = samples[1].content = content_of("new");
	assert_true(settle_one(f, outcome));
	assert_int_equal(complete(f, &shards[1], samples, 2), 0);
	assert_int_equal(state_of(f, id), JOB_COMPLETED);
	assert_int_equal(counts_of(f).samples, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_true(samples_of(f, 1).rows[i].dead);
		assert_false(samples_of(f, 2).rows[i].dead);
	}
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
	assert_content(&again, "a.jpg");
	lost = changed_and_claimed(f, "b", JOB_ENCODED);
	assert_ok(queue_requeue_lost(f->q, f->dataset, NULL, 0, NOW, &n, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(n, 0);
	assert_int_equal(state_of(f, lost.id), JOB_RUNNING);
	assert_true(settle_one(f, kept(&lost, "b.jpg")));
	assert_int_equal(state_of(f, lost.id), JOB_AVAILABLE);
}

/* Not with what it had when the file was found changed: that may be replaced, damaged or removed meanwhile. */
static void
a_changed_file_is_compared_with_the_sample_that_its_job_has_when_it_is_claimed(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = changed_and_claimed(f, "a", JOB_COMPLETED), again = {0},
			       last = {0};
	struct sample_row other = sample_of("a.jpg", "a", 0);
	struct shard_row shard = shard_of(f->dataset, "other.tar", 1);
	size_t n;

	assert_content(&job, "a.jpg");
	other.content = content_of("other");
	assert_int_equal(complete(f, &shard, &other, 1), 0);
	assert_true(settle_one(f, kept(&job, "a.jpg")));
	assert_int_equal(claim_jobs(f, ME, &again, 1), 1);
	assert_content(&again, "other");
	assert_ok(queue_drop_shard(f->q, 2, NOW, &n, &f->err), &f->err);
	fixture_after(f);
	assert_true(settle_one(f, outcome_of(&again, OUTCOME_RELEASE)));
	assert_int_equal(claim_jobs(f, ME, &last, 1), 1);
	assert_false(last.has_content);
}

/* Of a file that was damaged after it had been encoded, and then deleted. */
static void a_failure_that_a_scan_misses_is_gone_and_its_sample_stays_unless_removed(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = changed_and_claimed(f, "a", JOB_COMPLETED);
	static const enum scan_end ends[] = {SCAN_KEEP, SCAN_REMOVE};
	struct queue_counts counts;
	struct scan_counts missed;

	assert_true(settle_one(f, outcome_of(&job, OUTCOME_QUARANTINE)));
	for (size_t i = 0; i < 2; i++) {
		assert_ok(queue_scan_begin(f->q, f->dataset, NULL, 0, &f->err), &f->err);
		assert_ok(queue_scan_end(f->q, f->dataset, ends[i], NOW, &missed, &f->err),
			  &f->err);
		fixture_after(f);
		assert_int_equal(missed.missed_done, 1);
		assert_int_equal(state_of(f, job.id), JOB_GONE);
		assert_ok(queue_counts(f->q, f->dataset, &counts, &f->err), &f->err);
		assert_int_equal(counts.samples, 1 - i);
	}
}

/* -- content -------------------------------------------------------------------------------------- */

static struct content_found find(struct fixture *f, int64_t dataset, const char *content)
{
	struct hash128 hash = content_of(content);
	struct content_found found;

	assert_ok(queue_find_content(f->q, dataset, &hash, &found, &f->err), &f->err);
	return found;
}

static int64_t find_and_release(struct fixture *f, int64_t dataset, const char *content)
{
	struct content_found found = find(f, dataset, content);
	int64_t of = found.dataset;

	content_found_release(&found);
	return of;
}

/* A backend may give a sample that was deleted's number to a new one. */
static void a_content_is_found_where_another_was_dropped(void **state)
{
	struct fixture *f = *state;
	struct sample_row first = sample_of("a.jpg", "a", 0), second = sample_of("b.jpg", "b", 0);
	struct shard_row shard = shard_of(f->dataset, "train/1.tar", 1);
	struct content_found found;
	size_t n;

	assert_int_equal(complete(f, &shard, &first, 1), 0);
	found = find(f, f->dataset, "a.jpg");
	assert_int_equal(found.where, CONTENT_VISIBLE);
	assert_ok(queue_drop_shard(f->q, found.shard, NOW, &n, &f->err), &f->err);
	content_found_release(&found);
	shard.path = "train/2.tar";
	assert_int_equal(complete(f, &shard, &second, 1), 0);
	found = find(f, f->dataset, "a.jpg");
	assert_int_equal(found.where, CONTENT_NONE);
	found = find(f, f->dataset, "b.jpg");
	assert_int_equal(found.where, CONTENT_VISIBLE);
	assert_string_equal(found.shard_path, "train/2.tar");
	content_found_release(&found);
}

static void a_content_is_found_in_the_spool_and_then_in_its_shard(void **state)
{
	struct fixture *f = *state;
	int64_t id = job_in_state(f, "a", JOB_ENCODED);
	struct sample_row sample = sample_of("a.jpg", "a", 1024);
	struct shard_row shard = shard_of(f->dataset, "train/1.tar", 1);
	struct content_found found = find(f, f->dataset, "a.jpg");

	assert_int_equal(found.where, CONTENT_SPOOLED);
	assert_int_equal(found.job, id);
	assert_int_equal(found.dataset, f->dataset);
	assert_string_equal(found.key, "a");
	content_found_release(&found);
	sample.variant = 3;
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	found = find(f, f->dataset, "a.jpg");
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

static void the_variants_of_a_content_are_found_in_its_shard(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_of("b.jpg", "b", 0), sample_of("a.jpg", "a", 512),
				       sample_of("a.jpg", "a", 1024)};
	struct shard_row shard = shard_of(f->dataset, "train/1.tar", 3);
	struct content_found found;

	samples[2].variant = 1;
	job_in_state(f, "a", JOB_ENCODED);
	job_in_state(f, "b", JOB_ENCODED);
	assert_int_equal(complete(f, &shard, samples, 3), 0);
	found = find(f, f->dataset, "a.jpg");
	assert_ok(queue_find_variants(f->q, &found, &f->err), &f->err);
	assert_int_equal(found.n_variants, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(found.variants[i].variant, i);
		assert_int_equal(found.variants[i].offset, 512 + 512 * i);
		assert_int_equal(found.variants[i].bytes, 512);
	}
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
	assert_int_equal(find(f, id, "a.jpg").where, CONTENT_NONE);
	assert_int_equal(find(f, id, "b.jpg").where, CONTENT_NONE);
	assert_int_equal(find(f, f->dataset, "c.jpg").where, CONTENT_NONE);
	id = make_dataset(f, "second");
	found = find(f, id, "a.jpg");
	assert_int_equal(found.where, CONTENT_VISIBLE);
	assert_int_equal(found.dataset, f->dataset);
	content_found_release(&found);
	found = find(f, id, "b.jpg");
	assert_int_equal(found.where, CONTENT_SPOOLED);
	assert_int_equal(found.dataset, f->dataset);
	content_found_release(&found);
}

/* It decides whether an image is dropped as a duplicate, and only the own output is sure to be there. */
static void what_the_own_dataset_has_is_found_first(void **state)
{
	struct fixture *f = *state;
	int64_t second = make_dataset(f, "second");
	struct sample_row sample = sample_of("a.jpg", "a", 0);
	struct shard_row shard = shard_of(second, "train/2.tar", 1);
	struct content_found found;

	job_in_state(f, "a", JOB_COMPLETED);
	assert_int_equal(find_and_release(f, second, "a.jpg"), f->dataset);
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	assert_int_equal(find_and_release(f, second, "a.jpg"), second);
	assert_int_equal(find_and_release(f, f->dataset, "a.jpg"), f->dataset);
	/* In the spool, rather than visible elsewhere. */
	sample = sample_of("b.jpg", "b", 0);
	shard.path = "train/3.tar";
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	job_in_state(f, "b", JOB_ENCODED);
	found = find(f, f->dataset, "b.jpg");
	assert_int_equal(found.where, CONTENT_SPOOLED);
	assert_int_equal(found.dataset, f->dataset);
	content_found_release(&found);
}

/* Its file may become what it was: who claims it then must encode, and not keep what is not there. */
static void a_job_whose_old_sample_is_lost_has_its_content_no_more(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = {0};
	uint64_t offset = 0;
	size_t n;

	job_in_state(f, "a", JOB_COMPLETED);
	assert_int_equal(enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 2)).superseding, 1);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_true(job.has_content);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_QUARANTINE)));
	assert_ok(queue_drop_samples(f->q, 1, &offset, 1, NOW, &n, &f->err), &f->err);
	assert_int_equal(n, 0);
	assert_int_equal(enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 3)).requeued, 1);
	job_release(&job);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_false(job.has_content);
}

static void a_dead_sample_and_a_lost_record_are_not_found(void **state)
{
	struct fixture *f = *state;
	uint64_t offset = 0;
	size_t n;

	job_in_state(f, "a", JOB_COMPLETED);
	job_in_state(f, "b", JOB_ENCODED);
	assert_ok(queue_drop_samples(f->q, 1, &offset, 1, NOW, &n, &f->err), &f->err);
	assert_ok(queue_requeue_lost(f->q, f->dataset, NULL, 0, NOW, &n, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(find(f, f->dataset, "a.jpg").where, CONTENT_NONE);
	assert_int_equal(find(f, f->dataset, "b.jpg").where, CONTENT_NONE);
}

int contract_queue_changes(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(a_new_sample_makes_the_old_one_dead),
	    contract_test(only_the_same_variant_is_superseded),
	    contract_test(all_variants_of_a_job_are_superseded_by_one_shard),
	    contract_test(a_record_of_a_changed_file_is_made_visible_without_completing_it),
	    contract_test(an_older_record_does_not_complete_a_job_that_was_encoded_anew),
	    contract_test(the_old_sample_stays_while_the_new_file_is_bad),
	    contract_test(content_that_is_kept_brings_the_job_back_where_it_was),
	    contract_test(a_record_that_came_into_a_shard_meanwhile_is_kept_too),
	    contract_test(what_is_not_there_to_be_kept_is_a_release),
	    contract_test(
		a_changed_file_is_compared_with_the_sample_that_its_job_has_when_it_is_claimed),
	    contract_test(a_failure_that_a_scan_misses_is_gone_and_its_sample_stays_unless_removed),
	    contract_test(a_job_whose_old_sample_is_lost_has_its_content_no_more),
	    contract_test(a_content_is_found_in_the_spool_and_then_in_its_shard),
	    contract_test(a_content_is_found_where_another_was_dropped),
	    contract_test(the_variants_of_a_content_are_found_in_its_shard),
	    contract_test(a_content_is_found_in_every_dataset_of_its_recipe_only),
	    contract_test(what_the_own_dataset_has_is_found_first),
	    contract_test(a_dead_sample_and_a_lost_record_are_not_found),
	};

	fixture_use(backend);
	return cmocka_run_group_tests_name("queue: changes", tests, NULL, NULL);
}
