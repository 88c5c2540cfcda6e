/*
 * Durable jobs and the catalog: what has to be encoded, who is at it, and what is in which shard.
 *
 *	struct queue *q = NULL;
 *	queue_sqlite_open("STATE/queue.db", &q, err)           or queue_memory_open(&q, err), for tests
 *	queue_open_dataset(q, &spec, &dataset, err)
 *	queue_enqueue(q, dataset, specs, n, &counted, err)     known files are recognised
 *	queue_rescue(q, me, now, &rescued, err)                what a dead owner had
 *	while ((r = queue_claim(q, &claim, jobs, &n, err)) == 0)
 *		... queue_settle(q, outcomes, n, now, &lost, err) ...
 *		... queue_complete(q, &shard, samples, n, now, &shard_id, err) ...
 *	queue_close(q);
 *
 * One job is one source image in one dataset. Its life:
 *
 *	(waiting) -> available -> running -> encoded -> completed
 *	               ^  ^          |
 *	  queue_retry  |  +-- retryable (not before a time), released, rescued
 *	               |             |
 *	           quarantined <-----+-----> skipped, gone
 *
 * A claim is a lease: until `lease_until` the job belongs to its owner; the fence rises with every
 * claim, and an outcome that carries an older fence is void. Every operation is one transaction: it
 * happens whole or not at all, and is durable when it returns (enqueue too: a scan is not repeated for
 * nothing). Times are wall-clock milliseconds and come from the caller, so that tests own the clock.
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
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Stored as these numbers: never renumber. */
enum job_state {
	JOB_WAITING = 0,     /* for its caption */
	JOB_AVAILABLE = 1,   /* may be claimed */
	JOB_RUNNING = 2,     /* claimed: owner, fence, lease_until */
	JOB_ENCODED = 3,     /* its record is in the spool, durable */
	JOB_COMPLETED = 4,   /* its record is in a visible shard */
	JOB_RETRYABLE = 5,   /* failed for a passing reason: claimable at not_before */
	JOB_QUARANTINED = 6, /* bad, with reason */
	JOB_SKIPPED = 7,     /* by policy, with reason */
	JOB_CANCELLED = 8,
	JOB_GONE = 9, /* the file is no longer there */
};
#define JOB_STATES 10

const char *job_state_name(enum job_state state);

#define QUEUE_OWNER_SIZE  96
#define QUEUE_REASON_SIZE 24

/* -- datasets ------------------------------------------------------------------------------------- */

struct queue_dataset_spec {
	const char *name;	 /* unique in this queue; the folder below OUT */
	const char *output;	 /* OUT/NAME, absolute */
	const char *recipe_id;	 /* 32 hex digits */
	const char *recipe_json; /* canonical */
};

struct queue_dataset { /* as stored; all strings are freed by queue_dataset_release */
	int64_t id;
	char *name, *output, *recipe_id, *recipe_json;
};

void queue_dataset_release(struct queue_dataset *d);

/* Outcome of open_dataset: the name exists with another recipe; nothing was changed. */
#define QUEUE_OTHER_RECIPE 1

/* -- jobs ----------------------------------------------------------------------------------------- */

struct job_spec {
	uint32_t root;	  /* which of the dataset's source folders, by number */
	const char *path; /* relative to it, bytes without NUL: with root the job's identity */
	const char *key;  /* sample_key() */
	const char *key_distinct; /* used when another job of the dataset has `key` */
	uint64_t size;
	int64_t mtime_ns;
	uint64_t inode;
	uint64_t
	    rank; /* at most INT64_MAX: claims go in rising rank, then in order of enqueueing */
};

struct enqueue_counts {
	size_t added;
	size_t known;	 /* same size, mtime and inode as before; or running, whatever changed */
	size_t requeued; /* changed while not yet encoded, quarantined or gone: available again */
	size_t changed_done; /* changed although already encoded: left as it is, counted */
};

struct job {
	int64_t id, dataset;
	uint64_t fence;
	uint32_t attempts; /* this claim included */
	uint32_t crashes;  /* owners that died while they had it */
	uint32_t root;
	uint64_t size;
	uint64_t rank;
	char *key, *path;
};

void job_release(struct job *job);

struct queue_claim {
	int64_t dataset;   /* 0: any */
	const char *owner; /* who claims, e.g. host:boot:pid:start */
	int64_t now;
	int64_t lease_until;
	size_t limit;
	const uint32_t *roots; /* only jobs of these sources; NULL: of all */
	size_t n_roots;
};

/* Outcome of claim: nothing can be claimed now. */
#define QUEUE_EMPTY 1

