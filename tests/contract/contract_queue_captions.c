#include "tests/contract/contract_queue.h"

#include <inttypes.h>

static struct job_spec captioned(const char *path, const char *key, uint64_t caption)
{
	struct job_spec spec = file_spec(path, key, 1);

	spec.caption = caption;
	return spec;
}

static struct job_spec wanting(const char *path, const char *key, uint64_t caption)
{
	struct job_spec spec = captioned(path, key, caption);

	spec.wants_caption = true;
	return spec;
}

static int note_row(void *arg, const struct recaption_row *row)
{
	buffer_appendf(arg, "%s %" PRIu64 "%s in %" PRId64 "/%u%s\n", row->key, row->caption,
		       row->spooled ? " spooled" : "", row->shard, row->variant,
		       row->elsewhere ? " and elsewhere" : "");
	return 0;
}

/* The list of the fixture's dataset, or of one of its shards. */
static void assert_listed(struct fixture *f, int64_t shard, const char *want)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	assert_ok(queue_recaptions(f->q, f->dataset, shard, note_row, &text, &f->err), &f->err);
	assert_string_equal(text.data ? (const char *)text.data : "", want);
}

static void settle_recaption(struct fixture *f, int64_t job, uint64_t caption)
{
	const struct recaptioned done = {job, caption};

	assert_ok(queue_recaptioned(f->q, &done, 1, &f->err), &f->err);
	fixture_after(f);
}

/* -- waiting -------------------------------------------------------------------------------------- */

static void a_job_that_needs_a_caption_waits_for_it(void **state)
{
	struct fixture *f = *state;
	struct enqueue_counts counts = enqueue_one(f, f->dataset, wanting("a.jpg", "a", 0));
	struct job job;

	assert_int_equal(counts.added, 1);
	assert_int_equal(counts.waiting, 1);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 0);
	counts = enqueue_one(f, f->dataset, wanting("a.jpg", "a", 0));
	assert_int_equal(counts.known, 1);
	assert_int_equal(counts.waiting, 1);
	counts = enqueue_one(f, f->dataset, wanting("a.jpg", "a", 5));
	assert_int_equal(counts.requeued, 1);
	assert_int_equal(counts.waiting + counts.recaptioned, 0);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	job_release(&job);
}

static void a_job_whose_caption_vanished_waits_while_it_can_be_claimed(void **state)
{
	static const enum job_state waits[] = {JOB_AVAILABLE, JOB_RETRYABLE};
	static const enum job_state stays[] = {JOB_RUNNING, JOB_QUARANTINED, JOB_SKIPPED,
					       JOB_ENCODED, JOB_COMPLETED};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(stays); i++) {
		const char *name = job_state_name(stays[i]);
		cleanup_free char *path = xasprintf("%s.jpg", name);
		int64_t id = job_in_state(f, name, stays[i]);

		assert_int_equal(enqueue_one(f, f->dataset, wanting(path, name, 0)).waiting, 0);
		assert_int_equal(state_of(f, id), stays[i]);
	}
	for (size_t i = ARRAY_SIZE(waits); i-- > 0;) {
		const char *name = job_state_name(waits[i]);
		cleanup_free char *path = xasprintf("%s.jpg", name);
		int64_t id = job_in_state(f, name, waits[i]);

		assert_int_equal(enqueue_one(f, f->dataset, wanting(path, name, 0)).waiting, 1);
		assert_int_equal(state_of(f, id), JOB_WAITING);
		assert_int_equal(enqueue_one(f, f->dataset, wanting(path, name, 7)).requeued, 1);
		assert_int_equal(state_of(f, id), JOB_AVAILABLE);
	}
}

static void a_job_that_no_longer_needs_a_caption_is_available(void **state)
{
	struct fixture *f = *state;

	enqueue_one(f, f->dataset, wanting("a.jpg", "a", 0));
	assert_int_equal(enqueue_one(f, f->dataset, captioned("a.jpg", "a", 0)).requeued, 1);
	assert_int_equal(state_of(f, 1), JOB_AVAILABLE);
}

static void a_changed_file_without_the_caption_it_needs_waits_and_its_sample_stays(void **state)
{
	struct fixture *f = *state;
	int64_t id = job_in_state(f, "a", JOB_COMPLETED);
	struct job_spec spec = wanting("a.jpg", "a", 0);
	struct queue_counts all;
	struct enqueue_counts counts;

	spec.mtime_ns = 2;
	counts = enqueue_one(f, f->dataset, spec);
	assert_int_equal(counts.superseding, 1);
	assert_int_equal(counts.waiting, 1);
	assert_int_equal(state_of(f, id), JOB_WAITING);
	assert_ok(queue_counts(f->q, f->dataset, &all, &f->err), &f->err);
	assert_int_equal(all.samples, 1);
}

