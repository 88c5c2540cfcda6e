#include "tests/contract/contract_queue.h"

/* -- datasets ------------------------------------------------------------------------------------- */

static void a_dataset_is_found_again(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(make_dataset(f, "photos"), f->dataset);
	assert_int_not_equal(make_dataset(f, "other"), f->dataset);
	assert_int_equal(make_dataset(f, "photos"), f->dataset);
}

static void another_recipe_under_the_same_name_is_refused(void **state)
{
	struct fixture *f = *state;
	struct queue_dataset_spec spec = {"photos", "/elsewhere",
					  "ffffffffffffffffffffffffffffffff", "{}"};
	cleanup_buffer struct buffer before = BUFFER_INIT;
	int64_t id = -7;

	queue_dump(f->q, &before);
	assert_int_equal(queue_open_dataset(f->q, &spec, &id, &f->err), QUEUE_OTHER_RECIPE);
	assert_int_equal(id, -7);
	fixture_after(f);
	assert_unchanged(f->q, &before);
}

static int stop_at_second(void *arg)
{
	return ++*(size_t *)arg == 2;
}

static int stop_dataset(void *arg, const struct queue_dataset *row)
{
	assert_non_null(row->name);
	return stop_at_second(arg);
}

static int stop_job(void *arg, const struct job_row *row)
{
	assert_non_null(row->path);
	return stop_at_second(arg);
}

static int stop_shard(void *arg, const struct shard_row *row)
{
	assert_non_null(row->path);
	return stop_at_second(arg);
}

static int stop_sample(void *arg, const struct sample_row *row)
{
	assert_non_null(row->path);
	return stop_at_second(arg);
}

static int check_dataset(void *arg, const struct queue_dataset *row)
{
	static const char *const names[] = {"Z", "a b", "photos"};
	size_t *n = arg;

	assert_string_equal(row->name, names[(*n)++]);
	assert_string_equal(row->output, "/out/\xff");
	assert_string_equal(row->recipe_id, "0123456789abcdef0123456789abcdef");
	assert_string_equal(row->recipe_json, "{\"vae\":1}");
	return 0;
}

static void datasets_are_listed_by_name(void **state)
{
	struct fixture *f = *state;
	size_t n = 0;

	make_dataset(f, "a b");
	make_dataset(f, "Z");
	assert_ok(queue_datasets(f->q, check_dataset, &n, &f->err), &f->err);
	assert_int_equal(n, 3);
}

static void every_listing_may_be_ended_early(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_of("a.jpg", "a", 0), sample_of("b.jpg", "b", 512),
				       sample_of("c.jpg", "c", 1024)};
	static const char *const paths[] = {"1.tar", "2.tar", "3.tar"};
	size_t datasets = 0, jobs = 0, shards = 0, rows = 0;

	make_dataset(f, "x");
	make_dataset(f, "y");
	for (size_t i = 0; i < 3; i++) {
		struct shard_row shard = shard_of(f->dataset, paths[i], i == 0 ? 3 : 0);

		assert_int_equal(complete(f, &shard, samples, i == 0 ? 3 : 0), 0);
	}
	assert_ok(queue_datasets(f->q, stop_dataset, &datasets, &f->err), &f->err);
	assert_ok(queue_jobs(f->q,
			     &(struct job_filter){.dataset = f->dataset, .state = JOB_COMPLETED},
			     stop_job, &jobs, &f->err),
		  &f->err);
	assert_ok(queue_shards(f->q, f->dataset, stop_shard, &shards, &f->err), &f->err);
	assert_ok(queue_samples(f->q, 1, stop_sample, &rows, &f->err), &f->err);
	assert_int_equal(datasets, 2);
	assert_int_equal(jobs, 2);
	assert_int_equal(shards, 2);
	assert_int_equal(rows, 2);
	/* An ended listing holds nothing back. */
	add_job(f, "next");
}

static int unexpected_job(void *arg, const struct job_row *row)
{
	(void)arg;
	fail_msg("job %s", row->path);
	return 1;
}

static int unexpected_shard(void *arg, const struct shard_row *row)
{
	(void)arg;
	fail_msg("shard %s", row->path);
	return 1;
}

static int unexpected_sample(void *arg, const struct sample_row *row)
{
	(void)arg;
	fail_msg("sample %s", row->path);
	return 1;
}

