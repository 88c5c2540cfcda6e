/*
 * Shards and samples of the queue in memory.
 */
#include "queue/queue_memory.h"

#include "base/checked.h"

#include <string.h>

struct memory_sample *memory_live(struct memory_queue *q, int64_t job, uint32_t variant)
{
	for (size_t i = 0; i < q->sample_count; i++) {
		struct memory_sample *s = &q->samples[i];

		if (s->job == job && s->row.variant == variant && !s->row.dead)
			return s;
	}
	return NULL;
}

struct memory_sample *memory_first_live(struct memory_queue *q, int64_t job)
{
	struct memory_sample *first = NULL;

	for (size_t i = 0; i < q->sample_count; i++) {
		struct memory_sample *s = &q->samples[i];

		if (s->job == job && !s->row.dead &&
		    (!first || s->row.variant < first->row.variant))
			first = s;
	}
	return first;
}

void memory_kill(struct memory_queue *q, struct memory_sample *sample)
{
	sample->row.dead = true;
	q->shards[sample->shard - 1].row.dead++;
}

void memory_complete_job(struct memory_job *j)
{
	memory_set_state(j, JOB_COMPLETED);
	memory_replace(&j->reason, NULL);
	memory_replace(&j->message, NULL);
	j->job.attempts = j->job.crashes = 0;
	j->job.has_content = j->changed = j->spooled = false;
}

static struct memory_shard *find_shard(struct memory_queue *q, int64_t id, struct error *err)
{
	if (id >= 1 && (size_t)id <= q->shard_count && q->shards[id - 1].row.dataset != 0)
		return &q->shards[id - 1];
	error_set(err, ERR_BUG, "no shard has the id %lld", (long long)id);
	return NULL;
}

/* Its rows go. */
static void remove_shard(struct memory_queue *q, int64_t id)
{
	for (size_t i = 0; i < q->sample_count; i++) {
		if (q->samples[i].shard == id)
			q->samples[i].shard = q->samples[i].job = 0;
	}
	q->shards[id - 1].row.dataset = 0;
}

/* -- swap ----------------------------------------------------------------------------------------- */

/*
 * A swap is made on the arrays and taken back by a copy of what it changed, where it ends in a conflict.
 */
struct memory_copy {
	size_t jobs, samples, shards;
	struct memory_job *job;
	struct memory_sample *sample;
	struct memory_shard *shard;
};

/* Strings are copied for jobs only: those of shards and samples do not change. */
static struct memory_copy copy_all(const struct memory_queue *q)
{
	struct memory_copy c = {q->job_count, q->sample_count, q->shard_count, NULL, NULL, NULL};

	c.job = xcalloc(c.jobs + 1, sizeof(*c.job));
	c.sample = xcalloc(c.samples + 1, sizeof(*c.sample));
	c.shard = xcalloc(c.shards + 1, sizeof(*c.shard));
	for (size_t i = 0; i < c.jobs; i++) {
		const struct memory_job *j = &q->jobs[i];

		c.job[i] = *j;
		c.job[i].owner = j->owner ? xstrdup(j->owner) : NULL;
		c.job[i].reason = j->reason ? xstrdup(j->reason) : NULL;
		c.job[i].message = j->message ? xstrdup(j->message) : NULL;
	}
	for (size_t i = 0; i < c.samples; i++)
		c.sample[i] = q->samples[i];
	for (size_t i = 0; i < c.shards; i++)
		c.shard[i] = q->shards[i];
	return c;
}

static void free_strings(struct memory_job *j)
{
	memory_replace(&j->owner, NULL);
	memory_replace(&j->reason, NULL);
	memory_replace(&j->message, NULL);
}

static void restore(struct memory_queue *q, struct memory_copy *c)
{
	memory_remove_jobs(q, c->jobs);
	for (size_t i = 0; i < c->jobs; i++) {
		free_strings(&q->jobs[i]);
		q->jobs[i] = c->job[i];
	}
	for (size_t i = 0; i < c->samples; i++)
		q->samples[i] = c->sample[i];
	q->sample_count = c->samples;
	while (q->shard_count > c->shards) {
		struct memory_shard *s = &q->shards[--q->shard_count];

		free(s->path);
		free(s->format);
		free(s->group);
	}
	for (size_t i = 0; i < c->shards; i++)
		q->shards[i] = c->shard[i];
	c->jobs = 0;
}

