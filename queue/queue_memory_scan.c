/*
 * Scans of the queue in memory.
 */
#include "queue/queue_memory.h"

#include "base/checked.h"

#include <string.h>

/* The dataset's; NULL: none is open. */
static struct memory_scan *scan_of(struct memory_queue *q, int64_t dataset)
{
	for (size_t i = 0; i < q->scan_count; i++) {
		if (q->scans[i].dataset == dataset)
			return &q->scans[i];
	}
	return NULL;
}

int memory_scan_begin(struct queue *base, int64_t dataset, const uint32_t *roots, size_t n,
		      struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	struct memory_scan scan = {.dataset = dataset, .root_count = n, .all_roots = !roots};

	if (scan_of(q, dataset))
		return error_set(err, ERR_BUG, "a scan is open already");
	if (memory_dataset_check(q, dataset, err) < 0)
		return -1;
	scan.roots = xcalloc(n + 1, sizeof(*roots));
	for (size_t i = 0; i < n; i++)
		scan.roots[i] = roots[i];
	scan.jobs = q->job_count;
	for (size_t i = 0; i < q->job_count; i++) {
		if (q->jobs[i].job.dataset == dataset)
			q->jobs[i].met = false;
	}
	ARRAY_GROW(q->scans, q->scan_count, q->scan_capacity);
	q->scans[q->scan_count++] = scan;
	return 0;
}

static bool is_missed(struct memory_queue *q, const struct memory_scan *scan,
		      const struct memory_job *j)
{
	bool wanted = scan->all_roots;

	for (size_t i = 0; i < scan->root_count; i++)
		wanted = wanted || scan->roots[i] == j->job.root;
	return wanted && j->job.dataset == scan->dataset && !j->met && j->state != JOB_RUNNING &&
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

int memory_scan_end(struct queue *base, int64_t dataset, enum scan_end how, int64_t now,
		    struct scan_counts *counts, struct error *err)
{
	struct memory_queue *q = memory_queue(base);
	struct memory_scan *scan = scan_of(q, dataset);

	if (!scan)
		return error_set(err, ERR_BUG, "no scan is open");
	memset(counts, 0, sizeof(*counts));
	for (size_t i = 0; i < scan->jobs; i++) {
		struct memory_job *j = &q->jobs[i];
		bool done = memory_first_live(q, j->job.id) != NULL;

		counts->met += j->met && j->job.dataset == dataset;
		if (how == SCAN_ABANDON || !is_missed(q, scan, j))
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
	free(scan->roots);
	*scan = q->scans[--q->scan_count];
	return 0;
}