static void what_is_not_there_has_no_rows_and_counts_nothing(void **state)
{
	struct fixture *f = *state;
	struct queue_counts counts, zero = {0};

	add_job(f, "a");
	memset(&counts, 0xff, sizeof(counts));
	assert_ok(queue_counts(f->q, 77, &counts, &f->err), &f->err);
	assert_memory_equal(&counts, &zero, sizeof(zero));
	assert_ok(queue_jobs(f->q, &(struct job_filter){.dataset = 77, .state = JOB_AVAILABLE},
			     unexpected_job, NULL, &f->err),
		  &f->err);
	assert_ok(queue_jobs(f->q,
			     &(struct job_filter){.dataset = f->dataset, .state = JOB_WAITING},
			     unexpected_job, NULL, &f->err),
		  &f->err);
	assert_ok(queue_shards(f->q, f->dataset, unexpected_shard, NULL, &f->err), &f->err);
	assert_ok(queue_samples(f->q, 77, unexpected_sample, NULL, &f->err), &f->err);
}

/* -- complete ------------------------------------------------------------------------------------- */

static void complete_makes_the_rows_and_completes_the_jobs(void **state)
{
	struct fixture *f = *state;
	int64_t a = job_in_state(f, "a", JOB_ENCODED), b = job_in_state(f, "b", JOB_ENCODED);
	struct sample_row samples[] = {sample_of("b.jpg", "b", 0), sample_of("a.jpg", "a", 512)};
	struct shard_row shard = shard_of(f->dataset, "train/512x512/000000.tar", 2);
	cleanup_shown struct shown shown = {0};
	struct queue_counts counts;

	assert_int_equal(complete(f, &shard, samples, 2), 0);
	assert_int_equal(state_of(f, b), JOB_COMPLETED);
	shown = show_job(f, a);
	assert_int_equal(shown.state, JOB_COMPLETED);
	assert_int_equal(shown.updated_at, NOW + 20);
	assert_ok(queue_counts(f->q, f->dataset, &counts, &f->err), &f->err);
	assert_int_equal(counts.jobs[JOB_COMPLETED], 2);
	assert_int_equal(counts.shards, 1);
	assert_int_equal(counts.samples, 2);
	assert_int_equal(counts.shard_bytes, 10240);
}

/* In whatever state: a shard that was moved away may come back when its image has long been another. */
static void a_sample_of_a_job_that_was_not_encoded_is_visible_and_its_file_compared(void **state)
{
	static const enum job_state states[] = {JOB_AVAILABLE, JOB_RETRYABLE, JOB_QUARANTINED};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		const char *name = job_state_name(states[i]);
		cleanup_free char *path = xasprintf("%s.jpg", name);
		int64_t id = job_in_state(f, name, states[i]);
		struct sample_row sample = sample_of(path, name, 0);
		struct shard_row shard = shard_of(f->dataset, name, 1);
		cleanup_shown struct shown shown = {0};
		cleanup_job struct job job = {0};
		struct job_outcome kept;

		assert_int_equal(complete(f, &shard, &sample, 1), 0);
		shown = show_job(f, id);
		assert_int_equal(shown.state, JOB_AVAILABLE);
		assert_int_equal(shown.attempts, 0);
		assert_string_equal(shown.reason, "");
		assert_string_equal(shown.message, "");
		assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
		assert_true(job.has_content);
		assert_true(hash128_equal(&job.content, &sample.content));
		kept = outcome_of(&job, OUTCOME_KEPT);
		kept.has_content = true;
		kept.content = sample.content;
		assert_true(settle_one(f, kept));
		assert_int_equal(state_of(f, id), JOB_COMPLETED);
		assert_int_equal(enqueue_one(f, f->dataset, file_spec(path, name, 1)).known, 1);
	}
}

static void
a_sample_of_a_job_that_is_gone_or_skipped_completes_it_until_its_file_is_met(void **state)
{
	static const enum job_state states[] = {JOB_SKIPPED, JOB_GONE};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		const char *name = job_state_name(states[i]);
		cleanup_free char *path = xasprintf("%s.jpg", name);
		int64_t id = job_in_state(f, name, states[i]);
		struct sample_row sample = sample_of(path, name, 0);
		struct shard_row shard = shard_of(f->dataset, name, 1);
		cleanup_shown struct shown shown = {0};
		cleanup_job struct job job = {0};

		assert_int_equal(complete(f, &shard, &sample, 1), 0);
		shown = show_job(f, id);
		assert_int_equal(shown.state, JOB_COMPLETED);
		assert_string_equal(shown.reason, "");
		assert_string_equal(shown.message, "");
		assert_int_equal(enqueue_one(f, f->dataset, file_spec(path, name, 1)).superseding,
				 1);
		assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
		assert_true(hash128_equal(&job.content, &sample.content));
	}
}

