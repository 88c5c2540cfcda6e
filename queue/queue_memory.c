/*
 * The queue as plain arrays that are searched from the start: the definition that the other backends are
 * tested against.
 */
#include "queue/queue_memory.h"

#include "base/checked.h"

#include <string.h>

/* -- datasets ------------------------------------------------------------------------------------- */

static int memory_open_dataset(struct queue *base, const struct queue_dataset_spec *spec,
			       int64_t *id, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	for (size_t i = 0; i < q->dataset_count; i++) {
		if (strcmp(q->datasets[i].name, spec->name) != 0)
			continue;
		if (strcmp(q->datasets[i].recipe_id, spec->recipe_id) != 0)
			return QUEUE_OTHER_RECIPE;
		*id = q->datasets[i].id;
		return 0;
	}
	ARRAY_GROW(q->datasets, q->dataset_count, q->dataset_capacity);
	q->datasets[q->dataset_count] = (struct queue_dataset){
	    .id = (int64_t)q->dataset_count + 1,
	    .name = xstrdup(spec->name),
	    .output = xstrdup(spec->output),
	    .recipe_id = xstrdup(spec->recipe_id),
	    .recipe_json = xstrdup(spec->recipe_json),
	};
	*id = (int64_t)++q->dataset_count;
	return 0;
}

static int by_dataset_name(const void *left, const void *right)
{
	const struct queue_dataset *const *a = left, *const *b = right;

	return strcmp((*a)->name, (*b)->name);
}

static int memory_datasets(struct queue *base, queue_dataset_fn fn, void *arg, struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	cleanup_free const struct queue_dataset **sorted =
	    xcalloc(q->dataset_count + 1, sizeof(*sorted));

	(void)err;
	for (size_t i = 0; i < q->dataset_count; i++)
		sorted[i] = &q->datasets[i];
	qsort(sorted, q->dataset_count, sizeof(*sorted), by_dataset_name);
	for (size_t i = 0; i < q->dataset_count && fn(arg, sorted[i]) == 0; i++)
		;
	return 0;
}

/* -- complete ------------------------------------------------------------------------------------- */

static bool sample_is_visible(const struct memory_queue *q, int64_t job, uint32_t variant)
{
	for (size_t i = 0; i < q->sample_count; i++) {
		if (q->samples[i].job == job && q->samples[i].row.variant == variant)
			return true;
	}
	return false;
}

static bool shard_is_known(const struct memory_queue *q, const struct shard_row *shard)
{
	for (size_t i = 0; i < q->shard_count; i++) {
		if (q->shards[i].row.dataset == shard->dataset &&
		    strcmp(q->shards[i].path, shard->path) == 0)
			return true;
	}
	return false;
}

static int insert_sample(struct memory_queue *q, int64_t dataset, const struct sample_row *sample)
{
	struct memory_job *j = memory_find_key(q, dataset, sample->key);

	if (j ? strcmp(j->job.path, sample->path) != 0
	      : memory_find_path(q, dataset, sample->root, sample->path) != NULL)
		return QUEUE_CONFLICT;
	if (!j) {
		struct job_spec spec = {.root = sample->root, .path = sample->path};

		j = memory_insert_job(q, dataset, &spec, sample->key);
	}
	if (sample_is_visible(q, j->job.id, sample->variant))
		return QUEUE_CONFLICT;
	ARRAY_GROW(q->samples, q->sample_count, q->sample_capacity);
	q->samples[q->sample_count] = (struct memory_sample){
	    .shard = (int64_t)q->shard_count + 1,
	    .job = j->job.id,
	    .row = *sample,
	};
	q->samples[q->sample_count].row.root = j->job.root;
	q->samples[q->sample_count].row.root = j->job.root;
	q->samples[q->sample_count].row.key = j->job.key;
	q->samples[q->sample_count++].row.path = j->job.path;
	return 0;
}

static void complete_job(struct memory_job *j, int64_t now)
{
	if (j->state == JOB_COMPLETED)
		return;
	memory_set_state(j, JOB_COMPLETED);
	memory_replace(&j->reason, NULL);
	memory_replace(&j->message, NULL);
	j->updated_at = now;
}

/* First rows are added, which a conflict takes away again; then states change. */
static int memory_complete(struct queue *base, const struct shard_row *shard,
			   const struct sample_row *samples, size_t n, int64_t now,
			   int64_t *shard_id, struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	size_t jobs_before = q->job_count, samples_before = q->sample_count;
	struct memory_shard *row;

	if (memory_dataset_check(q, shard->dataset, err) < 0)
		return -1;
	if (shard_is_known(q, shard))
		return QUEUE_CONFLICT;
	for (size_t i = 0; i < n; i++) {
		if (insert_sample(q, shard->dataset, &samples[i]) != 0) {
			memory_remove_jobs(q, jobs_before);
			q->sample_count = samples_before;
			return QUEUE_CONFLICT;
		}
	}
	for (size_t i = samples_before; i < q->sample_count; i++)
		complete_job(&q->jobs[q->samples[i].job - 1], now);
	ARRAY_GROW(q->shards, q->shard_count, q->shard_capacity);
	row = &q->shards[q->shard_count++];
	*row = (struct memory_shard){
	    .row = *shard,
	    .path = xstrdup(shard->path),
	    .format = xstrdup(shard->format),
	    .group = xstrdup(shard->group),
	};
	row->row.id = (int64_t)q->shard_count;
	row->row.path = row->path;
	row->row.format = row->format;
	row->row.group = row->group;
	*shard_id = row->row.id;
	return 0;
}