static void copy_release(struct memory_copy *c)
{
	for (size_t i = 0; i < c->jobs; i++)
		free_strings(&c->job[i]);
	free(c->job);
	free(c->sample);
	free(c->shard);
}

static bool is_retired(const struct queue_swap *swap, int64_t shard)
{
	for (size_t i = 0; i < swap->n_retired; i++) {
		if (swap->retired[i] == shard)
			return true;
	}
	return false;
}

static bool path_is_taken(const struct memory_queue *q, const struct shard_row *row)
{
	for (size_t i = 0; i < q->shard_count; i++) {
		if (q->shards[i].row.dataset == row->dataset &&
		    strcmp(q->shards[i].path, row->path) == 0)
			return true;
	}
	for (size_t i = 0; i < q->retired_count; i++) {
		if (q->retired[i].dataset == row->dataset &&
		    strcmp(q->retired[i].path, row->path) == 0)
			return true;
	}
	return false;
}

static struct memory_sample *sample_at(struct memory_queue *q, int64_t shard, uint64_t offset)
{
	for (size_t i = 0; i < q->sample_count; i++) {
		struct memory_sample *s = &q->samples[i];

		if (s->shard == shard && s->row.offset == offset && !s->row.dead)
			return s;
	}
	return NULL;
}

static int drop(struct memory_queue *q, const struct queue_swap *swap,
		const struct sample_place *place, int64_t now)
{
	struct memory_sample *s = sample_at(q, place->shard, place->offset);
	struct memory_job *j;

	if (!s || !is_retired(swap, place->shard))
		return QUEUE_CONFLICT;
	memory_kill(q, s);
	j = &q->jobs[s->job - 1];
	if (j->state != JOB_COMPLETED || memory_first_live(q, j->job.id))
		return 0;
	memory_set_state(j, JOB_SKIPPED);
	memory_replace(&j->reason, "deleted");
	j->updated_at = now;
	return 0;
}

static struct memory_job *job_of(struct memory_queue *q, int64_t dataset,
				 const struct sample_row *sample)
{
	struct job_spec spec = {
	    .root = sample->root, .path = sample->path, .caption = CAPTION_UNSEEN};
	struct memory_job *j = memory_find_key(q, dataset, sample->key);

	if (j)
		return strcmp(j->job.path, sample->path) == 0 &&
			       (sample->job == 0 || sample->job == j->job.id)
			   ? j
			   : NULL;
	if (sample->job != 0 || memory_find_path(q, dataset, sample->root, sample->path))
		return NULL;
	return memory_insert_job(q, dataset, &spec, sample->key);
}

static bool was_seen(const struct memory_job *j)
{
	return j->job.size != 0 || j->mtime_ns != 0 || j->inode != 0;
}

/* Nothing says that the sample is of the file that was seen: it is visible, and the file is compared with it. */
static void compare(struct memory_job *j, int64_t now)
{
	j->changed = true;
	if (j->state == JOB_RUNNING)
		return;
	memory_set_state(j, JOB_AVAILABLE);
	j->job.attempts = 0;
	j->updated_at = now;
	memory_replace(&j->reason, NULL);
	memory_replace(&j->message, NULL);
}

/* Whether it completes the job. */
static bool finish(struct memory_job *j, const struct hash128 *content, int64_t now)
{
	static const struct job_spec unseen = {.size = 0};
	bool same = !j->job.has_content || hash128_equal(&j->job.content, content);
	bool is_over = j->state == JOB_GONE || j->state == JOB_SKIPPED;

	if (j->changed && same)
		j->spooled = false;
	if (j->state == JOB_COMPLETED || j->changed || (j->state == JOB_ENCODED && !same))
		return false;
	if (j->state != JOB_ENCODED && !is_over && was_seen(j)) {
		compare(j, now);
		return false;
	}
	if (is_over)
		memory_remember_file(j, &unseen);
	memory_complete_job(j);
	return true;
}

