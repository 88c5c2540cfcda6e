/*
 * From files to sealed shards in this process: source, queue and store in memory, the real latentd-decode (or
 * the lying one), the fake encoder.
 */
#include "daemon/pipeline.h"

#include "daemon/db_queue.h"
#include "daemon/scan.h"

#include "base/checked.h"
#include "base/files.h"
#include "encoder/encoder_fake.h"
#include "run_rig.h"

#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

enum { FILES_MAX = 64, ROOT = 3 };

struct fixture {
	struct run run;
	struct source *source;
	struct source_memory_file files[FILES_MAX];
	size_t n;
	char *decoder;
	struct encoder *encoder;
	struct encode_driver *driver;
	struct encode_group encoders;
	struct decode_pool *pool;
	struct memory_budget memory;
	struct pipeline *pipeline;
	struct pipeline_root root;
	struct error fatal;
	size_t batches; /* that came back */
	size_t singles; /* of them with one image */
	struct pipeline_counts counts;
	/* outcomes as the pipeline told them, a line each: "PATH KIND REASON" */
	char outcomes[4096];
	struct error err;
};

static int setup(void **state)
{
	static struct fixture f;
	const char *build = getenv("LATENTD_BUILD_DIR");

	memset(&f, 0, sizeof(f));
	run_open(&f.run);
	f.decoder = xasprintf("%s/daemon/latentd-decode", build ? build : ".");
	*state = &f;
	return 0;
}

static void close_pipeline(struct fixture *f)
{
	encode_driver_close(f->driver);
	decode_pool_close(f->pool);
	if (f->pipeline)
		f->counts = *pipeline_counts(f->pipeline);
	pipeline_close(f->pipeline);
	encode_group_release(&f->encoders);
	f->driver = NULL;
	f->pool = NULL;
	f->pipeline = f->run.pipeline = NULL;
	run_close_packer(&f->run);
	encoder_close(f->encoder);
	f->encoder = NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_pipeline(f);
	source_close(f->source);
	for (size_t i = 0; i < f->n; i++) {
		free((char *)f->files[i].path);
		free((void *)f->files[i].data);
	}
	free(f->decoder);
	run_close(&f->run);
	return 0;
}

/* -- files -------------------------------------------------------------------------------------------- */

static void add_file(struct fixture *f, const char *path, const void *data, size_t size)
{
	struct source_memory_file *file = &f->files[f->n++];

	assert_true(f->n <= FILES_MAX);
	file->path = xstrdup(path);
	file->size = size;
	if (data) {
		void *copy = xmalloc(size);

		memcpy(copy, data, size);
		file->data = copy;
	}
}

/* @n files "PREFIX00.jpg" .. with the picture @golden; a byte behind its end makes each its own. */
static void add_pictures(struct fixture *f, const char *prefix, const char *golden, uint8_t n)
{
	cleanup_free char *relative = xasprintf("images/%s", golden);
	cleanup_free char *path = testing_golden(relative);
	cleanup_buffer struct buffer bytes = testing_read(path);

	buffer_put_u8(&bytes, 0);
	for (uint8_t i = 0; i < n; i++) {
		cleanup_free char *name = xasprintf("%s%02u.jpg", prefix, i);

		bytes.data[bytes.size - 1] = i;
		add_file(f, name, bytes.data, bytes.size);
	}
}

/* A file for lying_worker: a lie by its name, or an image of the text's first byte. */
static void add_text(struct fixture *f, const char *path, const char *text)
{
	add_file(f, path, text, strlen(text));
}

/* -- a run -------------------------------------------------------------------------------------------- */

static void on_outcome(void *arg, const char *path, enum outcome_kind kind, const char *reason,
		       const char *message)
{
	struct fixture *f = arg;
	size_t n = strlen(f->outcomes);

	assert_non_null(message);
	snprintf(f->outcomes + n, sizeof(f->outcomes) - n, "%s %d %s\n", path, kind, reason);
}

static void on_fatal(void *arg, const struct error *why)
{
	struct fixture *f = arg;

	assert_int_equal(f->fatal.code, ERR_NONE);
	f->fatal = *why;
}

static void on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	struct fixture *f = arg;

	f->batches++;
	f->singles += batch->n == 1;
	pipeline_on_batch(batch, failure);
}

static void scan(struct fixture *f)
{
	struct scan_options options = {.dataset = f->run.dataset, .root = ROOT, .shuffled = true};
	struct enqueue_counts counts = {0};

	source_close(f->source);
	assert_ok(source_memory_open(f->files, f->n, &f->source, &f->err), &f->err);
	assert_ok(scan_source(f->run.queue, f->source, &options, &counts, &f->err), &f->err);
	assert_int_equal(counts.added + counts.known, f->n);
}

struct how {
	size_t workers, memory;
	bool (*poison)(const struct hash128 *content);
	bool drop;
};

