/*
 * Shards that take the place of others, and what leaves the catalog.
 */
#include "tests/contract/contract_queue.h"

/* Jobs a, b and c, whose samples are in shard 1 (a, b) and shard 2 (c). */
static const char *const names[] = {"a", "b", "c"};

static struct sample_row sample_named(size_t i, uint64_t offset)
{
	static const char *const paths[] = {"a.jpg", "b.jpg", "c.jpg"};

	return sample_of(paths[i], names[i], offset);
}

static void make_shards(struct fixture *f)
{
	struct sample_row samples[] = {sample_named(0, 0), sample_named(1, 512),
				       sample_named(2, 0)};
	struct shard_row first = shard_of(f->dataset, "1.tar", 2);
	struct shard_row second = shard_of(f->dataset, "2.tar", 1);

	for (size_t i = 0; i < 3; i++)
		job_in_state(f, names[i], JOB_ENCODED);
	assert_int_equal(complete(f, &first, samples, 2), 0);
	assert_int_equal(complete(f, &second, samples + 2, 1), 0);
}

static const int64_t both[] = {1, 2};

static struct queue_swap swap_of(const struct new_shard *shards, size_t n)
{
	return (struct queue_swap){
	    .retired = both, .n_retired = 2, .shards = shards, .n_shards = n};
}

static int swap(struct fixture *f, struct queue_swap swap, int64_t *ids)
{
	int r = queue_swap(f->q, &swap, NOW + 40, ids, &f->err);

	assert_true(r >= 0);
	fixture_after(f);
	return r;
}

static void assert_no_swap(struct fixture *f, struct queue_swap what)
{
	cleanup_buffer struct buffer before = BUFFER_INIT;
	int64_t ids[2] = {-7, -7};

	queue_dump(f->q, &before);
	assert_int_equal(swap(f, what, ids), QUEUE_CONFLICT);
	assert_int_equal(ids[0], -7);
	assert_unchanged(f->q, &before);
}

static struct queue_counts counts_of(struct fixture *f)
{
	struct queue_counts counts;

	assert_ok(queue_counts(f->q, f->dataset, &counts, &f->err), &f->err);
	return counts;
}

struct retired_list {
	int64_t ids[4];
	size_t n;
};

static int see_retired(void *arg, const struct retired_row *row)
{
	struct retired_list *list = arg;

	assert_int_equal(row->retired_at, NOW + 40);
	assert_string_equal(row->path, row->id == 1 ? "1.tar" : "2.tar");
	assert_int_equal(row->dataset, 1);
	list->ids[list->n++] = row->id;
	return 0;
}

static struct retired_list retired(struct fixture *f)
{
	struct retired_list list = {.n = 0};

	assert_ok(queue_retired(f->q, f->dataset, see_retired, &list, &f->err), &f->err);
	return list;
}

static void shards_are_swapped_for_one_and_their_jobs_stay_as_they_are(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_named(2, 0), sample_named(0, 512),
				       sample_named(1, 1024)};
	struct new_shard fresh = {shard_of(f->dataset, "3.tar", 3), samples};
	cleanup_shown struct shown shown = {0};
	struct queue_counts counts;
	struct retired_list list;
	int64_t id = 0;

	make_shards(f);
	/* Of a job that has changed since, too: its sample is carried, and it is not completed. */
	assert_int_equal(enqueue_one(f, f->dataset, file_spec("b.jpg", "b", 2)).superseding, 1);
	assert_int_equal(swap(f, swap_of(&fresh, 1), &id), 0);
	assert_int_equal(id, 3);
	counts = counts_of(f);
	assert_int_equal(counts.shards, 1);
	assert_int_equal(counts.samples, 3);
	assert_int_equal(counts.shard_bytes, 10240);
	assert_int_equal(state_of(f, 2), JOB_AVAILABLE);
	shown = show_job(f, 1);
	assert_int_equal(shown.state, JOB_COMPLETED);
	assert_int_equal(shown.updated_at, NOW + 40);
	list = retired(f);
	assert_int_equal(list.n, 2);
	assert_int_equal(list.ids[0], 1);
	assert_int_equal(list.ids[1], 2);
}

static void every_live_sample_must_be_in_a_new_shard_once(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_named(2, 0), sample_named(0, 512),
				       sample_named(1, 1024), sample_named(1, 1536)};
	struct new_shard shards[] = {{shard_of(f->dataset, "3.tar", 2), samples},
				     {shard_of(f->dataset, "4.tar", 1), samples}};

	make_shards(f);
	assert_no_swap(f, swap_of(shards, 1)); /* b is missing */
	assert_no_swap(f, swap_of(shards, 2)); /* c is in both */
	shards[0].row.samples = 4;
	assert_no_swap(f, swap_of(shards, 1)); /* b is there twice */
	shards[0].row.samples = 3;
	samples[1].latent.bytes[15] ^= 1;
	assert_no_swap(f, swap_of(shards, 1));
	samples[1].latent.bytes[15] ^= 1;
	samples[1].variant = 1;
	assert_no_swap(f, swap_of(shards, 1));
	samples[1].variant = 0;
	assert_int_equal(swap(f, swap_of(shards, 1), (int64_t[2]){0}), 0);
}

