/*
 * Durable jobs and the catalog: what has to be encoded, who is at it, and what is in which shard.
 *
 *	struct queue *q = NULL;
 *	queue_sqlite_open("STATE/queue.db", &q, err)           queue_open.h
 *	queue_open_dataset(q, &spec, &dataset, err)
 *	queue_enqueue(q, dataset, specs, n, &counted, err)     known files are recognised
 *	queue_rescue(q, me, now, &rescued, err)                what a dead owner had
 *	while ((r = queue_claim(q, &claim, jobs, &n, err)) == 0)
 *		... queue_settle(q, outcomes, n, now, &lost, err) ...
 *		... queue_complete(q, &shard, samples, n, now, &shard_id, err) ...
 *	queue_swap(q, &swap, now, ids, err)                    shards are rewritten
 *	queue_close(q);
 *
 * One job is one source image in one dataset. Its life:
 *
 *	waiting -> available -> running -> encoded -> completed
 *	              ^  ^          |
 *	 queue_retry  |  +-- retryable (not before a time), released, rescued
 *	              |             |
 *	          quarantined <-----+-----> skipped, gone           cancelled: before it was claimed
 *
 * A claim is a lease: until `lease_until` the job belongs to its owner; the fence rises with every
 * claim of any job, by whatever step, and an outcome that carries another fence is void.
 *
 * Files that change. A job that is encoded or completed becomes available again when its file changed.
 * What it had stays: its sample stays visible, and its record in the spool may still come into a shard,
 * without completing the job. Then either the new content is encoded and completed, which makes the old
 * sample's row dead in the same transaction, or the content proves to be the old one (OUTCOME_KEPT). Of one
 * (job, variant) there is at most one live sample at any time. A dead sample still lies in its shard's file
 * until the shard is rewritten (queue_swap).
 *
 * Captions. A job is enqueued with a stamp of its caption file. One that needs a caption and has none is
 * waiting until it is enqueued with one. Where something of a job is stored, visible or in the spool, and the
 * stamp changes, the job is on the list of those that are to be recaptioned (recaptions), whatever else becomes
 * of it: the caption that is stored may be an earlier one. Whoever has compared and mended that says so
 * (recaptioned).
 *
 * Blame. Of the jobs that were in flight when their owner died, any may have killed it: each counts a
 * crash and is tried again. From QUEUE_SUSPECT_CRASHES on a job is suspected: a claim hands it out only
 * when it asks for suspects, and then one; the caller runs it alone. At QUEUE_BLAMED_CRASHES it is
 * quarantined with the reason `crash`. Innocents survive their run alone, whatever crashes they share.
 *
 * Every operation is one transaction: it happens whole or not at all, and is durable when it returns
 * (enqueue too: a scan is not repeated for nothing). Times are wall-clock milliseconds and come from the
 * caller, so that tests own the clock.
 *
 * One process owns the database, and one thread makes all calls on the queue that was opened for writing;
 * queue_sqlite_open_readonly() may be open any number of times beside it, in any process.
 *
 * Errors: ERR_IO (the disk; damage), ERR_TRANSIENT (another program holds the database for longer than
 * 5 s), ERR_CONFIG (a newer schema; not a database; a network file system), ERR_NOMEM, ERR_BUG (an
 * unknown dataset, a write to a queue that is open for reading only). A failed operation changed nothing.
 */
#ifndef LATENTD_QUEUE_QUEUE_H
#define LATENTD_QUEUE_QUEUE_H

#include "base/error.h"
#include "queue/queue_rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUEUE_SPENT_MINUTES (2 * 24 * 60) /* kept of what was spent */

#define QUEUE_SUSPECT_CRASHES 3 /* owners that died with a job before it runs alone */
/*
 * Owners that died with it, in all, when it is blamed. A process is also killed from outside, while an innocent image
 * runs alone: that this happens five times to the same one is no chance.
 */
#define QUEUE_BLAMED_CRASHES 8

/* Outcomes of operations, beside 0 and a failure. */
#define QUEUE_OTHER_RECIPE 1 /* of open_dataset: the name has another recipe; nothing was changed */
#define QUEUE_EMPTY	   1 /* of claim: nothing can be claimed */
#define QUEUE_LATER	   2 /* of claim: nothing can be claimed now, but some jobs that are due later */
#define QUEUE_CONFLICT	   1 /* of complete and swap: see there; nothing was changed */

