/* Ends and hold-ups: stops, pauses, sources, decoders and encoders that hang or are lost. */
#include "pipeline_rig.h"

#include "base/checked.h"

#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static void stopping_releases_what_is_not_done_and_the_next_run_does_it(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};
	uint64_t done;

	add_pictures(f, "a", "q16.jpg", 60);
	scan_files(f);
	open_pipeline(f, &how);
	while (f->batches == 0) {
		pipeline_pump(f->pipeline);
		run_turn(&f->run);
	}
	encode_driver_cancel(f->driver);
	pipeline_stop(f->pipeline);
	turn_to_the_end(f, false);
	close_pipeline(f);
	done = count(f, JOB_ENCODED) + count(f, JOB_COMPLETED);
	assert_true(done > 0);
	assert_int_equal(count(f, JOB_RUNNING), 0);
	assert_uncharged(f, 60 - done);
	assert_int_equal(f->fatal.code, ERR_NONE);
	assert_string_equal(f->outcomes, "");
	/* Whoever goes on finds the rest; the packer's records would come from recovery. */
	open_pipeline(f, &how);
	turn_to_the_end(f, true);
	close_pipeline(f);
	assert_int_equal(count(f, JOB_ENCODED) + count(f, JOB_COMPLETED), 60);
	assert_int_equal(f->run.encoded, 60); /* nothing twice */
}

/* Until the pipeline has nothing under way; the packer is not drained. */
static void turn_until_finished(struct fixture *f)
{
	pipeline_pump(f->pipeline);
	while (!pipeline_finished(f->pipeline)) {
		run_turn(&f->run);
		pipeline_pump(f->pipeline);
	}
}

static void a_pause_finishes_what_is_under_way_and_is_taken_up_again(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	add_pictures(f, "a", "q16.jpg", 60);
	scan_files(f);
	open_pipeline(f, &how);
	while (f->batches == 0) {
		pipeline_pump(f->pipeline);
		run_turn(&f->run);
	}
	pipeline_pause(f->pipeline, true);
	turn_until_finished(f);
	assert_true(f->run.encoded < 60);
	pipeline_pause(f->pipeline, false);
	pipeline_again(f->pipeline);
	turn_to_the_end(f, true);
	close_pipeline(f);
	assert_int_equal(f->run.encoded, 60);
	assert_int_equal(count(f, JOB_COMPLETED), 60);
}

static void without_its_source_a_dataset_waits_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	add_pictures(f, "a", "q16.jpg", 20);
	scan_files(f);
	open_pipeline(f, &how);
	while (f->batches == 0) {
		pipeline_pump(f->pipeline);
		run_turn(&f->run);
	}
	pipeline_set_roots(f->pipeline, NULL, 0);
	turn_until_finished(f);
	assert_string_equal(f->outcomes, ""); /* nobody is charged */
	pipeline_set_roots(f->pipeline, &f->root, 1);
	pipeline_again(f->pipeline);
	turn_to_the_end(f, true);
	close_pipeline(f);
	assert_int_equal(count(f, JOB_COMPLETED), 20);
}

static void stopping_before_the_first_turn_leaves_everything_available(void **state)
{
	struct fixture *f = *state;
	struct how how = {0};

	add_pictures(f, "a", "q16.jpg", 3);
	scan_files(f);
	open_pipeline(f, &how);
	pipeline_stop(f->pipeline);
	turn_to_the_end(f, false);
	close_pipeline(f);
	assert_uncharged(f, 3);
	assert_int_equal(f->fatal.code, ERR_NONE);
}

static void stopping_ends_decoders_that_hang(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	free(f->decoder);
	f->decoder = xasprintf("%s/tests/lying_worker", getenv("LATENTD_BUILD_DIR"));
	add_text(f, "a.jpg", "hang");
	add_text(f, "b.jpg", "hang_drawing");
	add_text(f, "c.jpg", "hang");
	scan_files(f);
	open_pipeline(f, &how);
	/* Two of three are with their workers when nothing happens any more for a while. */
	do
		pipeline_pump(f->pipeline);
	while (sd_event_run(f->run.event, 700 * 1000) > 0);
	pipeline_stop(f->pipeline);
	turn_to_the_end(f, false);
	close_pipeline(f);
	assert_int_equal(f->fatal.code, ERR_NONE);
	assert_string_equal(f->outcomes, "");
	assert_uncharged(f, 3);
}

static void without_any_decoder_the_run_ends_and_charges_nobody(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	free(f->decoder);
	f->decoder = xstrdup("/bin/true"); /* ends before it is ready */
	add_text(f, "a.jpg", "A");
	run_all(f, &how);
	assert_int_equal(f->fatal.code, ERR_IO);
	assert_non_null(strstr(f->fatal.message, "latentd-decode"));
	assert_uncharged(f, 1);
	assert_string_equal(f->outcomes, "");
}

/* -- others want its images too ----------------------------------------------------------------------- */

