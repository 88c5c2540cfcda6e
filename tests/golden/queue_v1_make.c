/*
 * Made tests/golden/queue_v1.db: a state folder's database of schema version 1, as the code of commit a51a940
 * wrote it; queue_v2.db, of schema version 2, as commit 3bf99e4 wrote it; queue_v3.db, of schema version 3, as
 * commit f7fad05 wrote it; queue_v4.db, of schema version 4, as commit a2b30d0 wrote it; queue_v5.db, of schema
 * version 5 with checksums, as commit 88fc8ab wrote it; and queue_v6.db, as commit 3b79e02 wrote it. Kept to show what
 * is in the files.
 *
 *	queue_v1_make queue_v1.db
 *
 * Dataset 1 "photos": jobs 1-6 in a shard of two (dir/0001 and, adopted, "found"), encoded, retryable,
 * quarantined after a crash, skipped, gone, running, available; dataset 2 "other": one completed job of the
 * same content as job 1, with two variants. From version 4 on also dataset 3 "told": a completed job whose caption has
 * changed since, one that waits for its caption, and a duplicate that was left out; from
 * version 5 on what an endpoint has cost; from version 6 on a stretch of the history.
 */
#include "base/checked.h"
#include "queue/queue.h"
#include "queue/queue_open.h"

#include <stdio.h>
#include <string.h>

static struct error err = ERROR_INIT;

static void must(int r)
{
	if (r != 0) {
		fprintf(stderr, "%d: %s\n", r, err.message);
		exit(1);
	}
}

static void enqueue(struct queue *q, int64_t dataset, const char *path, const char *key,
		    uint64_t rank)
{
	struct job_spec spec = {.root = rank == 7,
				.path = path,
				.key = key,
				.key_distinct = "distinct",
				.size = 1000 + rank,
				.mtime_ns = 1700000000000000000,
				.inode = 40 + rank,
				.rank = rank};
	struct enqueue_counts counts = {0};

	must(queue_enqueue(q, dataset, &spec, 1, &counts, &err));
}

static struct job claim(struct queue *q, int64_t dataset, const char *owner)
{
	struct queue_claim what = {
	    .dataset = dataset, .owner = owner, .now = 5000, .lease_until = 9000, .limit = 1};
	struct job job;
	size_t n;

	must(queue_claim(q, &what, &job, &n, &err));
	return job;
}

static void settle(struct queue *q, struct job job, enum outcome_kind kind, const char *reason)
{
	const char *bytes = job.dataset == 1 ? job.path : "dir/0001.jpg";
	struct job_outcome outcome = {.job = job.id,
				      .fence = job.fence,
				      .kind = kind,
				      .has_content = kind == OUTCOME_ENCODED || job.dataset == 3,
				      .content = hash128_of(bytes, strlen(bytes)),
				      .not_before = 6000,
				      .reason = reason,
				      .message = reason ? "as it was" : NULL};

	must(queue_settle(q, &outcome, 1, 5500, NULL, &err));
	job_release(&job);
}

static void complete(struct queue *q, int64_t dataset, const char *path,
		     const struct sample_row *samples, size_t n)
{
	struct shard_row shard = {.dataset = dataset,
				  .path = path,
				  .format = "wds",
				  .group = "512x512",
				  .bytes = 10240,
				  .samples = n,
				  .sha256 = sha256_of(path, strlen(path)),
				  .xxh3 = hash128_of(path, strlen(path)),
				  .sealed_at = 5600};
	int64_t id;

	must(queue_complete(q, &shard, samples, n, 5700, &id, &err));
}

static struct sample_row sample(const char *path, const char *key, uint64_t offset)
{
	return (struct sample_row){.path = path,
				   .key = key,
				   .content = hash128_of("dir/0001.jpg", 12),
				   .latent = hash128_of(key, strlen(key)),
				   .offset = offset,
				   .bytes = 512};
}