static void a_sample_twice_is_a_conflict_though_its_job_is_not_completed(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_named(0, 0), sample_named(1, 512),
				       sample_named(2, 1024), sample_named(1, 1536)};
	struct new_shard fresh = {shard_of(f->dataset, "3.tar", 4), samples};

	make_shards(f);
	assert_int_equal(enqueue_one(f, f->dataset, file_spec("b.jpg", "b", 2)).superseding, 1);
	assert_no_swap(f, swap_of(&fresh, 1));
}

static void a_dropped_sample_skips_its_job_until_it_is_retried(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_named(0, 0), sample_named(2, 512)};
	struct new_shard fresh = {shard_of(f->dataset, "3.tar", 2), samples};
	struct queue_swap what = swap_of(&fresh, 1);
	struct sample_place place = {1, 512};
	cleanup_shown struct shown shown = {0};
	int64_t id;
	size_t n;

	make_shards(f);
	what.dropped = &place;
	what.n_dropped = 1;
	assert_int_equal(swap(f, what, &id), 0);
	shown = show_job(f, 2);
	assert_int_equal(shown.state, JOB_SKIPPED);
	assert_string_equal(shown.reason, "deleted");
	assert_int_equal(shown.updated_at, NOW + 40);
	assert_int_equal(counts_of(f).samples, 2);
	assert_int_equal(enqueue_one(f, f->dataset, file_spec("b.jpg", "b", 1)).known, 1);
	assert_ok(queue_retry(f->q,
			      &(struct job_filter){
				  .dataset = f->dataset, .state = JOB_SKIPPED, .reason = "deleted"},
			      NOW, &n, &f->err),
		  &f->err);
	assert_int_equal(n, 1);
}

static void what_is_dropped_must_be_live_in_a_retired_shard(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_named(0, 0), sample_named(1, 512)};
	struct new_shard fresh = {shard_of(f->dataset, "3.tar", 2), samples};
	struct sample_place places[] = {{2, 0}, {1, 77}, {2, 0}};
	struct queue_swap what = swap_of(&fresh, 1);

	make_shards(f);
	what.dropped = &places[1];
	what.n_dropped = 1;
	assert_no_swap(f, what); /* nothing is there */
	what.dropped = places;
	what.n_retired = 1;
	assert_no_swap(f, what); /* not retired */
	what.n_retired = 2;
	what.n_dropped = 3;
	assert_no_swap(f, what); /* dropped twice */
}

static void a_sample_is_replaced_by_dropping_it_and_bringing_another(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_named(0, 0), sample_named(1, 512),
				       sample_named(2, 1024)};
	struct new_shard fresh = {shard_of(f->dataset, "3.tar", 3), samples};
	struct queue_swap what = swap_of(&fresh, 1);
	struct sample_place place = {1, 512};
	int64_t id;

	make_shards(f);
	samples[1].latent.bytes[0] ^= 1;
	what.dropped = &place;
	what.n_dropped = 1;
	assert_int_equal(swap(f, what, &id), 0);
	assert_int_equal(state_of(f, 2), JOB_COMPLETED);
	assert_int_equal(counts_of(f).samples, 3);
}

static void dead_samples_are_left_behind(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_named(0, 0), sample_named(2, 512)};
	struct new_shard fresh = {shard_of(f->dataset, "3.tar", 2), samples};
	uint64_t offset = 512;
	int64_t id;
	size_t n;

	make_shards(f);
	assert_ok(queue_drop_samples(f->q, 1, &offset, 1, NOW, &n, &f->err), &f->err);
	assert_int_equal(swap(f, swap_of(&fresh, 1), &id), 0);
	assert_int_equal(state_of(f, 2), JOB_AVAILABLE);
	assert_int_equal(counts_of(f).samples, 2);
}

static void new_samples_come_in_with_carried_ones(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_named(0, 0), sample_named(1, 512),
				       sample_named(2, 1024), sample_of("d.jpg", "d", 1536)};
	struct new_shard fresh = {shard_of(f->dataset, "3.tar", 4), samples};
	int64_t id;

	make_shards(f);
	job_in_state(f, "d", JOB_ENCODED);
	assert_int_equal(swap(f, swap_of(&fresh, 1), &id), 0);
	assert_int_equal(state_of(f, 4), JOB_COMPLETED);
}