/* Its place stays, so that ids do; no dataset has the id 0. */
static int memory_drop_shard(struct queue *base, int64_t shard, int64_t now, size_t *requeued,
			     struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	size_t count = 0;

	if (shard < 1 || (size_t)shard > q->shard_count || q->shards[shard - 1].row.dataset == 0)
		return error_set(err, ERR_BUG, "no shard has the id %lld", (long long)shard);
	for (size_t i = 0; i < q->sample_count; i++) {
		struct memory_sample *s = &q->samples[i];
		struct memory_job *j;

		if (s->shard != shard)
			continue;
		j = &q->jobs[s->job - 1];
		if (j->state == JOB_COMPLETED) {
			memory_set_state(j, JOB_AVAILABLE);
			j->job.attempts = 0;
			j->updated_at = now;
			count++;
		}
		s->shard = s->job = 0;
	}
	q->shards[shard - 1].row.dataset = 0;
	*requeued = count;
	return 0;
}

/* -- reading -------------------------------------------------------------------------------------- */

static int memory_counts(struct queue *base, int64_t dataset, struct queue_counts *out,
			 struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < q->job_count; i++) {
		if (q->jobs[i].job.dataset == dataset)
			out->jobs[q->jobs[i].state]++;
	}
	for (size_t i = 0; i < q->shard_count; i++) {
		if (q->shards[i].row.dataset != dataset)
			continue;
		out->shards++;
		out->samples += q->shards[i].row.samples;
		out->shard_bytes += q->shards[i].row.bytes;
	}
	return 0;
}

static int memory_jobs(struct queue *base, int64_t dataset, enum job_state state, queue_job_fn fn,
		       void *arg, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	for (size_t i = 0; i < q->job_count; i++) {
		const struct memory_job *j = &q->jobs[i];
		struct job_row row = {
		    .id = j->job.id,
		    .state = state,
		    .root = j->job.root,
		    .key = j->job.key,
		    .path = j->job.path,
		    .attempts = j->job.attempts,
		    .crashes = j->job.crashes,
		    .reason = j->reason ? j->reason : "",
		    .message = j->message ? j->message : "",
		    .updated_at = j->updated_at,
		};

		if (j->job.dataset == dataset && j->state == state && fn(arg, &row) != 0)
			break;
	}
	return 0;
}

static int by_shard_path(const void *left, const void *right)
{
	const struct shard_row *const *a = left, *const *b = right;

	return strcmp((*a)->path, (*b)->path);
}

static int memory_shards(struct queue *base, int64_t dataset, queue_shard_fn fn, void *arg,
			 struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	cleanup_free const struct shard_row **sorted = xcalloc(q->shard_count + 1, sizeof(*sorted));
	size_t n = 0;

	(void)err;
	for (size_t i = 0; i < q->shard_count; i++) {
		if (q->shards[i].row.dataset == dataset)
			sorted[n++] = &q->shards[i].row;
	}
	qsort(sorted, n, sizeof(*sorted), by_shard_path);
	for (size_t i = 0; i < n && fn(arg, sorted[i]) == 0; i++)
		;
	return 0;
}

/* A shard's samples lie in the order in which complete got them: by offset. */
static int memory_samples(struct queue *base, int64_t shard, queue_sample_fn fn, void *arg,
			  struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	for (size_t i = 0; i < q->sample_count; i++) {
		if (q->samples[i].shard == shard && fn(arg, &q->samples[i].row) != 0)
			break;
	}
	return 0;
}

/* -- opening -------------------------------------------------------------------------------------- */

static void memory_close(struct queue *base)
{
	struct memory_queue *q = memory_queue(base);

	memory_remove_jobs(q, 0);
	for (size_t i = 0; i < q->dataset_count; i++)
		queue_dataset_release(&q->datasets[i]);
	for (size_t i = 0; i < q->shard_count; i++) {
		free(q->shards[i].path);
		free(q->shards[i].format);
		free(q->shards[i].group);
	}
	free(q->datasets);
	free(q->jobs);
	free(q->shards);
	free(q->samples);
	free(q);
}

static const struct queue_ops memory_ops = {
    .name = "memory",
    .open_dataset = memory_open_dataset,
    .datasets = memory_datasets,
    .enqueue = memory_enqueue,
    .claim = memory_claim,
    .extend = memory_extend,
    .settle = memory_settle,
    .rescue = memory_rescue,
    .requeue_lost = memory_requeue_lost,
    .retry = memory_retry,
    .complete = memory_complete,
    .drop_shard = memory_drop_shard,
    .counts = memory_counts,
    .jobs = memory_jobs,
    .shards = memory_shards,
    .samples = memory_samples,
    .close = memory_close,
};

int queue_memory_open(struct queue **out, struct error *err)
{
	struct memory_queue *q = xcalloc(1, sizeof(*q));

	(void)err;
	q->base.ops = &memory_ops;
	*out = &q->base;
	return 0;
}
