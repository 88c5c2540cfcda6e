/*
 * What is in which shard, and what is there.
 */
#include "daemon/db_queue_parts.h"

struct find_content_args {
	struct operation op;
	int64_t dataset;
	const struct hash128 *content;
	struct content_found *found;
};

static int run_find_content(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct find_content_args *a = (const struct find_content_args *)op;

	return queue_find_content(queue, a->dataset, a->content, a->found, err);
}

int db_queue_find_content(struct queue *q, int64_t dataset, const struct hash128 *content,
			  struct content_found *found, struct error *err)
{
	struct find_content_args a = {{run_find_content, NULL, 0}, dataset, content, found};

	return db_queue_forward(q, &a.op, err);
}

struct find_variants_args {
	struct operation op;
	struct content_found *found;
};

static int run_find_variants(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct find_variants_args *a = (const struct find_variants_args *)op;

	return queue_find_variants(queue, a->found, err);
}

int db_queue_find_variants(struct queue *q, struct content_found *found, struct error *err)
{
	struct find_variants_args a = {{run_find_variants, NULL, 0}, found};

	return db_queue_forward(q, &a.op, err);
}

struct swap_args {
	struct operation op;
	const struct queue_swap *swap;
	int64_t now;
	int64_t *shard_ids;
};

static int run_swap(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct swap_args *a = (const struct swap_args *)op;

	return queue_swap(queue, a->swap, a->now, a->shard_ids, err);
}

int db_queue_swap(struct queue *q, const struct queue_swap *swap, int64_t now, int64_t *shard_ids,
		  struct error *err)
{
	struct swap_args a = {{run_swap, NULL, 0}, swap, now, shard_ids};

	return db_queue_forward(q, &a.op, err);
}

struct drop_shard_args {
	struct operation op;
	int64_t shard;
	int64_t now;
	size_t *requeued;
};

static int run_drop_shard(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct drop_shard_args *a = (const struct drop_shard_args *)op;

	return queue_drop_shard(queue, a->shard, a->now, a->requeued, err);
}

int db_queue_drop_shard(struct queue *q, int64_t shard, int64_t now, size_t *requeued,
			struct error *err)
{
	struct drop_shard_args a = {{run_drop_shard, NULL, 0}, shard, now, requeued};

	return db_queue_forward(q, &a.op, err);
}

struct drop_samples_args {
	struct operation op;
	int64_t shard;
	const uint64_t *offsets;
	size_t n;
	int64_t now;
	size_t *requeued;
};

static int run_drop_samples(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct drop_samples_args *a = (const struct drop_samples_args *)op;

	return queue_drop_samples(queue, a->shard, a->offsets, a->n, a->now, a->requeued, err);
}

int db_queue_drop_samples(struct queue *q, int64_t shard, const uint64_t *offsets, size_t n,
			  int64_t now, size_t *requeued, struct error *err)
{
	struct drop_samples_args a = {
	    {run_drop_samples, NULL, 0}, shard, offsets, n, now, requeued};

	return db_queue_forward(q, &a.op, err);
}

struct retired_args {
	struct operation op;
	int64_t dataset;
	queue_retired_fn fn;
	void *arg;
};

static int run_retired(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct retired_args *a = (const struct retired_args *)op;

	return queue_retired(queue, a->dataset, a->fn, a->arg, err);
}

int db_queue_retired(struct queue *q, int64_t dataset, queue_retired_fn fn, void *arg,
		     struct error *err)
{
	struct retired_args a = {{run_retired, NULL, 0}, dataset, fn, arg};

	return db_queue_read(q, &a.op, err);
}

struct forget_retired_args {
	struct operation op;
	const int64_t *shards;
	size_t n;
};

static int run_forget_retired(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct forget_retired_args *a = (const struct forget_retired_args *)op;

	return queue_forget_retired(queue, a->shards, a->n, err);
}

int db_queue_forget_retired(struct queue *q, const int64_t *shards, size_t n, struct error *err)
{
	struct forget_retired_args a = {{run_forget_retired, NULL, 0}, shards, n};

	return db_queue_forward(q, &a.op, err);
}

/* -- captions ---------------------------------------------------------------------------------- */

struct recaptions_args {
	struct operation op;
	int64_t dataset, shard;
	queue_recaption_fn fn;
	void *arg;
};

static int run_recaptions(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct recaptions_args *a = (const struct recaptions_args *)op;

	return queue_recaptions(queue, a->dataset, a->shard, a->fn, a->arg, err);
}

int db_queue_recaptions(struct queue *q, int64_t dataset, int64_t shard, queue_recaption_fn fn,
			void *arg, struct error *err)
{
	struct recaptions_args a = {{run_recaptions, NULL, 0}, dataset, shard, fn, arg};

	return db_queue_read(q, &a.op, err);
}

struct recaption_args {
	struct operation op;
	int64_t dataset;
	const char *const *keys;
	size_t n;
};

static int run_recaption(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct recaption_args *a = (const struct recaption_args *)op;

	return queue_recaption(queue, a->dataset, a->keys, a->n, err);
}

int db_queue_recaption(struct queue *q, int64_t dataset, const char *const *keys, size_t n,
		       struct error *err)
{
	struct recaption_args a = {{run_recaption, NULL, 0}, dataset, keys, n};

	return db_queue_forward(q, &a.op, err);
}

struct recaptioned_args {
	struct operation op;
	const struct recaptioned *done;
	size_t n;
};

static int run_recaptioned(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct recaptioned_args *a = (const struct recaptioned_args *)op;

	return queue_recaptioned(queue, a->done, a->n, err);
}

int db_queue_recaptioned(struct queue *q, const struct recaptioned *done, size_t n,
			 struct error *err)
{
	struct recaptioned_args a = {{run_recaptioned, NULL, 0}, done, n};

