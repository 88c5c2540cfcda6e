/*
 * What becomes of a job that is known when its file is met again.
 */
#include "queue/queue_postgres.h"

bool spec_must_wait(const struct job_spec *spec)
{
	return spec->wants_caption && spec->caption == 0;
}

static bool is_same_file(const struct pg_job *job, const struct job_spec *spec)
{
	return job->size == spec->size && job->mtime_ns == spec->mtime_ns &&
	       job->inode == spec->inode;
}

static void requeue(struct pg_job *job, const struct job_spec *spec)
{
	job->size = spec->size;
	job->mtime_ns = spec->mtime_ns;
	job->inode = spec->inode;
	job->changed = job->changed || job->state == JOB_COMPLETED || job->state == JOB_ENCODED;
	job_set_state(job, JOB_AVAILABLE);
	job->attempts = job->crashes = job->updated_at = 0;
	job_says(job, NULL, NULL);
}

/* It may have failed for what lay beside its file and is another now: a mask that was half written, say. */
static bool may_succeed_now(const struct pg_job *job, const struct job_spec *spec)
{
	return job->state == JOB_GONE ||
	       (job->state == JOB_QUARANTINED && job->caption != CAPTION_UNSEEN &&
		spec->caption != CAPTION_UNSEEN && spec->caption != job->caption);
}

static void take_file(struct pg_job *job, const struct job_spec *spec,
		      struct enqueue_counts *counts)
{
	bool same = is_same_file(job, spec);
	bool done = job->state == JOB_ENCODED || job->state == JOB_COMPLETED;

	if (same && job->state == JOB_WAITING && !spec_must_wait(spec)) {
		job_set_state(job, JOB_AVAILABLE);
		counts->requeued++;
	} else if (same && !may_succeed_now(job, spec)) {
		counts->known++;
	} else {
		counts->superseding += done;
		counts->requeued += !done;
		requeue(job, spec);
	}
}

/* After its file: the job is in the state that it has for that. */
static void take_caption(struct pg_job *job, const struct job_spec *spec, bool unseen,
			 struct enqueue_counts *counts)
{
	bool changed = job->caption != CAPTION_UNSEEN && spec->caption != job->caption;

	if ((job->state == JOB_AVAILABLE || job->state == JOB_RETRYABLE) && spec_must_wait(spec))
		job_set_state(job, JOB_WAITING);
	counts->waiting += job->state == JOB_WAITING;
	if (spec->caption == CAPTION_UNSEEN)
		return;
	job->is_changed = job->is_changed || job->caption != spec->caption;
	job->caption = spec->caption;
	if (!(changed || unseen) || job->recaption || (job->keeper == 0 && !job_live(job)))
		return;
	job->recaption = job->is_changed = true;
	counts->recaptioned++;
}

void job_take_spec(struct pg_job *job, const struct job_spec *spec, struct enqueue_counts *counts)
{
	bool unseen = !job_was_seen(job);

	if (job->state == JOB_RUNNING) {
		bool unchanged = is_same_file(job, spec) && !spec_must_wait(spec) &&
				 (spec->caption == CAPTION_UNSEEN || spec->caption == job->caption);

		*(unchanged ? &counts->known : &counts->busy) += 1;
		return;
	}
	take_file(job, spec, counts);
	take_caption(job, spec, unseen, counts);
}
