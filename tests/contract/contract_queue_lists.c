#include "tests/contract/contract_queue.h"

#include <inttypes.h>

/* -- by a person ---------------------------------------------------------------------------------- */

static size_t cancel(struct fixture *f, struct job_filter which)
{
	size_t n = 99;

	assert_ok(queue_cancel(f->q, &which, NOW + 30, &n, &f->err), &f->err);
	fixture_after(f);
	return n;
}

static size_t retry(struct fixture *f, struct job_filter which)
{
	size_t n = 99;

	assert_ok(queue_retry(f->q, &which, NOW + 30, &n, &f->err), &f->err);
	fixture_after(f);
	return n;
}

static void what_is_not_yet_worked_on_can_be_cancelled(void **state)
{
	static const enum job_state stays[] = {JOB_COMPLETED, JOB_ENCODED, JOB_QUARANTINED,
					       JOB_SKIPPED,   JOB_GONE,	   JOB_RUNNING};
	struct fixture *f = *state;
	struct job_spec waits = file_spec("waits.jpg", "waits", 1);
	int64_t retryable, available;
	struct job job;

	waits.wants_caption = true;
	for (size_t i = 0; i < ARRAY_SIZE(stays); i++)
		job_in_state(f, job_state_name(stays[i]), stays[i]);
	enqueue_one(f, f->dataset, waits);
	retryable = job_in_state(f, "retryable", JOB_RETRYABLE);
	available = add_job(f, "available");
	assert_int_equal(cancel(f, (struct job_filter){.dataset = f->dataset + 1}), 0);
	assert_int_equal(cancel(f, (struct job_filter){.dataset = f->dataset}), 3);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(stays); i++)
		assert_int_equal(state_of(f, (int64_t)i + 1), stays[i]);
	assert_int_equal(state_of(f, retryable), JOB_CANCELLED);
	/* It waited, and now it is cancelled: a caption does not bring it back, being retried does. */
	waits.caption = 5;
	assert_int_equal(enqueue_one(f, f->dataset, waits).known, 1);
	assert_int_equal(
	    retry(f, (struct job_filter){.dataset = f->dataset, .state = JOB_CANCELLED}), 3);
	assert_int_equal(state_of(f, available), JOB_AVAILABLE);
}

static void one_key_can_be_cancelled_and_retried(void **state)
{
	struct fixture *f = *state;
	const struct job_filter b = {.dataset = f->dataset, .state = JOB_CANCELLED, .key = "b"};
	const struct job_filter none = {.dataset = f->dataset, .key = "no such"};
	struct job_spec changed = file_spec("b.jpg", "b", 2);

	job_in_state(f, "done", JOB_COMPLETED);
	add_job(f, "a");
	add_job(f, "b");
	assert_int_equal(cancel(f, none), 0);
	assert_int_equal(cancel(f, (struct job_filter){.dataset = f->dataset, .key = "done"}), 0);
	assert_int_equal(cancel(f, b), 1);
	assert_int_equal(cancel(f, b), 0);
	assert_int_equal(state_of(f, 2), JOB_AVAILABLE);
	assert_int_equal(state_of(f, 3), JOB_CANCELLED);
	assert_int_equal(
	    retry(f,
		  (struct job_filter){.dataset = f->dataset, .state = JOB_CANCELLED, .key = "a"}),
	    0);
	assert_int_equal(retry(f, b), 1);
	assert_int_equal(cancel(f, b), 1);
	assert_int_equal(enqueue_one(f, f->dataset, changed).requeued, 1);
	assert_int_equal(state_of(f, 3), JOB_AVAILABLE);
}

static void a_suspect_can_be_cancelled(void **state)
{
	struct fixture *f = *state;
	int64_t id = add_job(f, "a");

	for (int i = 0; i < QUEUE_SUSPECT_CRASHES; i++) {
		struct job job;
		size_t n;

		assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
		job_release(&job);
		assert_ok(queue_rescue(f->q, f->dataset, OTHER, NOW, &n, &f->err), &f->err);
	}
	assert_int_equal(cancel(f, (struct job_filter){.dataset = f->dataset}), 1);
	assert_int_equal(state_of(f, id), JOB_CANCELLED);
}

static void those_that_would_be_claimed_first_are_cancelled_first(void **state)
{
	struct fixture *f = *state;
	const struct job_filter two = {.dataset = f->dataset, .limit = 2};

	for (uint64_t i = 0; i < 5; i++) {
		cleanup_free char *key = xasprintf("%" PRIu64, i);
		struct job_spec spec = file_spec(key, key, 1);

		spec.rank = 10 - i;
		enqueue_one(f, f->dataset, spec);
	}
	assert_int_equal(cancel(f, two), 2);
	assert_int_equal(state_of(f, 4), JOB_CANCELLED);
	assert_int_equal(state_of(f, 5), JOB_CANCELLED);
	assert_int_equal(cancel(f, two), 2);
	assert_int_equal(cancel(f, two), 1);
}

