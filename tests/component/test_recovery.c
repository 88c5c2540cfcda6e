#include "run_rig.h"

#include "daemon/record_facts.h"
#include "daemon/recovery.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

#define DEAD "host:boot:9:9"

struct fixture {
	struct run run;
	struct recovery recovered;
	char notes[8192];
	int steps;			 /* until it is interrupted; 0: never */
	void (*scan)(struct fixture *f); /* between the two halves; NULL: none */
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	run_open(&f.run);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	recovery_release(&f->recovered);
	run_close(&f->run);
	return 0;
}

static void on_note(void *arg, const char *line)
{
	struct fixture *f = arg;
	size_t n = strlen(f->notes);

	snprintf(f->notes + n, sizeof(f->notes) - n, "%s\n", line);
}

static bool is_interrupted(void *arg)
{
	struct fixture *f = arg;

	return f->steps > 0 && --f->steps == 0;
}

/* As a new process does it: the spool is closed as a crash leaves it, and everything found again. */
static int try_recover(struct fixture *f, struct error *err)
{
	struct recovery_options options = {.queue = f->run.queue,
					   .store = f->run.store,
					   .recipe = &f->run.recipe,
					   .dataset = f->run.dataset,
					   .spool_dir = f->run.spool_dir,
					   .owner = RUN_OWNER,
					   .stop = is_interrupted,
					   .note = on_note,
					   .arg = f};
	struct recoverer *r = NULL;
	int result;

	spool_close(f->run.spool);
	f->run.spool = NULL;
	f->notes[0] = '\0';
	recovery_release(&f->recovered);
	if (recovery_begin(&options, &r, err) < 0)
		return -1;
	if (f->scan)
		f->scan(f);
	result = recovery_finish(r, &f->recovered, err);
	recovery_free(r);
	return result;
}

static void run_recover(struct fixture *f)
{
	struct error err = ERROR_INIT;

	assert_ok(try_recover(f, &err), &err);
	assert_non_null(f->recovered.spool);
	f->run.spool = f->recovered.spool;
}

static void assert_noted(const struct fixture *f, const char *words)
{
	if (!strstr(f->notes, words))
		fail_msg("\"%s\" does not say \"%s\"", f->notes, words);
}

static void assert_objects(struct fixture *f, const char *want)
{
	cleanup_free char *objects = run_objects(&f->run);

	assert_string_equal(objects, want);
}

/* Two jobs "a.png" and "b.png", claimed by a process that has died. */
static void two_running(struct fixture *f, struct job jobs[2])
{
	run_enqueue(&f->run, "a.png", 1);
	run_enqueue(&f->run, "b.png", 2);
	run_claim(&f->run, DEAD, jobs, 2);
}

static void release_two(struct job jobs[2])
{
	job_release(&jobs[0]);
	job_release(&jobs[1]);
}

/* -- nothing at all --------------------------------------------------------------------------------- */

static void a_first_run_has_nothing_to_recover(void **state)
{
	struct fixture *f = *state;

	run_enqueue(&f->run, "a.png", 1);
	run_recover(f);
	assert_int_equal(f->recovered.n, 0);
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 1);
	assert_string_equal(f->notes, "");
}

/* -- 1: spooled records of running jobs -------------------------------------------------------------- */

static void a_durable_record_of_a_running_job_makes_it_encoded(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	struct record_facts facts;
	cleanup_record struct record record = RECORD_INIT;
	struct error err = ERROR_INIT;

	two_running(f, jobs);
	run_spool(&f->run, jobs, 1);
	run_recover(f);
	assert_int_equal(run_count(&f->run, JOB_ENCODED), 1);
	assert_int_equal(f->recovered.n, 1);
	assert_int_equal(f->recovered.entries[0].job, jobs[0].id);
	assert_int_equal(f->recovered.entries[0].rank, 1);
	assert_string_equal(f->recovered.entries[0].group, "64x64");
	/* And its place is good. */
	assert_ok(spool_read(f->run.spool, &f->recovered.entries[0].place, &record, &err), &err);
	assert_int_equal(record_bytes(&record), f->recovered.entries[0].bytes);
	assert_ok(record_facts_read(&record, &facts, &err), &err);
	assert_string_equal(facts.key, jobs[0].key);
	release_two(jobs);
}

