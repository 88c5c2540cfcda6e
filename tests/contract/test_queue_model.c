/*
 * The same random operations against the queue in memory and another one at once, which is what the program is linked
 * with (queue_model_sqlite.c, queue_model_postgres.c): results and
 * everything they show must be equal after every step. Rounds are independent of each other:
 *
 *	LATENTD_MODEL_SEED=7 LATENTD_MODEL_STEPS=600 test_queue_model      runs the failing one again
 *	LATENTD_MODEL_STEPS=1000000 test_queue_model                       the long run
 */
#include "tests/contract/queue_model.h"

#include "queue/queue_open.h"

#include <inttypes.h>
#include <stdio.h>

#define STEPS 600 /* of a round: queues stay small, and a failure is found again soon */

/* splitmix64 */
static uint64_t next_random(struct world *w)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

size_t pick(struct world *w, size_t n)
{
	return (size_t)(next_random(w) % n);
}

/* Few contents: the same image comes in several files, and comes back. Two each begin with the same bytes. */
struct hash128 pick_content(struct world *w)
{
	return (struct hash128){{(uint8_t)pick(w, 3), [12] = (uint8_t)pick(w, 2)}};
}

static const char *pick_owner(struct world *w)
{
	static const char *const owners[] = {"host:1", "host:2", "host:3"};

	return owners[pick(w, ARRAY_SIZE(owners))];
}

const char *pick_reason(struct world *w)
{
	static const char *const reasons[] = {NULL, "truncated", "bomb", "timeout", "duplicate"};

	return reasons[pick(w, ARRAY_SIZE(reasons))];
}

/* Both returned the same and failed in the same way; true if they did the work. */
bool same_result(struct world *w, const int *r)
{
	assert_int_equal(r[MODEL], r[PEER]);
	assert_int_equal(w->err[MODEL].code, w->err[PEER].code);
	if (r[MODEL] < 0)
		assert_string_equal(w->err[MODEL].message, w->err[PEER].message);
	error_clear(&w->err[MODEL]);
	error_clear(&w->err[PEER]);
	return r[MODEL] == 0;
}

/* -- operations ----------------------------------------------------------------------------------- */

static void step_dataset(struct world *w)
{
	static const char *const names[] = {"one", "two"};
	static const char *const recipes[] = {"00000000000000000000000000000001",
					      "00000000000000000000000000000002"};
	struct queue_dataset_spec spec = {names[pick(w, 2)], "/out", recipes[pick(w, 8) == 0],
					  "{}"};
	int64_t id[2] = {0, 0};
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_open_dataset(w->q[i], &spec, &id[i], &w->err[i]);
	same_result(w, r);
	assert_int_equal(id[MODEL], id[PEER]);
}

/* Few names in two folders with two extensions: paths and keys meet all the time. */
void make_file(struct world *w, struct held *file, char distinct[64])
{
	static const char *const extensions[] = {".jpg", ".png", ""};
	size_t number = pick(w, FILES), extension = pick(w, ARRAY_SIZE(extensions));

	file->root = (uint32_t)pick(w, 2);
	snprintf(file->path, sizeof(file->path), "%s%04zu%s", number % 2 ? "dir.x/" : "", number,
		 extensions[extension]);
	snprintf(file->key, sizeof(file->key), "%s%04zu%s", number % 2 ? "dir.x/" : "", number,
		 number % 5 == 0 ? "-cleaned" : "");
	snprintf(distinct, 64, "%s-%u%zu", file->key, pick(w, 30) ? file->root : 0, extension);
}

static uint64_t pick_caption(struct world *w)
{
	static const uint64_t stamps[] = {0, 0, 5, 6, CAPTION_UNSEEN};

	return stamps[pick(w, ARRAY_SIZE(stamps))];
}

