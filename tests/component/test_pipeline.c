/* What becomes of images on their way, and what travels with them. */
#include "pipeline_rig.h"

#include "daemon/db_queue.h"
#include "daemon/record_facts.h"
#include "daemon/scan.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

static void every_image_ends_in_exactly_one_shard(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 3};

	run_use_buckets(&f->run, BUCKET_KOHYA, 128);
	add_pictures(f, "a", "q16.jpg", 17);
	add_pictures(f, "sub/b", "orientation_6.jpg", 11);
	add_pictures(f, "c", "rocket.jpg", 12);
	run_all(f, &how);
	assert_string_equal(f->outcomes, "");
	assert_int_equal(f->fatal.code, ERR_NONE);
	assert_int_equal(f->run.encoded, 40);
	assert_true(f->run.shards > 3);
	assert_int_equal(f->run.shard_samples, 40);
	assert_int_equal(spool_records(f->run.spool), 0);
	assert_all_sealed_once(f);
}

static void no_jobs_at_all_is_the_end(void **state)
{
	struct fixture *f = *state;
	struct how how = {0};

	run_all(f, &how);
	assert_int_equal(f->run.shards, 0);
}

static void an_image_beyond_the_limits_is_skipped_with_its_reason(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	run_use_bucket_options(
	    &f->run,
	    &(struct bucket_options){.rule = BUCKET_SQUARE, .resolution = 512, .max_upscale = 1.5});
	add_pictures(f, "large", "rocket.jpg", 3);
	add_pictures(f, "small", "orientation_6.jpg", 4);
	run_all(f, &how);
	assert_non_null(strstr(f->outcomes, "small00.jpg 4 upscale\n"));
	assert_null(strstr(f->outcomes, "large"));
	assert_int_equal(count(f, JOB_SKIPPED), 4);
	assert_int_equal(count(f, JOB_COMPLETED), 3);
}

static void with_hardly_any_memory_images_run_alone(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 3, .memory = 1};

	run_use_buckets(&f->run, BUCKET_KOHYA, 128);
	add_pictures(f, "a", "q16.jpg", 5);
	add_pictures(f, "b", "orientation_6.jpg", 5);
	run_all(f, &how);
	assert_string_equal(f->outcomes, "");
	assert_all_sealed_once(f);
}

static void a_bad_image_ends_with_its_reason_and_the_rest_is_done(void **state)
{
	struct fixture *f = *state;
	struct how how = {.poison = is_poisoned};
	cleanup_free char *path = testing_golden("images/broken_truncated.jpg");
	cleanup_buffer struct buffer truncated = testing_read(path);

	add_pictures(f, "good", "q16.jpg", 9);
	poisoned = hash128_of(f->files[4].data, f->files[4].size);
	add_file(f, "truncated.jpg", truncated.data, truncated.size);
	add_file(f, "text.jpg", "hello", 5);
	add_file(f, "empty.jpg", "", 0);
	add_file(f, "gone.jpg", NULL, 10);
	run_all(f, &how);
	assert_non_null(strstr(f->outcomes, "good04.jpg 3 non_finite\n"));
	assert_non_null(strstr(f->outcomes, "truncated.jpg 3 truncated\n"));
	assert_non_null(strstr(f->outcomes, "text.jpg 3 unsupported\n"));
	assert_non_null(strstr(f->outcomes, "empty.jpg 3 empty\n"));
	assert_non_null(strstr(f->outcomes, "gone.jpg 5 gone\n"));
	assert_int_equal(count(f, JOB_QUARANTINED), 4);
	assert_int_equal(count(f, JOB_GONE), 1);
	assert_int_equal(count(f, JOB_COMPLETED), 8);
	assert_int_equal(count(f, JOB_RUNNING), 0);
}

static int on_quarantined(void *arg, const struct job_row *row)
{
	struct job_row *out = arg;

	*out = *row;
	assert_string_equal(row->path, "killer.jpg");
	assert_string_equal(row->reason, "worker_died");
	return 0;
}