/*
 * Row callbacks: return 0 to go on, anything else ends the listing, which then returns 0. They must not
 * call the queue. Rows are copied out in batches before the callbacks run, so a slow one holds nothing; a
 * batch shows one moment, a listing of many batches does not.
 */
typedef int (*queue_dataset_fn)(void *arg, const struct queue_dataset *dataset);
typedef int (*queue_job_fn)(void *arg, const struct job_row *row);
typedef int (*queue_shard_fn)(void *arg, const struct shard_row *row);
typedef int (*queue_sample_fn)(void *arg, const struct sample_row *row);
typedef int (*queue_retired_fn)(void *arg, const struct retired_row *row);
typedef int (*queue_reason_fn)(void *arg, const struct reason_row *row);
typedef int (*queue_duplicate_fn)(void *arg, const struct duplicate_row *row);
typedef int (*queue_recaption_fn)(void *arg, const struct recaption_row *row);
typedef int (*queue_spent_fn)(void *arg, const struct spent_row *row);
typedef int (*queue_history_fn)(void *arg, const struct history_row *row);

struct queue;

struct queue_nodes_ops;

struct queue_ops {
	const char *name; /* "sqlite", "memory" */

	/*
	 * Finds or makes it; its output is now what @spec says. QUEUE_OTHER_RECIPE if the name has another
	 * recipe_id.
	 */
	int (*open_dataset)(struct queue *q, const struct queue_dataset_spec *spec, int64_t *id,
			    struct error *err);
	/* All datasets, by name. */
	int (*datasets)(struct queue *q, queue_dataset_fn fn, void *arg, struct error *err);

	/*
	 * Adds to *counts. Identity is (dataset, root, path); a job that exists keeps its key and its rank.
	 * A requeued or superseding job has no attempts, no crashes and no reason. A completed one whose file was
	 * never seen (see swap) is superseding, so that its content is compared with its sample's. ERR_BUG: key
	 * and key_distinct are both taken.
	 *
	 * A job that needs a caption and has none waits, if it is or would be available or retryable; one that
	 * waits and has what it needs is available, and requeued. A stamp that is known and another one than
	 * before, or that of a job whose file was never seen, puts the job on the list of recaptions if it has a live sample or
	 * a record in the spool. A running job's stamp stays: the next scan will tell. A quarantined one whose stamp is
	 * another than before is requeued as if its file had changed: the caption or the mask may have been what was bad.
	 */
	int (*enqueue)(struct queue *q, int64_t dataset, const struct job_spec *specs, size_t n,
		       struct enqueue_counts *counts, struct error *err);

	/*
	 * From now on enqueue notes which jobs of @dataset it met, for scan_end: one bit a job. Of the sources
	 * @roots; NULL: all. ERR_BUG: a scan of the dataset is open already.
	 */
	int (*scan_begin)(struct queue *q, int64_t dataset, const uint32_t *roots, size_t n,
			  struct error *err);
	/*
	 * Jobs of these sources that were there when the scan began and were not met. Those that are running,
	 * encoded or gone already are left alone and not counted; the others as @how says. Ends the scan,
	 * unless it is SCAN_COUNT or fails. ERR_BUG: no scan of the dataset is open.
	 */
	int (*scan_end)(struct queue *q, int64_t dataset, enum scan_end how, int64_t now,
			struct scan_counts *counts, struct error *err);

	/*
	 * Up to claim->limit jobs that are available, or retryable and due, and not suspected, in order of rank:
	 * *n of them in @jobs, which the caller releases. With claim->suspects one that is suspected.
	 * QUEUE_EMPTY: none. QUEUE_LATER: none, but there are such that are retryable and due after claim->now.
	 */
	int (*claim)(struct queue *q, const struct queue_claim *claim, struct job *jobs, size_t *n,
		     struct error *err);

	/* Every lease of @owner, in all datasets, now runs until @lease_until. */
	int (*extend)(struct queue *q, const char *owner, int64_t lease_until, struct error *err);

