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
	}
	return checked_result(q->ops->enqueue(q, dataset, specs, n, counts, err), 0, err);
}

int queue_claim(struct queue *q, const struct queue_claim *claim, struct job *jobs, size_t *n,
		struct error *err)
{
	int r;

	assert(is_owner(claim->owner));
	assert(claim->limit > 0);
	r = checked_result(q->ops->claim(q, claim, jobs, n, err), QUEUE_EMPTY, err);
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
		assert((unsigned)outcomes[i].kind <= OUTCOME_GONE);
	}
	return checked_result(q->ops->settle(q, outcomes, n, now, lost ? lost : &ignored, err), 0,
			      err);
}

int queue_rescue(struct queue *q, const char *owner, int64_t now, size_t *rescued,
		 struct error *err)
{
	assert(is_owner(owner));
	return checked_result(q->ops->rescue(q, owner, now, rescued, err), 0, err);
}

int queue_requeue_lost(struct queue *q, const int64_t *spooled, size_t n, int64_t now,
		       size_t *requeued, struct error *err)
{
	for (size_t i = 1; i < n; i++)
		assert(spooled[i - 1] < spooled[i]);
	return checked_result(q->ops->requeue_lost(q, spooled, n, now, requeued, err), 0, err);
}

int queue_retry(struct queue *q, int64_t dataset, enum job_state from, const char *reason,
		int64_t now, size_t *retried, struct error *err)
{
	assert(from == JOB_QUARANTINED || from == JOB_SKIPPED);
	return checked_result(q->ops->retry(q, dataset, from, reason, now, retried, err), 0, err);
}

int queue_complete(struct queue *q, const struct shard_row *shard, const struct sample_row *samples,
		   size_t n, int64_t now, int64_t *shard_id, struct error *err)
{
	assert(is_name(shard->path) && is_name(shard->format) && shard->group);
	assert(shard->samples == n);
	assert(shard->bytes <= INT64_MAX);
	for (size_t i = 0; i < n; i++) {
		assert(is_name(samples[i].key) && is_name(samples[i].path));
		assert(samples[i].offset <= INT64_MAX);
		assert(i == 0 || samples[i - 1].offset < samples[i].offset);
	}
	return checked_result(q->ops->complete(q, shard, samples, n, now, shard_id, err),
			      QUEUE_CONFLICT, err);
}

int queue_drop_shard(struct queue *q, int64_t shard, int64_t now, size_t *requeued,
		     struct error *err)
{
	return checked_result(q->ops->drop_shard(q, shard, now, requeued, err), 0, err);
}

int queue_counts(struct queue *q, int64_t dataset, struct queue_counts *out, struct error *err)
{
	return checked_result(q->ops->counts(q, dataset, out, err), 0, err);
}

int queue_jobs(struct queue *q, int64_t dataset, enum job_state state, queue_job_fn fn, void *arg,
	       struct error *err)
{
	assert((unsigned)state < JOB_STATES);
	return checked_result(q->ops->jobs(q, dataset, state, fn, arg, err), 0, err);
}

int queue_shards(struct queue *q, int64_t dataset, queue_shard_fn fn, void *arg, struct error *err)
{
	return checked_result(q->ops->shards(q, dataset, fn, arg, err), 0, err);
}

int queue_samples(struct queue *q, int64_t shard, queue_sample_fn fn, void *arg, struct error *err)
{
	return checked_result(q->ops->samples(q, shard, fn, arg, err), 0, err);
}

void queue_close(struct queue *q)
{
	if (q)
		q->ops->close(q);
}
