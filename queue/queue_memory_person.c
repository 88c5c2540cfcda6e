/*
 * What a person does with jobs of the queue in memory.
 */
#include "queue/queue_memory.h"

#include <string.h>

static bool is_meant(const struct memory_job *j, const struct job_filter *which)
{
	return j->job.dataset == which->dataset &&
	       (!which->key || strcmp(j->job.key, which->key) == 0);
}

static void end_state(struct memory_job *j, enum job_state state, int64_t now)
{
	memory_set_state(j, state);
	j->updated_at = now;
	memory_replace(&j->reason, NULL);
	memory_replace(&j->message, NULL);
}

int memory_retry(struct queue *base, const struct job_filter *which, int64_t now, size_t *retried,
		 struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	size_t n = 0;

	(void)err;
	for (size_t i = 0; i < q->job_count && (which->limit == 0 || n < which->limit); i++) {
		struct memory_job *j = &q->jobs[i];

		if (!is_meant(j, which) || j->state != which->state || j->job.id <= which->after)
			continue;
		if (which->reason && (!j->reason || strcmp(j->reason, which->reason) != 0))
			continue;
		end_state(j, JOB_AVAILABLE, now);
		j->job.attempts = 0;
		n++;
	}
	*retried = n;
	return 0;
}

int memory_cancel(struct queue *base, const struct job_filter *which, int64_t now,
		  size_t *cancelled, struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	size_t n = 0;

	(void)err;
	while (which->limit == 0 || n < which->limit) {
		struct memory_job *first = NULL;

		for (size_t i = 0; i < q->job_count; i++) {
			struct memory_job *j = &q->jobs[i];

			if (is_meant(j, which) &&
			    (j->state == JOB_WAITING || j->state == JOB_AVAILABLE ||
			     j->state == JOB_RETRYABLE) &&
			    (!first || j->job.rank < first->job.rank))
				first = j;
		}
		if (!first)
			break;
		end_state(first, JOB_CANCELLED, now);
		n++;
	}
	*cancelled = n;
	return 0;
}
