#include "run_rig.h"

#include "base/checked.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* -- fdatasync, which the spool calls: counted, and failing where a test wants it -------------------- */

static atomic_size_t syncs;
static atomic_bool syncs_fail;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
	if (atomic_load(&syncs_fail)) {
		errno = EIO;
		return -1;
	}
	atomic_fetch_add(&syncs, 1);
	return __real_fdatasync(fd);
}

static int setup(void **state)
{
	static struct run run;

	atomic_store(&syncs_fail, false);
	run_open(&run);
	*state = &run;
	return 0;
}

static int teardown(void **state)
{
	run_close(*state);
	return 0;
}

/* Jobs "NAME0.png" .. with rank @first_rank + i, all claimed. */
static void claim_many(struct run *run, const char *name, struct job *jobs, size_t n,
		       uint64_t first_rank)
{
	for (size_t i = 0; i < n; i++) {
		cleanup_free char *path = xasprintf("%s%zu.png", name, i);

		jobs[i] = run_claimed(run, path, first_rank + i);
	}
}

static void release_many(struct job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		job_release(&jobs[i]);
}

/* Appends the jobs' images in one go. */
static void append(struct run *run, const struct job *jobs, size_t n, size_t width, size_t height)
{
	struct finished *items = xcalloc(n, sizeof(*items));

	for (size_t i = 0; i < n; i++)
		items[i] = run_finished(&jobs[i], width, height);
	packer_append(run->packer, items, n);
}

static void start(struct run *run, size_t samples, size_t bytes)
{
	struct run_limits limits = {.samples = samples, .bytes = bytes};

	run_open_loop(run);
	run_open_packer(run, &limits);
}

static void assert_catalog(struct run *run, const char *want)
{
	cleanup_free char *catalog = run_catalog(run);

	assert_string_equal(catalog, want);
}

static void what_is_appended_becomes_durable_within_the_next_seconds(void **state)
{
	struct run *run = *state;
	struct job jobs[3];
	uint64_t steps;

	claim_many(run, "a", jobs, 3, 0);
	start(run, 0, 0);
	append(run, jobs, 2, 64, 64);
	append(run, &jobs[2], 1, 64, 64);
	assert_false(packer_idle(run->packer));
	assert_true(packer_works(run->packer));
	steps = packer_steps(run->packer);
	atomic_store(&syncs, 0);
	while (run->encoded == 0) /* nobody drains: the packer's own clock does it */
		run_turn(run);
	assert_true(atomic_load(&syncs) > 0);
	run_until_idle(run);
	assert_int_equal(run->encoded, 3);
	assert_false(packer_works(run->packer));
	assert_in_range(packer_steps(run->packer) - steps, 1, 5);
	assert_int_equal(run->shards, 0);
	run_close_packer(run);
	assert_int_equal(run_count(run, JOB_ENCODED), 3);
	assert_int_equal(spool_records(run->spool), 3);
	release_many(jobs, 3);
}

static void a_group_with_enough_samples_is_sealed_at_once(void **state)
{
	struct run *run = *state;
	struct job jobs[5];

	claim_many(run, "a", jobs, 5, 0);
	start(run, 4, 0);
	append(run, jobs, 5, 64, 64);
	while (run->shards == 0)
		run_turn(run);
	run_until_idle(run);
	assert_int_equal(run->shards, 1);
	assert_int_equal(run->shard_samples, 4);
	run_close_packer(run);
	assert_int_equal(run_count(run, JOB_COMPLETED), 4);
	assert_int_equal(run_count(run, JOB_ENCODED), 1);
	assert_int_equal(spool_records(run->spool), 1);
	assert_catalog(run, "train/64x64/000000.tar: a0 a1 a2 a3\n");
	release_many(jobs, 5);
}

static void a_group_with_enough_bytes_is_sealed_at_once(void **state)
{
	struct run *run = *state;
	struct job jobs[2];

	claim_many(run, "a", jobs, 2, 0);
	start(run, 0, 1000); /* one record has more: 1 KiB of latent and its KEY.json */
	append(run, jobs, 2, 64, 64);
	while (run->shards < 2)
		run_turn(run);
	run_until_idle(run);
	run_close_packer(run);
	assert_catalog(run, "train/64x64/000000.tar: a0\ntrain/64x64/000001.tar: a1\n");
	release_many(jobs, 2);
}

