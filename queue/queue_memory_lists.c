/*
 * What the queue in memory shows.
 */
#include "queue/queue_memory.h"

#include "base/checked.h"

#include <string.h>

/* -- counts and jobs ------------------------------------------------------------------------------ */

int memory_counts(struct queue *base, int64_t dataset, struct queue_counts *out, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < q->job_count; i++) {
		if (q->jobs[i].job.dataset != dataset)
			continue;
		out->jobs[q->jobs[i].state]++;
		out->recaptions += q->jobs[i].recaption;
	}
	for (size_t i = 0; i < q->shard_count; i++) {
		if (q->shards[i].row.dataset != dataset)
			continue;
		out->shards++;
		out->last_shard = (int64_t)i + 1;
		out->samples += q->shards[i].row.samples - q->shards[i].row.dead;
		out->shard_bytes += q->shards[i].row.bytes;
	}
	return 0;
}

/* A completed job is as old as the youngest shard that it is in. */
static int64_t updated_at(const struct memory_queue *q, const struct memory_job *j)
{
	int64_t at = 0;

	if (j->state != JOB_COMPLETED)
		return j->updated_at;
	for (size_t i = 0; i < q->sample_count; i++) {
		const struct memory_sample *s = &q->samples[i];

		if (s->job == j->job.id && !s->row.dead && q->shards[s->shard - 1].visible_at > at)
			at = q->shards[s->shard - 1].visible_at;
	}
	return at;
}

static void show(const struct memory_queue *q, const struct memory_job *j, struct job_row *row)
{
	*row = (struct job_row){
	    .id = j->job.id,
	    .state = j->state,
	    .root = j->job.root,
	    .key = j->job.key,
	    .path = j->job.path,
	    .size = j->job.size,
	    .mtime_ns = j->mtime_ns,
	    .attempts = j->job.attempts,
	    .crashes = j->job.crashes,
	    .reason = j->reason ? j->reason : "",
	    .message = j->message ? j->message : "",
	    .updated_at = updated_at(q, j),
	    .not_before = j->state == JOB_RETRYABLE ? j->due : 0,
	    .has_content = j->state == JOB_ENCODED && j->job.has_content,
	};
	if (row->has_content)
		row->content = j->job.content;
}

static bool is_listed(const struct memory_job *j, const struct job_filter *which)
{
	if (j->job.dataset != which->dataset)
		return false;
	if (which->key)
		return strcmp(j->job.key, which->key) == 0;
	return j->state == which->state && j->job.id > which->after &&
	       (!which->reason || (j->reason && strcmp(j->reason, which->reason) == 0));
}

int memory_jobs(struct queue *base, const struct job_filter *which, queue_job_fn fn, void *arg,
		struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	size_t n = 0;

	(void)err;
	for (size_t i = 0; i < q->job_count && (which->limit == 0 || n < which->limit); i++) {
		struct job_row row;

		if (!is_listed(&q->jobs[i], which))
			continue;
		n++;
		show(q, &q->jobs[i], &row);
		if (fn(arg, &row) != 0)
			break;
	}
	return 0;
}

static int by_reason(const void *left, const void *right)
{
	const struct reason_row *a = left, *b = right;

	return strcmp(a->reason, b->reason);
}

int memory_reasons(struct queue *base, int64_t dataset, enum job_state state, queue_reason_fn fn,
		   void *arg, struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	cleanup_free struct reason_row *rows = xcalloc(q->job_count + 1, sizeof(*rows));
	size_t n = 0;

	(void)err;
	for (size_t i = 0; i < q->job_count; i++) {
		const struct memory_job *j = &q->jobs[i];
		const char *reason = j->reason ? j->reason : "";
		size_t at = 0;

		if (j->job.dataset != dataset || j->state != state)
			continue;
		while (at < n && strcmp(rows[at].reason, reason) != 0)
			at++;
		rows[at].reason = reason;
		rows[at].jobs++;
		n += at == n;
	}
	qsort(rows, n, sizeof(*rows), by_reason);
	for (size_t i = 0; i < n && fn(arg, &rows[i]) == 0; i++)
		;
	return 0;
}

/* -- duplicates ----------------------------------------------------------------------------------- */

static int by_content(const void *left, const void *right)
{
	const struct duplicate_row *a = left, *b = right;
	int order = memcmp(&a->content, &b->content, sizeof(a->content));

	return order != 0 ? order : (a->job > b->job) - (a->job < b->job);
}