/* What goes on while one swap is made. */
struct swapping {
	const struct queue_swap *swap;
	size_t first_new;  /* shards of a higher number are its own */
	int64_t completed; /* the job that it completed last */
	int64_t now;
};

static int add_sample(struct memory_queue *q, struct swapping *w, int64_t dataset, int64_t shard,
		      const struct sample_row *sample)
{
	struct memory_job *j = job_of(q, dataset, sample);
	struct memory_sample *old;
	bool carried;

	if (!j)
		return QUEUE_CONFLICT;
	old = memory_live(q, j->job.id, sample->variant);
	carried = old && is_retired(w->swap, old->shard);
	if (carried && !hash128_equal(&old->row.latent, &sample->latent))
		return QUEUE_CONFLICT;
	if (old && !carried &&
	    ((size_t)old->shard > w->first_new ||
	     (j->state == JOB_COMPLETED && j->job.id != w->completed)))
		return QUEUE_CONFLICT;
	if (old)
		memory_kill(q, old);
	ARRAY_GROW(q->samples, q->sample_count, q->sample_capacity);
	old = &q->samples[q->sample_count++];
	*old = (struct memory_sample){.shard = shard, .job = j->job.id, .row = *sample};
	old->row.root = j->job.root;
	old->row.job = j->job.id;
	old->row.key = j->job.key;
	old->row.path = j->job.path;
	if (!carried && finish(j, &sample->content, w->now))
		w->completed = j->job.id;
	return 0;
}

static int add_shard(struct memory_queue *q, struct swapping *w, const struct new_shard *shard)
{
	struct memory_shard *row;
	int r = 0;

	if (path_is_taken(q, &shard->row))
		return QUEUE_CONFLICT;
	ARRAY_GROW(q->shards, q->shard_count, q->shard_capacity);
	row = &q->shards[q->shard_count++];
	*row = (struct memory_shard){
	    .row = shard->row,
	    .path = xstrdup(shard->row.path),
	    .format = xstrdup(shard->row.format),
	    .group = xstrdup(shard->row.group),
	    .visible_at = w->now,
	};
	row->row.id = (int64_t)q->shard_count;
	row->row.path = row->path;
	row->row.format = row->format;
	row->row.group = row->group;
	for (size_t i = 0; i < shard->row.samples && r == 0; i++)
		r = add_sample(q, w, shard->row.dataset, (int64_t)q->shard_count,
			       &shard->samples[i]);
	return r;
}

static int make_swap(struct memory_queue *q, const struct queue_swap *swap, int64_t now)
{
	struct swapping w = {.swap = swap, .first_new = q->shard_count, .now = now};
	int r = 0;

	for (size_t i = 0; i < swap->n_dropped && r == 0; i++)
		r = drop(q, swap, &swap->dropped[i], now);
	for (size_t i = 0; i < swap->n_shards && r == 0; i++)
		r = add_shard(q, &w, &swap->shards[i]);
	for (size_t i = 0; i < q->sample_count && r == 0; i++) {
		if (!q->samples[i].row.dead && is_retired(swap, q->samples[i].shard))
			r = QUEUE_CONFLICT;
	}
	return r;
}

static void retire(struct memory_queue *q, int64_t id, int64_t now)
{
	ARRAY_GROW(q->retired, q->retired_count, q->retired_capacity);
	q->retired[q->retired_count++] = (struct memory_retired){
	    .id = id,
	    .dataset = q->shards[id - 1].row.dataset,
	    .path = xstrdup(q->shards[id - 1].path),
	    .retired_at = now,
	};
	remove_shard(q, id);
}