static void enqueue_told(struct queue *q, const char *path, uint64_t rank, uint64_t caption)
{
	struct job_spec spec = {.path = path,
				.key = path,
				.key_distinct = "distinct",
				.size = 2000 + rank,
				.mtime_ns = 1700000000000000000,
				.inode = 60 + rank,
				.rank = rank,
				.caption = caption,
				.wants_caption = true};
	struct enqueue_counts counts = {0};

	must(queue_enqueue(q, 3, &spec, 1, &counts, &err));
}

static void captions_and_duplicates(struct queue *q)
{
	struct queue_dataset_spec told = {"told", "/out/told", "0123456789abcdef0123456789abcdef",
					  "{\"vae\":1}"};
	struct sample_row first = sample("told", "told", 0);
	int64_t dataset;

	must(queue_open_dataset(q, &told, &dataset, &err));
	enqueue_told(q, "told", 1, 5);
	settle(q, claim(q, 3, "host:2"), OUTCOME_ENCODED, NULL);
	complete(q, 3, "train/512x512/000000.tar", &first, 1);
	enqueue_told(q, "told", 1, 6);
	enqueue_told(q, "untold", 2, 0);
	enqueue_told(q, "again", 3, 7);
	settle(q, claim(q, 3, "host:2"), OUTCOME_SKIP, "duplicate");
}

int main(int argc, char **argv)
{
	struct queue_dataset_spec photos = {"photos", "/out/photos",
					    "0123456789abcdef0123456789abcdef", "{\"vae\":1}"};
	struct queue_dataset_spec other = {"other", "/out/other",
					   "0123456789abcdef0123456789abcdef", "{\"vae\":1}"};
	struct sample_row first[] = {sample("dir/0001.jpg", "dir/0001", 0),
				     sample("found.png", "found", 512)};
	struct sample_row second[] = {sample("copy.jpg", "copy", 0),
				      sample("copy.jpg", "copy", 512)};
	const struct history_row stretch = {1, 7, 1700000100000, 300000, 12, 34};
	struct queue *q = NULL;
	int64_t dataset;
	size_t n;

	if (argc != 2)
		return 2;
	must(queue_sqlite_open(argv[1], &q, &err));
	must(queue_open_dataset(q, &photos, &dataset, &err));
	must(queue_open_dataset(q, &other, &dataset, &err));
	enqueue(q, 1, "dir/0001.jpg", "dir/0001", 1);
	enqueue(q, 1, "dir/0002.jpg", "dir/0002", 2);
	enqueue(q, 1, "dir/0003.jpg", "dir/0003", 3);
	enqueue(q, 1, "crash.jpg", "crash", 4);
	enqueue(q, 1, "small \xff.jpg", "small", 5);
	enqueue(q, 1, "gone.jpg", "gone", 6);
	enqueue(q, 1, "left.jpg", "left", 9);
	enqueue(q, 1, "run.jpg", "run", 7);
	enqueue(q, 2, "copy.jpg", "copy", 1);
	settle(q, claim(q, 1, "host:1"), OUTCOME_ENCODED, NULL);
	settle(q, claim(q, 1, "host:1"), OUTCOME_ENCODED, NULL);
	settle(q, claim(q, 1, "host:1"), OUTCOME_RETRY, "timeout");
	job_release(&(struct job[]){claim(q, 1, "host:1")}[0]);
	must(queue_rescue(q, 1, "host:2", 5200, &n, &err));
	settle(q, claim(q, 1, "host:2"), OUTCOME_QUARANTINE, "truncated");
	settle(q, claim(q, 1, "host:2"), OUTCOME_SKIP, "min_side");
	settle(q, claim(q, 1, "host:2"), OUTCOME_GONE, NULL);
	job_release(&(struct job[]){claim(q, 1, "host:2")}[0]);
	settle(q, claim(q, 2, "host:2"), OUTCOME_ENCODED, NULL); /* from version 4 on */
	second[1].variant = 1;
	complete(q, 1, "train/512x512/000000.tar", first, 2);
	complete(q, 2, "train/512x512/000000.tar", second, 2);
	captions_and_duplicates(q);
	must(queue_spend(q, "https://gpu7:8188/", 3, 4096, 5800, &err));
	must(queue_keep_history(q, &stretch, 1, &err)); /* from version 6 on */
	queue_close(q);
	return 0;
}