static void draining_seals_what_is_left_group_by_group_in_order_of_rank(void **state)
{
	struct run *run = *state;
	struct job square[3], wide[2];

	claim_many(run, "s", square, 3, 10);
	claim_many(run, "w", wide, 2, 20);
	start(run, 2, 0);
	/* Backwards: the order of encoding is not the order in a shard. */
	append(run, &square[2], 1, 64, 64);
	append(run, &wide[1], 1, 128, 64);
	append(run, &wide[0], 1, 128, 64);
	append(run, &square[1], 1, 64, 64);
	packer_drain(run->packer, true);
	run_until_idle(run);
	append(run, &square[0], 1, 64, 64); /* one that came late */
	run_until_idle(run);
	assert_int_equal(run->encoded, 5);
	run_close_packer(run);
	assert_int_equal(run_count(run, JOB_COMPLETED), 5);
	assert_int_equal(spool_records(run->spool), 0);
	assert_catalog(run, "train/128x64/000000.tar: w0 w1\n"
			    "train/64x64/000000.tar: s1 s2\n"
			    "train/64x64/000001.tar: s0\n");
	release_many(square, 3);
	release_many(wide, 2);
}

static void a_flush_seals_what_is_there_and_the_packer_goes_on(void **state)
{
	struct run *run = *state;
	struct job jobs[4];
	size_t first, second;

	claim_many(run, "a", jobs, 4, 0);
	start(run, RUN_MANY, RUN_MANY);
	append(run, jobs, 3, 64, 64);
	packer_flush(run->packer);
	while (run->shards == 0 || packer_unsealed(run->packer) > 0)
		run_turn(run);
	first = run->shard_samples;
	append(run, &jobs[3], 1, 64, 64); /* no flush any more: it waits */
	packer_drain(run->packer, false);
	run_until_idle(run);
	second = run->shard_samples;
	run_close_packer(run);
	assert_int_equal(first, 3);
	assert_int_equal(second, 3);
	assert_int_equal(run_count(run, JOB_ENCODED), 1);
	release_many(jobs, 4);
}

/* A dataset with work always has something pending: a flush is no mode that goes on until there is nothing. */
static void a_flush_of_a_busy_packer_seals_what_was_there_and_no_more(void **state)
{
	struct run *run = *state;
	struct job jobs[8];
	size_t n = 3;

	claim_many(run, "a", jobs, ARRAY_SIZE(jobs), 0);
	start(run, RUN_MANY, RUN_MANY);
	append(run, jobs, 2, 64, 64);
	packer_flush(run->packer);
	append(run, &jobs[2], 1, 64, 64);
	while (run->shards == 0 || n < ARRAY_SIZE(jobs)) {
		if (run->shards > 0 && packer_pending(run->packer) == 0)
			append(run, &jobs[n++], 1, 64, 64);
		packer_sync(run->packer);
		run_turn(run);
	}
	packer_drain(run->packer, false);
	run_until_idle(run);
	assert_int_equal(run->shards, 1);
	assert_in_range(run->shard_samples, 2, 3);
	run_close_packer(run);
	release_many(jobs, ARRAY_SIZE(jobs));
}

static struct job changed;

/* "a.png" is another file now, and claimed again. */
static void claim_changed(struct queue *queue, void *arg)
{
	struct job_spec spec = {.root = 3,
				.path = "a.png",
				.key = "a",
				.key_distinct = "a-other",
				.size = 2,
				.mtime_ns = 2};
	struct run *run = arg;
	struct enqueue_counts counts = {0};
	struct error err = ERROR_INIT;

	assert_ok(queue_enqueue(queue, run->dataset, &spec, 1, &counts, &err), &err);
	assert_int_equal(counts.superseding, 1);
	run_claim(run, RUN_OWNER, &changed, 1);
}

static void a_newer_record_of_a_job_takes_the_place_of_one_that_waits(void **state)
{
	struct run *run = *state;
	struct job first = run_claimed(run, "a.png", 0);

	start(run, RUN_MANY, RUN_MANY);
	append(run, &first, 1, 64, 64);
	packer_sync(run->packer);
	while (run->encoded < 1)
		run_turn(run);
	/* Its file changed while the record waited: encoded again, larger. */
	db_call(run->db, claim_changed, run);
	append(run, &changed, 1, 128, 64);
	packer_sync(run->packer);
	while (run->encoded < 2)
		run_turn(run);
	assert_int_equal(packer_unsealed(run->packer), 1);
	packer_drain(run->packer, true);
	run_until_idle(run);
	run_close_packer(run);
	assert_catalog(run, "train/128x64/000000.tar: a\n");
	assert_int_equal(spool_records(run->spool), 0);
	assert_int_equal(run->fatal.code, ERR_NONE);
	job_release(&first);
	job_release(&changed);
}