static void a_sample_of_a_running_job_leaves_it_to_its_owner(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = add_claimed(f, "a");
	struct sample_row sample = sample_of("a.jpg", "a", 0), fresh = sample;
	struct shard_row shards[] = {shard_of(f->dataset, "1.tar", 1),
				     shard_of(f->dataset, "2.tar", 1)};
	struct job_outcome outcome = outcome_of(&job, OUTCOME_ENCODED);

	assert_int_equal(complete(f, &shards[0], &sample, 1), 0);
	assert_int_equal(state_of(f, job.id), JOB_RUNNING);
	outcome.content = fresh.content = hash128_of("new", 3);
	assert_true(settle_one(f, outcome));
	assert_int_equal(state_of(f, job.id), JOB_ENCODED);
	assert_int_equal(complete(f, &shards[1], &fresh, 1), 0);
	assert_int_equal(state_of(f, job.id), JOB_COMPLETED);
}

/* Completes @samples as "second.tar" and expects a conflict that leaves no trace. */
static void assert_conflict(struct fixture *f, const char *path, const struct sample_row *samples,
			    size_t n)
{
	struct shard_row shard = shard_of(f->dataset, path, n);
	cleanup_buffer struct buffer before = BUFFER_INIT;

	queue_dump(f->q, &before);
	assert_int_equal(complete(f, &shard, samples, n), QUEUE_CONFLICT);
	assert_unchanged(f->q, &before);
}

static void a_sample_that_is_visible_already_is_a_conflict_that_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_of("new.jpg", "new", 0), sample_of("b.jpg", "b", 512),
				       sample_of("a.jpg", "a", 1024)};

	job_in_state(f, "a", JOB_COMPLETED);
	job_in_state(f, "b", JOB_ENCODED);
	assert_conflict(f, "second.tar", samples, 3);
	/* The same without it is fine, so nothing of it was left behind. */
	assert_int_equal(complete(f,
				  &(struct shard_row){.dataset = f->dataset,
						      .path = "second.tar",
						      .format = "wds",
						      .group = "",
						      .samples = 2},
				  samples, 2),
			 0);
}

static void a_sample_twice_in_one_shard_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_of("a.jpg", "a", 0), sample_of("a.jpg", "a", 512)};

	assert_conflict(f, "second.tar", samples, 2);
	job_in_state(f, "a", JOB_ENCODED);
	assert_conflict(f, "second.tar", samples, 2);
}

static void another_variant_of_a_completed_job_is_no_conflict(void **state)
{
	struct fixture *f = *state;
	int64_t id = job_in_state(f, "a", JOB_COMPLETED);
	struct sample_row samples[] = {sample_of("a.jpg", "a", 0), sample_of("a.jpg", "a", 512)};
	struct shard_row shard = shard_of(f->dataset, "second.tar", 2);

	samples[0].variant = 1;
	samples[1].variant = UINT32_MAX;
	assert_int_equal(complete(f, &shard, samples, 2), 0);
	assert_int_equal(state_of(f, id), JOB_COMPLETED);
	assert_conflict(f, "third.tar", samples, 1);
}

static void a_key_that_is_another_jobs_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	struct sample_row sample = sample_of("elsewhere.jpg", "a", 0);

	job_in_state(f, "a", JOB_ENCODED);
	job_in_state(f, "b", JOB_ENCODED);
	assert_conflict(f, "1.tar", &sample, 1);
	sample.path = "b.jpg";
	assert_conflict(f, "1.tar", &sample, 1);
	sample.key = "unheard";
	assert_conflict(f, "1.tar", &sample, 1);
}

static void a_shard_path_is_taken_once_in_a_dataset(void **state)
{
	struct fixture *f = *state;
	struct sample_row sample = sample_of("b.jpg", "b", 0);
	struct shard_row shard = shard_of(make_dataset(f, "other"), "a.jpg", 1);

	job_in_state(f, "a", JOB_COMPLETED); /* in a shard "a.jpg" */
	assert_conflict(f, "a.jpg", &sample, 1);
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
}

