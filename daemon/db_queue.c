/*
 * The frame, datasets, jobs and claims; db_queue_catalog.c has the rest.
 */
#include "daemon/db_queue_parts.h"

#include "base/checked.h"

struct db_queue {
	struct queue base;
	struct db *db;
	struct queue *reader;
};

static void on_database_thread(struct queue *queue, void *arg)
{
	struct operation *op = arg;

	op->result = op->run(queue, op, op->err);
}

int db_queue_forward(struct queue *q, struct operation *op, struct error *err)
{
	op->err = err;
	db_call(((struct db_queue *)q)->db, on_database_thread, op);
	return op->result;
}

int db_queue_read(struct queue *q, struct operation *op, struct error *err)
{
	struct queue *reader = ((struct db_queue *)q)->reader;

	return reader ? op->run(reader, op, err) : db_queue_forward(q, op, err);
}

/* -- datasets ---------------------------------------------------------------------------------- */

struct open_dataset_args {
	struct operation op;
	const struct queue_dataset_spec *spec;
	int64_t *id;
};

static int run_open_dataset(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct open_dataset_args *a = (const struct open_dataset_args *)op;

	return queue_open_dataset(queue, a->spec, a->id, err);
}

static int db_queue_open_dataset(struct queue *q, const struct queue_dataset_spec *spec,
				 int64_t *id, struct error *err)
{
	struct open_dataset_args a = {{run_open_dataset, NULL, 0}, spec, id};

	return db_queue_forward(q, &a.op, err);
}

struct datasets_args {
	struct operation op;
	queue_dataset_fn fn;
	void *arg;
};

static int run_datasets(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct datasets_args *a = (const struct datasets_args *)op;

	return queue_datasets(queue, a->fn, a->arg, err);
}

static int db_queue_datasets(struct queue *q, queue_dataset_fn fn, void *arg, struct error *err)
{
	struct datasets_args a = {{run_datasets, NULL, 0}, fn, arg};

	return db_queue_read(q, &a.op, err);
}

/* -- jobs in, scans ---------------------------------------------------------------------------- */

struct enqueue_args {
	struct operation op;
	int64_t dataset;
	const struct job_spec *specs;
	size_t n;
	struct enqueue_counts *counts;
};

static int run_enqueue(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct enqueue_args *a = (const struct enqueue_args *)op;

	return queue_enqueue(queue, a->dataset, a->specs, a->n, a->counts, err);
}

static int db_queue_enqueue(struct queue *q, int64_t dataset, const struct job_spec *specs,
			    size_t n, struct enqueue_counts *counts, struct error *err)
{
	struct enqueue_args a = {{run_enqueue, NULL, 0}, dataset, specs, n, counts};

	return db_queue_forward(q, &a.op, err);
}

struct scan_begin_args {
	struct operation op;
	int64_t dataset;
	const uint32_t *roots;
	size_t n;
};

static int run_scan_begin(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct scan_begin_args *a = (const struct scan_begin_args *)op;

	return queue_scan_begin(queue, a->dataset, a->roots, a->n, err);
}

static int db_queue_scan_begin(struct queue *q, int64_t dataset, const uint32_t *roots, size_t n,
			       struct error *err)
{
	struct scan_begin_args a = {{run_scan_begin, NULL, 0}, dataset, roots, n};

	return db_queue_forward(q, &a.op, err);
}

struct scan_end_args {
	struct operation op;
	int64_t dataset;
	enum scan_end how;
	int64_t now;
	struct scan_counts *counts;
};

static int run_scan_end(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct scan_end_args *a = (const struct scan_end_args *)op;

	return queue_scan_end(queue, a->dataset, a->how, a->now, a->counts, err);
}

static int db_queue_scan_end(struct queue *q, int64_t dataset, enum scan_end how, int64_t now,
			     struct scan_counts *counts, struct error *err)
{
	struct scan_end_args a = {{run_scan_end, NULL, 0}, dataset, how, now, counts};

	return db_queue_forward(q, &a.op, err);
}

/* -- claims ------------------------------------------------------------------------------------ */

struct claim_args {
	struct operation op;
	const struct queue_claim *claim;
	struct job *jobs;
	size_t *n;
};

static int run_claim(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct claim_args *a = (const struct claim_args *)op;

	return queue_claim(queue, a->claim, a->jobs, a->n, err);
}

static int db_queue_claim(struct queue *q, const struct queue_claim *claim, struct job *jobs,
			  size_t *n, struct error *err)
{
	struct claim_args a = {{run_claim, NULL, 0}, claim, jobs, n};

	return db_queue_forward(q, &a.op, err);
}

struct extend_args {
	struct operation op;
	const char *owner;
	int64_t lease_until;
};

static int run_extend(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct extend_args *a = (const struct extend_args *)op;

	return queue_extend(queue, a->owner, a->lease_until, err);
}

static int db_queue_extend(struct queue *q, const char *owner, int64_t lease_until,
			   struct error *err)
{
	struct extend_args a = {{run_extend, NULL, 0}, owner, lease_until};