int memory_duplicates(struct queue *base, int64_t dataset, const struct hash128 *after,
		      size_t limit, queue_duplicate_fn fn, void *arg, struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	cleanup_free struct duplicate_row *rows = xcalloc(q->job_count + 1, sizeof(*rows));
	size_t n = 0, groups = 0;

	(void)err;
	for (size_t i = 0; i < q->job_count; i++) {
		const struct memory_job *j = &q->jobs[i];
		const struct memory_sample *live = memory_first_live(q, j->job.id);

		if (j->job.dataset == dataset && (live || j->is_dropped))
			rows[n++] = (struct duplicate_row){live ? live->row.content : j->dropped,
							   j->job.id,
							   j->job.root,
							   j->job.key,
							   j->job.path,
							   live ? live->shard : 0};
	}
	qsort(rows, n, sizeof(*rows), by_content);
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && hash128_equal(&rows[i].content, &rows[end].content);)
			end++;
		if (end - i < 2 || (after && memcmp(&rows[i].content, after, sizeof(*after)) <= 0))
			continue;
		if (limit > 0 && groups++ == limit)
			break;
		for (; i < end; i++) {
			if (fn(arg, &rows[i]) != 0)
				return 0;
		}
	}
	return 0;
}

/* -- captions ------------------------------------------------------------------------------------- */

static bool lies_elsewhere(const struct memory_queue *q, int64_t job, int64_t shard)
{
	for (size_t i = 0; i < q->sample_count; i++) {
		const struct memory_sample *s = &q->samples[i];

		if (s->job == job && s->shard != shard && !s->row.dead)
			return true;
	}
	return false;
}

static uint64_t stamp_of(const struct memory_job *j)
{
	return j->caption == CAPTION_UNSEEN ? 0 : j->caption;
}

/* @sample NULL: a job without one. */
static int show_recaption(struct memory_queue *q, const struct memory_job *j,
			  const struct memory_sample *sample, queue_recaption_fn fn, void *arg)
{
	struct recaption_row row = {.job = j->job.id,
				    .caption = stamp_of(j),
				    .root = j->job.root,
				    .key = j->job.key,
				    .path = j->job.path,
				    .spooled = j->spooled};

	if (sample) {
		row.shard = sample->shard;
		row.variant = sample->row.variant;
		row.elsewhere = lies_elsewhere(q, j->job.id, sample->shard);
	}
	return fn(arg, &row);
}

static int by_variant(const void *left, const void *right)
{
	const struct memory_sample *const *a = left, *const *b = right;

	if ((*a)->job != (*b)->job)
		return (*a)->job < (*b)->job ? -1 : 1;
	return (*a)->row.variant < (*b)->row.variant ? -1 : 1;
}

static int recaptions_of_dataset(struct memory_queue *q, int64_t dataset, queue_recaption_fn fn,
				 void *arg)
{
	cleanup_free const struct memory_sample **live =
	    xcalloc(q->sample_count + 1, sizeof(*live));
	size_t n = 0, at = 0;
	int r = 0;

	for (size_t i = 0; i < q->sample_count; i++) {
		if (q->samples[i].job != 0 && !q->samples[i].row.dead)
			live[n++] = &q->samples[i];
	}
	qsort(live, n, sizeof(*live), by_variant);
	for (size_t i = 0; i < q->job_count && r == 0; i++) {
		const struct memory_job *j = &q->jobs[i];
		bool wanted = j->recaption && j->job.dataset == dataset;

		if (wanted && (at == n || live[at]->job != j->job.id))
			r = show_recaption(q, j, NULL, fn, arg);
		for (; at < n && live[at]->job == j->job.id; at++) {
			if (wanted && r == 0)
				r = show_recaption(q, j, live[at], fn, arg);
		}
	}
	return 0;
}

int memory_recaptions(struct queue *base, int64_t dataset, int64_t shard, queue_recaption_fn fn,
		      void *arg, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	if (shard == 0)
		return recaptions_of_dataset(q, dataset, fn, arg);
	for (size_t i = 0; i < q->sample_count; i++) {
		const struct memory_sample *s = &q->samples[i];
		const struct memory_job *j = s->job != 0 ? &q->jobs[s->job - 1] : NULL;

		if (j && s->shard == shard && !s->row.dead && j->recaption &&
		    j->job.dataset == dataset && show_recaption(q, j, s, fn, arg) != 0)
			break;
	}
	return 0;
}

int memory_recaption(struct queue *base, int64_t dataset, const char *const *keys, size_t n,
		     struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	for (size_t i = 0; i < n; i++) {
		struct memory_job *j = memory_find_key(q, dataset, keys[i]);

		if (j)
			j->recaption = true;
	}
	return 0;
}

int memory_recaptioned(struct queue *base, const struct recaptioned *done, size_t n,
		       struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	for (size_t i = 0; i < n; i++) {
		if (done[i].job < 1 || (size_t)done[i].job > q->job_count)
			continue;
		if (stamp_of(&q->jobs[done[i].job - 1]) == done[i].caption)
			q->jobs[done[i].job - 1].recaption = false;
	}
	return 0;
}

/* -- the catalog ---------------------------------------------------------------------------------- */

static int by_shard_path(const void *left, const void *right)
{
	const struct shard_row *const *a = left, *const *b = right;

	return strcmp((*a)->path, (*b)->path);
}

int memory_shards(struct queue *base, int64_t dataset, queue_shard_fn fn, void *arg,
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
int memory_samples(struct queue *base, int64_t shard, queue_sample_fn fn, void *arg,
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
