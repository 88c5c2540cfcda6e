/*
 * Jobs of the queue in memory.
 */
#include "queue/queue_memory.h"

#include "base/checked.h"
#include "base/text.h"

#include <string.h>

void memory_replace(char **s, const char *by)
{
	free(*s);
	*s = by ? xstrdup(by) : NULL;
}

static void job_clear(struct memory_job *j)
{
	job_release(&j->job);
	memory_replace(&j->owner, NULL);
	memory_replace(&j->reason, NULL);
	memory_replace(&j->message, NULL);
}

void memory_set_state(struct memory_job *j, enum job_state state)
{
	j->state = state;
	j->due = 0;
	j->is_dropped = false;
	memory_replace(&j->owner, NULL);
}

int memory_dataset_check(struct memory_queue *q, int64_t dataset, struct error *err)
{
	if (dataset >= 1 && (size_t)dataset <= q->dataset_count)
		return 0;
	return error_set(err, ERR_BUG, "no dataset has the id %lld", (long long)dataset);
}

/* -- enqueue -------------------------------------------------------------------------------------- */

struct memory_job *memory_find_path(struct memory_queue *q, int64_t dataset, uint32_t root,
				    const char *path)
{
	for (size_t i = 0; i < q->job_count; i++) {
		struct memory_job *j = &q->jobs[i];

		if (j->job.dataset == dataset && j->job.root == root &&
		    strcmp(j->job.path, path) == 0)
			return j;
	}
	return NULL;
}

struct memory_job *memory_find_key(struct memory_queue *q, int64_t dataset, const char *key)
{
	for (size_t i = 0; i < q->job_count; i++) {
		if (q->jobs[i].job.dataset == dataset && strcmp(q->jobs[i].job.key, key) == 0)
			return &q->jobs[i];
	}
	return NULL;
}

struct memory_job *memory_insert_job(struct memory_queue *q, int64_t dataset,
				     const struct job_spec *spec, const char *key)
{
	ARRAY_GROW(q->jobs, q->job_count, q->job_capacity);
	q->jobs[q->job_count] = (struct memory_job){
	    .job =
		{
		    .id = (int64_t)q->job_count + 1,
		    .dataset = dataset,
		    .root = spec->root,
		    .size = spec->size,
		    .rank = spec->rank,
		    .key = xstrdup(key),
		    .path = xstrdup(spec->path),
		},
	    .state = JOB_AVAILABLE,
	    .mtime_ns = spec->mtime_ns,
	    .inode = spec->inode,
	    .caption = spec->caption,
	};
	return &q->jobs[q->job_count++];
}

void memory_remove_jobs(struct memory_queue *q, size_t count)
{
	while (q->job_count > count)
		job_clear(&q->jobs[--q->job_count]);
}

static int enqueue_new(struct memory_queue *q, int64_t dataset, const struct job_spec *spec,
		       struct error *err)
{
	char quoted[2][TEXT_QUOTE_SIZE];

	if (!memory_find_key(q, dataset, spec->key)) {
		memory_insert_job(q, dataset, spec, spec->key);
		return 0;
	}
	if (!memory_find_key(q, dataset, spec->key_distinct)) {
		memory_insert_job(q, dataset, spec, spec->key_distinct);
		return 0;
	}
	return error_set(err, ERR_BUG, "keys %s and %s are both taken",
			 text_quote(spec->key, quoted[0]),
			 text_quote(spec->key_distinct, quoted[1]));
}

void memory_remember_file(struct memory_job *j, const struct job_spec *spec)
{
	j->job.size = spec->size;
	j->mtime_ns = spec->mtime_ns;
	j->inode = spec->inode;
}

static void requeue(struct memory_job *j, const struct job_spec *spec)
{
	memory_remember_file(j, spec);
	j->changed = j->changed || j->state == JOB_COMPLETED || j->state == JOB_ENCODED;
	memory_set_state(j, JOB_AVAILABLE);
	j->job.attempts = 0;
	j->job.crashes = 0;
	j->updated_at = 0;
	memory_replace(&j->reason, NULL);
	memory_replace(&j->message, NULL);
}

