#include "tests/contract/contract_queue.h"

static void a_new_file_is_added_and_then_known(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("a.jpg", "a", 1);

	assert_int_equal(enqueue_one(f, f->dataset, spec).added, 1);
	assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
	assert_int_equal(state_of(f, 1), JOB_AVAILABLE);
}

static void counts_are_added_to_what_is_there(void **state)
{
	struct fixture *f = *state;
	struct job_spec specs[] = {file_spec("a.jpg", "a", 1), file_spec("b.jpg", "b", 1)};
	struct enqueue_counts counts = {.added = 10, .known = 20};

	assert_ok(queue_enqueue(f->q, f->dataset, specs, 1, &counts, &f->err), &f->err);
	assert_ok(queue_enqueue(f->q, f->dataset, specs, 2, &counts, &f->err), &f->err);
	assert_ok(queue_enqueue(f->q, f->dataset, specs, 0, &counts, &f->err), &f->err);
	assert_int_equal(counts.added, 12);
	assert_int_equal(counts.known, 21);
	fixture_after(f);
}

static void the_same_path_twice_in_one_batch_is_known(void **state)
{
	struct fixture *f = *state;
	struct job_spec specs[] = {file_spec("a.jpg", "a", 1), file_spec("a.jpg", "a", 1)};
	struct enqueue_counts counts = {0};

	assert_ok(queue_enqueue(f->q, f->dataset, specs, 2, &counts, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(counts.added, 1);
	assert_int_equal(counts.known, 1);
}

static void the_same_path_below_another_root_is_another_job(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	cleanup_shown struct shown shown = {0};

	assert_int_equal(enqueue_one(f, f->dataset, spec).added, 1);
	spec.root = UINT32_MAX;
	assert_int_equal(enqueue_one(f, f->dataset, spec).added, 1);
	assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
	shown = show_job(f, 2);
	assert_int_equal(shown.root, UINT32_MAX);
	assert_string_equal(shown.key, "distinct");
}

static void another_dataset_may_have_the_same_path_and_key(void **state)
{
	struct fixture *f = *state;
	int64_t other = make_dataset(f, "other");
	cleanup_shown struct shown shown = {0};

	assert_int_equal(enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 1)).added, 1);
	assert_int_equal(enqueue_one(f, other, file_spec("a.jpg", "a", 1)).added, 1);
	shown = show_job(f, 2);
	assert_string_equal(shown.key, "a");
}

static void a_taken_key_gives_way_to_the_distinct_one(void **state)
{
	struct fixture *f = *state;
	cleanup_shown struct shown first = {0}, second = {0};

	enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 1));
	enqueue_one(f, f->dataset, file_spec("a.png", "a", 1));
	first = show_job(f, 1);
	second = show_job(f, 2);
	assert_string_equal(first.key, "a");
	assert_string_equal(second.key, "distinct");
	assert_string_equal(second.path, "a.png");
}

static void two_taken_keys_are_a_bug_that_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct job_spec specs[] = {file_spec("new.jpg", "new", 1), file_spec("a.jpg", "a", 2),
				   file_spec("a.gif", "a", 1)};
	struct enqueue_counts counts = {.added = 5};
	cleanup_buffer struct buffer before = BUFFER_INIT;

	enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 1));
	enqueue_one(f, f->dataset, file_spec("a.png", "a", 1));
	queue_dump(f->q, &before);
	assert_error(queue_enqueue(f->q, f->dataset, specs, 3, &counts, &f->err), &f->err, ERR_BUG);
	assert_non_null(strstr(f->err.message, "\"a\""));
	assert_non_null(strstr(f->err.message, "\"distinct\""));
	assert_int_equal(counts.added, 5);
	error_clear(&f->err);
	assert_unchanged(f->q, &before);
	fixture_after(f);
	assert_int_equal(enqueue_one(f, f->dataset, specs[0]).added, 1);
	assert_int_equal(enqueue_one(f, f->dataset, specs[1]).requeued, 1);
}

static void a_key_that_differs_from_the_path_is_taken_too(void **state)
{
	struct fixture *f = *state;
	cleanup_shown struct shown shown = {0};

	enqueue_one(f, f->dataset, file_spec("some where.jpg", "b", 1));
	enqueue_one(f, f->dataset, file_spec("b.jpg", "b", 1));
	shown = show_job(f, 2);
	assert_string_equal(shown.key, "distinct");
}

