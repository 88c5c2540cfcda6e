/* Files of one content, and who is blamed for a death. */
#include "pipeline_rig.h"

#include "base/checked.h"
#include "base/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* -- the same content --------------------------------------------------------------------------------- */

/* @n files "PREFIX00.jpg" .. of the same bytes. */
static void add_same(struct fixture *f, const char *prefix, const char *golden, uint8_t n)
{
	size_t first = f->n;

	add_pictures(f, prefix, golden, n);
	for (size_t i = first + 1; i < f->n; i++)
		memcpy((void *)f->files[i].data, f->files[first].data, f->files[first].size);
}

static void files_of_one_content_are_encoded_once(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 3};

	add_same(f, "same", "q16.jpg", 40);
	add_pictures(f, "other", "rocket.jpg", 5);
	run_all(f, &how);
	assert_string_equal(f->outcomes, "");
	assert_int_equal(f->counts.copied, 39);
	assert_all_sealed_once(f);
	/* What is in a shard by now is copied from there. */
	add_same(f, "same_late", "q16.jpg", 1);
	memcpy((void *)f->files[f->n - 1].data, f->files[0].data, f->files[0].size);
	run_all(f, &how);
	assert_int_equal(f->counts.copied, 1);
	assert_all_sealed_once(f);
}

static void duplicates_of_a_bad_image_fail_with_it(void **state)
{
	struct fixture *f = *state;
	struct how how = {.poison = is_poisoned};

	add_same(f, "bad", "q16.jpg", 12);
	poisoned = hash128_of(f->files[0].data, f->files[0].size);
	add_pictures(f, "good", "rocket.jpg", 2);
	run_all(f, &how);
	assert_int_equal(count(f, JOB_QUARANTINED), 12);
	assert_int_equal(count(f, JOB_COMPLETED), 2);
	assert_true(f->batches <= 3);
}

static void duplicates_of_an_image_that_is_left_out_are_left_out(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	run_use_bucket_options(
	    &f->run,
	    &(struct bucket_options){.rule = BUCKET_SQUARE, .resolution = 512, .max_upscale = 1.5});
	add_same(f, "small", "orientation_6.jpg", 9);
	run_all(f, &how);
	assert_int_equal(count(f, JOB_SKIPPED), 9);
}

static void duplicates_of_what_kills_the_decoder_are_tried_for_themselves(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	free(f->decoder);
	f->decoder = xasprintf("%s/tests/lying_worker", getenv("LATENTD_BUILD_DIR"));
	add_text(f, "a.jpg", "exit_drawing");
	add_text(f, "b.jpg", "exit_drawing");
	add_text(f, "c.jpg", "C");
	run_all(f, &how);
	assert_int_equal(count(f, JOB_QUARANTINED), 2);
	assert_int_equal(count(f, JOB_COMPLETED), 1);
}

static int on_unharmed(void *arg, const struct job_row *row)
{
	size_t *charged = arg;

	*charged += row->attempts > 0 || row->crashes > 0;
	return 0;
}

/* Some of them are held by a worker that another image kills, with duplicates parked behind them. */
static void what_stands_behind_a_killer_is_encoded_and_not_charged(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 1};
	size_t charged = 0;

	free(f->decoder);
	f->decoder = xasprintf("%s/tests/lying_worker", getenv("LATENTD_BUILD_DIR"));
	for (size_t i = 0; i < 40; i++) {
		cleanup_free char *name = xasprintf("%02zu.jpg", i);
		const char own[] = {(char)('A' + i % 26), '0', '\0'};

		add_text(f, name, i % 8 == 0 ? "exit_drawing" : i % 8 == 1 ? "same" : own);
	}
	run_all(f, &how);
	assert_int_equal(count(f, JOB_QUARANTINED), 5);
	assert_int_equal(count(f, JOB_COMPLETED), 35);
	assert_ok(
	    queue_jobs(f->run.queue,
		       &(struct job_filter){.dataset = f->run.dataset, .state = JOB_COMPLETED},
		       on_unharmed, &charged, &f->err),
	    &f->err);
	assert_int_equal(charged, 0);
}

/* A build without the decoder for it, say. */
static void what_is_stored_is_copied_though_its_decoder_refuses_it_now(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 1};
	char *dir = testing_tempdir();
	char *liar = xasprintf("%s/tests/lying_worker", getenv("LATENTD_BUILD_DIR"));
	cleanup_free char *real = realpath(liar, NULL);
	cleanup_free char *text =
	    xasprintf("#!/bin/sh\nLYING_WORKER='refuses headers' exec '%s'\n", real ? real : "");
	char *refuses = testing_path(dir, "refuses");
	int fd = file_open(refuses, O_WRONLY | O_CREAT | O_TRUNC, 0777, &f->err);

	assert_true(fd >= 0);
	assert_ok(fd_write_all(fd, text, strlen(text), &f->err), &f->err);
	close(fd);
	free(f->decoder);
	f->decoder = liar;
	add_text(f, "a.jpg", "one");
	run_all(f, &how);
	assert_int_equal(count(f, JOB_COMPLETED), 1);
	free(f->decoder);
	f->decoder = refuses;
	add_text(f, "b.jpg", "one");
	add_text(f, "c.jpg", "two");
	add_text(f, "d.jpg", "two");
	run_all(f, &how);
	assert_int_equal(f->counts.copied, 1);
	assert_int_equal(count(f, JOB_COMPLETED), 2);
	assert_int_equal(count(f, JOB_QUARANTINED), 2);
	assert_non_null(strstr(f->outcomes, "c.jpg 3 unsupported\n"));
	assert_non_null(strstr(f->outcomes, "d.jpg 3 unsupported\n"));
	testing_tempdir_remove(dir);
}