	/*
	 * Ends claims. Outcomes whose job is not running with that fence change nothing and are counted in
	 * *lost (may be NULL). The job's reason and message become the outcome's (none, where it has none);
	 * OUTCOME_RELEASE leaves them. OUTCOME_KEPT makes the job encoded again if its record with that
	 * content is in the spool, completed if its visible sample (of the lowest variant) has it, and
	 * otherwise, since both may be lost or replaced meanwhile, is an OUTCOME_RELEASE.
	 */
	int (*settle)(struct queue *q, const struct job_outcome *outcomes, size_t n, int64_t now,
		      size_t *lost, struct error *err);

	/*
	 * Running jobs of a dataset whose owner is not @owner, or whose lease ended before @now, become available:
	 * *rescued of them. Those of another owner count one crash more, instead of the attempt; at QUEUE_BLAMED_CRASHES
	 * one is quarantined, with the reason `crash`. Jobs in state encoded are not touched.
	 */
	int (*rescue)(struct queue *q, int64_t dataset, const char *owner, int64_t now,
		      size_t *rescued, struct error *err);

	/*
	 * Jobs of a dataset in state encoded whose id is not among the @n sorted ids of @spooled become available: their
	 * records are not in the spool after all. What these had is forgotten, a changed job's too.
	 */
	int (*requeue_lost)(struct queue *q, int64_t dataset, const int64_t *spooled, size_t n,
			    int64_t now, size_t *requeued, struct error *err);

	/*
	 * Jobs of @which, whose state is quarantined, skipped or cancelled, become available with no attempts and
	 * no reason. Crashes stay: what was suspected of killing its owner still is.
	 */
	int (*retry)(struct queue *q, const struct job_filter *which, int64_t now, size_t *retried,
		     struct error *err);
	/*
	 * Jobs of @which that are waiting, available or retryable are cancelled, until their file changes or they
	 * are retried; what they had stays visible. Of @which only dataset, key and limit count, and the limit
	 * takes them in order of rank.
	 */
	int (*cancel)(struct queue *q, const struct job_filter *which, int64_t now,
		      size_t *cancelled, struct error *err);

	/*
	 * A sample of this content in @dataset, visible, or else of an encoded job; or else in another dataset of
	 * the same recipe. CONTENT_NONE is a result like the others; the caller releases *found.
	 */
	int (*find_content)(struct queue *q, int64_t dataset, const struct hash128 *content,
			    struct content_found *found, struct error *err);

	/*
	 * Adds to @found, which is visible, where the live samples of its job lie in its shard, that one included, by offset:
	 * content_found_add().
	 */
	int (*find_variants)(struct queue *q, struct content_found *found, struct error *err);

	/*
	 * Brings @swap's new shards into the catalog and takes the retired ones out of it, whose rows are then
	 * among the retired. All shards are of one dataset. @shard_ids: one for each new shard.
	 *
	 * Every live sample of the retired shards is either in exactly one new shard, with the same job, variant
	 * and latent, which changes nothing about its job; or it is named as dropped: a completed job that has no
	 * live sample left is then skipped, with the reason `deleted`, until its file changes or it is retried.
	 *
	 * Every other sample makes an older sample of this (job, variant) dead. It completes its job where that
	 * was encoded, with this content. It completes nothing, and is only made visible, where it is not of the
	 * file as it is now: the job has been encoded with another content, or its file changed and it is not
	 * encoded since. A job is found by its key (or id) and must have the sample's path; one that is not known
	 * (adoption), is gone or was skipped is completed with size 0, mtime 0 and inode 0, so that the next
	 * enqueue that meets the file finds it changed. Where a file was seen but not encoded, nothing says that
	 * the sample is of it: the job, unless it is running, is available, and as changed as if it had been
	 * completed with this sample. A completed job has no attempts and no crashes; its updated_at is when its
	 * youngest shard became visible.
	 *
	 * QUEUE_CONFLICT: a live sample of a retired shard is missing, changed, or in two new shards; what is
	 * dropped is not a live sample of a retired shard; a completed job has another live sample of that
	 * variant, or a sample is there twice; a key and a path belong to two different jobs; a shard of the
	 * dataset, retired or not, has the path. ERR_BUG: no such shard; shards of several datasets.
	 *
	 * Variants of one job stand one behind the other in a shard: where the first completes the job, the
	 * others make older samples of their variants dead all the same.
	 */
	int (*swap)(struct queue *q, const struct queue_swap *swap, int64_t now, int64_t *shard_ids,
		    struct error *err);