/* -- other captions ------------------------------------------------------------------------------- */

static void only_a_stored_sample_can_have_an_earlier_caption(void **state)
{
	static const enum job_state none[] = {JOB_AVAILABLE, JOB_SKIPPED};
	static const enum job_state stored[] = {JOB_ENCODED, JOB_COMPLETED};
	struct fixture *f = *state;
	struct enqueue_counts counts;
	struct job job;

	for (size_t i = ARRAY_SIZE(none); i-- > 0;) {
		const char *name = job_state_name(none[i]);
		cleanup_free char *path = xasprintf("%s.jpg", name);

		job_in_state(f, name, none[i]);
		counts = enqueue_one(f, f->dataset, captioned(path, name, 5));
		assert_int_equal(counts.known, 1);
		assert_int_equal(counts.recaptioned, 0);
	}
	assert_listed(f, 0, "");
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1); /* that nothing is in the way */
	job_release(&job);
	for (size_t i = 0; i < ARRAY_SIZE(stored); i++) {
		const char *name = job_state_name(stored[i]);
		cleanup_free char *path = xasprintf("%s.jpg", name);

		job_in_state(f, name, stored[i]);
		counts = enqueue_one(f, f->dataset, captioned(path, name, 5));
		assert_int_equal(counts.known, 1);
		assert_int_equal(counts.recaptioned, 1);
		counts = enqueue_one(f, f->dataset, captioned(path, name, 5));
		assert_int_equal(counts.recaptioned, 0);
	}
	assert_listed(f, 0, "encoded 5 spooled in 0/0\ncompleted 5 in 1/0\n");
	assert_listed(f, 1, "completed 5 in 1/0\n");
}

static void a_quarantined_job_is_tried_again_when_its_caption_or_mask_is_another(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = captioned("a.jpg", "a", CAPTION_UNSEEN);
	int64_t id = job_in_state(f, "a", JOB_QUARANTINED);
	struct enqueue_counts counts = enqueue_one(f, f->dataset, spec);
	struct job job;

	assert_int_equal(counts.known, 1);
	spec.caption = 0; /* as before */
	assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
	assert_int_equal(state_of(f, id), JOB_QUARANTINED);
	spec.caption = 5;
	counts = enqueue_one(f, f->dataset, spec);
	assert_int_equal(counts.requeued, 1);
	assert_int_equal(counts.known + counts.recaptioned, 0);
	assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_int_equal(job.attempts, 1);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_QUARANTINE)));
	job_release(&job);
	assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
	/* It goes, and the image cannot do without. */
	counts = enqueue_one(f, f->dataset, wanting("a.jpg", "a", 0));
	assert_int_equal(counts.requeued, 1);
	assert_int_equal(counts.waiting, 1);
	assert_int_equal(state_of(f, id), JOB_WAITING);
}

static void a_caption_that_nobody_looked_for_changes_nothing(void **state)
{
	struct fixture *f = *state;

	job_in_state(f, "a", JOB_COMPLETED);
	assert_int_equal(
	    enqueue_one(f, f->dataset, captioned("a.jpg", "a", CAPTION_UNSEEN)).recaptioned, 0);
	assert_int_equal(enqueue_one(f, f->dataset, captioned("a.jpg", "a", 0)).recaptioned, 0);
	assert_listed(f, 0, "");
}

static void an_adopted_sample_is_to_be_compared_with_its_caption(void **state)
{
	struct fixture *f = *state;
	struct sample_row sample = sample_of("a.jpg", "a", 0);
	struct shard_row shard = shard_of(f->dataset, "1.tar", 1);
	struct enqueue_counts counts;

	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	counts = enqueue_one(f, f->dataset, captioned("a.jpg", "a", CAPTION_UNSEEN));
	assert_int_equal(counts.superseding, 1);
	assert_int_equal(counts.recaptioned, 0);
	sample = sample_of("b.jpg", "b", 0);
	shard.path = "2.tar";
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	counts = enqueue_one(f, f->dataset, captioned("b.jpg", "b", 5));
	assert_int_equal(counts.superseding, 1);
	assert_int_equal(counts.recaptioned, 1);
	assert_listed(f, 0, "b 5 in 2/0\n");
}

static void an_image_that_changes_with_its_caption_stays_on_the_list(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = captioned("a.jpg", "a", 5);
	struct enqueue_counts counts;
	struct job_outcome kept;
	struct job job;

	job_in_state(f, "a", JOB_COMPLETED);
	spec.mtime_ns = 2;
	counts = enqueue_one(f, f->dataset, spec);
	assert_int_equal(counts.superseding, 1);
	assert_int_equal(counts.recaptioned, 1);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_listed(f, 0, "a 5 in 1/0\n");
	/* Its content proves to be the old one: nobody has looked at the caption that is stored. */
	kept = outcome_of(&job, OUTCOME_KEPT);
	kept.has_content = true;
	kept.content = job.content;
	assert_true(settle_one(f, kept));
	assert_int_equal(state_of(f, 1), JOB_COMPLETED);
	assert_listed(f, 0, "a 5 in 1/0\n");
	job_release(&job);
}

