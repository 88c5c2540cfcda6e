#include "tests/contract/queue_model.h"

#include <inttypes.h>
#include <stdio.h>

/* A sample of a file that is known, or not; @offset makes it distinct in its shard. */
static struct sample_row make_sample(struct world *w, struct held *file, uint64_t offset)
{
	char distinct[64];
	bool held = w->held_count > 0 && pick(w, 4) > 0;

	if (held)
		*file = w->held[pick(w, w->held_count)];
	else
		make_file(w, file, distinct);
	return (struct sample_row){.root = file->root,
				   .path = file->path,
				   .key = file->key,
				   .job = held && pick(w, 2) ? file->id : 0,
				   .variant = pick(w, 5) == 0,
				   .content = pick_content(w),
				   .offset = offset,
				   .bytes = pick(w, 512)};
}

void step_complete(struct world *w)
{
	struct sample_row samples[4];
	struct held files[4];
	char path[32];
	size_t n = pick(w, 5);
	struct shard_row shard = {.dataset = 1 + (int64_t)pick(w, pick(w, 20) ? 2 : 3),
				  .path = path,
				  .format = "wds",
				  .group = "512x512",
				  .bytes = pick(w, 10000),
				  .samples = n,
				  .sealed_at = w->now};
	int64_t id[2] = {0, 0};
	int r[2];

	snprintf(path, sizeof(path), "%zu.tar", pick(w, 200));
	for (size_t i = 0; i < n; i++) {
		samples[i] = make_sample(w, &files[i], 512 * i);
		if (i > 0 && pick(w, 3) == 0) { /* the other variant of the one before */
			samples[i] = samples[i - 1];
			samples[i].variant ^= 1;
			samples[i].offset = 512 * i;
		}
	}
	for (int i = 0; i < 2; i++)
		r[i] = queue_complete(w->q[i], &shard, samples, n, w->now, &id[i], &w->err[i]);
	same_result(w, r);
	assert_int_equal(id[MODEL], id[PEER]);
}

/* -- what a swap is made of ----------------------------------------------------------------------- */

#define SWAP_SAMPLES 24

struct swap_plan {
	struct world *w;
	int64_t shards[3];
	size_t n_shards, n_seen;
	int64_t shard; /* that is being read */
	struct held files[SWAP_SAMPLES + 1];
	struct sample_row samples[SWAP_SAMPLES + 1];
	size_t n_samples;
	struct sample_place dropped[SWAP_SAMPLES];
	size_t n_dropped;
};

static int plan_shard(void *arg, const struct shard_row *row)
{
	struct swap_plan *plan = arg;
	size_t at = plan->n_seen++ < ARRAY_SIZE(plan->shards) ? plan->n_shards++
							      : pick(plan->w, plan->n_seen);

	if (at < ARRAY_SIZE(plan->shards))
		plan->shards[at] = row->id;
	return 0;
}

/* Nearly always what a right swap carries over or drops, and now and then not. */
static int plan_sample(void *arg, const struct sample_row *row)
{
	struct swap_plan *plan = arg;
	struct held *file = &plan->files[plan->n_samples];
	bool skip = pick(plan->w, 40) == 0;

	if (plan->n_samples == SWAP_SAMPLES || (row->dead ? pick(plan->w, 60) > 0 : skip))
		return 0;
	if (pick(plan->w, 6) == 0) {
		plan->dropped[plan->n_dropped++] = (struct sample_place){plan->shard, row->offset};
		if (plan->n_dropped == SWAP_SAMPLES)
			return 1;
		return 0;
	}
	snprintf(file->path, sizeof(file->path), "%s", row->path);
	snprintf(file->key, sizeof(file->key), "%s", row->key);
	plan->samples[plan->n_samples] = *row;
	plan->samples[plan->n_samples].path = file->path;
	plan->samples[plan->n_samples].key = file->key;
	plan->samples[plan->n_samples].dead = false;
	plan->samples[plan->n_samples].job = pick(plan->w, 2) ? row->job : 0;
	plan->samples[plan->n_samples].offset = 512 * plan->n_samples;
	if (pick(plan->w, 60) == 0)
		plan->samples[plan->n_samples].latent.bytes[3] = 1;
	plan->n_samples++;
	return 0;
}

static void plan_swap(struct world *w, int64_t dataset, struct swap_plan *plan)
{
	assert_ok(queue_shards(w->q[MODEL], dataset, plan_shard, plan, &w->err[MODEL]),
		  &w->err[MODEL]);
	if (plan->n_shards > 1)
		plan->n_shards -= pick(w, plan->n_shards);
	for (size_t i = 0; i < plan->n_shards; i++) {
		plan->shard = plan->shards[i];
		assert_ok(
		    queue_samples(w->q[MODEL], plan->shard, plan_sample, plan, &w->err[MODEL]),
		    &w->err[MODEL]);
	}
	if (pick(w, 4) == 0) {
		plan->samples[plan->n_samples] =
		    make_sample(w, &plan->files[plan->n_samples], 512 * plan->n_samples);
		plan->n_samples++;
	}
}

void step_swap(struct world *w)
{
	struct swap_plan plan = {.w = w};
	int64_t dataset = 1 + (int64_t)pick(w, 2), ids[2][2] = {{0}};
	struct new_shard shards[2];
	struct queue_swap swap;
	char paths[2][32];
	size_t first;
	int r[2];

	plan_swap(w, dataset, &plan);
	first = pick(w, plan.n_samples + 1);
	for (size_t i = 0; i < 2; i++) {
		snprintf(paths[i], sizeof(paths[i]), "swapped-%zu.tar", pick(w, 300));
		shards[i].samples = plan.samples + (i ? first : 0);
		shards[i].row = (struct shard_row){.dataset = pick(w, 40) ? dataset : 3 - dataset,
						   .path = paths[i],
						   .format = "wds",
						   .group = "",
						   .bytes = pick(w, 10000),
						   .samples = i ? plan.n_samples - first : first,
						   .sealed_at = w->now};
	}
	swap = (struct queue_swap){.retired = plan.shards,
				   .n_retired = plan.n_shards,
				   .dropped = plan.dropped,
				   .n_dropped = plan.n_dropped,
				   .shards = shards,
				   .n_shards = 2};
	for (int i = 0; i < 2; i++)
		r[i] = queue_swap(w->q[i], &swap, w->now, ids[i], &w->err[i]);
	w->swapped += same_result(w, r);
	assert_memory_equal(ids[MODEL], ids[PEER], sizeof(ids[0]));
}

void step_forget(struct world *w)
{
	int64_t ids[3] = {1 + (int64_t)pick(w, 100), 1 + (int64_t)pick(w, 100), 7};
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_forget_retired(w->q[i], ids, pick(w, 1) + 3, &w->err[i]);
	same_result(w, r);
}

void step_drop_shard(struct world *w)
{
	int64_t shard = 1 + (int64_t)pick(w, 60);
	size_t n[2] = {0, 0};
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_drop_shard(w->q[i], shard, w->now, &n[i], &w->err[i]);
	same_result(w, r);
	assert_int_equal(n[MODEL], n[PEER]);
}

void step_drop_samples(struct world *w)
{
	int64_t shard = 1 + (int64_t)pick(w, 60);
	uint64_t offsets[] = {512 * pick(w, 4), 512 * pick(w, 4), 77};
	size_t n[2] = {0, 0};
	int r[2];

	for (int i = 0; i < 2; i++)
		r[i] = queue_drop_samples(w->q[i], shard, offsets, 3, w->now, &n[i], &w->err[i]);
	same_result(w, r);
	assert_int_equal(n[MODEL], n[PEER]);
}