static void while_held_no_shard_is_begun(void **state)
{
	struct run *run = *state;
	struct job jobs[4];

	claim_many(run, "a", jobs, 4, 0);
	start(run, 2, RUN_MANY);
	packer_hold(run->packer, true);
	append(run, jobs, 4, 64, 64);
	packer_sync(run->packer);
	while (run->encoded < 4)
		run_turn(run);
	assert_false(packer_sealing(run->packer));
	assert_int_equal(run->shards, 0);
	packer_hold(run->packer, false);
	while (run->shards < 2)
		run_turn(run);
	packer_drain(run->packer, true);
	run_until_idle(run);
	run_close_packer(run);
	assert_int_equal(run_count(run, JOB_COMPLETED), 4);
	release_many(jobs, 4);
}

static void draining_without_seal_only_makes_durable(void **state)
{
	struct run *run = *state;
	struct job jobs[3];

	claim_many(run, "a", jobs, 3, 0);
	start(run, 2, 0);
	packer_drain(run->packer, false);
	append(run, jobs, 3, 64, 64);
	run_until_idle(run);
	run_close_packer(run);
	assert_int_equal(run->encoded, 3);
	assert_int_equal(run->shards, 0);
	assert_int_equal(run_count(run, JOB_ENCODED), 3);
	assert_int_equal(spool_records(run->spool), 3);
	release_many(jobs, 3);
}

static void what_an_earlier_run_left_is_sealed_with_the_rest(void **state)
{
	struct run *run = *state;
	struct job jobs[3];
	struct spooled entry;
	cleanup_record struct record record = RECORD_INIT;
	struct error err = ERROR_INIT;

	claim_many(run, "a", jobs, 3, 0);
	run_record(&run->recipe, &jobs[1], 64, 64, &record);
	assert_ok(spool_append(run->spool, &record, &entry.place, &err), &err);
	entry.job = jobs[1].id;
	entry.rank = jobs[1].rank;
	entry.bytes = record_bytes(&record);
	memcpy(entry.group, record.group, sizeof(entry.group));
	run_settle(run, &jobs[1], OUTCOME_ENCODED);
	start(run, 0, 0);
	packer_restore(run->packer, &entry);
	append(run, &jobs[2], 1, 64, 64);
	append(run, &jobs[0], 1, 64, 64);
	packer_drain(run->packer, true);
	run_until_idle(run);
	assert_int_equal(run->encoded, 2);
	run_close_packer(run);
	assert_catalog(run, "train/64x64/000000.tar: a0 a1 a2\n");
	release_many(jobs, 3);
}

static void a_latent_that_cannot_be_stored_is_rejected_alone(void **state)
{
	struct run *run = *state;
	struct job jobs[3];
	struct finished *items = xcalloc(3, sizeof(*items));

	claim_many(run, "a", jobs, 3, 0);
	start(run, 0, 0);
	for (size_t i = 0; i < 3; i++)
		items[i] = run_finished(&jobs[i], 64, 64);
	((float *)items[1].latents[0].data)[7] = NAN;
	packer_append(run->packer, items, 3);
	packer_drain(run->packer, true);
	run_until_idle(run);
	assert_int_equal(run->rejected, 1);
	assert_string_equal(run->rejected_path, "a1.png");
	assert_int_equal(run->rejected_why.code, ERR_DATA);
	assert_string_equal(run->rejected_why.reason, "out_of_range");
	assert_int_equal(run->fatal.code, ERR_NONE);
	run_close_packer(run);
	assert_int_equal(run_count(run, JOB_RUNNING), 1); /* the caller settles it */
	assert_catalog(run, "train/64x64/000000.tar: a0 a2\n");
	release_many(jobs, 3);
}