static void what_was_recaptioned_leaves_the_list_unless_it_changed_again(void **state)
{
	struct fixture *f = *state;
	int64_t id = job_in_state(f, "a", JOB_COMPLETED);

	enqueue_one(f, f->dataset, captioned("a.jpg", "a", 5));
	enqueue_one(f, f->dataset, captioned("a.jpg", "a", 6));
	settle_recaption(f, id, 5);
	assert_listed(f, 0, "a 6 in 1/0\n");
	settle_recaption(f, id + 1, 6);
	settle_recaption(f, id, 6);
	settle_recaption(f, id, 6);
	assert_listed(f, 0, "");
	assert_int_equal(enqueue_one(f, f->dataset, captioned("a.jpg", "a", 6)).recaptioned, 0);
	assert_int_equal(enqueue_one(f, f->dataset, captioned("a.jpg", "a", 0)).recaptioned, 1);
	assert_listed(f, 0, "a 0 in 1/0\n");
}

static void variants_in_several_shards_are_listed_one_by_one(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_of("a.jpg", "a", 0), sample_of("b.jpg", "b", 512)};
	struct shard_row shard = shard_of(f->dataset, "2.tar", 2);

	job_in_state(f, "a", JOB_COMPLETED);
	job_in_state(f, "b", JOB_COMPLETED);
	samples[0].variant = samples[1].variant = 3;
	assert_int_equal(complete(f, &shard, samples, 2), 0);
	enqueue_one(f, f->dataset, captioned("a.jpg", "a", 5));
	assert_listed(f, 0, "a 5 in 1/0 and elsewhere\na 5 in 3/3 and elsewhere\n");
	assert_listed(f, 3, "a 5 in 3/3 and elsewhere\n");
	assert_listed(f, 2, "");
	enqueue_one(f, f->dataset, captioned("b.jpg", "b", 5));
	assert_listed(f, 3, "a 5 in 3/3 and elsewhere\nb 5 in 3/3 and elsewhere\n");
}

static void jobs_are_put_on_the_list_by_their_keys(void **state)
{
	static const char *const keys[] = {"b", "nobody", "a", "b"};
	struct fixture *f = *state;
	struct sample_row adopted = sample_of("c.jpg", "c", 0);
	struct shard_row shard = shard_of(f->dataset, "3.tar", 1);
	int64_t a = job_in_state(f, "a", JOB_COMPLETED);

	job_in_state(f, "b", JOB_AVAILABLE);
	assert_ok(queue_recaption(f->q, f->dataset, keys, ARRAY_SIZE(keys), &f->err), &f->err);
	fixture_after(f);
	assert_listed(f, 0, "a 0 in 1/0\nb 0 in 0/0\n");
	settle_recaption(f, a, 0);
	assert_listed(f, 0, "b 0 in 0/0\n");
	/* Nobody has looked for a caption of this one: its stamp is not known. */
	adopted.job = 0;
	assert_int_equal(complete(f, &shard, &adopted, 1), 0);
	assert_ok(queue_recaption(f->q, f->dataset, (const char *const[]){"c"}, 1, &f->err),
		  &f->err);
	assert_listed(f, 2, "c 0 in 2/0\n");
	settle_recaption(f, a + 2, 0);
	assert_listed(f, 2, "");
}

int contract_queue_captions(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(a_job_that_needs_a_caption_waits_for_it),
	    contract_test(a_job_whose_caption_vanished_waits_while_it_can_be_claimed),
	    contract_test(a_job_that_no_longer_needs_a_caption_is_available),
	    contract_test(a_changed_file_without_the_caption_it_needs_waits_and_its_sample_stays),
	    contract_test(only_a_stored_sample_can_have_an_earlier_caption),
	    contract_test(a_quarantined_job_is_tried_again_when_its_caption_or_mask_is_another),
	    contract_test(a_caption_that_nobody_looked_for_changes_nothing),
	    contract_test(an_adopted_sample_is_to_be_compared_with_its_caption),
	    contract_test(an_image_that_changes_with_its_caption_stays_on_the_list),
	    contract_test(what_was_recaptioned_leaves_the_list_unless_it_changed_again),
	    contract_test(variants_in_several_shards_are_listed_one_by_one),
	    contract_test(jobs_are_put_on_the_list_by_their_keys),
	};

	fixture_use(backend);
	return cmocka_run_group_tests_name("captions", tests, NULL, NULL);
}