static void recovering_twice_finds_the_same(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];

	two_running(f, jobs);
	run_spool(&f->run, jobs, 2);
	run_recover(f);
	run_recover(f);
	assert_int_equal(f->recovered.n, 2);
	assert_int_equal(run_count(&f->run, JOB_ENCODED), 2);
	release_two(jobs);
}

/* -- 3: shards that are visible and not in the catalog ------------------------------------------------ */

static void an_orphan_of_running_jobs_is_adopted(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	cleanup_free char *name = NULL, *catalog = NULL;

	two_running(f, jobs);
	run_spool(&f->run, jobs, 2);
	name = run_seal(&f->run, &f->run.recipe, jobs, 2);
	run_recover(f);
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 2);
	assert_noted(f, "train/64x64/000000.tar was finished but not in the catalog: adopted");
	assert_int_equal(f->recovered.n_shards, 1);
	assert_string_equal(f->recovered.shards[0], name);
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 2);
	/* Their records are of no more use. */
	assert_int_equal(f->recovered.n, 0);
	assert_int_equal(spool_records(f->run.spool), 0);
	catalog = run_catalog(&f->run);
	assert_string_equal(catalog, "train/64x64/000000.tar: a b\n");
	release_two(jobs);
}

static void an_interrupted_recovery_leaves_the_rest_to_the_next(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	struct job jobs[2];
	cleanup_free char *name = NULL, *catalog = NULL;
	int interrupted = 0;

	two_running(f, jobs);
	name = run_seal(&f->run, &f->run.recipe, jobs, 2);
	for (int steps = 1; interrupted < steps; steps++) {
		f->steps = steps;
		interrupted += try_recover(f, &err) < 0;
		if (interrupted < steps)
			break;
		assert_int_equal(err.code, ERR_TRANSIENT);
		assert_int_equal(run_count(&f->run, JOB_COMPLETED), 0);
		error_clear(&err);
	}
	f->run.spool = f->recovered.spool;
	assert_in_range(interrupted, 3, 6); /* in the middle of the shard, too */
	catalog = run_catalog(&f->run);
	assert_string_equal(catalog, "train/64x64/000000.tar: a b\n");
	release_two(jobs);
}

static void an_orphan_of_encoded_jobs_is_adopted(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	cleanup_free char *name = NULL;

	two_running(f, jobs);
	run_spool(&f->run, jobs, 2);
	run_settle(&f->run, &jobs[0], OUTCOME_ENCODED);
	run_settle(&f->run, &jobs[1], OUTCOME_ENCODED);
	name = run_seal(&f->run, &f->run.recipe, jobs, 2);
	run_recover(f);
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 2);
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 2);
	assert_int_equal(spool_records(f->run.spool), 0);
	release_two(jobs);
}

/* The state folder was lost: the shard is all there is. */
static void an_orphan_whose_jobs_nobody_knows_is_adopted(void **state)
{
	struct fixture *f = *state;
	struct job a = {
	    .id = 77, .fence = 1, .key = (char *)"cats/x", .path = (char *)"cats/x.png"};
	cleanup_free char *name = run_seal(&f->run, &f->run.recipe, &a, 1), *catalog = NULL;

	run_recover(f);
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 1);
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 1);
	catalog = run_catalog(&f->run);
	assert_string_equal(catalog, "train/64x64/000000.tar: cats/x\n");
}

static void a_shard_in_the_catalog_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	cleanup_free char *name = NULL;

	two_running(f, jobs);
	run_spool(&f->run, jobs, 2);
	name = run_seal(&f->run, &f->run.recipe, jobs, 2);
	run_recover(f);
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 2);
	run_recover(f);
	assert_string_equal(f->notes, "");
	assert_objects(f, "train/64x64/000000.tar\n");
	release_two(jobs);
}

/* Publishes @bytes as @name. */
static void publish(struct fixture *f, const char *name, const void *bytes, size_t size)
{
	struct store_writer *w = NULL;
	struct error err = ERROR_INIT;

	assert_ok(store_begin(f->run.store, &w, &err), &err);
	assert_ok(sink_write(store_writer_sink(w), bytes, size, &err), &err);
	assert_ok(store_flush(w, &err), &err);
	assert_ok(store_publish(w, name, &err), &err);
	store_discard(w);
}

