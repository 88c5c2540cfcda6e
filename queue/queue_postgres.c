/*
 * Opening and closing.
 */
#include "queue/queue_postgres.h"

#include "queue/open_scan.h"
#include "queue/queue_open.h"

#include "base/checked.h"

static void postgres_close(struct queue *base)
{
	struct postgres_queue *q = postgres_queue(base);

	pg_turn_free(q);
	pg_disconnect(q);
	open_scans_free(&q->scans);
	free(q->owner);
	free(q->conninfo);
	free(q->node);
	free(q);
}

static const struct queue_ops postgres_ops = {
    .name = "postgres",
    .open_dataset = queue_postgres_open_dataset,
    .datasets = queue_postgres_datasets,
    .enqueue = queue_postgres_enqueue,
    .scan_begin = queue_postgres_scan_begin,
    .scan_end = queue_postgres_scan_end,
    .claim = queue_postgres_claim,
    .extend = queue_postgres_extend,
    .settle = queue_postgres_settle,
    .rescue = queue_postgres_rescue,
    .requeue_lost = queue_postgres_requeue_lost,
    .retry = queue_postgres_retry,
    .cancel = queue_postgres_cancel,
    .find_content = queue_postgres_find_content,
    .find_variants = queue_postgres_find_variants,
    .swap = queue_postgres_swap,
    .drop_shard = queue_postgres_drop_shard,
    .drop_samples = queue_postgres_drop_samples,
    .retired = queue_postgres_retired,
    .forget_retired = queue_postgres_forget_retired,
    .recaptions = queue_postgres_recaptions,
    .recaption = queue_postgres_recaption,
    .recaptioned = queue_postgres_recaptioned,
    .counts = queue_postgres_counts,
    .jobs = queue_postgres_jobs,
    .reasons = queue_postgres_reasons,
    .duplicates = queue_postgres_duplicates,
    .shards = queue_postgres_shards,
    .samples = queue_postgres_samples,
    .spend = queue_postgres_spend,
    .spent = queue_postgres_spent,
    .keep_history = queue_postgres_keep_history,
    .history = queue_postgres_history,
    .close = postgres_close,
    .nodes = &queue_postgres_nodes,
};

int queue_postgres_open(const struct queue_postgres_options *options, struct queue **out,
			struct error *err)
{
	struct postgres_queue *q;

	if (queue_postgres_check(options->conninfo, err) < 0)
		return -1;
	q = xcalloc(1, sizeof(*q));
	q->base.ops = &postgres_ops;
	q->conninfo = xstrdup(options->conninfo);
	q->node = xstrdup(options->node);
	q->callers_clock = options->callers_clock;
	q->patience_ms = options->patience_ms;
	q->readonly = options->readonly;
	if (pg_connect(q, err) < 0 || pg_schema(q, err) < 0) {
		postgres_close(&q->base);
		return -1;
	}
	q->is_open = true;
	*out = &q->base;
	return 0;
}
