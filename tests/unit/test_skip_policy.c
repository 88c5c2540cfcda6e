#include "daemon/skip_policy.h"

#include "base/checked.h"
#include "queue/queue_open.h"
#include "tests/testing.h"

struct fixture {
	char *state;
	struct queue *queue;
	int64_t dataset;
};

/* A dataset with one skipped job. */
static int setup(void **state)
{
	static struct fixture f;
	const struct queue_dataset_spec spec = {"photos", "/out/photos",
						"00000000000000000000000000000001", "{}"};
	const struct job_spec job = {
	    .path = "small.png", .key = "small", .key_distinct = "small-1"};
	struct queue_claim claim = {.owner = "me", .lease_until = 10, .limit = 1};
	struct job_outcome outcome = {.kind = OUTCOME_SKIP, .reason = "too_small"};
	struct enqueue_counts counts = {0};
	struct error err = ERROR_INIT;
	struct job claimed;
	size_t n = 0;

	f.state = testing_tempdir();
	assert_ok(queue_memory_open(&f.queue, &err), &err);
	assert_ok(queue_open_dataset(f.queue, &spec, &f.dataset, &err), &err);
	assert_ok(queue_enqueue(f.queue, f.dataset, &job, 1, &counts, &err), &err);
	claim.dataset = f.dataset;
	assert_ok(queue_claim(f.queue, &claim, &claimed, &n, &err), &err);
	outcome.job = claimed.id;
	outcome.fence = claimed.fence;
	job_release(&claimed);
	assert_ok(queue_settle(f.queue, &outcome, 1, 5, NULL, &err), &err);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	queue_close(f->queue);
	testing_tempdir_remove(f->state);
	return 0;
}

/* The job is skipped for another reason. */
static void skip_again(const struct fixture *f, const char *reason)
{
	struct queue_claim claim = {
	    .owner = "me", .dataset = f->dataset, .lease_until = 10, .limit = 1};
	struct job_outcome outcome = {.kind = OUTCOME_SKIP, .reason = reason};
	struct error err = ERROR_INIT;
	struct job claimed;
	size_t n = 0;

	assert_ok(queue_retry(f->queue,
			      &(struct job_filter){.dataset = f->dataset, .state = JOB_SKIPPED}, 5,
			      &n, &err),
		  &err);
	assert_ok(queue_claim(f->queue, &claim, &claimed, &n, &err), &err);
	outcome.job = claimed.id;
	outcome.fence = claimed.fence;
	job_release(&claimed);
	assert_ok(queue_settle(f->queue, &outcome, 1, 5, NULL, &err), &err);
}

static uint64_t skipped(const struct fixture *f)
{
	struct queue_counts counts;
	struct error err = ERROR_INIT;

	assert_ok(queue_counts(f->queue, f->dataset, &counts, &err), &err);
	return counts.jobs[JOB_SKIPPED];
}

static size_t apply(const struct fixture *f, const struct bucket_options *limits)
{
	struct error err = ERROR_INIT;
	size_t again = 99;

	assert_ok(skip_policy_apply(f->state, "photos", limits, false, f->queue, f->dataset, &again,
				    &err),
		  &err);
	return again;
}

/* As a run does that skips the job with these limits noted. */
static void note_limits(const struct fixture *f, const struct bucket_options *limits)
{
	struct queue *empty = NULL;
	struct error err = ERROR_INIT;
	size_t again;

	assert_ok(queue_memory_open(&empty, &err), &err);
	assert_ok(skip_policy_apply(f->state, "photos", limits, false, empty, 1, &again, &err),
		  &err);
	queue_close(empty);
}

static void the_same_limits_leave_skipped_images_alone(void **state)
{
	const struct bucket_options limits = {.max_upscale = 2.0, .min_side = 64};
	struct fixture *f = *state;

	note_limits(f, &limits);
	assert_int_equal(apply(f, &limits), 0);
	assert_int_equal(skipped(f), 1);
}

static void other_limits_make_skipped_images_available_once(void **state)
{
	const struct bucket_options before = {.max_upscale = 2.0};
	const struct bucket_options after[] = {
	    {.max_upscale = 2.5}, {.max_upscale = 2.5, .min_side = 8}, {.max_crop_loss = 0.25}};
	struct fixture *f = *state;

	note_limits(f, &before);
	for (size_t i = 0; i < ARRAY_SIZE(after); i++) {
		assert_int_equal(apply(f, &after[i]), i == 0 ? 1 : 0);
		assert_int_equal(apply(f, &after[i]), 0);
	}
	assert_int_equal(skipped(f), 0);
}

static void a_damaged_note_counts_as_other_limits(void **state)
{
	const struct bucket_options limits = {.max_upscale = 2.0};
	struct fixture *f = *state;
	cleanup_free char *file = testing_path(f->state, "photos.limits.json");

	note_limits(f, &limits);
	testing_write(file, "{", 1);
	assert_int_equal(apply(f, &limits), 1);
}

static void what_is_done_with_duplicates_is_one_of_the_limits(void **state)
{
	const struct bucket_options limits = {.max_upscale = 2.0};
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	size_t again = 99;

	note_limits(f, &limits);
	assert_ok(skip_policy_apply(f->state, "photos", &limits, true, f->queue, f->dataset, &again,
				    &err),
		  &err);
	assert_int_equal(again, 1);
}

static void what_was_deleted_on_purpose_stays_so_under_other_limits(void **state)
{
	const struct bucket_options before = {.max_upscale = 2.0}, after = {.max_upscale = 3.0};
	struct fixture *f = *state;

	skip_again(f, "deleted");
	note_limits(f, &before);
	assert_int_equal(apply(f, &after), 0);
	assert_int_equal(skipped(f), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(the_same_limits_leave_skipped_images_alone, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(other_limits_make_skipped_images_available_once, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(what_is_done_with_duplicates_is_one_of_the_limits,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(what_was_deleted_on_purpose_stays_so_under_other_limits,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(a_damaged_note_counts_as_other_limits, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