/* Takes the object @name out of the store; its bytes. */
static struct buffer take_object(struct fixture *f, const char *name)
{
	struct buffer bytes = BUFFER_INIT;
	struct error err = ERROR_INIT;
	uint64_t size = 0;

	assert_ok(store_size(f->run.store, name, &size, &err), &err);
	buffer_append_zeros(&bytes, size);
	assert_ok(store_read(f->run.store, name, bytes.data, size, 0, &err), &err);
	assert_ok(store_quarantine(f->run.store, name, &err), &err);
	return bytes;
}

static void a_shard_that_is_gone_is_encoded_again(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	cleanup_free char *name = NULL, *catalog = NULL;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	two_running(f, jobs);
	run_spool(&f->run, jobs, 2);
	name = run_seal(&f->run, &f->run.recipe, jobs, 2);
	run_recover(f);
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 2);
	bytes = take_object(f, name);
	run_recover(f);
	assert_noted(f, "train/64x64/000000.tar is no longer there: its 2 images");
	/* Its number is not given again: a reader may still know what it stood for. */
	assert_int_equal(f->recovered.n_shards, 1);
	assert_string_equal(f->recovered.shards[0], name);
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 2);
	catalog = run_catalog(&f->run);
	assert_string_equal(catalog, "");
	release_two(jobs);
}

static void a_shard_that_was_cut_short_is_put_aside_and_encoded_again(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	cleanup_free char *name = NULL;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	two_running(f, jobs);
	name = run_seal(&f->run, &f->run.recipe, jobs, 2);
	run_recover(f);
	bytes = take_object(f, name);
	publish(f, name, bytes.data, bytes.size - 512);
	run_recover(f);
	assert_noted(f, "has another size than when it was sealed");
	assert_objects(f, "");
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 2);
	release_two(jobs);
}

static void an_orphan_that_is_damaged_goes_to_quarantine(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	cleanup_free char *name = NULL;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	uint8_t *latent;

	two_running(f, jobs);
	name = run_seal(&f->run, &f->run.recipe, jobs, 2);
	bytes = take_object(f, name);
	/* One bit of the first latent, whose member's header stands before it. */
	latent = memmem(bytes.data, bytes.size, "a.latent.npy.zst", 16);
	assert_non_null(latent);
	latent[512 + 100] ^= 4;
	publish(f, "train/64x64/000001.tar", bytes.data, bytes.size);
	publish(f, "train/64x64/000002.tar", bytes.data, bytes.size / 2);
	publish(f, "train/64x64/000003.tar", "no shard", 8);
	run_recover(f);
	assert_noted(f, "train/64x64/000001.tar is not in the catalog and cannot be adopted");
	assert_noted(f, "train/64x64/000002.tar is not");
	assert_noted(f, "train/64x64/000003.tar is not");
	assert_noted(f, ".latentd/quarantine");
	assert_objects(f, "");
	/* And the images are done again. */
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 2);
	release_two(jobs);
}

static void an_orphan_without_samples_goes_to_quarantine(void **state)
{
	struct fixture *f = *state;
	static const uint8_t zeros[1024];

	publish(f, "train/64x64/000000.tar", zeros, sizeof(zeros));
	run_recover(f);
	assert_objects(f, "");
}

static void an_orphan_of_another_recipe_goes_to_quarantine(void **state)
{
	struct fixture *f = *state;
	struct recipe other = f->run.recipe;
	struct job jobs[2];
	cleanup_free char *name = NULL;

	two_running(f, jobs);
	other.json = NULL;
	other.filter = FILTER_BOX;
	recipe_finish(&other);
	name = run_seal(&f->run, &other, jobs, 2);
	recipe_release(&other);
	run_recover(f);
	assert_noted(f, "another recipe");
	assert_objects(f, "");
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 0);
	release_two(jobs);
}