enum outcome_kind {
	OUTCOME_ENCODED,    /* in the spool, durable */
	OUTCOME_RETRY,	    /* charged; claimable again at not_before */
	OUTCOME_RELEASE,    /* not charged: the attempt is taken back, available at once */
	OUTCOME_QUARANTINE, /* reason, message */
	OUTCOME_SKIP,	    /* reason, message */
	OUTCOME_GONE,
};

struct job_outcome {
	int64_t job;
	uint64_t fence;
	enum outcome_kind kind;
	bool has_content;
	struct hash128 content; /* XXH3-128 of the file's bytes, when it was read */
	int64_t not_before;
	const char *reason;  /* one word, NULL where none belongs */
	const char *message; /* one line */
};

/* -- catalog -------------------------------------------------------------------------------------- */

struct shard_row {
	int64_t id; /* set by complete */
	int64_t dataset;
	const char *path;   /* relative to the dataset's output: "train/512x512/000000.tar" */
	const char *format; /* "wds" */
	const char *group;  /* what its samples share: "512x512" */
	uint64_t bytes;
	uint64_t samples;
	struct sha256 sha256;
	struct hash128 xxh3;
	int64_t sealed_at;
};

struct sample_row {
	const char *key;  /* names the job */
	const char *path; /* of its source: must be the job's */
	uint32_t root;	  /* used only where the job is not known (a shard that is adopted) */
	uint32_t variant;
	struct hash128 content;
	struct hash128 latent; /* XXH3-128 of the uncompressed latent values */
	uint64_t offset;       /* of its first member's header in the shard */
	uint64_t bytes;	       /* up to the next sample */
};

/*
 * Outcome of complete: a sample is already in a visible shard, its key and its path belong to two different
 * jobs, or the dataset already has a shard of that path. Nothing was changed.
 */
#define QUEUE_CONFLICT 1

struct queue_counts {
	uint64_t jobs[JOB_STATES];
	uint64_t shards, samples, shard_bytes;
};

/* A job for a person: list's rows. Strings live during the call. */
struct job_row {
	int64_t id;
	enum job_state state;
	uint32_t root;
	const char *key, *path;
	uint32_t attempts, crashes;
	const char *reason, *message; /* "" where there is none */
	int64_t updated_at;
};

/* -- the interface -------------------------------------------------------------------------------- */

/* Row callbacks: return 0 to go on, anything else ends the listing, which then returns 0. They must not
 * call the queue. */
typedef int (*queue_dataset_fn)(void *arg, const struct queue_dataset *dataset);
typedef int (*queue_job_fn)(void *arg, const struct job_row *row);
typedef int (*queue_shard_fn)(void *arg, const struct shard_row *row);
typedef int (*queue_sample_fn)(void *arg, const struct sample_row *row);

struct queue;

struct queue_ops {
	const char *name; /* "sqlite", "memory" */

	/* Finds or makes it. QUEUE_OTHER_RECIPE if the name has another recipe_id. */
	int (*open_dataset)(struct queue *q, const struct queue_dataset_spec *spec, int64_t *id,
			    struct error *err);
	/* All datasets, by name. */
	int (*datasets)(struct queue *q, queue_dataset_fn fn, void *arg, struct error *err);

	/*
	 * Adds to *counts. Identity is (dataset, root, path); a job that exists keeps its key and its rank.
	 * A requeued job has no attempts, no crashes and no reason. An adopted one (see complete) takes the
	 * file's size, mtime and inode over and is known. ERR_BUG: key and key_distinct are both taken.
	 */
	int (*enqueue)(struct queue *q, int64_t dataset, const struct job_spec *specs, size_t n,
		       struct enqueue_counts *counts, struct error *err);

	/*
	 * Up to claim->limit jobs that are available, or retryable and due, in order of rank: *n of them in
	 * @jobs, which the caller releases. QUEUE_EMPTY: none.
	 */
	int (*claim)(struct queue *q, const struct queue_claim *claim, struct job *jobs, size_t *n,
		     struct error *err);

	/* Every lease of @owner now runs until @lease_until. */
	int (*extend)(struct queue *q, const char *owner, int64_t lease_until, struct error *err);

	/*
	 * Ends claims. Outcomes whose job is not running with that fence change nothing and are counted in
	 * *lost (may be NULL). The job's reason and message become the outcome's (none, where it has none);
	 * OUTCOME_RELEASE leaves them.
	 */
	int (*settle)(struct queue *q, const struct job_outcome *outcomes, size_t n, int64_t now,
		      size_t *lost, struct error *err);

	/*
	 * Running jobs whose owner is not @owner, or whose lease ended before @now, become available; those of
	 * another owner count one crash more, instead of the attempt. Jobs in state encoded are not touched.
	 */
	int (*rescue)(struct queue *q, const char *owner, int64_t now, size_t *rescued,
		      struct error *err);

