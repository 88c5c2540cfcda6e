/*
 * Scans of the queue in memory.
 */
#include "queue/queue_memory.h"

#include "base/checked.h"

#include <string.h>

int memory_scan_begin(struct queue *base, int64_t dataset, const uint32_t *roots, size_t n,
		      struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	if (q->scan_dataset != 0)
		return error_set(err, ERR_BUG, "a scan is open already");
	if (memory_dataset_check(q, dataset, err) < 0)
		return -1;
	q->scan_dataset = dataset;
	q->scan_all = !roots;
	q->scan_roots = xcalloc(n + 1, sizeof(*roots));
	for (size_t i = 0; i < n; i++)
		q->scan_roots[i] = roots[i];
	q->scan_root_count = n;
	q->scan_jobs = q->job_count;
	for (size_t i = 0; i < q->job_count; i++)
		q->jobs[i].met = false;
	return 0;
}

static bool is_missed(struct memory_queue *q, const struct memory_job *j)
{
	bool wanted = q->scan_all;

	for (size_t i = 0; i < q->scan_root_count; i++)
		wanted = wanted || q->scan_roots[i] == j->job.root;
	return wanted && j->job.dataset == q->scan_dataset && !j->met && j->state != JOB_RUNNING &&
	       j->state != JOB_ENCODED && (j->state != JOB_GONE || memory_first_live(q, j->job.id));
}

static void kill_samples(struct memory_queue *q, const struct memory_job *j)
{
	struct memory_sample *live;

	while ((live = memory_first_live(q, j->job.id)))
		memory_kill(q, live);
}

static void make_gone(struct memory_job *j, int64_t now)
{
	if (j->state == JOB_COMPLETED)
		j->job.attempts = 0;
	memory_set_state(j, JOB_GONE);
	j->updated_at = now;
	memory_replace(&j->reason, NULL);
	memory_replace(&j->message, NULL);
}

int memory_scan_end(struct queue *base, enum scan_end how, int64_t now, struct scan_counts *counts,
		    struct error *err)
{
	struct memory_queue *q = memory_queue(base);

	if (q->scan_dataset == 0)
		return error_set(err, ERR_BUG, "no scan is open");
	memset(counts, 0, sizeof(*counts));
	for (size_t i = 0; i < q->scan_jobs; i++) {
		struct memory_job *j = &q->jobs[i];
		bool done = memory_first_live(q, j->job.id) != NULL;

		counts->met += j->met && j->job.dataset == q->scan_dataset;
		if (how == SCAN_ABANDON || !is_missed(q, j))
			continue;
		counts->missed += !done;
		counts->missed_done += done;
		if (how == SCAN_REMOVE)
			kill_samples(q, j);
		if (how == SCAN_REMOVE ||
		    (how == SCAN_KEEP && (!done || j->state != JOB_COMPLETED)))
			make_gone(j, now);
	}
	if (how == SCAN_COUNT)
		return 0;
	q->scan_dataset = 0;
	free(q->scan_roots);
	q->scan_roots = NULL;
	return 0;
}