static bool is_same_file(const struct memory_job *j, const struct job_spec *spec)
{
	return j->job.size == spec->size && j->mtime_ns == spec->mtime_ns &&
	       j->inode == spec->inode;
}

/* It may have failed for what lay beside its file and is another now: a mask that was half written, say. */
static bool may_succeed_now(const struct memory_job *j, const struct job_spec *spec)
{
	return j->state == JOB_GONE ||
	       (j->state == JOB_QUARANTINED && j->caption != CAPTION_UNSEEN &&
		spec->caption != CAPTION_UNSEEN && spec->caption != j->caption);
}

static void take_file(struct memory_job *j, const struct job_spec *spec,
		      struct enqueue_counts *counts)
{
	if (is_same_file(j, spec) && !may_succeed_now(j, spec)) {
		counts->known++;
	} else {
		bool done = j->state == JOB_ENCODED || j->state == JOB_COMPLETED;

		counts->superseding += done;
		counts->requeued += !done;
		requeue(j, spec);
	}
}

static bool must_wait(const struct job_spec *spec)
{
	return spec->wants_caption && spec->caption == 0;
}

/* After its file: the job is in the state that it has for that. */
static void take_caption(struct memory_queue *q, struct memory_job *j, const struct job_spec *spec,
			 bool unseen, struct enqueue_counts *counts)
{
	bool changed = j->caption != CAPTION_UNSEEN && spec->caption != j->caption;
	bool stored = j->spooled || memory_first_live(q, j->job.id);

	if ((j->state == JOB_AVAILABLE || j->state == JOB_RETRYABLE) && must_wait(spec))
		memory_set_state(j, JOB_WAITING);
	counts->waiting += j->state == JOB_WAITING;
	if (spec->caption == CAPTION_UNSEEN)
		return;
	j->caption = spec->caption;
	if (!stored || j->recaption || !(changed || unseen))
		return;
	j->recaption = true;
	counts->recaptioned++;
}

/* Nothing of a running job would be another than it is. */
static bool is_unchanged(const struct memory_job *j, const struct job_spec *spec)
{
	return is_same_file(j, spec) && !must_wait(spec) &&
	       (spec->caption == CAPTION_UNSEEN || spec->caption == j->caption);
}

static void enqueue_known(struct memory_queue *q, struct memory_job *j, const struct job_spec *spec,
			  struct enqueue_counts *counts)
{
	bool unseen = j->job.size == 0 && j->mtime_ns == 0 && j->inode == 0;

	if (j->state == JOB_RUNNING) {
		*(is_unchanged(j, spec) ? &counts->known : &counts->busy) += 1;
		return;
	}
	if (j->state == JOB_WAITING && !must_wait(spec) && is_same_file(j, spec)) {
		memory_set_state(j, JOB_AVAILABLE);
		counts->requeued++;
	} else {
		take_file(j, spec, counts);
	}
	take_caption(q, j, spec, unseen, counts);
}