static size_t waits_to_be_encoded(const struct fixture *f)
{
	size_t queues[STAGES] = {0};

	pipeline_queues(f->pipeline, queues);
	return queues[STAGE_ENCODE];
}

static void what_no_encoder_has_is_given_back_uncharged_parked_images_too(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	add_pictures(f, "a", "q16.jpg", 5);
	add_pictures(f, "b", "q16.jpg", 5); /* the same again: they wait behind the first */
	scan_files(f);
	open_pipeline(f, &how);
	encode_driver_rest(f->driver, true);
	while (waits_to_be_encoded(f) < 5 || count(f, JOB_RUNNING) < 10) {
		pipeline_pump(f->pipeline);
		run_turn(&f->run);
	}
	pipeline_set_claims(f->pipeline, PIPELINE_CLAIMS_NONE);
	pipeline_pump(f->pipeline);
	assert_false(pipeline_finished(f->pipeline));
	assert_int_equal(waits_to_be_encoded(f), 5); /* for a while */
	pipeline_set_claims(f->pipeline, PIPELINE_GIVES_BACK);
	turn_until_finished(f);
	assert_uncharged(f, 10);
	assert_int_equal(f->memory.used, 0);
	assert_string_equal(f->outcomes, "");
	encode_driver_rest(f->driver, false);
	pipeline_set_claims(f->pipeline, PIPELINE_CLAIMS);
	pipeline_again(f->pipeline);
	turn_to_the_end(f, true);
	close_pipeline(f);
	assert_all_sealed_once(f);
}

static void what_is_on_its_way_to_pixels_is_given_back_too(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	add_pictures(f, "a", "q16.jpg", 40);
	scan_files(f);
	open_pipeline(f, &how);
	encode_driver_rest(f->driver, true);
	while (waits_to_be_encoded(f) == 0) {
		pipeline_pump(f->pipeline);
		run_turn(&f->run);
	}
	pipeline_set_claims(f->pipeline, PIPELINE_GIVES_BACK);
	turn_until_finished(f);
	assert_uncharged(f, 40);
	assert_int_equal(f->batches, 0);
}

static void an_encoder_is_tried_with_one_image_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};

	add_pictures(f, "a", "q16.jpg", 6);
	scan_files(f);
	open_pipeline(f, &how);
	pipeline_set_claims(f->pipeline, PIPELINE_CLAIMS_ONE);
	pipeline_pump(f->pipeline);
	while (!pipeline_finished(f->pipeline)) {
		run_turn(&f->run);
		pipeline_pump(f->pipeline);
	}
	turn_to_the_end(f, true);
	assert_int_equal(f->batches, 6);
	assert_int_equal(f->singles, 6);
	close_pipeline(f);
	assert_all_sealed_once(f);
}

static void who_may_claim_nothing_leaves_everything_available(void **state)
{
	struct fixture *f = *state;
	struct how how = {0};

	add_pictures(f, "a", "q16.jpg", 3);
	scan_files(f);
	open_pipeline(f, &how);
	pipeline_set_claims(f->pipeline, PIPELINE_CLAIMS_NONE);
	pipeline_pump(f->pipeline);
	assert_true(pipeline_finished(f->pipeline));
	assert_uncharged(f, 3);
}

/* -- a file system that hangs ------------------------------------------------------------------------- */

struct hanging {
	struct source base;
	struct source *files;
	sem_t entered, may;
};

static int hanging_open(struct source *base, const char *path, struct error *err)
{
	struct hanging *h = (struct hanging *)base;

	sem_post(&h->entered);
	while (sem_wait(&h->may) < 0)
		;
	return source_open_sample(h->files, path, err);
}

static int hanging_caption(struct source *base, const char *path, struct buffer *out,
			   struct error *err)
{
	return source_caption(((struct hanging *)base)->files, path, out, err);
}

static void hanging_close(struct source *base)
{
	sem_post(&((struct hanging *)base)->entered);
}

static const struct source_ops hanging_ops = {.name = "hanging",
					      .open_sample = hanging_open,
					      .caption = hanging_caption,
					      .close = hanging_close};

static void a_file_that_cannot_be_opened_for_long_holds_up_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct hanging h = {.base.ops = &hanging_ops};
	struct how how = {0};

	sem_init(&h.entered, 0, 0);
	sem_init(&h.may, 0, 0);
	add_pictures(f, "a", "q16.jpg", 3);
	scan_files(f);
	h.files = f->source;
	open_pipeline(f, &how);
	f->root.source = &h.base;
	pipeline_set_roots(f->pipeline, &f->root, 1);
	do {
		pipeline_pump(f->pipeline);
		run_turn(&f->run);
	} while (sem_trywait(&h.entered) < 0);
	/* The source goes; what is being opened of it is told, and comes to its end. */
	pipeline_set_roots(f->pipeline, NULL, 0);
	pipeline_close_source(f->pipeline, &h.base);
	pipeline_pump(f->pipeline);
	assert_false(pipeline_finished(f->pipeline));
	assert_int_equal(sem_trywait(&h.entered), -1); /* it is not closed meanwhile */
	for (size_t i = 0; i < 3; i++)
		sem_post(&h.may);
	turn_to_the_end(f, true);
	while (sem_wait(&h.entered) < 0)
		;
	close_pipeline(f);
	assert_true(count(f, JOB_COMPLETED) >= 1);
	assert_int_equal(count(f, JOB_COMPLETED) + count(f, JOB_AVAILABLE), 3);
	sem_destroy(&h.entered);
	sem_destroy(&h.may);
}