static void an_orphan_whose_samples_are_elsewhere_goes_to_quarantine(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	cleanup_free char *first = NULL, *second = NULL;

	two_running(f, jobs);
	run_spool(&f->run, jobs, 2);
	first = run_seal(&f->run, &f->run.recipe, jobs, 2);
	run_recover(f);
	second = run_seal(&f->run, &f->run.recipe, &jobs[1], 1);
	assert_string_equal(second, "train/64x64/000001.tar");
	run_recover(f);
	assert_noted(f, "train/64x64/000001.tar is not in the catalog and cannot be adopted (its "
			"samples are in other shards)");
	assert_objects(f, "train/64x64/000000.tar\n");
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 2);
	release_two(jobs);
}

static void an_orphan_that_names_another_file_by_a_known_key_goes_to_quarantine(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2], liar;
	cleanup_free char *name = NULL;

	two_running(f, jobs);
	liar = jobs[0];
	liar.path = (char *)"other/a.png";
	name = run_seal(&f->run, &f->run.recipe, &liar, 1);
	run_recover(f);
	assert_objects(f, "");
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 0);
	release_two(jobs);
}

static void files_that_are_no_shards_are_not_touched(void **state)
{
	struct fixture *f = *state;

	publish(f, "train/64x64/notes.txt", "hello", 5);
	publish(f, "README.md", "hello", 5);
	run_recover(f);
	assert_string_equal(f->notes, "");
	assert_objects(f, "README.md\ntrain/64x64/notes.txt\n");
}

/* -- 4: which records are live ------------------------------------------------------------------------ */

static void of_two_records_of_a_job_the_newer_one_lives(void **state)
{
	struct fixture *f = *state;
	struct job old[2], new;
	size_t rescued = 0;
	cleanup_record struct record record = RECORD_INIT;
	struct error err = ERROR_INIT;

	two_running(f, old);
	run_spool(&f->run, old, 1);
	/* The claim is lost and made again: the fence rises, and so does a second record's. */
	assert_ok(queue_rescue(f->run.queue, f->run.dataset, RUN_OWNER, 1, &rescued, &err), &err);
	assert_int_equal(rescued, 2);
	run_claim(&f->run, DEAD, &new, 1);
	assert_int_equal(new.id, old[0].id);
	assert_true(new.fence > old[0].fence);
	run_spool(&f->run, &new, 1);
	assert_int_equal(spool_records(f->run.spool), 2);
	run_recover(f);
	assert_int_equal(f->recovered.n, 1);
	assert_int_equal(spool_records(f->run.spool), 1);
	assert_ok(spool_read(f->run.spool, &f->recovered.entries[0].place, &record, &err), &err);
	assert_int_equal(record.fence, new.fence);
	release_two(old);
	job_release(&new);
}

static void a_record_of_a_claim_that_was_lost_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	size_t rescued = 0;
	struct error err = ERROR_INIT;

	two_running(f, jobs);
	run_spool(&f->run, jobs, 1);
	assert_ok(queue_rescue(f->run.queue, f->run.dataset, RUN_OWNER, 1, &rescued, &err), &err);
	run_recover(f);
	assert_int_equal(f->recovered.n, 0);
	assert_int_equal(spool_records(f->run.spool), 0);
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 2);
	release_two(jobs);
}

/*
 * As where a database lost its last commits, and gave their numbers again: job and fence of @job, or a later fence, with
 * another image's @path and @key, whose content the fake makes of the key.
 */
static void spool_lost(struct fixture *f, const struct job *job, const char *path, const char *key,
		       uint64_t later)
{
	struct job lost = *job;

	lost.path = (char *)path;
	lost.key = (char *)key;
	lost.fence += later;
	run_spool(&f->run, &lost, 1);
}

static void assert_first_is_of(struct fixture *f, const struct job *job)
{
	cleanup_record struct record record = RECORD_INIT;
	struct error err = ERROR_INIT;

	assert_int_equal(f->recovered.n, 1);
	assert_int_equal(spool_records(f->run.spool), 1);
	assert_int_equal(f->recovered.entries[0].job, job->id);
	assert_ok(spool_read(f->run.spool, &f->recovered.entries[0].place, &record, &err), &err);
	assert_string_equal(record.key, job->key);
}

static void a_record_is_of_no_other_image_to_which_its_job_number_was_given_again(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];

	two_running(f, jobs);
	spool_lost(f, &jobs[0], "lost.png", "lost", 1000);
	run_spool(&f->run, jobs, 1);
	run_recover(f);
	assert_int_equal(run_count(&f->run, JOB_ENCODED), 1);
	assert_first_is_of(f, &jobs[0]);
	release_two(jobs);
}