static void a_path_stays_taken_until_its_retired_shard_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct sample_row samples[] = {sample_named(0, 0), sample_named(1, 512),
				       sample_named(2, 1024)};
	struct new_shard fresh = {shard_of(f->dataset, "1.tar", 3), samples};
	struct shard_row again = shard_of(f->dataset, "1.tar", 0);
	int64_t ids[] = {1, 99};

	make_shards(f);
	assert_no_swap(f, swap_of(&fresh, 1));
	fresh.row.path = "3.tar";
	assert_int_equal(swap(f, swap_of(&fresh, 1), (int64_t[1]){0}), 0);
	assert_int_equal(complete(f, &again, NULL, 0), QUEUE_CONFLICT);
	assert_ok(queue_forget_retired(f->q, ids, 2, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(retired(f).n, 1);
	assert_int_equal(complete(f, &again, NULL, 0), 0);
}

static void shards_of_several_datasets_and_unknown_ones_are_bugs(void **state)
{
	struct fixture *f = *state;
	struct new_shard fresh = {shard_of(make_dataset(f, "other"), "3.tar", 0), NULL};
	struct queue_swap what = swap_of(&fresh, 1);
	cleanup_buffer struct buffer before = BUFFER_INIT;
	int64_t unknown[] = {1, 77}, id;

	make_shards(f);
	queue_dump(f->q, &before);
	assert_error(queue_swap(f->q, &what, NOW, &id, &f->err), &f->err, ERR_BUG);
	error_clear(&f->err);
	what.retired = unknown;
	what.n_shards = 0;
	assert_error(queue_swap(f->q, &what, NOW, &id, &f->err), &f->err, ERR_BUG);
	error_clear(&f->err);
	assert_unchanged(f->q, &before);
}

static void a_sample_is_found_by_the_id_of_its_job(void **state)
{
	struct fixture *f = *state;
	struct sample_row sample = sample_named(0, 0);
	struct shard_row shard = shard_of(f->dataset, "1.tar", 1);
	int64_t other = make_dataset(f, "other");

	sample.job = job_in_state(f, "a", JOB_ENCODED);
	sample.key = "b";
	assert_int_equal(complete(f, &shard, &sample, 1), QUEUE_CONFLICT);
	sample.key = "a";
	sample.path = "b.jpg";
	assert_int_equal(complete(f, &shard, &sample, 1), QUEUE_CONFLICT);
	sample.path = "a.jpg";
	shard.dataset = other;
	assert_int_equal(complete(f, &shard, &sample, 1), QUEUE_CONFLICT);
	shard.dataset = f->dataset;
	sample.job = 99;
	assert_int_equal(complete(f, &shard, &sample, 1), QUEUE_CONFLICT);
	sample.job = 1;
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	assert_int_equal(state_of(f, 1), JOB_COMPLETED);
}

static void damaged_samples_are_dead_and_their_jobs_available(void **state)
{
	struct fixture *f = *state;
	uint64_t offsets[] = {512, 4, 512};
	cleanup_shown struct shown shown = {0};
	struct job job;
	size_t n = 99;

	make_shards(f);
	assert_ok(queue_drop_samples(f->q, 1, offsets, 3, NOW + 30, &n, &f->err), &f->err);
	fixture_after(f);
	assert_int_equal(n, 1);
	shown = show_job(f, 2);
	assert_int_equal(shown.state, JOB_AVAILABLE);
	assert_int_equal(shown.attempts, 0);
	assert_int_equal(shown.updated_at, NOW + 30);
	assert_int_equal(counts_of(f).samples, 2);
	assert_int_equal(counts_of(f).shards, 2);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_int_equal(job.id, 2);
	job_release(&job);
	assert_error(queue_drop_samples(f->q, 77, offsets, 1, NOW, &n, &f->err), &f->err, ERR_BUG);
	error_clear(&f->err);
}

int contract_queue_swap(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(shards_are_swapped_for_one_and_their_jobs_stay_as_they_are),
	    contract_test(every_live_sample_must_be_in_a_new_shard_once),
	    contract_test(a_sample_twice_is_a_conflict_though_its_job_is_not_completed),
	    contract_test(a_dropped_sample_skips_its_job_until_it_is_retried),
	    contract_test(what_is_dropped_must_be_live_in_a_retired_shard),
	    contract_test(a_sample_is_replaced_by_dropping_it_and_bringing_another),
	    contract_test(dead_samples_are_left_behind),
	    contract_test(new_samples_come_in_with_carried_ones),
	    contract_test(a_path_stays_taken_until_its_retired_shard_is_forgotten),
	    contract_test(shards_of_several_datasets_and_unknown_ones_are_bugs),
	    contract_test(a_sample_is_found_by_the_id_of_its_job),
	    contract_test(damaged_samples_are_dead_and_their_jobs_available),
	};

	fixture_use(backend);
	return cmocka_run_group_tests_name("queue: swap", tests, NULL, NULL);
}
