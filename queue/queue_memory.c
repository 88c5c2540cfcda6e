/*
 * The queue as plain arrays that are searched from the start: the definition that the other backends are
 * tested against.
 */
#include "queue/queue_memory.h"

#include "base/checked.h"
#include "queue/queue_open.h"

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
		memory_replace(&q->datasets[i].output, spec->output);
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
	for (size_t i = 0; i < q->retired_count; i++)
		free(q->retired[i].path);
	free(q->retired);
	for (size_t i = 0; i < q->scan_count; i++)
		free(q->scans[i].roots);
	free(q->scans);
	for (size_t i = 0; i < q->spent_count; i++)
		free(q->spent[i].account);
	free(q->spent);
	free(q->history);
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
    .scan_begin = memory_scan_begin,
    .scan_end = memory_scan_end,
    .claim = memory_claim,
    .extend = memory_extend,
    .settle = memory_settle,
    .rescue = memory_rescue,
    .requeue_lost = memory_requeue_lost,
    .retry = memory_retry,
    .cancel = memory_cancel,
    .find_content = memory_find_content,
    .find_variants = memory_find_variants,
    .swap = memory_swap,
    .drop_shard = memory_drop_shard,
    .drop_samples = memory_drop_samples,
    .retired = memory_retired,
    .forget_retired = memory_forget_retired,
    .recaptions = memory_recaptions,
    .recaption = memory_recaption,
    .recaptioned = memory_recaptioned,
    .counts = memory_counts,
    .jobs = memory_jobs,
    .reasons = memory_reasons,
    .duplicates = memory_duplicates,
    .shards = memory_shards,
    .samples = memory_samples,
    .spend = memory_spend,
    .spent = memory_spent,
    .keep_history = memory_keep_history,
    .history = memory_history,
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