static void a_record_of_what_a_file_was_in_commits_that_were_lost_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];

	two_running(f, jobs);
	spool_lost(f, &jobs[0], jobs[0].path, "before", 1000);
	run_spool(&f->run, jobs, 1);
	run_recover(f);
	assert_int_equal(run_count(&f->run, JOB_ENCODED), 1);
	assert_first_is_of(f, &jobs[0]);
	release_two(jobs);
}

static void a_job_with_the_record_of_another_image_is_encoded_again(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];

	two_running(f, jobs);
	spool_lost(f, &jobs[0], "lost.png", "lost", 0);
	run_recover(f);
	assert_int_equal(f->recovered.n, 0);
	assert_int_equal(spool_records(f->run.spool), 0);
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 2);
	release_two(jobs);
}

static void an_encoded_job_without_its_record_is_encoded_again(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];

	two_running(f, jobs);
	run_spool(&f->run, jobs, 1);
	run_settle(&f->run, &jobs[0], OUTCOME_ENCODED);
	run_settle(&f->run, &jobs[1], OUTCOME_ENCODED);
	run_recover(f);
	assert_int_equal(run_count(&f->run, JOB_ENCODED), 1);
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 1);
	assert_noted(f, "1 encoded images are no longer in the spool");
	assert_int_equal(f->recovered.n, 1);
	release_two(jobs);
}

static void a_record_whose_json_is_nonsense_is_dropped_and_encoded_again(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	cleanup_record struct record record = RECORD_INIT;
	struct spool_place place;
	struct error err = ERROR_INIT;

	two_running(f, jobs);
	assert_ok(record_init(&record, "a", "64x64", &err), &err);
	assert_ok(record_add(&record, "json", "{}", 2, &err), &err);
	record.dataset = f->run.dataset;
	record.job = jobs[0].id;
	record.fence = jobs[0].fence;
	assert_ok(spool_append(f->run.spool, &record, &place, &err), &err);
	assert_ok(spool_sync(f->run.spool, &err), &err);
	run_settle(&f->run, &jobs[0], OUTCOME_ENCODED);
	run_recover(f);
	assert_int_equal(f->recovered.n, 0);
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 2);
	release_two(jobs);
}

static void records_of_another_dataset_stay_and_are_not_ours(void **state)
{
	struct fixture *f = *state;
	struct queue_dataset_spec spec = {.name = "other",
					  .output = "/out/other",
					  .recipe_id = f->run.recipe.id,
					  .recipe_json = f->run.recipe.json};
	int64_t ours = f->run.dataset;
	struct error err = ERROR_INIT;
	struct job jobs[2], theirs;

	two_running(f, jobs);
	assert_ok(queue_open_dataset(f->run.queue, &spec, &f->run.dataset, &err), &err);
	theirs = run_claimed(&f->run, "a.png", 1);
	run_spool(&f->run, &theirs, 1);
	run_settle(&f->run, &theirs, OUTCOME_ENCODED);
	f->run.dataset = ours;
	run_spool(&f->run, jobs, 1);
	run_recover(f);
	assert_int_equal(f->recovered.n, 1);
	assert_int_equal(f->recovered.entries[0].job, jobs[0].id);
	assert_int_equal(spool_records(f->run.spool), 2);
	release_two(jobs);
	job_release(&theirs);
}

/* -- 2: leases -------------------------------------------------------------------------------------- */

static int on_job(void *arg, const struct job_row *row)
{
	*(uint32_t *)arg += row->crashes;
	return 0;
}

static void what_a_dead_owner_had_is_free_again_and_counts_a_crash(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];
	uint32_t crashes = 0;
	struct error err = ERROR_INIT;

	two_running(f, jobs);
	run_spool(&f->run, jobs, 1);
	run_recover(f);
	/* The one whose record was durable is not charged: it did not kill anybody. */
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 1);
	assert_ok(
	    queue_jobs(f->run.queue,
		       &(struct job_filter){.dataset = f->run.dataset, .state = JOB_AVAILABLE},
		       on_job, &crashes, &err),
	    &err);
	assert_int_equal(crashes, 1);
	release_two(jobs);
}