static void a_shard_of_an_unknown_dataset_is_a_bug(void **state)
{
	struct fixture *f = *state;
	struct shard_row shard = shard_of(77, "1.tar", 0);
	int64_t id = -7;

	assert_error(queue_complete(f->q, &shard, NULL, 0, NOW, &id, &f->err), &f->err, ERR_BUG);
	assert_int_equal(id, -7);
	error_clear(&f->err);
	fixture_after(f);
}

static int check_sample(void *arg, const struct sample_row *row)
{
	const struct sample_row **expected = arg;
	const struct sample_row *e = (*expected)++;

	assert_string_equal(row->key, e->key);
	assert_string_equal(row->path, e->path);
	assert_int_equal(row->root, e->root);
	assert_int_equal(row->variant, e->variant);
	assert_memory_equal(&row->content, &e->content, sizeof(e->content));
	assert_memory_equal(&row->latent, &e->latent, sizeof(e->latent));
	assert_int_equal(row->offset, e->offset);
	assert_int_equal(row->bytes, e->bytes);
	return 0;
}

static void a_sample_is_found_by_its_key_in_whichever_root_its_job_is(void **state)
{
	struct fixture *f = *state;
	struct sample_row sample = sample_of("dir/a.jpg", "dir/a", 0);
	struct shard_row shard = shard_of(f->dataset, "1.tar", 1);
	struct job_spec spec = file_spec("dir/a.jpg", "dir/a", 5);
	cleanup_shown struct shown shown = {0};
	const struct sample_row *expected = &sample;

	spec.root = 9;
	assert_int_equal(enqueue_one(f, f->dataset, spec).added, 1);
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	sample.root = 9;
	assert_ok(queue_samples(f->q, 1, check_sample, &expected, &f->err), &f->err);
	shown = show_job(f, 1);
	assert_int_equal(shown.state, JOB_AVAILABLE);
	assert_int_equal(shown.root, 9);
}

/* However late its file is met: a file of that name says nothing about the content. */
static void an_unknown_sample_is_adopted_and_its_file_compared_when_it_is_met(void **state)
{
	struct fixture *f = *state;
	struct sample_row sample = sample_of("dir/a.jpg", "k", 0);
	struct shard_row shard = shard_of(f->dataset, "1.tar", 1);
	struct job_spec spec = file_spec("dir/a.jpg", "dir/a", 5);
	cleanup_shown struct shown shown = {0};
	cleanup_job struct job job = {0};
	struct job_outcome kept;

	sample.root = spec.root = 2;
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	shown = show_job(f, 1);
	assert_int_equal(shown.state, JOB_COMPLETED);
	assert_int_equal(shown.root, 2);
	assert_string_equal(shown.key, "k");
	assert_string_equal(shown.path, "dir/a.jpg");
	assert_int_equal(claim_jobs(f, ME, &job, 1), 0);
	assert_int_equal(enqueue_one(f, f->dataset, spec).superseding, 1);
	assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_true(job.has_content);
	assert_memory_equal(&job.content, &sample.content, sizeof(sample.content));
	kept = outcome_of(&job, OUTCOME_KEPT);
	kept.has_content = true;
	kept.content = sample.content;
	assert_true(settle_one(f, kept));
	assert_int_equal(state_of(f, 1), JOB_COMPLETED);
	assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
}