static void step_enqueue(struct world *w)
{
	struct job_spec specs[6];
	struct held files[6];
	char distinct[6][64];
	struct enqueue_counts counts[2] = {{0}, {0}};
	size_t n = 1 + pick(w, 6);
	int64_t dataset = 1 + (int64_t)pick(w, pick(w, 20) ? 2 : 3);
	int r[2];

	for (size_t i = 0; i < n; i++) {
		make_file(w, &files[i], distinct[i]);
		specs[i] = (struct job_spec){
		    .root = files[i].root,
		    .path = files[i].path,
		    .key = files[i].key,
		    .key_distinct = distinct[i],
		    .size = 100 + pick(w, 2),
		    .mtime_ns = pick(w, 8) == 0,
		    .inode = 1,
		    .rank = pick(w, 4),
		    .caption = pick_caption(w),
		    .wants_caption = pick(w, 5) == 0,
		    .unsettled = pick(w, 10) == 0,
		};
		if (pick(w, 20) == 0)
			specs[i].size = specs[i].inode = 0;
	}
	for (int i = 0; i < 2; i++)
		r[i] = queue_enqueue(w->q[i], dataset, specs, n, &counts[i], &w->err[i]);
	same_result(w, r);
	assert_memory_equal(&counts[MODEL], &counts[PEER], sizeof(counts[0]));
}

static void hold(struct world *w, const struct job *job, uint64_t peers_fence)
{
	struct held *held = &w->held[w->held_count < HELD ? w->held_count++ : pick(w, HELD)];

	held->id = job->id;
	held->fences[MODEL] = job->fence;
	held->fences[PEER] = peers_fence;
	held->root = job->root;
	snprintf(held->path, sizeof(held->path), "%s", job->path);
	snprintf(held->key, sizeof(held->key), "%s", job->key);
}

static void step_claim(struct world *w)
{
	struct queue_claim claim = {
	    .dataset = (int64_t)pick(w, 3),
	    .owner = pick_owner(w),
	    .now = w->now,
	    .lease_until = w->now + (int64_t)pick(w, 500),
	    .limit = 1 + pick(w, 5),
	    .suspects = pick(w, 6) == 0,
	};
	struct job jobs[2][5];
	size_t n[2] = {0, 0};
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_claim(w->q[i], &claim, jobs[i], &n[i], &w->err[i]);
	same_result(w, r);
	assert_int_equal(n[MODEL], n[PEER]);
	for (size_t i = 0; i < n[MODEL]; i++) {
		const struct job *a = &jobs[MODEL][i], *b = &jobs[PEER][i];

		assert_int_equal(a->id, b->id);
		assert_int_equal(a->dataset, b->dataset);
		assert_int_equal(a->attempts, b->attempts);
		assert_int_equal(a->crashes, b->crashes);
		assert_int_equal(a->root, b->root);
		assert_int_equal(a->size, b->size);
		assert_int_equal(a->rank, b->rank);
		assert_int_equal(a->has_content, b->has_content);
		assert_true(!a->has_content || hash128_equal(&a->content, &b->content));
		assert_string_equal(a->key, b->key);
		assert_string_equal(a->path, b->path);
		hold(w, a, b->fence);
		job_release(&jobs[MODEL][i]);
		job_release(&jobs[PEER][i]);
	}
}

static void step_settle(struct world *w)
{
	struct job_outcome outcomes[2][6];
	size_t lost[2] = {0, 0}, n = 1 + pick(w, 6);
	int r[2];

	if (w->held_count == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		const struct held *held = &w->held[pick(w, w->held_count)];

		bool stale = pick(w, 20) == 0;

		outcomes[MODEL][i] = (struct job_outcome){
		    .job = held->id,
		    .fence = held->fences[MODEL] + stale,
		    .kind = (enum outcome_kind)pick(w, OUTCOME_KEPT + 1),
		    .content = pick_content(w),
		    .not_before = w->now + (int64_t)pick(w, 500),
		    .reason = pick_reason(w),
		    .message = pick(w, 2) ? "a message" : NULL,
		};
		outcomes[MODEL][i].has_content =
		    outcomes[MODEL][i].kind == OUTCOME_KEPT || pick(w, 4);
		outcomes[PEER][i] = outcomes[MODEL][i];
		outcomes[PEER][i].fence = held->fences[PEER] + stale;
	}
	for (int i = 0; i < 2; i++)
		r[i] = queue_settle(w->q[i], outcomes[i], n, w->now, &lost[i], &w->err[i]);
	same_result(w, r);
	assert_int_equal(lost[MODEL], lost[PEER]);
}

static void step_extend(struct world *w)
{
	const char *owner = pick_owner(w);
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_extend(w->q[i], owner, w->now + 300, &w->err[i]);
	same_result(w, r);
}