static void a_record_that_is_rejected_during_a_sync_holds_up_no_flush(void **state)
{
	struct run *run = *state;
	struct job jobs[2];
	struct finished *bad = xcalloc(1, sizeof(*bad));

	claim_many(run, "a", jobs, 2, 0);
	start(run, RUN_MANY, RUN_MANY);
	append(run, jobs, 1, 64, 64);
	while (packer_works(run->packer))
		run_turn(run);
	*bad = run_finished(&jobs[1], 64, 64);
	((float *)bad->latents[0].data)[7] = NAN;
	packer_sync(run->packer);
	packer_append(run->packer, bad, 1);
	packer_flush(run->packer);
	while (run->shards == 0)
		run_turn(run);
	run_until_idle(run);
	assert_int_equal(run->rejected, 1);
	run_close_packer(run);
	release_many(jobs, 2);
}

/*
 * A few small groups must not keep a segment full of sealed records on disk: what is sealed here of the large
 * group is waste as long as the small one's record, in the same segment, waits.
 */
static void records_that_keep_much_waste_on_disk_are_sealed_early(void **state)
{
	struct run *run = *state;
	struct run_limits limits = {.samples = 4, .waste = 6000};
	struct job small, large[4];

	small = run_claimed(run, "small.png", 0);
	claim_many(run, "a", large, 4, 1);
	run_open_loop(run);
	run_open_packer(run, &limits);
	append(run, &small, 1, 128, 64);
	append(run, large, 4, 64, 64);
	while (run->shards < 2)
		run_turn(run);
	run_until_idle(run);
	run_close_packer(run);
	assert_catalog(run,
		       "train/128x64/000000.tar: small\ntrain/64x64/000000.tar: a0 a1 a2 a3\n");
	assert_int_equal(spool_records(run->spool), 0);
	job_release(&small);
	release_many(large, 4);
}

static void a_record_that_has_waited_long_is_sealed_with_its_group(void **state)
{
	struct run *run = *state;
	struct run_limits limits = {.age_ms = 1};
	struct job jobs[3];

	claim_many(run, "a", jobs, 3, 0);
	run_open_loop(run);
	run_open_packer(run, &limits);
	append(run, jobs, 3, 64, 64);
	while (run->shards < 1)
		run_turn(run);
	run_until_idle(run);
	run_close_packer(run);
	assert_catalog(run, "train/64x64/000000.tar: a0 a1 a2\n");
	release_many(jobs, 3);
}

static void it_says_when_too_much_waits_to_be_appended(void **state)
{
	struct run *run = *state;
	struct run_limits limits = {.backlog = 1500}; /* one latent has 1024 bytes */
	struct job jobs[2];

	claim_many(run, "a", jobs, 2, 0);
	run_open_loop(run);
	run_open_packer(run, &limits);
	assert_false(packer_is_behind(run->packer));
	append(run, jobs, 1, 64, 64);
	assert_false(packer_is_behind(run->packer));
	append(run, &jobs[1], 1, 64, 64);
	assert_true(packer_is_behind(run->packer)); /* until the loop turns */
	packer_drain(run->packer, false);
	run_until_idle(run);
	assert_false(packer_is_behind(run->packer));
	release_many(jobs, 2);
}

static void the_number_of_a_shard_that_was_there_is_not_given_again(void **state)
{
	struct run *run = *state;
	struct job jobs[2];

	claim_many(run, "a", jobs, 2, 0);
	start(run, 1, 0);
	packer_note_shard(run->packer, "train/64x64/000004.tar"); /* known and gone */
	append(run, jobs, 2, 64, 64);
	packer_drain(run->packer, true);
	run_until_idle(run);
	run_close_packer(run);
	assert_catalog(run, "train/64x64/000005.tar: a0\ntrain/64x64/000006.tar: a1\n");
	release_many(jobs, 2);
}

/* -- failures: each is told once, and nothing is lost -------------------------------------------------- */

static void a_result_whose_job_another_owner_has_stops_the_run(void **state)
{
	struct run *run = *state;
	struct job mine, theirs;
	size_t rescued = 0;
	struct error err = ERROR_INIT;

	mine = run_claimed(run, "a.png", 0);
	assert_ok(queue_rescue(run->queue, run->dataset, "host:boot:2:2", 1, &rescued, &err), &err);
	run_claim(run, "host:boot:2:2", &theirs, 1);
	start(run, 0, 0);
	append(run, &mine, 1, 64, 64);
	packer_drain(run->packer, true);
	run_until_idle(run);
	assert_int_equal(run->fatal.code, ERR_BUG);
	assert_int_equal(run->encoded + run->shards, 0);
	run_close_packer(run);
	assert_int_equal(run_count(run, JOB_RUNNING), 1);
	job_release(&mine);
	job_release(&theirs);
}

