/*
 * What a queue (queue.h, whose life of a job is meant here) takes and gives: specs of what the caller wants, rows of what
 * is stored, counts. Plain values, of whatever backend. Strings of specs are the caller's and are copied; those of rows
 * live during the callback that is shown the row; what has a release function owns its own.
 */
#ifndef LATENTD_QUEUE_QUEUE_ROWS_H
#define LATENTD_QUEUE_QUEUE_ROWS_H

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

/* -- jobs ----------------------------------------------------------------------------------------- */

#define CAPTION_UNSEEN UINT64_MAX

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
	/*
	 * Of its caption file: any number up to INT64_MAX that changes with it. 0: there is none; CAPTION_UNSEEN:
	 * nobody looked, what is known stays.
	 */
	uint64_t caption;
	bool wants_caption; /* with caption 0 it waits */
	/* It is there but may still be written: a scan that is open has met it; nothing else is done. */
	bool unsettled;
};

struct enqueue_counts {
	size_t added;
	size_t known; /* same size, mtime and inode as before */
	size_t
	    busy; /* changed while running: nothing was done; to be enqueued again when it is settled */
	size_t unsettled;
	size_t requeued; /* changed while not yet encoded, quarantined or gone: available again */
	size_t
	    superseding; /* encoded already, and changed or never seen: available again, see above */
	size_t waiting;	 /* of all these: wait for their caption now */
	size_t recaptioned; /* of all these: to be recaptioned since this call */
};

struct job {
	int64_t id, dataset;
	uint64_t fence;
	uint32_t attempts; /* this claim included */
	uint32_t crashes;  /* owners that died while they had it */
	uint32_t root;
	uint64_t size;
	uint64_t rank;
	bool has_content; /* a changed file: what its record or its sample has */
	struct hash128 content;
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
	bool suspects; /* one suspected job, and no other */
};

enum outcome_kind {
	OUTCOME_ENCODED,    /* in the spool, durable */
	OUTCOME_RETRY,	    /* charged; claimable again at not_before */
	OUTCOME_RELEASE,    /* not charged: the attempt is taken back, available at once */
	OUTCOME_QUARANTINE, /* reason, message */
	OUTCOME_SKIP,	    /* reason, message */
	OUTCOME_GONE,
	OUTCOME_KEPT,	  /* the content is the one that the job's record or sample has */
	OUTCOME_POSTPONE, /* not charged: the attempt is taken back; claimable again at not_before */
};

struct job_outcome {
	int64_t job;
	uint64_t fence;
	enum outcome_kind kind;
	bool has_content;
	struct hash128
	    content; /* XXH3-128 of the file's bytes; KEPT must have it, ENCODED should */
	int64_t not_before;
	const char *reason;  /* one word, NULL where none belongs */
	const char *message; /* one line */
};

/* -- catalog -------------------------------------------------------------------------------------- */

struct shard_row {
	int64_t id; /* of rows that are read */
	int64_t dataset;
	const char *path;   /* relative to the dataset's output: "train/512x512/000000.tar" */
	const char *format; /* "wds" */
	const char *group;  /* what its samples share: "512x512" */
	uint64_t bytes;
	uint64_t samples; /* in the file */
	uint64_t dead;	  /* of them superseded, removed or damaged; 0 when it is new */
	struct sha256 sha256;
	struct hash128 xxh3;
	int64_t sealed_at;
};

struct sample_row {
	const char *key;  /* names the job */
	const char *path; /* of its source: must be the job's */
	uint32_t root;	  /* used only where the job is not known (a shard that is adopted) */
	int64_t job;	  /* its id, where the caller knows it: saves the search; 0: by key */
	uint32_t variant;
	bool dead; /* of rows that are read */
	struct hash128 content;
	struct hash128 latent; /* XXH3-128 of the uncompressed latent values */
	uint64_t offset;       /* of its first member's header in the shard */
	uint64_t bytes;	       /* up to the next sample */
};

struct new_shard {
	struct shard_row row;
	const struct sample_row *samples; /* row.samples of them, in rising offset */
};

struct sample_place {
	int64_t shard;
	uint64_t offset;
};

/* Shards that take the place of others. */
struct queue_swap {
	const int64_t *retired; /* shard ids */
	size_t n_retired;
	const struct sample_place *dropped; /* live samples of theirs that no new shard has */
	size_t n_dropped;
	const struct new_shard *shards;
	size_t n_shards;
};