	/*
	 * A shard that is no longer there: its row and its samples' go, and their jobs, where they are completed,
	 * become available with no attempts; *requeued of them. Its id is never used again. ERR_BUG: no such
	 * shard.
	 */
	int (*drop_shard)(struct queue *q, int64_t shard, int64_t now, size_t *requeued,
			  struct error *err);
	/* The same for samples of a shard that are damaged, by offset: their rows are dead. Others are ignored. */
	int (*drop_samples)(struct queue *q, int64_t shard, const uint64_t *offsets, size_t n,
			    int64_t now, size_t *requeued, struct error *err);

	/* Shards of a dataset that were swapped for others, by id. */
	int (*retired)(struct queue *q, int64_t dataset, queue_retired_fn fn, void *arg,
		       struct error *err);
	/* Their files are unlinked; unknown ids are ignored. */
	int (*forget_retired)(struct queue *q, const int64_t *shards, size_t n, struct error *err);

	/*
	 * Jobs that are to be recaptioned, by id: a row for each live sample, by variant, or one for a job without.
	 * @shard 0: all of the dataset; otherwise the samples of that shard, by offset.
	 */
	int (*recaptions)(struct queue *q, int64_t dataset, int64_t shard, queue_recaption_fn fn,
			  void *arg, struct error *err);
	/*
	 * Puts the jobs of these keys on the list: their caption is another one, whatever its stamp. Unknown keys are
	 * ignored.
	 */
	int (*recaption)(struct queue *q, int64_t dataset, const char *const *keys, size_t n,
			 struct error *err);
	/*
	 * What is stored of these jobs has the caption that they had with that stamp: they leave the list, unless
	 * the stamp is another one meanwhile. Others are ignored.
	 */
	int (*recaptioned)(struct queue *q, const struct recaptioned *done, size_t n,
			   struct error *err);

	int (*counts)(struct queue *q, int64_t dataset, struct queue_counts *out,
		      struct error *err);
	/* Jobs of @which, by id. With a key: the job that has it, whatever its state. */
	int (*jobs)(struct queue *q, const struct job_filter *which, queue_job_fn fn, void *arg,
		    struct error *err);
	/*
	 * How many jobs of a dataset in one state have each reason, by reason. Not of available and completed
	 * ones.
	 */
	int (*reasons)(struct queue *q, int64_t dataset, enum job_state state, queue_reason_fn fn,
		       void *arg, struct error *err);
	/*
	 * Contents that several jobs of a dataset have: with a live sample (the row is of its lowest variant), or
	 * skipped as `duplicate`. In order of content, then job. @after: only contents above it (NULL: all);
	 * @limit: at most so many contents (0: all). Takes time in proportion to all contents that are passed
	 * over.
	 */
	int (*duplicates)(struct queue *q, int64_t dataset, const struct hash128 *after,
			  size_t limit, queue_duplicate_fn fn, void *arg, struct error *err);
	/* Shards of a dataset, by path. */
	int (*shards)(struct queue *q, int64_t dataset, queue_shard_fn fn, void *arg,
		      struct error *err);
	/* Samples of a shard, by offset, dead ones too. */
	int (*samples)(struct queue *q, int64_t shard, queue_sample_fn fn, void *arg,
		       struct error *err);

	/* Adds to what @account has spent in the minute of @now, and forgets what all did more than two days before. */
	int (*spend)(struct queue *q, const char *account, uint64_t requests, uint64_t bytes,
		     int64_t now, struct error *err);
	/* What @account has spent and is not forgotten, by minute. */
	int (*spent)(struct queue *q, const char *account, queue_spent_fn fn, void *arg,
		     struct error *err);

	/* Each takes the place of the row that has its series and place. All of them, or none. */
	int (*keep_history)(struct queue *q, const struct history_row *rows, size_t n,
			    struct error *err);
	/* All rows, by series and place. */
	int (*history)(struct queue *q, queue_history_fn fn, void *arg, struct error *err);

	void (*close)(struct queue *q);

	const struct queue_nodes_ops *nodes; /* queue_nodes.h; NULL: no nodes share it */
};

struct queue {
	const struct queue_ops *ops;
};

/* The wrappers that callers use: they check arguments once and call the operation. */
int queue_open_dataset(struct queue *q, const struct queue_dataset_spec *spec, int64_t *id,
		       struct error *err);