static int check_datasets(struct memory_queue *q, const struct queue_swap *swap, struct error *err)
{
	int64_t dataset = 0;
	bool same = true;

	for (size_t i = 0; i < swap->n_retired; i++) {
		const struct memory_shard *shard = find_shard(q, swap->retired[i], err);

		if (!shard)
			return -1;
		dataset = dataset ? dataset : shard->row.dataset;
		same = same && shard->row.dataset == dataset;
	}
	for (size_t i = 0; i < swap->n_shards; i++) {
		if (memory_dataset_check(q, swap->shards[i].row.dataset, err) < 0)
			return -1;
		dataset = dataset ? dataset : swap->shards[i].row.dataset;
		same = same && swap->shards[i].row.dataset == dataset;
	}
	return same ? 0 : error_set(err, ERR_BUG, "a swap has shards of several datasets");
}

int memory_swap(struct queue *base, const struct queue_swap *swap, int64_t now, int64_t *shard_ids,
		struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	cleanup_with(copy_release) struct memory_copy before = copy_all(q);
	int r = check_datasets(q, swap, err);

	if (r == 0)
		r = make_swap(q, swap, now);
	if (r != 0) {
		restore(q, &before);
		return r;
	}
	for (size_t i = 0; i < swap->n_retired; i++)
		retire(q, swap->retired[i], now);
	for (size_t i = 0; i < swap->n_shards; i++)
		shard_ids[i] = (int64_t)(before.shards + i + 1);
	return 0;
}

/* -- damage --------------------------------------------------------------------------------------- */

static void lose_sample(struct memory_queue *q, struct memory_sample *s, int64_t now,
			size_t *requeued)
{
	struct memory_job *j = &q->jobs[s->job - 1];

	memory_kill(q, s);
	if (j->state != JOB_COMPLETED)
		return;
	memory_set_state(j, JOB_AVAILABLE);
	j->updated_at = now;
	++*requeued;
}

int memory_drop_shard(struct queue *base, int64_t shard, int64_t now, size_t *requeued,
		      struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	if (!find_shard(q, shard, err))
		return -1;
	*requeued = 0;
	for (size_t i = 0; i < q->sample_count; i++) {
		if (q->samples[i].shard == shard && !q->samples[i].row.dead)
			lose_sample(q, &q->samples[i], now, requeued);
	}
	remove_shard(q, shard);
	return 0;
}

int memory_drop_samples(struct queue *base, int64_t shard, const uint64_t *offsets, size_t n,
			int64_t now, size_t *requeued, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	if (!find_shard(q, shard, err))
		return -1;
	*requeued = 0;
	for (size_t i = 0; i < n; i++) {
		struct memory_sample *s = sample_at(q, shard, offsets[i]);

		if (s)
			lose_sample(q, s, now, requeued);
	}
	return 0;
}

/* -- retired shards ------------------------------------------------------------------------------- */

static int by_retired_id(const void *left, const void *right)
{
	const struct memory_retired *const *a = left, *const *b = right;

	return (*a)->id < (*b)->id ? -1 : (*a)->id > (*b)->id;
}

int memory_retired(struct queue *base, int64_t dataset, queue_retired_fn fn, void *arg,
		   struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	cleanup_free const struct memory_retired **sorted =
	    xcalloc(q->retired_count + 1, sizeof(*sorted));
	size_t n = 0;

	(void)err;
	for (size_t i = 0; i < q->retired_count; i++) {
		if (q->retired[i].dataset == dataset && dataset != 0)
			sorted[n++] = &q->retired[i];
	}
	qsort(sorted, n, sizeof(*sorted), by_retired_id);
	for (size_t i = 0; i < n; i++) {
		struct retired_row row = {.id = sorted[i]->id,
					  .dataset = dataset,
					  .path = sorted[i]->path,
					  .retired_at = sorted[i]->retired_at};

		if (fn(arg, &row) != 0)
			break;
	}
	return 0;
}

int memory_forget_retired(struct queue *base, const int64_t *shards, size_t n, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	for (size_t i = 0; i < n; i++) {
		for (size_t at = 0; at < q->retired_count; at++) {
			if (q->retired[at].id == shards[i])
				q->retired[at].dataset = 0;
		}
	}
	return 0;
}