/* -- pages ---------------------------------------------------------------------------------------- */

static int note_job(void *arg, const struct job_row *row)
{
	buffer_appendf(arg, "%s ", row->key);
	return 0;
}

static void assert_page(struct fixture *f, struct job_filter which, const char *want)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	which.dataset = f->dataset;
	assert_ok(queue_jobs(f->q, &which, note_job, &text, &f->err), &f->err);
	assert_string_equal(text.data ? (const char *)text.data : "", want);
}

static void jobs_are_listed_by_page_reason_and_key(void **state)
{
	struct fixture *f = *state;
	static const char *const reasons[] = {"bomb", "truncated", "bomb", NULL, "bomb"};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		cleanup_free char *name = xasprintf("q%zu", i);
		cleanup_job struct job job = add_claimed(f, name);
		struct job_outcome outcome = outcome_of(&job, OUTCOME_QUARANTINE);

		outcome.reason = reasons[i];
		assert_true(settle_one(f, outcome));
	}
	for (size_t i = 0; i < 3; i++)
		add_job(f, (const char *const[]){"a0", "a1", "a2"}[i]);
	assert_page(f, (struct job_filter){.state = JOB_QUARANTINED}, "q0 q1 q2 q3 q4 ");
	assert_page(f, (struct job_filter){.state = JOB_QUARANTINED, .limit = 2}, "q0 q1 ");
	assert_page(f, (struct job_filter){.state = JOB_QUARANTINED, .limit = 2, .after = 2},
		    "q2 q3 ");
	assert_page(f, (struct job_filter){.state = JOB_QUARANTINED, .reason = "bomb"},
		    "q0 q2 q4 ");
	assert_page(
	    f,
	    (struct job_filter){.state = JOB_QUARANTINED, .reason = "bomb", .after = 1, .limit = 1},
	    "q2 ");
	assert_page(f, (struct job_filter){.state = JOB_AVAILABLE, .after = 6, .limit = 1}, "a1 ");
	assert_page(f, (struct job_filter){.state = JOB_AVAILABLE, .reason = "bomb"}, "");
	assert_page(f, (struct job_filter){.state = JOB_AVAILABLE, .key = "q3"}, "q3 ");
	assert_page(f, (struct job_filter){.key = "no such"}, "");
}

static int check_row(void *arg, const struct job_row *row)
{
	const struct job_row *want = arg;

	assert_int_equal(row->state, want->state);
	assert_int_equal(row->size, want->size);
	assert_int_equal(row->mtime_ns, want->mtime_ns);
	assert_int_equal(row->not_before, want->not_before);
	return 0;
}

static void a_job_shows_its_file_and_when_it_is_tried_again(void **state)
{
	struct fixture *f = *state;
	struct job_filter which = {.dataset = f->dataset, .key = "a"};
	struct job_row want = {
	    .state = JOB_RETRYABLE, .size = 1000, .mtime_ns = 1, .not_before = NOW + 500};

	job_in_state(f, "a", JOB_RETRYABLE);
	assert_ok(queue_jobs(f->q, &which, check_row, &want, &f->err), &f->err);
	job_in_state(f, "b", JOB_COMPLETED);
	which.key = "b";
	want.state = JOB_COMPLETED;
	want.not_before = 0;
	assert_ok(queue_jobs(f->q, &which, check_row, &want, &f->err), &f->err);
}

static int note_reason(void *arg, const struct reason_row *row)
{
	buffer_appendf(arg, "%s=%" PRIu64 " ", row->reason, row->jobs);
	return 0;
}

static void reasons_are_counted(void **state)
{
	static const char *const reasons[] = {"truncated", "bomb", NULL, "bomb"};
	struct fixture *f = *state;
	cleanup_buffer struct buffer text = BUFFER_INIT;

	job_in_state(f, "skipped", JOB_SKIPPED);
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		cleanup_free char *name = xasprintf("q%zu", i);
		cleanup_job struct job job = add_claimed(f, name);
		struct job_outcome outcome = outcome_of(&job, OUTCOME_QUARANTINE);

		outcome.reason = reasons[i];
		assert_true(settle_one(f, outcome));
	}
	assert_ok(queue_reasons(f->q, f->dataset, JOB_QUARANTINED, note_reason, &text, &f->err),
		  &f->err);
	assert_ok(queue_reasons(f->q, f->dataset, JOB_SKIPPED, note_reason, &text, &f->err),
		  &f->err);
	assert_ok(queue_reasons(f->q, f->dataset, JOB_RETRYABLE, note_reason, &text, &f->err),
		  &f->err);
	assert_string_equal((const char *)text.data, "=1 bomb=2 truncated=1 min_side=1 ");
}