static void an_unknown_dataset_is_a_bug(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	struct enqueue_counts counts = {0};

	assert_error(queue_enqueue(f->q, 77, &spec, 1, &counts, &f->err), &f->err, ERR_BUG);
	error_clear(&f->err);
	fixture_after(f);
}

static void a_known_job_keeps_its_key_and_its_rank(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	cleanup_job struct job job = {0};

	spec.rank = 5;
	enqueue_one(f, f->dataset, spec);
	spec = file_spec("a.jpg", "z", 2);
	spec.rank = 9;
	assert_int_equal(enqueue_one(f, f->dataset, spec).requeued, 1);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_string_equal(job.key, "a");
	assert_int_equal(job.rank, 5);
}

static void paths_of_any_bytes_are_recognised_and_come_back(void **state)
{
	static const char *const names[][2] = {
	    {"new\nline.jpg", "k1"},
	    {"\xff\xfe\x80.png", "k2"},
	    {"dir.x/name", "dir.x/name"},
	    {"dir.x/.hidden", "k3"},
	    {"dir.x/.hidden.jpg", "dir.x/.hidden"},
	    {".jpg", ".jpg"},
	    {"a.", "a"},
	    {"a/b/c.tar.gz", "a/b/c.tar"},
	    {"it's \"%\".jpg", "k4"},
	    {"\xe2\x98\x83.jpg", "\xe2\x98\x83"},
	    {"x", "k\xff"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct job_spec spec = file_spec(names[i][0], names[i][1], 1);
		cleanup_job struct job job = {0};

		spec.rank = i;
		assert_int_equal(enqueue_one(f, f->dataset, spec).added, 1);
		assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
		assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
		assert_string_equal(job.path, names[i][0]);
		assert_string_equal(job.key, names[i][1]);
	}
}

static void a_path_of_4000_bytes_is_recognised_and_comes_back(void **state)
{
	struct fixture *f = *state;
	char path[4001];
	cleanup_shown struct shown shown = {0};

	memset(path, 'd', sizeof(path));
	for (size_t i = 200; i < 4000; i += 200)
		path[i] = '/';
	path[4000] = '\0';
	assert_int_equal(enqueue_one(f, f->dataset, file_spec(path, "long", 1)).added, 1);
	assert_int_equal(enqueue_one(f, f->dataset, file_spec(path, "long", 1)).known, 1);
	path[3999] = 'e';
	assert_int_equal(enqueue_one(f, f->dataset, file_spec(path, "long2", 1)).added, 1);
	shown = show_job(f, 2);
	assert_string_equal(shown.path, path);
}

/* -- files that changed --------------------------------------------------------------------------- */

static void any_change_of_a_file_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("a.jpg", "a", 1);

	enqueue_one(f, f->dataset, spec);
	spec.size++;
	assert_int_equal(enqueue_one(f, f->dataset, spec).requeued, 1);
	spec.mtime_ns = INT64_MIN;
	assert_int_equal(enqueue_one(f, f->dataset, spec).requeued, 1);
	spec.inode = UINT64_MAX;
	assert_int_equal(enqueue_one(f, f->dataset, spec).requeued, 1);
	assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
}

static void a_changed_file_that_is_not_yet_encoded_is_available_again(void **state)
{
	static const enum job_state states[] = {JOB_AVAILABLE, JOB_RETRYABLE, JOB_QUARANTINED,
						JOB_SKIPPED, JOB_GONE};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		const char *name = job_state_name(states[i]);
		cleanup_free char *path = xasprintf("%s.jpg", name);
		int64_t id = job_in_state(f, name, states[i]);
		cleanup_shown struct shown shown = {0};
		cleanup_job struct job job = {0};

		assert_int_equal(enqueue_one(f, f->dataset, file_spec(path, name, 2)).requeued, 1);
		assert_int_equal(enqueue_one(f, f->dataset, file_spec(path, name, 2)).known, 1);
		shown = show_job(f, id);
		assert_int_equal(shown.state, JOB_AVAILABLE);
		assert_int_equal(shown.attempts, 0);
		assert_string_equal(shown.reason, "");
		assert_string_equal(shown.message, "");
		assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
		assert_int_equal(job.id, id);
	}
}