static void an_image_that_kills_its_decoder_is_tried_twice_in_one_run(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};
	struct job_row row = {.id = 0};

	free(f->decoder);
	f->decoder = xasprintf("%s/tests/lying_worker", getenv("LATENTD_BUILD_DIR"));
	add_text(f, "killer.jpg", "segv");
	add_text(f, "a.jpg", "A");
	add_text(f, "b.jpg", "B");
	run_all(f, &how);
	assert_non_null(strstr(f->outcomes, "killer.jpg 1 worker_died\n"));
	assert_non_null(strstr(f->outcomes, "killer.jpg 3 worker_died\n"));
	assert_int_equal(count(f, JOB_QUARANTINED), 1);
	assert_int_equal(count(f, JOB_COMPLETED), 2);
	assert_ok(
	    queue_jobs(f->run.queue,
		       &(struct job_filter){.dataset = f->run.dataset, .state = JOB_QUARANTINED},
		       on_quarantined, &row, &f->err),
	    &f->err);
	assert_int_equal(row.attempts, 2);
}

static void jobs_of_a_source_that_is_not_given_are_left_alone(void **state)
{
	struct fixture *f = *state;
	struct how how = {0};
	struct job_spec stranger = {
	    .root = ROOT + 1, .path = "a00.jpg", .key = "stranger", .key_distinct = "stranger-1"};
	struct enqueue_counts counts = {0};

	add_pictures(f, "a", "q16.jpg", 1);
	assert_ok(queue_enqueue(f->run.queue, f->run.dataset, &stranger, 1, &counts, &f->err),
		  &f->err);
	run_all(f, &how);
	assert_string_equal(f->outcomes, "");
	assert_int_equal(count(f, JOB_COMPLETED), 1);
	assert_uncharged(f, 1);
}

/* The claim's answer, nothing, reaches the loop only after the word that there is something. */
static void jobs_that_come_while_a_claim_is_under_way_are_claimed(void **state)
{
	struct fixture *f = *state;
	struct scan_options options = {.dataset = f->run.dataset, .root = ROOT, .shuffled = true};
	struct enqueue_counts counts = {0};
	struct queue *through_db;

	add_pictures(f, "a", "q16.jpg", 1);
	assert_ok(source_memory_open(f->files, f->n, &f->source, &f->err), &f->err);
	open_pipeline(f, &(struct how){0});
	pipeline_pump(f->pipeline);
	through_db = db_queue_new(f->run.db, NULL);
	assert_ok(scan_source(through_db, f->source, &options, &counts, &f->err), &f->err);
	queue_close(through_db);
	pipeline_again(f->pipeline);
	turn_to_the_end(f, true);
	close_pipeline(f);
	assert_int_equal(count(f, JOB_COMPLETED), 1);
}

static int on_record(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	char *texts = arg;
	const struct record_member *text = record_member(record, "txt");
	struct record_facts facts;

	(void)span;
	assert_ok(record_facts_read(record, &facts, err), err);
	assert_non_null(text);
	assert_string_equal(facts.caption,
			    (const char *)(text->data.size ? text->data.data : (uint8_t *)""));
	strcat(texts, record->key);
	strcat(texts, "=");
	strcat(texts, facts.caption);
	strcat(texts, ";");
	return 0;
}

static void captions_travel_with_their_images(void **state)
{
	struct fixture *f = *state;
	struct how how = {0};
	char texts[256] = "";

	add_pictures(f, "a", "q16.jpg", 3);
	f->files[0].caption = "the first\n";
	f->files[2].caption = "";
	run_all(f, &how);
	assert_ok(
	    shard_read_stored(f->run.store, "train/64x64/000000.tar", on_record, texts, &f->err),
	    &f->err);
	assert_non_null(strstr(texts, "a00=the first;"));
	assert_non_null(strstr(texts, "a01=;"));
	assert_non_null(strstr(texts, "a02=;"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    pipeline_test(every_image_ends_in_exactly_one_shard),
	    pipeline_test(no_jobs_at_all_is_the_end),
	    pipeline_test(an_image_beyond_the_limits_is_skipped_with_its_reason),
	    pipeline_test(with_hardly_any_memory_images_run_alone),
	    pipeline_test(a_bad_image_ends_with_its_reason_and_the_rest_is_done),
	    pipeline_test(an_image_that_kills_its_decoder_is_tried_twice_in_one_run),
	    pipeline_test(jobs_of_a_source_that_is_not_given_are_left_alone),
	    pipeline_test(jobs_that_come_while_a_claim_is_under_way_are_claimed),
	    pipeline_test(captions_travel_with_their_images),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