static void a_sample_that_another_shard_has_stops_the_run(void **state)
{
	struct run *run = *state;
	struct job job = run_claimed(run, "a.png", 0);
	struct sample_row sample = {.root = 3, .path = "a.png", .key = job.key, .bytes = 1};
	struct shard_row shard = {.dataset = run->dataset,
				  .path = "train/64x64/000007.tar",
				  .format = "wds",
				  .group = "64x64",
				  .bytes = 1,
				  .samples = 1};
	struct spooled entry = {.job = job.id, .bytes = 1, .group = "64x64"};
	cleanup_record struct record record = RECORD_INIT;
	struct error err = ERROR_INIT;
	int64_t id;

	run_record(&run->recipe, &job, 64, 64, &record);
	assert_ok(spool_append(run->spool, &record, &entry.place, &err), &err);
	run_settle(run, &job, OUTCOME_ENCODED);
	assert_ok(queue_complete(run->queue, &shard, &sample, 1, 1, &id, &err), &err);
	start(run, 0, 0);
	packer_restore(run->packer, &entry);
	packer_drain(run->packer, true);
	run_until_idle(run);
	assert_int_equal(run->fatal.code, ERR_BUG);
	assert_non_null(strstr(run->fatal.message, "another shard"));
	run_close_packer(run);
	assert_int_equal(spool_records(run->spool), 1);
	job_release(&job);
}

static int full_begin(struct store *s, struct store_writer **out, struct error *err)
{
	(void)s;
	(void)out;
	return error_set(err, ERR_IO, "no space left on device");
}

static void a_node_that_has_an_image_under_two_numbers_opens_again(void **state)
{
	struct run *run = *state;
	struct run_limits limits = {.node = "a"};
	struct job jobs[2], twice;

	claim_many(run, "a", jobs, 2, 0);
	run_open_loop(run);
	run_open_packer(run, &limits);
	/* The database forgot a0 with the first number, and gave it the second. */
	twice = jobs[1];
	twice.key = jobs[0].key;
	twice.path = jobs[0].path;
	append(run, jobs, 1, 64, 64);
	append(run, &twice, 1, 64, 64);
	packer_drain(run->packer, true);
	run_until_idle(run);
	assert_int_equal(run->fatal.code, ERR_TRANSIENT);
	assert_non_null(strstr(run->fatal.message, "cannot be a key"));
	assert_int_equal(run->shards, 0);
	run_close_packer(run);
	assert_int_equal(spool_records(run->spool), 2);
	release_many(jobs, 2);
}

static void a_store_that_fails_leaves_the_records_in_the_spool(void **state)
{
	static const struct store_ops full_ops = {.name = "full", .begin = full_begin};
	struct store full = {&full_ops};
	struct run *run = *state;
	struct store *real = run->store;
	struct job jobs[2];

	claim_many(run, "a", jobs, 2, 0);
	run->store = &full;
	start(run, 0, 0);
	append(run, jobs, 2, 64, 64);
	packer_drain(run->packer, true);
	run_until_idle(run);
	assert_int_equal(run->fatal.code, ERR_IO);
	assert_non_null(strstr(run->fatal.message, "no space left"));
	run_close_packer(run);
	run->store = real;
	assert_int_equal(run_count(run, JOB_ENCODED), 2);
	assert_int_equal(spool_records(run->spool), 2);
	release_many(jobs, 2);
}

static void a_spool_that_fails_is_told_once_and_charges_nobody(void **state)
{
	struct spool_options tiny = {.segment_bytes = 1}; /* each record begins a new file */
	struct run *run = *state;
	struct job jobs[3];
	struct error err = ERROR_INIT;
	cleanup_free char *moved = testing_path(run->dir, "moved");

	claim_many(run, "a", jobs, 3, 0);
	spool_close(run->spool);
	run->spool = NULL;
	assert_ok(spool_open(run->spool_dir, &tiny, NULL, NULL, &run->spool, &err), &err);
	start(run, 0, 0);
	append(run, jobs, 1, 64, 64);
	while (run->encoded == 0)
		run_turn(run);
	assert_int_equal(rename(run->spool_dir, moved), 0);
	append(run, &jobs[1], 1, 64, 64);
	append(run, &jobs[2], 1, 64, 64);
	packer_drain(run->packer, true);
	run_until_idle(run);
	assert_int_equal(run->fatal.code, ERR_IO);
	assert_int_equal(run->encoded, 1);
	assert_int_equal(run->rejected, 0);
	run_close_packer(run);
	assert_int_equal(run_count(run, JOB_RUNNING), 2); /* recovery frees them */
	release_many(jobs, 3);
}