	return db_queue_forward(q, &a.op, err);
}

/* -- what is there ----------------------------------------------------------------------------- */

struct counts_args {
	struct operation op;
	int64_t dataset;
	struct queue_counts *out;
};

static int run_counts(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct counts_args *a = (const struct counts_args *)op;

	return queue_counts(queue, a->dataset, a->out, err);
}

int db_queue_counts(struct queue *q, int64_t dataset, struct queue_counts *out, struct error *err)
{
	struct counts_args a = {{run_counts, NULL, 0}, dataset, out};

	return db_queue_read(q, &a.op, err);
}

struct jobs_args {
	struct operation op;
	const struct job_filter *which;
	queue_job_fn fn;
	void *arg;
};

static int run_jobs(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct jobs_args *a = (const struct jobs_args *)op;

	return queue_jobs(queue, a->which, a->fn, a->arg, err);
}

int db_queue_jobs(struct queue *q, const struct job_filter *which, queue_job_fn fn, void *arg,
		  struct error *err)
{
	struct jobs_args a = {{run_jobs, NULL, 0}, which, fn, arg};

	return db_queue_read(q, &a.op, err);
}

struct reasons_args {
	struct operation op;
	int64_t dataset;
	enum job_state state;
	queue_reason_fn fn;
	void *arg;
};

static int run_reasons(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct reasons_args *a = (const struct reasons_args *)op;

	return queue_reasons(queue, a->dataset, a->state, a->fn, a->arg, err);
}

int db_queue_reasons(struct queue *q, int64_t dataset, enum job_state state, queue_reason_fn fn,
		     void *arg, struct error *err)
{
	struct reasons_args a = {{run_reasons, NULL, 0}, dataset, state, fn, arg};

	return db_queue_read(q, &a.op, err);
}

struct duplicates_args {
	struct operation op;
	int64_t dataset;
	const struct hash128 *after;
	size_t limit;
	queue_duplicate_fn fn;
	void *arg;
};

static int run_duplicates(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct duplicates_args *a = (const struct duplicates_args *)op;

	return queue_duplicates(queue, a->dataset, a->after, a->limit, a->fn, a->arg, err);
}

int db_queue_duplicates(struct queue *q, int64_t dataset, const struct hash128 *after, size_t limit,
			queue_duplicate_fn fn, void *arg, struct error *err)
{
	struct duplicates_args a = {{run_duplicates, NULL, 0}, dataset, after, limit, fn, arg};

	return db_queue_read(q, &a.op, err);
}

struct shards_args {
	struct operation op;
	int64_t dataset;
	queue_shard_fn fn;
	void *arg;
};

static int run_shards(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct shards_args *a = (const struct shards_args *)op;

	return queue_shards(queue, a->dataset, a->fn, a->arg, err);
}

int db_queue_shards(struct queue *q, int64_t dataset, queue_shard_fn fn, void *arg,
		    struct error *err)
{
	struct shards_args a = {{run_shards, NULL, 0}, dataset, fn, arg};

	return db_queue_read(q, &a.op, err);
}

struct samples_args {
	struct operation op;
	int64_t shard;
	queue_sample_fn fn;
	void *arg;
};

static int run_samples(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct samples_args *a = (const struct samples_args *)op;

	return queue_samples(queue, a->shard, a->fn, a->arg, err);
}

int db_queue_samples(struct queue *q, int64_t shard, queue_sample_fn fn, void *arg,
		     struct error *err)
{
	struct samples_args a = {{run_samples, NULL, 0}, shard, fn, arg};

	return db_queue_read(q, &a.op, err);
}

/* -- spent ------------------------------------------------------------------------------------- */

struct spend_args {
	struct operation op;
	const char *account;
	uint64_t requests, bytes;
	int64_t now;
};

static int run_spend(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct spend_args *a = (const struct spend_args *)op;

	return queue_spend(queue, a->account, a->requests, a->bytes, a->now, err);
}

int db_queue_spend(struct queue *q, const char *account, uint64_t requests, uint64_t bytes,
		   int64_t now, struct error *err)
{
	struct spend_args a = {{run_spend, NULL, 0}, account, requests, bytes, now};

	return db_queue_forward(q, &a.op, err);
}

struct spent_args {
	struct operation op;
	const char *account;
	queue_spent_fn fn;
	void *arg;
};

static int run_spent(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct spent_args *a = (const struct spent_args *)op;

	return queue_spent(queue, a->account, a->fn, a->arg, err);
}

int db_queue_spent(struct queue *q, const char *account, queue_spent_fn fn, void *arg,
		   struct error *err)
{
	struct spent_args a = {{run_spent, NULL, 0}, account, fn, arg};

	return db_queue_read(q, &a.op, err);
}

/* -- history ----------------------------------------------------------------------------------- */

struct keep_history_args {
	struct operation op;
	const struct history_row *rows;
	size_t n;
};

static int run_keep_history(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct keep_history_args *a = (const struct keep_history_args *)op;

	return queue_keep_history(queue, a->rows, a->n, err);
}

int db_queue_keep_history(struct queue *q, const struct history_row *rows, size_t n,
			  struct error *err)
{
	struct keep_history_args a = {{run_keep_history, NULL, 0}, rows, n};

	return db_queue_forward(q, &a.op, err);
}

struct history_args {
	struct operation op;
	queue_history_fn fn;
	void *arg;
};

static int run_history(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct history_args *a = (const struct history_args *)op;

	return queue_history(queue, a->fn, a->arg, err);
}

int db_queue_history(struct queue *q, queue_history_fn fn, void *arg, struct error *err)
{
	struct history_args a = {{run_history, NULL, 0}, fn, arg};

	return db_queue_read(q, &a.op, err);
}