/* A shard that is no longer in the catalog, though its file may still be there. */
struct retired_row {
	int64_t id, dataset;
	const char *path;
	int64_t retired_at;
};

enum content_where {
	CONTENT_NONE,
	CONTENT_SPOOLED, /* job, dataset, key */
	CONTENT_VISIBLE, /* all */
};

struct content_found {
	enum content_where where;
	int64_t job, dataset, shard;
	uint32_t variant;
	uint64_t offset, bytes;
	char *key, *shard_path;
	/* What queue_find_variants() found. */
	struct variant_place {
		uint32_t variant;
		uint64_t offset, bytes;
	} * variants;
	size_t n_variants;
};

void content_found_add(struct content_found *found, const struct variant_place *place);
void content_found_release(struct content_found *found);

/* -- scans ---------------------------------------------------------------------------------------- */

enum scan_end {
	SCAN_ABANDON, /* it was not finished: nothing is concluded from it */
	SCAN_COUNT,   /* only counts; the scan goes on */
	SCAN_KEEP,    /* samples stay; jobs that are completed do, all others are gone */
	SCAN_REMOVE,  /* their samples die, the jobs are gone */
};

struct scan_counts {
	size_t met;	    /* jobs that were there when the scan began and were enqueued since */
	size_t missed;	    /* not met, without a visible sample: these become gone */
	size_t missed_done; /* not met, with a visible sample */
};

/* -- lists and counts ----------------------------------------------------------------------------- */

struct queue_counts {
	uint64_t jobs[JOB_STATES];
	uint64_t shards, samples, shard_bytes; /* samples: live ones */
	uint64_t recaptions;		       /* jobs that are to be recaptioned */
	int64_t last_shard;		       /* the highest id of one that is there; 0: none */
};

struct job_row { /* for a person; strings live during the call */
	int64_t id;
	enum job_state state;
	uint32_t root;
	const char *key, *path;
	uint64_t size; /* of the file, as it was last seen */
	int64_t mtime_ns;
	uint32_t attempts, crashes;
	const char *reason, *message; /* "" where there is none */
	int64_t updated_at;
	int64_t not_before; /* of a retryable job; otherwise 0 */
	bool has_content;   /* of an encoded job: */
	struct hash128 content;
};

/* Which jobs are meant. */
struct job_filter {
	int64_t dataset;
	enum job_state state;
	const char *reason; /* NULL: whatever it is */
	const char *key;    /* NULL: all */
	int64_t after;	    /* only ids above it: 0, or the last one of the page before */
	size_t limit;	    /* at most so many, the lowest ids; 0: all */
	bool here;	    /* of encoded jobs: only those whose record is in this node's spool */
};

struct reason_row {
	const char *reason; /* "" where there is none */
	uint64_t jobs;
};

/* A job whose content another one of its dataset has too. Rows of one content lie together. */
struct duplicate_row {
	struct hash128 content;
	int64_t job;
	uint32_t root;
	const char *key, *path;
	int64_t shard; /* that has its live sample; 0: none has, it is skipped as `duplicate` */
};

struct recaption_row {
	int64_t job;
	uint64_t caption; /* its stamp now; 0: there is none, or nobody has looked */
	uint32_t root;
	const char *key, *path;
	bool spooled;	  /* a record of it is in the spool */
	int64_t shard;	  /* of one of its live samples; 0: it has none */
	uint32_t variant; /* of that sample */
	bool elsewhere;	  /* other shards have live samples of it, too */
};

struct recaptioned {
	int64_t job;
	uint64_t caption; /* as in its row */
};

/* What an account spent on requests within one minute. */
struct spent_row {
	int64_t minute; /* wall clock, ms / 60000 */
	uint64_t requests, bytes;
};

/*
 * What happened in one stretch of time, of a series of equal stretches that come round again: what a row of the same series
 * and place had before is forgotten, so a series has as many rows as it has places.
 */
struct history_row {
	uint32_t series; /* daemon/history.h knows which there are */
	uint32_t place;
	int64_t at;	 /* its beginning, wall clock, ms */
	int64_t ms;	 /* that were seen of it */
	uint64_t images; /* encoded in these */
	uint64_t todo;	 /* images that were still to do at their end */
};
#endif