static void a_job_is_not_encoded_when_its_record_may_not_be_durable(void **state)
{
	struct run *run = *state;
	struct job jobs[2];

	claim_many(run, "a", jobs, 2, 0);
	start(run, 0, 0);
	atomic_store(&syncs_fail, true);
	append(run, jobs, 2, 64, 64);
	packer_drain(run->packer, true);
	run_until_idle(run);
	assert_int_equal(run->fatal.code, ERR_IO);
	assert_int_equal(run->encoded + run->shards, 0);
	run_close_packer(run);
	assert_int_equal(run_count(run, JOB_RUNNING), 2);
	release_many(jobs, 2);
}

/* Flips a bit in the middle of the only segment. */
static void damage_spool(const struct run *run)
{
	DIR *dir = opendir(run->spool_dir);
	struct dirent *entry;
	size_t segments = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		cleanup_free char *path = testing_path(run->spool_dir, entry->d_name);
		uint8_t byte;
		off_t middle;
		int fd;

		if (!strstr(entry->d_name, ".spool"))
			continue;
		segments++;
		fd = open(path, O_RDWR | O_CLOEXEC);
		middle = lseek(fd, 0, SEEK_END) / 2;
		assert_int_equal(pread(fd, &byte, 1, middle), 1);
		byte ^= 0x40;
		assert_int_equal(pwrite(fd, &byte, 1, middle), 1);
		close(fd);
	}
	closedir(dir);
	assert_int_equal(segments, 1);
}

static void a_record_that_rotted_in_the_spool_is_never_sealed(void **state)
{
	struct run *run = *state;
	struct job job = run_claimed(run, "a.png", 0);
	cleanup_free char *objects = NULL;

	start(run, 0, 0);
	append(run, &job, 1, 64, 64);
	while (run->encoded == 0)
		run_turn(run);
	run_until_idle(run);
	damage_spool(run);
	packer_drain(run->packer, true);
	run_until_idle(run);
	assert_int_equal(run->fatal.code, ERR_DATA);
	run_close_packer(run);
	objects = run_objects(run);
	assert_string_equal(objects, "");
	assert_int_equal(run_count(run, JOB_ENCODED), 1);
	job_release(&job);
}

#define packer_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    packer_test(what_is_appended_becomes_durable_within_the_next_seconds),
	    packer_test(a_group_with_enough_samples_is_sealed_at_once),
	    packer_test(a_group_with_enough_bytes_is_sealed_at_once),
	    packer_test(draining_seals_what_is_left_group_by_group_in_order_of_rank),
	    packer_test(a_flush_seals_what_is_there_and_the_packer_goes_on),
	    packer_test(a_flush_of_a_busy_packer_seals_what_was_there_and_no_more),
	    packer_test(a_newer_record_of_a_job_takes_the_place_of_one_that_waits),
	    packer_test(while_held_no_shard_is_begun),
	    packer_test(draining_without_seal_only_makes_durable),
	    packer_test(what_an_earlier_run_left_is_sealed_with_the_rest),
	    packer_test(a_latent_that_cannot_be_stored_is_rejected_alone),
	    packer_test(a_record_that_is_rejected_during_a_sync_holds_up_no_flush),
	    packer_test(records_that_keep_much_waste_on_disk_are_sealed_early),
	    packer_test(a_record_that_has_waited_long_is_sealed_with_its_group),
	    packer_test(it_says_when_too_much_waits_to_be_appended),
	    packer_test(the_number_of_a_shard_that_was_there_is_not_given_again),
	    packer_test(a_result_whose_job_another_owner_has_stops_the_run),
	    packer_test(a_sample_that_another_shard_has_stops_the_run),
	    packer_test(a_node_that_has_an_image_under_two_numbers_opens_again),
	    packer_test(a_store_that_fails_leaves_the_records_in_the_spool),
	    packer_test(a_spool_that_fails_is_told_once_and_charges_nobody),
	    packer_test(a_job_is_not_encoded_when_its_record_may_not_be_durable),
	    packer_test(a_record_that_rotted_in_the_spool_is_never_sealed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