/* -- what cannot be recovered ------------------------------------------------------------------------- */

static int lost_list(struct store *s, enum store_area area, const char *prefix, store_object_fn fn,
		     void *arg, struct error *err)
{
	(void)s;
	(void)area;
	(void)prefix;
	(void)fn;
	(void)arg;
	return error_set(err, ERR_IO, "the output is gone");
}

static void meet_with_a_caption(struct fixture *f)
{
	struct job_spec spec = {.root = 3,
				.path = "a.png",
				.key = "a",
				.key_distinct = "distinct",
				.size = 2,
				.mtime_ns = 2,
				.caption = 7};
	struct enqueue_counts counts = {0};
	struct error err = ERROR_INIT;

	assert_ok(queue_enqueue(f->run.queue, f->run.dataset, &spec, 1, &counts, &err), &err);
	assert_int_equal(counts.busy, 0);
	assert_int_equal(counts.requeued, 1);
}

/* A job that somebody is at would keep its old caption and file until the next run. */
static void a_scan_takes_in_what_changed_while_a_dead_owner_had_it(void **state)
{
	struct fixture *f = *state;
	struct job jobs[2];

	two_running(f, jobs);
	f->scan = meet_with_a_caption;
	run_recover(f);
	assert_int_equal(f->recovered.rescued, 2);
	release_two(jobs);
}

static void a_store_that_cannot_be_listed_ends_the_recovery(void **state)
{
	static const struct store_ops lost_ops = {.name = "lost", .list = lost_list};
	struct store lost = {&lost_ops};
	struct fixture *f = *state;
	struct store *real = f->run.store;
	struct error err = ERROR_INIT;
	struct job jobs[2];

	two_running(f, jobs);
	f->run.store = &lost;
	assert_error(try_recover(f, &err), &err, ERR_IO);
	f->run.store = real;
	assert_null(f->recovered.spool);
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 2);
	release_two(jobs);
}

#define recovery_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    recovery_test(a_first_run_has_nothing_to_recover),
	    recovery_test(a_durable_record_of_a_running_job_makes_it_encoded),
	    recovery_test(recovering_twice_finds_the_same),
	    recovery_test(an_orphan_of_running_jobs_is_adopted),
	    recovery_test(an_interrupted_recovery_leaves_the_rest_to_the_next),
	    recovery_test(an_orphan_of_encoded_jobs_is_adopted),
	    recovery_test(an_orphan_whose_jobs_nobody_knows_is_adopted),
	    recovery_test(a_shard_in_the_catalog_is_left_alone),
	    recovery_test(a_shard_that_is_gone_is_encoded_again),
	    recovery_test(a_shard_that_was_cut_short_is_put_aside_and_encoded_again),
	    recovery_test(an_orphan_that_is_damaged_goes_to_quarantine),
	    recovery_test(an_orphan_without_samples_goes_to_quarantine),
	    recovery_test(an_orphan_of_another_recipe_goes_to_quarantine),
	    recovery_test(an_orphan_whose_samples_are_elsewhere_goes_to_quarantine),
	    recovery_test(an_orphan_that_names_another_file_by_a_known_key_goes_to_quarantine),
	    recovery_test(files_that_are_no_shards_are_not_touched),
	    recovery_test(of_two_records_of_a_job_the_newer_one_lives),
	    recovery_test(a_record_of_a_claim_that_was_lost_is_dropped),
	    recovery_test(a_record_is_of_no_other_image_to_which_its_job_number_was_given_again),
	    recovery_test(a_record_of_what_a_file_was_in_commits_that_were_lost_is_dropped),
	    recovery_test(a_job_with_the_record_of_another_image_is_encoded_again),
	    recovery_test(an_encoded_job_without_its_record_is_encoded_again),
	    recovery_test(a_record_whose_json_is_nonsense_is_dropped_and_encoded_again),
	    recovery_test(records_of_another_dataset_stay_and_are_not_ours),
	    recovery_test(what_a_dead_owner_had_is_free_again_and_counts_a_crash),
	    recovery_test(a_scan_takes_in_what_changed_while_a_dead_owner_had_it),
	    recovery_test(a_store_that_cannot_be_listed_ends_the_recovery),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
