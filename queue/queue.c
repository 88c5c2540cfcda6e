#include "queue/queue.h"

#include "base/checked.h"

#include <assert.h>
#include <string.h>

const char *job_state_name(enum job_state state)
{
	static const char *const names[JOB_STATES] = {
	    [JOB_WAITING] = "waiting",	       [JOB_AVAILABLE] = "available",
	    [JOB_RUNNING] = "running",	       [JOB_ENCODED] = "encoded",
	    [JOB_COMPLETED] = "completed",     [JOB_RETRYABLE] = "retryable",
	    [JOB_QUARANTINED] = "quarantined", [JOB_SKIPPED] = "skipped",
	    [JOB_CANCELLED] = "cancelled",     [JOB_GONE] = "gone",
	};

	assert((unsigned)state < JOB_STATES);
	return names[state];
}

void queue_dataset_release(struct queue_dataset *d)
{
	free(d->name);
	free(d->output);
	free(d->recipe_id);
	free(d->recipe_json);
	memset(d, 0, sizeof(*d));
}

void job_release(struct job *job)
{
	free(job->key);
	free(job->path);
	memset(job, 0, sizeof(*job));
}

/* What every operation owes: no outcome but the documented ones, and an error where it failed. */
static int checked_result(int r, int last_outcome, const struct error *err)
{
	assert(r <= last_outcome);
	assert((r < 0) == (err->code != ERR_NONE));
	return r;
}

static bool is_name(const char *s)
{
	return s && s[0] != '\0';
}

static bool is_owner(const char *s)
{
	return is_name(s) && strlen(s) < QUEUE_OWNER_SIZE;
}

int queue_open_dataset(struct queue *q, const struct queue_dataset_spec *spec, int64_t *id,
		       struct error *err)
{
	struct hash128 recipe;

	assert(is_name(spec->name) && is_name(spec->output) && spec->recipe_json);
	assert(hash128_parse(spec->recipe_id, &recipe));
	(void)recipe;
	return checked_result(q->ops->open_dataset(q, spec, id, err), QUEUE_OTHER_RECIPE, err);
}

int queue_datasets(struct queue *q, queue_dataset_fn fn, void *arg, struct error *err)
{
	return checked_result(q->ops->datasets(q, fn, arg, err), 0, err);
}

int queue_enqueue(struct queue *q, int64_t dataset, const struct job_spec *specs, size_t n,
		  struct enqueue_counts *counts, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		assert(is_name(specs[i].path));
		assert(is_name(specs[i].key) && is_name(specs[i].key_distinct));
		assert(specs[i].rank <= INT64_MAX);
		assert(specs[i].caption <= INT64_MAX || specs[i].caption == CAPTION_UNSEEN);
	}
	return checked_result(q->ops->enqueue(q, dataset, specs, n, counts, err), 0, err);
}

int queue_scan_begin(struct queue *q, int64_t dataset, const uint32_t *roots, size_t n,
		     struct error *err)
{
	return checked_result(q->ops->scan_begin(q, dataset, roots, n, err), 0, err);
}

int queue_scan_end(struct queue *q, int64_t dataset, enum scan_end how, int64_t now,
		   struct scan_counts *counts, struct error *err)
{
	return checked_result(q->ops->scan_end(q, dataset, how, now, counts, err), 0, err);
}

int queue_claim(struct queue *q, const struct queue_claim *claim, struct job *jobs, size_t *n,
		struct error *err)
{
	int r;

	assert(is_owner(claim->owner));
	assert(claim->limit > 0);
	r = checked_result(q->ops->claim(q, claim, jobs, n, err), QUEUE_LATER, err);
	assert(r != 0 || (*n > 0 && *n <= claim->limit));
	return r;
}

int queue_extend(struct queue *q, const char *owner, int64_t lease_until, struct error *err)
{
	assert(is_owner(owner));
	return checked_result(q->ops->extend(q, owner, lease_until, err), 0, err);
}