int queue_datasets(struct queue *q, queue_dataset_fn fn, void *arg, struct error *err);
int queue_enqueue(struct queue *q, int64_t dataset, const struct job_spec *specs, size_t n,
		  struct enqueue_counts *counts, struct error *err);
int queue_scan_begin(struct queue *q, int64_t dataset, const uint32_t *roots, size_t n,
		     struct error *err);
int queue_scan_end(struct queue *q, int64_t dataset, enum scan_end how, int64_t now,
		   struct scan_counts *counts, struct error *err);
int queue_claim(struct queue *q, const struct queue_claim *claim, struct job *jobs, size_t *n,
		struct error *err);
int queue_extend(struct queue *q, const char *owner, int64_t lease_until, struct error *err);
int queue_settle(struct queue *q, const struct job_outcome *outcomes, size_t n, int64_t now,
		 size_t *lost, struct error *err);
int queue_rescue(struct queue *q, int64_t dataset, const char *owner, int64_t now, size_t *rescued,
		 struct error *err);
int queue_requeue_lost(struct queue *q, int64_t dataset, const int64_t *spooled, size_t n,
		       int64_t now, size_t *requeued, struct error *err);
int queue_retry(struct queue *q, const struct job_filter *which, int64_t now, size_t *retried,
		struct error *err);
int queue_cancel(struct queue *q, const struct job_filter *which, int64_t now, size_t *cancelled,
		 struct error *err);
int queue_find_content(struct queue *q, int64_t dataset, const struct hash128 *content,
		       struct content_found *found, struct error *err);
int queue_find_variants(struct queue *q, struct content_found *found, struct error *err);
int queue_swap(struct queue *q, const struct queue_swap *swap, int64_t now, int64_t *shard_ids,
	       struct error *err);
/* The swap of nothing for one shard: what sealing ends with. */
int queue_complete(struct queue *q, const struct shard_row *shard, const struct sample_row *samples,
		   size_t n, int64_t now, int64_t *shard_id, struct error *err);
int queue_drop_shard(struct queue *q, int64_t shard, int64_t now, size_t *requeued,
		     struct error *err);
int queue_drop_samples(struct queue *q, int64_t shard, const uint64_t *offsets, size_t n,
		       int64_t now, size_t *requeued, struct error *err);
int queue_retired(struct queue *q, int64_t dataset, queue_retired_fn fn, void *arg,
		  struct error *err);
int queue_forget_retired(struct queue *q, const int64_t *shards, size_t n, struct error *err);
int queue_recaptions(struct queue *q, int64_t dataset, int64_t shard, queue_recaption_fn fn,
		     void *arg, struct error *err);
int queue_recaption(struct queue *q, int64_t dataset, const char *const *keys, size_t n,
		    struct error *err);
int queue_recaptioned(struct queue *q, const struct recaptioned *done, size_t n, struct error *err);
int queue_counts(struct queue *q, int64_t dataset, struct queue_counts *out, struct error *err);
int queue_jobs(struct queue *q, const struct job_filter *which, queue_job_fn fn, void *arg,
	       struct error *err);
int queue_reasons(struct queue *q, int64_t dataset, enum job_state state, queue_reason_fn fn,
		  void *arg, struct error *err);
int queue_duplicates(struct queue *q, int64_t dataset, const struct hash128 *after, size_t limit,
		     queue_duplicate_fn fn, void *arg, struct error *err);
int queue_shards(struct queue *q, int64_t dataset, queue_shard_fn fn, void *arg, struct error *err);
int queue_samples(struct queue *q, int64_t shard, queue_sample_fn fn, void *arg, struct error *err);
int queue_spend(struct queue *q, const char *account, uint64_t requests, uint64_t bytes,
		int64_t now, struct error *err);
int queue_spent(struct queue *q, const char *account, queue_spent_fn fn, void *arg,
		struct error *err);
int queue_keep_history(struct queue *q, const struct history_row *rows, size_t n,
		       struct error *err);
int queue_history(struct queue *q, queue_history_fn fn, void *arg, struct error *err);
/* NULL is fine. */
void queue_close(struct queue *q);

static inline void queue_close_p(struct queue **q)
{
	queue_close(*q);
}

#define cleanup_queue cleanup_with(queue_close_p)

#endif