static void step_rescue(struct world *w)
{
	const char *owner = pick_owner(w);
	int64_t dataset = 1 + (int64_t)pick(w, 2);
	size_t n[2] = {0, 0};
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_rescue(w->q[i], dataset, owner, w->now, &n[i], &w->err[i]);
	same_result(w, r);
	assert_int_equal(n[MODEL], n[PEER]);
}

static void step_requeue_lost(struct world *w)
{
	int64_t dataset = 1 + (int64_t)pick(w, 2);
	int64_t ids[512];
	size_t count = 0, n[2] = {0, 0};
	int r[2];

	for (int64_t id = 0; id < 512; id++) {
		if (pick(w, 10) > 0)
			ids[count++] = id;
	}
	for (int i = 0; i < 2; i++)
		r[i] = queue_requeue_lost(w->q[i], dataset, ids, count, w->now, &n[i], &w->err[i]);
	same_result(w, r);
	assert_int_equal(n[MODEL], n[PEER]);
}

const char *pick_key(struct world *w)
{
	return w->held_count > 0 && pick(w, 2) ? w->held[pick(w, w->held_count)].key : NULL;
}

static void step_retry(struct world *w)
{
	static const enum job_state from[] = {JOB_QUARANTINED, JOB_SKIPPED, JOB_CANCELLED};
	const struct job_filter which = {
	    .dataset = 1 + (int64_t)pick(w, 2),
	    .state = from[pick(w, ARRAY_SIZE(from))],
	    .reason = pick_reason(w),
	    .key = pick(w, 3) ? NULL : pick_key(w),
	    .after = pick(w, 3) ? 0 : (int64_t)pick(w, 20),
	    .limit = pick(w, 3) ? 0 : 1 + pick(w, 3),
	};
	size_t n[2] = {0, 0};
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_retry(w->q[i], &which, w->now, &n[i], &w->err[i]);
	same_result(w, r);
	assert_int_equal(n[MODEL], n[PEER]);
}

static void step_cancel(struct world *w)
{
	const struct job_filter which = {.dataset = 1 + (int64_t)pick(w, 2),
					 .key = pick_key(w),
					 .limit = pick(w, 30) ? 1 + pick(w, 3) : 0};
	size_t n[2] = {0, 0};
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_cancel(w->q[i], &which, w->now, &n[i], &w->err[i]);
	same_result(w, r);
	assert_int_equal(n[MODEL], n[PEER]);
}

static void step_scan_begin(struct world *w)
{
	uint32_t roots[] = {(uint32_t)pick(w, 2), 9};
	int64_t dataset = 1 + (int64_t)pick(w, 2);
	bool all = pick(w, 2);
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] =
		    queue_scan_begin(w->q[i], dataset, all ? NULL : roots, all ? 0 : 2, &w->err[i]);
	same_result(w, r);
}

static void step_scan_end(struct world *w)
{
	enum scan_end how = (enum scan_end)pick(w, SCAN_REMOVE + 1);
	int64_t dataset = 1 + (int64_t)pick(w, 2);
	struct scan_counts counts[2] = {{0}, {0}};
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_scan_end(w->q[i], dataset, how, w->now, &counts[i], &w->err[i]);
	same_result(w, r);
	assert_memory_equal(&counts[MODEL], &counts[PEER], sizeof(counts[0]));
}

static void same_variants(struct world *w, struct content_found found[2])
{
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_find_variants(w->q[i], &found[i], &w->err[i]);
	if (!same_result(w, r))
		return;
	assert_int_equal(found[MODEL].n_variants, found[PEER].n_variants);
	for (size_t i = 0; i < found[MODEL].n_variants; i++) {
		const struct variant_place *a = &found[MODEL].variants[i];
		const struct variant_place *b = &found[PEER].variants[i];

		assert_int_equal(a->variant, b->variant);
		assert_int_equal(a->offset, b->offset);
		assert_int_equal(a->bytes, b->bytes);
	}
}