static void a_changed_file_is_no_longer_suspected(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = add_claimed(f, "a");
	cleanup_shown struct shown shown = {0};
	size_t n;

	assert_ok(queue_rescue(f->q, f->dataset, OTHER, NOW, &n, &f->err), &f->err);
	enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 2));
	shown = show_job(f, job.id);
	assert_int_equal(shown.crashes, 0);
}

static void a_file_that_changes_while_running_is_told_and_taken_the_next_time(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job job = add_claimed(f, "a");

	assert_int_equal(enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 1)).known, 1);
	assert_int_equal(enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 2)).busy, 1);
	assert_int_equal(state_of(f, job.id), JOB_RUNNING);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
	assert_int_equal(enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 2)).superseding, 1);
}

static void a_file_that_changes_after_encoding_is_available_again(void **state)
{
	static const enum job_state states[] = {JOB_ENCODED, JOB_COMPLETED};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		const char *name = job_state_name(states[i]);
		cleanup_free char *path = xasprintf("%s.jpg", name);
		struct job_spec changed = file_spec(path, name, 2);
		int64_t id = job_in_state(f, name, states[i]);
		struct hash128 content = hash128_of(path, strlen(path));
		struct queue_counts counts;
		cleanup_job struct job job = {0};

		assert_int_equal(enqueue_one(f, f->dataset, changed).superseding, 1);
		assert_int_equal(enqueue_one(f, f->dataset, changed).known, 1);
		assert_ok(queue_counts(f->q, f->dataset, &counts, &f->err), &f->err);
		assert_int_equal(counts.samples, i);
		assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
		assert_int_equal(job.id, id);
		assert_int_equal(job.attempts, 1);
		assert_true(job.has_content && hash128_equal(&job.content, &content));
	}
}

static void a_file_that_came_back_unchanged_is_available_again(void **state)
{
	struct fixture *f = *state;
	int64_t id = job_in_state(f, "a", JOB_GONE);

	assert_int_equal(enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 1)).requeued, 1);
	assert_int_equal(state_of(f, id), JOB_AVAILABLE);
}

static void an_unchanged_file_leaves_every_other_state(void **state)
{
	static const enum job_state states[] = {JOB_RUNNING,   JOB_ENCODED, JOB_COMPLETED,
						JOB_RETRYABLE, JOB_SKIPPED, JOB_QUARANTINED};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		const char *name = job_state_name(states[i]);
		cleanup_free char *path = xasprintf("%s.jpg", name);
		int64_t id = job_in_state(f, name, states[i]);

		assert_int_equal(enqueue_one(f, f->dataset, file_spec(path, name, 1)).known, 1);
		assert_int_equal(state_of(f, id), states[i]);
	}
}

int contract_queue_enqueue(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(a_new_file_is_added_and_then_known),
	    contract_test(counts_are_added_to_what_is_there),
	    contract_test(the_same_path_twice_in_one_batch_is_known),
	    contract_test(the_same_path_below_another_root_is_another_job),
	    contract_test(another_dataset_may_have_the_same_path_and_key),
	    contract_test(a_taken_key_gives_way_to_the_distinct_one),
	    contract_test(two_taken_keys_are_a_bug_that_changes_nothing),
	    contract_test(a_key_that_differs_from_the_path_is_taken_too),
	    contract_test(an_unknown_dataset_is_a_bug),
	    contract_test(a_known_job_keeps_its_key_and_its_rank),
	    contract_test(paths_of_any_bytes_are_recognised_and_come_back),
	    contract_test(a_path_of_4000_bytes_is_recognised_and_comes_back),
	    contract_test(any_change_of_a_file_is_noticed),
	    contract_test(a_changed_file_that_is_not_yet_encoded_is_available_again),
	    contract_test(a_changed_file_is_no_longer_suspected),
	    contract_test(a_file_that_changes_while_running_is_told_and_taken_the_next_time),
	    contract_test(a_file_that_changes_after_encoding_is_available_again),
	    contract_test(a_file_that_came_back_unchanged_is_available_again),
	    contract_test(an_unchanged_file_leaves_every_other_state),
	};

	fixture_use(backend);
	return cmocka_run_group_tests_name("queue: enqueue", tests, NULL, NULL);
}