	return db_queue_forward(q, &a.op, err);
}

struct settle_args {
	struct operation op;
	const struct job_outcome *outcomes;
	size_t n;
	int64_t now;
	size_t *lost;
};

static int run_settle(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct settle_args *a = (const struct settle_args *)op;

	return queue_settle(queue, a->outcomes, a->n, a->now, a->lost, err);
}

static int db_queue_settle(struct queue *q, const struct job_outcome *outcomes, size_t n,
			   int64_t now, size_t *lost, struct error *err)
{
	struct settle_args a = {{run_settle, NULL, 0}, outcomes, n, now, lost};

	return db_queue_forward(q, &a.op, err);
}

struct rescue_args {
	struct operation op;
	int64_t dataset;
	const char *owner;
	int64_t now;
	size_t *rescued;
};

static int run_rescue(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct rescue_args *a = (const struct rescue_args *)op;

	return queue_rescue(queue, a->dataset, a->owner, a->now, a->rescued, err);
}

static int db_queue_rescue(struct queue *q, int64_t dataset, const char *owner, int64_t now,
			   size_t *rescued, struct error *err)
{
	struct rescue_args a = {{run_rescue, NULL, 0}, dataset, owner, now, rescued};

	return db_queue_forward(q, &a.op, err);
}

struct requeue_lost_args {
	struct operation op;
	int64_t dataset;
	const int64_t *spooled;
	size_t n;
	int64_t now;
	size_t *requeued;
};

static int run_requeue_lost(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct requeue_lost_args *a = (const struct requeue_lost_args *)op;

	return queue_requeue_lost(queue, a->dataset, a->spooled, a->n, a->now, a->requeued, err);
}

static int db_queue_requeue_lost(struct queue *q, int64_t dataset, const int64_t *spooled, size_t n,
				 int64_t now, size_t *requeued, struct error *err)
{
	struct requeue_lost_args a = {
	    {run_requeue_lost, NULL, 0}, dataset, spooled, n, now, requeued};

	return db_queue_forward(q, &a.op, err);
}

struct person_args { /* of retry and cancel */
	struct operation op;
	const struct job_filter *which;
	int64_t now;
	size_t *n;
};

static int run_retry(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct person_args *a = (const struct person_args *)op;

	return queue_retry(queue, a->which, a->now, a->n, err);
}

static int db_queue_retry(struct queue *q, const struct job_filter *which, int64_t now,
			  size_t *retried, struct error *err)
{
	struct person_args a = {{run_retry, NULL, 0}, which, now, retried};

	return db_queue_forward(q, &a.op, err);
}

static int run_cancel(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct person_args *a = (const struct person_args *)op;

	return queue_cancel(queue, a->which, a->now, a->n, err);
}

static int db_queue_cancel(struct queue *q, const struct job_filter *which, int64_t now,
			   size_t *cancelled, struct error *err)
{
	struct person_args a = {{run_cancel, NULL, 0}, which, now, cancelled};

	return db_queue_forward(q, &a.op, err);
}

static void db_queue_close(struct queue *q)
{
	queue_close(((struct db_queue *)q)->reader);
	free(q);
}

static const struct queue_ops db_queue_ops = {
    .name = "database thread",
    .open_dataset = db_queue_open_dataset,
    .datasets = db_queue_datasets,
    .enqueue = db_queue_enqueue,
    .scan_begin = db_queue_scan_begin,
    .scan_end = db_queue_scan_end,
    .claim = db_queue_claim,
    .extend = db_queue_extend,
    .settle = db_queue_settle,
    .rescue = db_queue_rescue,
    .requeue_lost = db_queue_requeue_lost,
    .retry = db_queue_retry,
    .cancel = db_queue_cancel,
    .find_content = db_queue_find_content,
    .find_variants = db_queue_find_variants,
    .swap = db_queue_swap,
    .drop_shard = db_queue_drop_shard,
    .drop_samples = db_queue_drop_samples,
    .retired = db_queue_retired,
    .forget_retired = db_queue_forget_retired,
    .recaptions = db_queue_recaptions,
    .recaption = db_queue_recaption,
    .recaptioned = db_queue_recaptioned,
    .counts = db_queue_counts,
    .jobs = db_queue_jobs,
    .reasons = db_queue_reasons,
    .duplicates = db_queue_duplicates,
    .shards = db_queue_shards,
    .samples = db_queue_samples,
    .spend = db_queue_spend,
    .spent = db_queue_spent,
    .keep_history = db_queue_keep_history,
    .history = db_queue_history,
    .close = db_queue_close,
    .nodes = &db_queue_nodes,
};

struct queue *db_queue_new(struct db *db, struct queue *reader)
{
	struct db_queue *q = xcalloc(1, sizeof(*q));

	q->base.ops = &db_queue_ops;
	q->db = db;
	q->reader = reader;
	return &q->base;
}