static void a_dropped_shard_gives_its_jobs_back_and_its_id_is_not_used_again(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_of("a.jpg", "a", 0), sample_of("b.jpg", "b", 512)};
	struct shard_row shard = shard_of(f->dataset, "1.tar", 2);
	struct queue_counts counts;
	size_t requeued = 0;
	struct job jobs[2];
	int64_t id = 0;

	job_in_state(f, "a", JOB_ENCODED);
	job_in_state(f, "b", JOB_ENCODED);
	assert_ok(queue_complete(f->q, &shard, samples, 2, NOW, &id, &f->err), &f->err);
	fixture_after(f);
	assert_ok(queue_drop_shard(f->q, id, NOW, &requeued, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(requeued, 2);
	assert_ok(queue_counts(f->q, f->dataset, &counts, &f->err), &f->err);
	assert_int_equal(counts.shards + counts.samples + counts.shard_bytes, 0);
	assert_int_equal(counts.jobs[JOB_AVAILABLE], 2);
	assert_error(queue_drop_shard(f->q, id, NOW, &requeued, &f->err), &f->err, ERR_BUG);
	error_clear(&f->err);
	fixture_after(f);
	/* Under the same path, and with the same samples. */
	assert_ok(queue_complete(f->q, &shard, samples, 2, NOW, &id, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(id, 2);
	assert_int_equal(claim_jobs(f, ME, jobs, 2), 2);
	assert_true(jobs[0].has_content && jobs[1].has_content);
	job_release(&jobs[0]);
	job_release(&jobs[1]);
}

/* -- listings ------------------------------------------------------------------------------------- */

static const char *const shard_paths[] = {"train/1024x512/000000.tar", "train/512x512/000000.tar",
					  "train/512x512/000001.tar"};

static int check_shard(void *arg, const struct shard_row *row)
{
	size_t *n = arg;
	struct sha256 sha256 = sha256_of(row->path, strlen(row->path));
	struct hash128 xxh3 = hash128_of(row->path, strlen(row->path));

	assert_string_equal(row->path, shard_paths[*n]);
	assert_int_equal(row->id, *n == 0 ? 3 : *n);
	assert_string_equal(row->format, "wds");
	assert_string_equal(row->group, "512x512");
	assert_int_equal(row->bytes, 10240);
	assert_int_equal(row->samples, 0);
	assert_int_equal(row->sealed_at, NOW);
	assert_memory_equal(&row->sha256, &sha256, sizeof(sha256));
	assert_memory_equal(&row->xxh3, &xxh3, sizeof(xxh3));
	++*n;
	return 0;
}

static void shards_are_listed_by_path(void **state)
{
	struct fixture *f = *state;
	size_t n = 0;

	for (size_t i = 1; i <= 3; i++) {
		struct shard_row shard = shard_of(f->dataset, shard_paths[i % 3], 0);

		assert_int_equal(complete(f, &shard, NULL, 0), 0);
	}
	assert_ok(queue_shards(f->q, f->dataset, check_shard, &n, &f->err), &f->err);
	assert_int_equal(n, 3);
}

static void samples_are_listed_by_offset_with_all_they_have(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_of("z\n\xff.jpg", "z", 0),
				       sample_of("a.jpg", "a", 512), sample_of("a.jpg", "a", 1024),
				       sample_of("m", "m", INT64_MAX)};
	struct shard_row shard = shard_of(f->dataset, "1.tar", ARRAY_SIZE(samples));
	struct shard_row empty = shard_of(f->dataset, "2.tar", 0);
	const struct sample_row *expected = samples;

	samples[0].root = 7;
	samples[2].variant = 3;
	samples[2].content.bytes[0] ^= 1;
	add_job(f, "a");
	assert_int_equal(complete(f, &shard, samples, ARRAY_SIZE(samples)), 0);
	assert_int_equal(complete(f, &empty, NULL, 0), 0);
	assert_ok(queue_samples(f->q, 1, check_sample, &expected, &f->err), &f->err);
	assert_ptr_equal(expected, samples + ARRAY_SIZE(samples));
}

int contract_queue_catalog(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(a_dataset_is_found_again),
	    contract_test(another_recipe_under_the_same_name_is_refused),
	    contract_test(datasets_are_listed_by_name),
	    contract_test(every_listing_may_be_ended_early),
	    contract_test(what_is_not_there_has_no_rows_and_counts_nothing),
	    contract_test(complete_makes_the_rows_and_completes_the_jobs),
	    contract_test(a_sample_of_a_job_that_was_not_encoded_is_visible_and_its_file_compared),
	    contract_test(
		a_sample_of_a_job_that_is_gone_or_skipped_completes_it_until_its_file_is_met),
	    contract_test(a_sample_of_a_running_job_leaves_it_to_its_owner),
	    contract_test(a_sample_that_is_visible_already_is_a_conflict_that_changes_nothing),
	    contract_test(a_sample_twice_in_one_shard_is_a_conflict),
	    contract_test(another_variant_of_a_completed_job_is_no_conflict),
	    contract_test(a_key_that_is_another_jobs_is_a_conflict),
	    contract_test(a_shard_path_is_taken_once_in_a_dataset),
	    contract_test(a_shard_of_an_unknown_dataset_is_a_bug),
	    contract_test(a_dropped_shard_gives_its_jobs_back_and_its_id_is_not_used_again),
	    contract_test(a_sample_is_found_by_its_key_in_whichever_root_its_job_is),
	    contract_test(an_unknown_sample_is_adopted_and_its_file_compared_when_it_is_met),
	    contract_test(shards_are_listed_by_path),
	    contract_test(samples_are_listed_by_offset_with_all_they_have),
	};

	fixture_use(backend);
	return cmocka_run_group_tests_name("queue: catalog", tests, NULL, NULL);
}