static void with_drop_one_key_of_each_content_is_encoded(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2, .drop = true};

	add_same(f, "same", "q16.jpg", 10);
	add_pictures(f, "other", "rocket.jpg", 2);
	run_all(f, &how);
	assert_int_equal(count(f, JOB_COMPLETED), 3);
	assert_int_equal(count(f, JOB_SKIPPED), 9);
	assert_non_null(strstr(f->outcomes, " 4 duplicate\n"));
}

static void stopping_releases_what_is_parked(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	add_same(f, "a", "q16.jpg", 30);
	scan_files(f);
	open_pipeline(f, &how);
	for (size_t turns = 0; turns < 30; turns++) {
		pipeline_pump(f->pipeline);
		run_turn(&f->run);
	}
	encode_driver_cancel(f->driver);
	pipeline_stop(f->pipeline);
	turn_to_the_end(f, false);
	close_pipeline(f);
	assert_int_equal(count(f, JOB_RUNNING), 0);
	assert_int_equal(f->fatal.code, ERR_NONE);
}

/* -- blame -------------------------------------------------------------------------------------------- */

/* The owner claims what it can, and dies with it. */
static size_t die_with(struct fixture *f, unsigned time, bool suspects)
{
	cleanup_free char *dead = xasprintf("host:boot:%u:1", time);
	struct queue_claim claim = {.dataset = f->run.dataset,
				    .owner = dead,
				    .now = 1000,
				    .lease_until = INT64_MAX,
				    .limit = FILES_MAX,
				    .suspects = suspects};
	struct job jobs[FILES_MAX];
	size_t n = 0, rescued;

	queue_claim(f->run.queue, &claim, jobs, &n, &f->err);
	for (size_t i = 0; i < n; i++)
		job_release(&jobs[i]);
	assert_ok(queue_rescue(f->run.queue, f->run.dataset, RUN_OWNER, 2000, &rescued, &f->err),
		  &f->err);
	assert_true(rescued == n || suspects); /* a suspect may be blamed */
	return n;
}

static void what_was_in_flight_at_every_death_runs_alone(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 3};

	add_pictures(f, "a", "q16.jpg", 8);
	scan_files(f);
	for (unsigned i = 0; i < QUEUE_SUSPECT_CRASHES; i++)
		assert_int_equal(die_with(f, 100 + i, false), 8);
	assert_int_equal(die_with(f, 200, false), 0);
	add_pictures(f, "b", "rocket.jpg", 4);
	run_all(f, &how);
	assert_string_equal(f->outcomes, "");
	assert_all_sealed_once(f);
	assert_true(f->singles >= 8);
}

static int on_crashed(void *arg, const struct job_row *row)
{
	(void)arg;
	assert_string_equal(row->reason, "crash");
	return 0;
}

static void only_what_kills_its_owner_alone_is_blamed(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	add_pictures(f, "a", "q16.jpg", 6);
	scan_files(f);
	for (unsigned i = 0; i < QUEUE_SUSPECT_CRASHES; i++)
		die_with(f, 100 + i, false);
	for (unsigned i = QUEUE_SUSPECT_CRASHES; i < QUEUE_BLAMED_CRASHES; i++)
		assert_int_equal(die_with(f, 200 + i, true), 1);
	run_all(f, &how);
	assert_int_equal(count(f, JOB_COMPLETED), 5);
	assert_int_equal(count(f, JOB_QUARANTINED), 1);
	assert_ok(
	    queue_jobs(f->run.queue,
		       &(struct job_filter){.dataset = f->run.dataset, .state = JOB_QUARANTINED},
		       on_crashed, NULL, &f->err),
	    &f->err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    pipeline_test(files_of_one_content_are_encoded_once),
	    pipeline_test(duplicates_of_a_bad_image_fail_with_it),
	    pipeline_test(duplicates_of_an_image_that_is_left_out_are_left_out),
	    pipeline_test(duplicates_of_what_kills_the_decoder_are_tried_for_themselves),
	    pipeline_test(what_stands_behind_a_killer_is_encoded_and_not_charged),
	    pipeline_test(what_is_stored_is_copied_though_its_decoder_refuses_it_now),
	    pipeline_test(with_drop_one_key_of_each_content_is_encoded),
	    pipeline_test(stopping_releases_what_is_parked),
	    pipeline_test(what_was_in_flight_at_every_death_runs_alone),
	    pipeline_test(only_what_kills_its_owner_alone_is_blamed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