/* -- duplicates ----------------------------------------------------------------------------------- */

struct page {
	struct buffer text;
	struct hash128 last;
};

static int note_duplicate(void *arg, const struct duplicate_row *row)
{
	struct page *page = arg;

	if (page->text.size > 0)
		buffer_append_string(&page->text,
				     hash128_equal(&row->content, &page->last) ? "+" : " ");
	buffer_appendf(&page->text, "%s%s", row->key, row->shard == 0 ? "?" : "");
	page->last = row->content;
	return 0;
}

/* One after the other, of @limit contents each. */
static void assert_duplicates(struct fixture *f, size_t limit, const char *want)
{
	struct page page = {BUFFER_INIT, {{0}}};
	const struct hash128 *after = NULL;
	struct hash128 last;
	size_t before;

	do {
		before = page.text.size;
		assert_ok(queue_duplicates(f->q, f->dataset, after, limit, note_duplicate, &page,
					   &f->err),
			  &f->err);
		last = page.last;
		after = &last;
	} while (page.text.size > before && limit > 0);
	assert_string_equal(page.text.data ? (const char *)page.text.data : "", want);
	buffer_release(&page.text);
}

/* A sample whose content begins with @first and ends with @end. */
static struct sample_row sample_with(const char *path, uint8_t first, uint8_t end, uint64_t offset)
{
	struct sample_row sample = sample_of(path, path, offset);

	sample.content = (struct hash128){{first, [15] = end}};
	return sample;
}

static void contents_that_several_jobs_have_are_listed(void **state)
{
	struct fixture *f = *state;
	/* a and c share one, and so do d and e, which another one (b, f) looks like at first. */
	struct sample_row samples[] = {
	    sample_with("a", 0xff, 1, 0),    sample_with("b", 0x10, 1, 512),
	    sample_with("c", 0xff, 1, 1024), sample_with("d", 0x10, 2, 1536),
	    sample_with("e", 0x10, 2, 2048), sample_with("f", 0x10, 1, 2560),
	    sample_with("g", 0x20, 1, 3072)};
	struct shard_row shard = shard_of(f->dataset, "1.tar", ARRAY_SIZE(samples));

	assert_int_equal(complete(f, &shard, samples, ARRAY_SIZE(samples)), 0);
	assert_duplicates(f, 0, "b+f d+e a+c");
	assert_duplicates(f, 1, "b+f d+e a+c");
	assert_duplicates(f, 2, "b+f d+e a+c");
}

static void a_second_variant_is_no_duplicate_and_another_dataset_has_none(void **state)
{
	struct fixture *f = *state;
	int64_t other = make_dataset(f, "other");
	struct sample_row samples[] = {sample_with("a", 7, 1, 0), sample_with("a", 7, 1, 512)};
	struct shard_row shard = shard_of(f->dataset, "1.tar", 2);

	samples[1].variant = 1;
	assert_int_equal(complete(f, &shard, samples, 2), 0);
	shard.dataset = other;
	assert_int_equal(complete(f, &shard, samples, 2), 0);
	assert_duplicates(f, 0, "");
}

static void skipped_duplicates_are_listed_until_they_are_no_longer_skipped(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = {0};
	struct job_outcome outcome;

	job_in_state(f, "a", JOB_COMPLETED);
	job = add_claimed(f, "b");
	outcome = outcome_of(&job, OUTCOME_SKIP);
	outcome.reason = "duplicate";
	outcome.has_content = true;
	outcome.content = hash128_of("a.jpg", 5);
	assert_true(settle_one(f, outcome));
	assert_duplicates(f, 0, "a+b?");
	assert_int_equal(retry(f, (struct job_filter){.dataset = f->dataset, .state = JOB_SKIPPED}),
			 1);
	assert_duplicates(f, 0, "");
	job_release(&job);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_false(job.has_content);
}

int contract_queue_lists(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(what_is_not_yet_worked_on_can_be_cancelled),
	    contract_test(one_key_can_be_cancelled_and_retried),
	    contract_test(a_suspect_can_be_cancelled),
	    contract_test(those_that_would_be_claimed_first_are_cancelled_first),
	    contract_test(jobs_are_listed_by_page_reason_and_key),
	    contract_test(a_job_shows_its_file_and_when_it_is_tried_again),
	    contract_test(reasons_are_counted),
	    contract_test(contents_that_several_jobs_have_are_listed),
	    contract_test(a_second_variant_is_no_duplicate_and_another_dataset_has_none),
	    contract_test(skipped_duplicates_are_listed_until_they_are_no_longer_skipped),
	};

	fixture_use(backend);
	return cmocka_run_group_tests_name("lists", tests, NULL, NULL);
}