int queue_settle(struct queue *q, const struct job_outcome *outcomes, size_t n, int64_t now,
		 size_t *lost, struct error *err)
{
	size_t ignored;

	for (size_t i = 0; i < n; i++) {
		const char *reason = outcomes[i].reason;

		assert(!reason || strlen(reason) < QUEUE_REASON_SIZE);
		assert((unsigned)outcomes[i].kind <= OUTCOME_POSTPONE);
		assert(outcomes[i].kind != OUTCOME_KEPT || outcomes[i].has_content);
	}
	return checked_result(q->ops->settle(q, outcomes, n, now, lost ? lost : &ignored, err), 0,
			      err);
}

int queue_rescue(struct queue *q, int64_t dataset, const char *owner, int64_t now, size_t *rescued,
		 struct error *err)
{
	assert(is_owner(owner));
	return checked_result(q->ops->rescue(q, dataset, owner, now, rescued, err), 0, err);
}

int queue_requeue_lost(struct queue *q, int64_t dataset, const int64_t *spooled, size_t n,
		       int64_t now, size_t *requeued, struct error *err)
{
	for (size_t i = 1; i < n; i++)
		assert(spooled[i - 1] < spooled[i]);
	return checked_result(q->ops->requeue_lost(q, dataset, spooled, n, now, requeued, err), 0,
			      err);
}

int queue_retry(struct queue *q, const struct job_filter *which, int64_t now, size_t *retried,
		struct error *err)
{
	assert(which->state == JOB_QUARANTINED || which->state == JOB_SKIPPED ||
	       which->state == JOB_CANCELLED);
	return checked_result(q->ops->retry(q, which, now, retried, err), 0, err);
}

int queue_cancel(struct queue *q, const struct job_filter *which, int64_t now, size_t *cancelled,
		 struct error *err)
{
	return checked_result(q->ops->cancel(q, which, now, cancelled, err), 0, err);
}

/* They are few. */
void content_found_add(struct content_found *found, const struct variant_place *place)
{
	found->variants =
	    xrealloc(found->variants, found->n_variants + 1, sizeof(*found->variants));
	found->variants[found->n_variants++] = *place;
}

void content_found_release(struct content_found *found)
{
	free(found->key);
	free(found->shard_path);
	free(found->variants);
	memset(found, 0, sizeof(*found));
}

int queue_find_content(struct queue *q, int64_t dataset, const struct hash128 *content,
		       struct content_found *found, struct error *err)
{
	memset(found, 0, sizeof(*found));
	return checked_result(q->ops->find_content(q, dataset, content, found, err), 0, err);
}

int queue_find_variants(struct queue *q, struct content_found *found, struct error *err)
{
	assert(found->where == CONTENT_VISIBLE && found->n_variants == 0);
	return checked_result(q->ops->find_variants(q, found, err), 0, err);
}

static void check_new_shard(const struct new_shard *shard)
{
	assert(is_name(shard->row.path) && is_name(shard->row.format) && shard->row.group);
	assert(shard->row.bytes <= INT64_MAX);
	assert(shard->row.dead == 0);
	for (size_t i = 0; i < shard->row.samples; i++) {
		const struct sample_row *sample = &shard->samples[i];

		assert(is_name(sample->key) && is_name(sample->path));
		assert(sample->offset <= INT64_MAX);
		assert(!sample->dead);
		assert(i == 0 || shard->samples[i - 1].offset < sample->offset);
		(void)sample;
	}
}

int queue_swap(struct queue *q, const struct queue_swap *swap, int64_t now, int64_t *shard_ids,
	       struct error *err)
{
	for (size_t i = 0; i < swap->n_shards; i++)
		check_new_shard(&swap->shards[i]);
	return checked_result(q->ops->swap(q, swap, now, shard_ids, err), QUEUE_CONFLICT, err);
}

int queue_complete(struct queue *q, const struct shard_row *shard, const struct sample_row *samples,
		   size_t n, int64_t now, int64_t *shard_id, struct error *err)
{
	struct new_shard fresh = {*shard, samples};
	struct queue_swap swap = {.shards = &fresh, .n_shards = 1};

	assert(shard->samples == n);
	(void)n;
	return queue_swap(q, &swap, now, shard_id, err);
}