static void open_pipeline(struct fixture *f, const struct how *how)
{
	struct encoder_fake_options fake = {.poison = how->poison};
	struct run_limits limits = {.samples = 10};
	struct pipeline_options options = {.recipe = &f->run.recipe,
					   .buckets = f->run.buckets,
					   .roots = &f->root,
					   .n_roots = 1,
					   .dataset = f->run.dataset,
					   .memory = &f->memory,
					   .encoders = &f->encoders,
					   .captions = true,
					   .drop_duplicates = how->drop,
					   .on_outcome = on_outcome,
					   .on_fatal = on_fatal,
					   .arg = f};

	struct decode_pool_options pool = {.workers = how->workers ? how->workers : 2,
					   .program = f->decoder,
					   .slot_bytes =
					       bucket_table_max_pixels(f->run.buckets) * 3};

	run_open_loop(&f->run);
	run_open_packer(&f->run, &limits);
	f->memory = (struct memory_budget){.limit = how->memory ? how->memory : (size_t)64 << 20};
	pipeline_decode_options(&pool);
	assert_ok(decode_pool_open(f->run.event, &pool, &f->pool, &f->err), &f->err);
	f->root = (struct pipeline_root){ROOT, f->source};
	if (!f->encoder)
		assert_ok(encoder_fake_open(&fake, &f->encoder, &f->err), &f->err);
	assert_ok(encode_driver_open(f->run.inbox, f->encoder, on_batch, f, &f->driver, &f->err),
		  &f->err);
	options.inbox = f->run.inbox;
	options.db = f->run.db;
	options.packer = f->run.packer;
	encode_group_add(&f->encoders, f->driver);
	options.pool = f->pool;
	options.best_batch = encoder_caps(f->encoder)->best_batch;
	assert_ok(pipeline_open(f->run.event, &options, &f->pipeline, &f->err), &f->err);
	f->run.pipeline = f->pipeline;
}

/* As latentctl turns it, until nothing is left to do. */
static void turn_to_the_end(struct fixture *f, bool seal)
{
	bool draining = false;

	for (;;) {
		pipeline_pump(f->pipeline);
		if (!draining && pipeline_finished(f->pipeline)) {
			draining = true;
			packer_drain(f->run.packer, seal);
		}
		if (draining && packer_idle(f->run.packer) && pipeline_finished(f->pipeline))
			return;
		run_turn(&f->run);
	}
}

static void run_all(struct fixture *f, const struct how *how)
{
	scan(f);
	open_pipeline(f, how);
	turn_to_the_end(f, true);
	close_pipeline(f);
	assert_int_equal(f->run.fatal.code, ERR_NONE);
}

static uint64_t count(struct fixture *f, enum job_state state)
{
	return run_count(&f->run, state);
}

/* How often @word stands in @text, as a word. */
static size_t times(const char *text, const char *word)
{
	size_t n = 0, length = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += length)
		n += p > text && p[-1] == ' ' && (p[length] == ' ' || p[length] == '\n');
	return n;
}

/* Every file is in exactly one shard, with its latent. */
static void assert_all_sealed_once(struct fixture *f)
{
	cleanup_free char *catalog = run_catalog(&f->run);

	assert_int_equal(count(f, JOB_COMPLETED), f->n);
	for (size_t i = 0; i < f->n; i++) {
		cleanup_free char *key = xstrdup(f->files[i].path);

		*strrchr(key, '.') = '\0';
		if (times(catalog, key) != 1)
			fail_msg("%s is in %zu shards", key, times(catalog, key));
	}
}

static int on_uncharged(void *arg, const struct job_row *row)
{
	(void)arg;
	assert_int_equal(row->attempts, 0);
	assert_int_equal(row->crashes, 0);
	return 0;
}

/* @n jobs are available, and nothing is held against them. */
static void assert_uncharged(struct fixture *f, uint64_t n)
{
	assert_int_equal(count(f, JOB_AVAILABLE), n);
	assert_ok(
	    queue_jobs(f->run.queue,
		       &(struct job_filter){.dataset = f->run.dataset, .state = JOB_AVAILABLE},
		       on_uncharged, NULL, &f->err),
	    &f->err);
}

/* -- tests -------------------------------------------------------------------------------------------- */

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

static struct hash128 poisoned;

static bool is_poisoned(const struct hash128 *content)
{
	return hash128_equal(content, &poisoned);
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

static void stopping_releases_what_is_not_done_and_the_next_run_does_it(void **state)
{
	struct fixture *f = *state;
	struct how how = {.workers = 2};
	uint64_t done;

	add_pictures(f, "a", "q16.jpg", 60);
	scan(f);
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
	scan(f);
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
	scan(f);
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
	scan(f);
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
	scan(f);
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

/* -- an encoder that gives nothing ---------------------------------------------------------------------- */

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
	scan(f);
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
	scan(f);
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
	scan(f);
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
	scan(f);
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
	scan(f);
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

#define pipeline_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
	    pipeline_test(stopping_releases_what_is_not_done_and_the_next_run_does_it),
	    pipeline_test(a_pause_finishes_what_is_under_way_and_is_taken_up_again),
	    pipeline_test(without_its_source_a_dataset_waits_and_loses_nothing),
	    pipeline_test(stopping_before_the_first_turn_leaves_everything_available),
	    pipeline_test(stopping_ends_decoders_that_hang),
	    pipeline_test(without_any_decoder_the_run_ends_and_charges_nobody),
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
	    pipeline_test(a_file_that_cannot_be_opened_for_long_holds_up_nothing_else),
	    pipeline_test(an_encoder_that_is_lost_ends_the_run_and_charges_nobody),
	    pipeline_test(an_image_that_was_cancelled_in_the_encoder_is_not_charged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