static void step_find_content(struct world *w)
{
	struct hash128 content = pick_content(w);
	int64_t dataset = 1 + (int64_t)pick(w, 3);
	struct content_found found[2];
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_find_content(w->q[i], dataset, &content, &found[i], &w->err[i]);
	if (!same_result(w, r))
		return;
	assert_int_equal(found[MODEL].where, found[PEER].where);
	assert_int_equal(found[MODEL].job, found[PEER].job);
	assert_int_equal(found[MODEL].dataset, found[PEER].dataset);
	assert_int_equal(found[MODEL].shard, found[PEER].shard);
	assert_int_equal(found[MODEL].variant, found[PEER].variant);
	assert_int_equal(found[MODEL].offset, found[PEER].offset);
	assert_int_equal(found[MODEL].bytes, found[PEER].bytes);
	if (found[MODEL].where != CONTENT_NONE)
		assert_string_equal(found[MODEL].key, found[PEER].key);
	if (found[MODEL].where == CONTENT_VISIBLE) {
		assert_string_equal(found[MODEL].shard_path, found[PEER].shard_path);
		same_variants(w, found);
	}
	content_found_release(&found[MODEL]);
	content_found_release(&found[PEER]);
}

/* A scan ends with the queue that was open. */
static void step_reopen(struct world *w)
{
	struct scan_counts counts;

	for (int64_t dataset = 1; dataset <= 2; dataset++) {
		queue_scan_end(w->q[MODEL], dataset, SCAN_ABANDON, w->now, &counts, &w->err[MODEL]);
		error_clear(&w->err[MODEL]);
	}
	queue_close(w->q[PEER]);
	w->q[PEER] = NULL;
	model_open(w);
}

/* -- rounds --------------------------------------------------------------------------------------- */

static void step(struct world *w)
{
	static const struct {
		size_t weight;
		void (*run)(struct world *w);
	} steps[] = {
	    {1, step_dataset},	    {8, step_enqueue},	    {12, step_claim},
	    {14, step_settle},	    {2, step_extend},	    {3, step_rescue},
	    {1, step_requeue_lost}, {2, step_retry},	    {8, step_complete},
	    {1, step_reopen},	    {1, step_drop_shard},   {1, step_drop_samples},
	    {4, step_swap},	    {1, step_forget},	    {1, step_scan_begin},
	    {1, step_scan_end},	    {3, step_find_content}, {1, step_cancel},
	    {3, step_page},	    {1, step_recaptioned},  {1, step_recaption},
	};
	size_t total = 0, at, i = 0;

	for (size_t k = 0; k < ARRAY_SIZE(steps); k++)
		total += steps[k].weight;
	at = pick(w, total);
	while (at >= steps[i].weight)
		at -= steps[i++].weight;
	steps[i].run(w);
	w->now += (int64_t)pick(w, 100);
}

/* How many swaps were made: they must not all be conflicts. */
static size_t round_of(uint64_t seed, uint64_t steps)
{
	char *dir = testing_tempdir();
	struct world w = {
	    .random = seed, .now = 1000, .seed = seed, .path = testing_path(dir, "queue.db")};

	assert_ok(queue_memory_open(&w.q[MODEL], &w.err[MODEL]), &w.err[MODEL]);
	model_open(&w);
	for (uint64_t i = 0; i < steps; i++) {
		cleanup_buffer struct buffer dump = BUFFER_INIT;

		step(&w);
		queue_dump(w.q[MODEL], &dump);
		assert_unchanged(w.q[PEER], &dump);
	}
	queue_close(w.q[MODEL]);
	queue_close(w.q[PEER]);
	free(w.path);
	testing_tempdir_remove(dir);
	return w.swapped;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 10) : otherwise;
}

static void it_does_what_the_model_does(void **state)
{
	uint64_t seed = setting("LATENTD_MODEL_SEED", 1);
	uint64_t steps = setting("LATENTD_MODEL_STEPS", MODEL_ROUNDS * STEPS);
	size_t swapped = 0;

	(void)state;
	for (uint64_t done = 0; done < steps; done += STEPS, seed++) {
		uint64_t n = steps - done < STEPS ? steps - done : STEPS;

		/* The last line before a failure tells how to run it again. */
		printf("LATENTD_MODEL_SEED=%" PRIu64 " LATENTD_MODEL_STEPS=%" PRIu64 "\n", seed, n);
		fflush(stdout);
		swapped += round_of(seed, n);
	}
	printf("%zu swaps\n", swapped);
	assert_true(swapped > 0 || steps < MODEL_ROUNDS * STEPS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_does_what_the_model_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