int queue_drop_shard(struct queue *q, int64_t shard, int64_t now, size_t *requeued,
		     struct error *err)
{
	return checked_result(q->ops->drop_shard(q, shard, now, requeued, err), 0, err);
}

int queue_drop_samples(struct queue *q, int64_t shard, const uint64_t *offsets, size_t n,
		       int64_t now, size_t *requeued, struct error *err)
{
	return checked_result(q->ops->drop_samples(q, shard, offsets, n, now, requeued, err), 0,
			      err);
}

int queue_retired(struct queue *q, int64_t dataset, queue_retired_fn fn, void *arg,
		  struct error *err)
{
	return checked_result(q->ops->retired(q, dataset, fn, arg, err), 0, err);
}

int queue_forget_retired(struct queue *q, const int64_t *shards, size_t n, struct error *err)
{
	return checked_result(q->ops->forget_retired(q, shards, n, err), 0, err);
}

int queue_recaptions(struct queue *q, int64_t dataset, int64_t shard, queue_recaption_fn fn,
		     void *arg, struct error *err)
{
	return checked_result(q->ops->recaptions(q, dataset, shard, fn, arg, err), 0, err);
}

int queue_recaption(struct queue *q, int64_t dataset, const char *const *keys, size_t n,
		    struct error *err)
{
	return checked_result(q->ops->recaption(q, dataset, keys, n, err), 0, err);
}

int queue_recaptioned(struct queue *q, const struct recaptioned *done, size_t n, struct error *err)
{
	return checked_result(q->ops->recaptioned(q, done, n, err), 0, err);
}

int queue_counts(struct queue *q, int64_t dataset, struct queue_counts *out, struct error *err)
{
	return checked_result(q->ops->counts(q, dataset, out, err), 0, err);
}

int queue_jobs(struct queue *q, const struct job_filter *which, queue_job_fn fn, void *arg,
	       struct error *err)
{
	assert((unsigned)which->state < JOB_STATES);
	return checked_result(q->ops->jobs(q, which, fn, arg, err), 0, err);
}

int queue_reasons(struct queue *q, int64_t dataset, enum job_state state, queue_reason_fn fn,
		  void *arg, struct error *err)
{
	assert((unsigned)state < JOB_STATES);
	assert(state != JOB_AVAILABLE && state != JOB_COMPLETED);
	return checked_result(q->ops->reasons(q, dataset, state, fn, arg, err), 0, err);
}

int queue_duplicates(struct queue *q, int64_t dataset, const struct hash128 *after, size_t limit,
		     queue_duplicate_fn fn, void *arg, struct error *err)
{
	return checked_result(q->ops->duplicates(q, dataset, after, limit, fn, arg, err), 0, err);
}

int queue_shards(struct queue *q, int64_t dataset, queue_shard_fn fn, void *arg, struct error *err)
{
	return checked_result(q->ops->shards(q, dataset, fn, arg, err), 0, err);
}

int queue_samples(struct queue *q, int64_t shard, queue_sample_fn fn, void *arg, struct error *err)
{
	return checked_result(q->ops->samples(q, shard, fn, arg, err), 0, err);
}

int queue_spend(struct queue *q, const char *account, uint64_t requests, uint64_t bytes,
		int64_t now, struct error *err)
{
	assert(is_name(account));
	assert(requests <= INT64_MAX / 2 && bytes <= INT64_MAX / 2);
	return checked_result(q->ops->spend(q, account, requests, bytes, now, err), 0, err);
}

int queue_spent(struct queue *q, const char *account, queue_spent_fn fn, void *arg,
		struct error *err)
{
	assert(is_name(account));
	return checked_result(q->ops->spent(q, account, fn, arg, err), 0, err);
}

int queue_keep_history(struct queue *q, const struct history_row *rows, size_t n, struct error *err)
{
	return checked_result(q->ops->keep_history(q, rows, n, err), 0, err);
}

int queue_history(struct queue *q, queue_history_fn fn, void *arg, struct error *err)
{
	return checked_result(q->ops->history(q, fn, arg, err), 0, err);
}

void queue_close(struct queue *q)
{
	if (q)
		q->ops->close(q);
}