/* First what is new, which may fail and is then removed; then what is known, which cannot. */
int memory_enqueue(struct queue *base, int64_t dataset, const struct job_spec *specs, size_t n,
		   struct enqueue_counts *counts, struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	cleanup_free bool *is_new = xcalloc(n + 1, sizeof(*is_new));
	size_t before = q->job_count;

	if (memory_dataset_check(q, dataset, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (specs[i].unsettled ||
		    memory_find_path(q, dataset, specs[i].root, specs[i].path))
			continue;
		if (enqueue_new(q, dataset, &specs[i], err) < 0) {
			memory_remove_jobs(q, before);
			return -1;
		}
		is_new[i] = true;
	}
	for (size_t i = 0; i < n; i++) {
		struct memory_job *j = memory_find_path(q, dataset, specs[i].root, specs[i].path);

		if (specs[i].unsettled) {
			counts->unsettled++;
		} else if (is_new[i]) {
			counts->added++;
			take_caption(q, j, &specs[i], false, counts);
		} else {
			enqueue_known(q, j, &specs[i], counts);
		}
		if (j)
			j->met = true;
	}
	return 0;
}

/* -- claims --------------------------------------------------------------------------------------- */

/* What a claim is about, if it is time. */
static bool wanted_by(const struct memory_job *j, const struct queue_claim *claim)
{
	bool wanted = !claim->roots;

	for (size_t i = 0; i < claim->n_roots; i++)
		wanted = wanted || claim->roots[i] == j->job.root;
	if (!wanted || (claim->dataset != 0 && j->job.dataset != claim->dataset))
		return false;
	return (j->job.crashes >= QUEUE_SUSPECT_CRASHES) == claim->suspects &&
	       (j->state == JOB_AVAILABLE || j->state == JOB_RETRYABLE);
}

static bool claimable(const struct memory_job *j, const struct queue_claim *claim)
{
	return wanted_by(j, claim) && (j->state == JOB_AVAILABLE || j->due <= claim->now);
}

/* What a changed file is compared with: the record in the spool, which has the job's content, or the sample. */
static struct job handed_out(struct memory_queue *q, const struct memory_job *j)
{
	const struct memory_sample *live = memory_first_live(q, j->job.id);
	struct job job = j->job;

	job.key = xstrdup(j->job.key);
	job.path = xstrdup(j->job.path);
	if (j->changed && !j->spooled) {
		job.has_content = live != NULL;
		job.content = live ? live->row.content : (struct hash128){{0}};
	}
	return job;
}

int memory_claim(struct queue *base, const struct queue_claim *claim, struct job *jobs, size_t *n,
		 struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	size_t count;

	(void)err;
	for (count = 0; count < (claim->suspects ? 1 : claim->limit); count++) {
		struct memory_job *first = NULL;

		for (size_t i = 0; i < q->job_count; i++) {
			if (claimable(&q->jobs[i], claim) &&
			    (!first || q->jobs[i].job.rank < first->job.rank))
				first = &q->jobs[i];
		}
		if (!first)
			break;
		first->state = JOB_RUNNING;
		first->due = claim->lease_until;
		first->updated_at = claim->now;
		first->job.attempts++;
		first->job.fence = ++q->fence;
		memory_replace(&first->owner, claim->owner);
		jobs[count] = handed_out(q, first);
	}
	if (count > 0) {
		*n = count;
		return 0;
	}
	for (size_t i = 0; i < q->job_count; i++) {
		if (wanted_by(&q->jobs[i], claim))
			return QUEUE_LATER;
	}
	return QUEUE_EMPTY;
}

int memory_extend(struct queue *base, const char *owner, int64_t lease_until, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	for (size_t i = 0; i < q->job_count; i++) {
		struct memory_job *j = &q->jobs[i];

		if (j->state == JOB_RUNNING && strcmp(j->owner, owner) == 0)
			j->due = lease_until;
	}
	return 0;
}

/* The kind of outcome that KEPT comes to. */
static enum outcome_kind kept(struct memory_queue *q, const struct memory_job *j,
			      const struct hash128 *content)
{
	const struct memory_sample *live = memory_first_live(q, j->job.id);

	if (j->spooled && j->job.has_content && hash128_equal(&j->job.content, content))
		return OUTCOME_ENCODED;
	return live && hash128_equal(&live->row.content, content) ? OUTCOME_KEPT : OUTCOME_RELEASE;
}

static void settle_one(struct memory_queue *q, struct memory_job *j, const struct job_outcome *o,
		       int64_t now)
{
	enum outcome_kind kind = o->kind == OUTCOME_KEPT ? kept(q, j, &o->content) : o->kind;
	static const enum job_state after[] = {
	    [OUTCOME_ENCODED] = JOB_ENCODED,	[OUTCOME_RETRY] = JOB_RETRYABLE,
	    [OUTCOME_RELEASE] = JOB_AVAILABLE,	[OUTCOME_QUARANTINE] = JOB_QUARANTINED,
	    [OUTCOME_SKIP] = JOB_SKIPPED,	[OUTCOME_GONE] = JOB_GONE,
	    [OUTCOME_POSTPONE] = JOB_RETRYABLE,
	};

	if (kind == OUTCOME_KEPT) {
		memory_complete_job(j);
		return;
	}
	memory_set_state(j, after[kind]);
	j->updated_at = now;
	if (kind == OUTCOME_SKIP && o->has_content && o->reason &&
	    strcmp(o->reason, "duplicate") == 0) {
		j->is_dropped = true;
		j->dropped = o->content;
	}
	if (kind == OUTCOME_RELEASE || kind == OUTCOME_POSTPONE)
		j->job.attempts--;
	if (kind == OUTCOME_RELEASE)
		return;
	if (kind == OUTCOME_RETRY || kind == OUTCOME_POSTPONE)
		j->due = o->not_before;
	if (kind == OUTCOME_ENCODED) {
		j->changed = false;
		j->spooled = true;
		j->job.has_content = o->has_content;
		j->job.content = o->content;
	}
	memory_replace(&j->reason, o->reason);
	memory_replace(&j->message, o->message);
}

int memory_settle(struct queue *base, const struct job_outcome *outcomes, size_t n, int64_t now,
		  size_t *lost, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	*lost = 0;
	for (size_t i = 0; i < n; i++) {
		const struct job_outcome *o = &outcomes[i];
		struct memory_job *j;

		if (o->job < 1 || (size_t)o->job > q->job_count) {
			++*lost;
			continue;
		}
		j = &q->jobs[o->job - 1];
		if (j->state != JOB_RUNNING || j->job.fence != o->fence) {
			++*lost;
			continue;
		}
		settle_one(q, j, o, now);
	}
	return 0;
}

static void blame(struct memory_job *j)
{
	cleanup_free char *message =
	    xasprintf("its owner died %u times, at last while it ran alone", j->job.crashes);

	memory_set_state(j, JOB_QUARANTINED);
	memory_replace(&j->reason, "crash");
	memory_replace(&j->message, message);
}

int memory_rescue(struct queue *base, int64_t dataset, const char *owner, int64_t now,
		  size_t *rescued, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	*rescued = 0;
	for (size_t i = 0; i < q->job_count; i++) {
		struct memory_job *j = &q->jobs[i];
		bool mine;

		if (j->state != JOB_RUNNING || j->job.dataset != dataset)
			continue;
		mine = strcmp(j->owner, owner) == 0;
		if (mine && j->due >= now)
			continue;
		memory_set_state(j, JOB_AVAILABLE);
		j->updated_at = now;
		if (!mine) {
			j->job.attempts--;
			if (++j->job.crashes >= QUEUE_BLAMED_CRASHES) {
				blame(j);
				continue;
			}
		}
		++*rescued;
	}
	return 0;
}

int memory_requeue_lost(struct queue *base, int64_t dataset, const int64_t *spooled, size_t n,
			int64_t now, size_t *requeued, struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	(void)err;
	*requeued = 0;
	for (size_t i = 0; i < q->job_count; i++) {
		struct memory_job *j = &q->jobs[i];
		size_t at = 0;

		while (at < n && spooled[at] != j->job.id)
			at++;
		if (!j->spooled || at < n || j->job.dataset != dataset)
			continue;
		j->spooled = j->job.has_content = false;
		if (j->state != JOB_ENCODED)
			continue;
		memory_set_state(j, JOB_AVAILABLE);
		j->updated_at = now;
		++*requeued;
	}
	return 0;
}