	/*
	 * Jobs in state encoded whose id is not among the @n sorted ids of @spooled become available: their
	 * records are not in the spool after all.
	 */
	int (*requeue_lost)(struct queue *q, const int64_t *spooled, size_t n, int64_t now,
			    size_t *requeued, struct error *err);

	/*
	 * Jobs of a dataset that are in state @from, quarantined or skipped, become available with no attempts
	 * and no reason; @reason NULL: all of them. Crashes stay: what was suspected of killing its owner still
	 * is.
	 */
	int (*retry)(struct queue *q, int64_t dataset, enum job_state from, const char *reason,
		     int64_t now, size_t *retried, struct error *err);

	/*
	 * A sealed, visible shard: inserts its row and its @n samples', which come in rising offset, and
	 * completes their jobs, whatever state short of completed they are in. A job is found by its key and
	 * must have the sample's path; one that is not known (adoption) is inserted as completed, with
	 * size 0, mtime 0 and inode 0, which the next scan fills in. QUEUE_CONFLICT as above.
	 */
	int (*complete)(struct queue *q, const struct shard_row *shard,
			const struct sample_row *samples, size_t n, int64_t now, int64_t *shard_id,
			struct error *err);

	/*
	 * A shard that is no longer there: its row and its samples' go, and their jobs become available with no
	 * attempts; *requeued of them. Its id is never used again. ERR_BUG: no such shard.
	 */
	int (*drop_shard)(struct queue *q, int64_t shard, int64_t now, size_t *requeued,
			  struct error *err);

	int (*counts)(struct queue *q, int64_t dataset, struct queue_counts *out,
		      struct error *err);
	/* Jobs of a dataset in one state, by id. */
	int (*jobs)(struct queue *q, int64_t dataset, enum job_state state, queue_job_fn fn,
		    void *arg, struct error *err);
	/* Shards of a dataset, by path. */
	int (*shards)(struct queue *q, int64_t dataset, queue_shard_fn fn, void *arg,
		      struct error *err);
	/* Samples of a shard, by offset. */
	int (*samples)(struct queue *q, int64_t shard, queue_sample_fn fn, void *arg,
		       struct error *err);

	void (*close)(struct queue *q);
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
int queue_claim(struct queue *q, const struct queue_claim *claim, struct job *jobs, size_t *n,
		struct error *err);
int queue_extend(struct queue *q, const char *owner, int64_t lease_until, struct error *err);
int queue_settle(struct queue *q, const struct job_outcome *outcomes, size_t n, int64_t now,
		 size_t *lost, struct error *err);
int queue_rescue(struct queue *q, const char *owner, int64_t now, size_t *rescued,
		 struct error *err);
int queue_requeue_lost(struct queue *q, const int64_t *spooled, size_t n, int64_t now,
		       size_t *requeued, struct error *err);
int queue_retry(struct queue *q, int64_t dataset, enum job_state from, const char *reason,
		int64_t now, size_t *retried, struct error *err);
int queue_complete(struct queue *q, const struct shard_row *shard, const struct sample_row *samples,
		   size_t n, int64_t now, int64_t *shard_id, struct error *err);
int queue_drop_shard(struct queue *q, int64_t shard, int64_t now, size_t *requeued,
		     struct error *err);
int queue_counts(struct queue *q, int64_t dataset, struct queue_counts *out, struct error *err);
int queue_jobs(struct queue *q, int64_t dataset, enum job_state state, queue_job_fn fn, void *arg,
	       struct error *err);
int queue_shards(struct queue *q, int64_t dataset, queue_shard_fn fn, void *arg, struct error *err);
int queue_samples(struct queue *q, int64_t shard, queue_sample_fn fn, void *arg, struct error *err);
/* NULL is fine. */
void queue_close(struct queue *q);

/* -- backends ------------------------------------------------------------------------------------- */

/*
 * Opens or creates the database at @path, on a local disk, and migrates an older schema. The caller
 * holds the lock that makes this process its only writer. ERR_CONFIG: a newer schema, a network file system.
 */
int queue_sqlite_open(const char *path, struct queue **out, struct error *err);
/*
 * For status while an owner works, or when none does: never writes, never checkpoints. ERR_CONFIG also
 * for an older schema, which only the owner may migrate.
 */
int queue_sqlite_open_readonly(const char *path, struct queue **out, struct error *err);
/* Version of the SQLite library, for `latentctl version`. */
const char *queue_sqlite_version(void);

/* The same behaviour in plain memory: the model that the contract suite holds SQLite against. */
int queue_memory_open(struct queue **out, struct error *err);

static inline void queue_close_p(struct queue **q)
{
	queue_close(*q);
}

#define cleanup_queue cleanup_with(queue_close_p)

#endif