/* Hands each batch back with @code in every item, and as its own failure too if it is @lost. */
struct barren {
	struct encoder base;
	struct encode_batch *batch;
	enum error_code code;
	bool lost;
};

/* -- an encoder that gives nothing ---------------------------------------------------------------------- */

static const struct encoder_caps *barren_caps(const struct encoder *e)
{
	static const struct encoder_caps caps = {.latent_channels = 4,
						 .downscale = 8,
						 .best_batch = 2,
						 .max_in_flight = 1,
						 .mean = true,
						 .engine = "barren"};

	(void)e;
	return &caps;
}

static size_t barren_capacity(struct encoder *e)
{
	return ((struct barren *)e)->batch ? 0 : 1;
}

static int barren_submit(struct encoder *e, struct encode_batch *batch, struct error *err)
{
	(void)err;
	if (((struct barren *)e)->batch)
		return ENCODER_FULL;
	((struct barren *)e)->batch = batch;
	return 0;
}

static int barren_collect(struct encoder *e, int timeout_ms, struct encode_batch **done,
			  struct error *err)
{
	struct barren *b = (struct barren *)e;

	(void)timeout_ms;
	for (size_t i = 0; i < b->batch->n; i++)
		error_set(&b->batch->items[i].error, b->code, "not today");
	*done = TAKE(b->batch);
	return b->lost ? error_set(err, b->code, "the device is lost") : 0;
}

static void barren_nothing(struct encoder *e)
{
	(void)e;
}

static uint64_t barren_ticks(const struct encoder *e)
{
	(void)e;
	return 0;
}

static const struct encoder_ops barren_ops = {.name = "barren",
					      .caps = barren_caps,
					      .capacity = barren_capacity,
					      .submit = barren_submit,
					      .collect = barren_collect,
					      .cancel = barren_nothing,
					      .ticks = barren_ticks,
					      .close = barren_nothing};

static void an_encoder_that_is_lost_ends_the_run_and_charges_nobody(void **state)
{
	struct barren lost = {{&barren_ops}, NULL, ERR_IO, true};
	struct fixture *f = *state;
	struct how how = {0};

	add_pictures(f, "a", "q16.jpg", 12);
	f->encoder = &lost.base;
	run_all(f, &how);
	assert_int_equal(f->fatal.code, ERR_IO);
	assert_string_equal(f->fatal.message, "the device is lost");
	assert_uncharged(f, 12);
	assert_string_equal(f->outcomes, "");
}

static void an_image_that_was_cancelled_in_the_encoder_is_not_charged(void **state)
{
	struct barren busy = {{&barren_ops}, NULL, ERR_TRANSIENT, false};
	struct fixture *f = *state;
	struct how how = {0};

	add_pictures(f, "a", "q16.jpg", 12);
	f->encoder = &busy.base;
	scan_files(f);
	open_pipeline(f, &how);
	while (f->batches < 3) {
		pipeline_pump(f->pipeline);
		run_turn(&f->run);
	}
	pipeline_stop(f->pipeline);
	turn_to_the_end(f, true);
	close_pipeline(f);
	assert_int_equal(f->fatal.code, ERR_NONE);
	assert_uncharged(f, 12);
	assert_string_equal(f->outcomes, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    pipeline_test(stopping_releases_what_is_not_done_and_the_next_run_does_it),
	    pipeline_test(a_pause_finishes_what_is_under_way_and_is_taken_up_again),
	    pipeline_test(without_its_source_a_dataset_waits_and_loses_nothing),
	    pipeline_test(stopping_before_the_first_turn_leaves_everything_available),
	    pipeline_test(stopping_ends_decoders_that_hang),
	    pipeline_test(without_any_decoder_the_run_ends_and_charges_nobody),
	    pipeline_test(what_no_encoder_has_is_given_back_uncharged_parked_images_too),
	    pipeline_test(what_is_on_its_way_to_pixels_is_given_back_too),
	    pipeline_test(an_encoder_is_tried_with_one_image_at_a_time),
	    pipeline_test(who_may_claim_nothing_leaves_everything_available),
	    pipeline_test(a_file_that_cannot_be_opened_for_long_holds_up_nothing_else),
	    pipeline_test(an_encoder_that_is_lost_ends_the_run_and_charges_nobody),
	    pipeline_test(an_image_that_was_cancelled_in_the_encoder_is_not_charged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
