/*
 * bench_queue [JOBS [FOLDER [random|ordered [WORKED]]]]: rates and file size of the SQLite queue, as issue
 * "nothing lost, nothing twice" asks for them: JOBS (1,000,000) samples with 40-byte keys enqueued in batches of
 * 4,096, then WORKED of them (all) claimed, settled and completed (catalog rows included) in batches of 64, each
 * call a transaction with synchronous=FULL. Ranks are random, as the program's are by default; `ordered`: those
 * of the scan. Bytes a job are those of the file divided by JOBS.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "queue/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ENQUEUE_BATCH 4096
#define CLAIM_BATCH   64

static void must(int r, const struct error *err)
{
	if (r < 0) {
		fprintf(stderr, "bench_queue: %s\n", err->message);
		exit(1);
	}
}

static void report(const char *what, uint64_t jobs, uint64_t all, int64_t started, const char *path)
{
	double seconds = (double)(clock_mono_ms() - started) / 1000;
	struct stat st = {0};

	stat(path, &st);
	printf("%-10s %9" PRIu64 " jobs %8.2f s %9.0f jobs/s %8.1f bytes a job in the file\n", what,
	       jobs, seconds, (double)jobs / seconds, (double)st.st_size / (double)all);
}

static void enqueue(struct queue *q, int64_t dataset, uint64_t first, size_t n, bool shuffled)
{
	static struct job_spec specs[ENQUEUE_BATCH];
	static char names[ENQUEUE_BATCH][3][64];
	struct enqueue_counts counts = {0};
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < n; i++) {
		uint64_t number = first + i;

		snprintf(names[i][0], sizeof(names[i][0]),
			 "part-%06" PRIu64 "/photograph-%017" PRIu64, number / 1000, number);
		snprintf(names[i][1], sizeof(names[i][1]), "%.40s.jpg", names[i][0]);
		snprintf(names[i][2], sizeof(names[i][2]), "%.40s-0a1b2c3d", names[i][0]);
		specs[i] = (struct job_spec){
		    .path = names[i][1],
		    .key = names[i][0],
		    .key_distinct = names[i][2],
		    .size = 300000 + number % 1000000,
		    .mtime_ns = 1700000000000000000 + (int64_t)number * 1000003,
		    .inode = 40000000 + number,
		    .rank = shuffled ? hash64_of(&number, sizeof(number), 1) >> 1 : 0,
		};
	}
	must(queue_enqueue(q, dataset, specs, n, &counts, &err), &err);
}

static bool work(struct queue *q, int64_t dataset, uint64_t batch)
{
	struct queue_claim claim = {.dataset = dataset,
				    .owner = "host:00000000-0000-0000-0000-000000000000:1:1",
				    .now = 1700000000000,
				    .lease_until = 1700000060000,
				    .limit = CLAIM_BATCH};
	struct job_outcome outcomes[CLAIM_BATCH] = {0};
	struct sample_row samples[CLAIM_BATCH] = {0};
	struct shard_row shard = {.dataset = dataset, .format = "wds", .group = "512x512"};
	struct job jobs[CLAIM_BATCH];
	struct error err = ERROR_INIT;
	char path[64];
	int64_t shard_id;
	size_t n;
	int r = queue_claim(q, &claim, jobs, &n, &err);

	must(r, &err);
	if (r == QUEUE_EMPTY)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct hash128 content = hash128_of(jobs[i].path, strlen(jobs[i].path));

		outcomes[i] = (struct job_outcome){.job = jobs[i].id,
						   .fence = jobs[i].fence,
						   .kind = OUTCOME_ENCODED,
						   .has_content = true,
						   .content = content};
		samples[i] = (struct sample_row){.job = jobs[i].id,
						 .path = jobs[i].path,
						 .key = jobs[i].key,
						 .content = content,
						 .latent = hash128_of(&content, sizeof(content)),
						 .offset = i * 33280,
						 .bytes = 33280};
	}
	must(queue_settle(q, outcomes, n, claim.now, NULL, &err), &err);
	snprintf(path, sizeof(path), "train/512x512/%06" PRIu64 ".tar", batch);
	shard.path = path;
	shard.samples = n;
	must(queue_complete(q, &shard, samples, n, claim.now, &shard_id, &err), &err);
	for (size_t i = 0; i < n; i++)
		job_release(&jobs[i]);
	return true;
}

int main(int argc, char **argv)
{
	uint64_t jobs = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	cleanup_free char *path = xasprintf("%s/bench_queue.db", argc > 2 ? argv[2] : ".");
	uint64_t worked = argc > 4 ? strtoull(argv[4], NULL, 10) : jobs;
	bool shuffled = argc < 4 || strcmp(argv[3], "ordered") != 0;
	struct queue_dataset_spec spec = {"bench", "/out", "00000000000000000000000000000000",
					  "{}"};
	struct error err = ERROR_INIT;
	cleanup_queue struct queue *q = NULL;
	int64_t dataset, started;
	uint64_t batch = 0;

	must(queue_sqlite_open(path, &q, &err), &err);
	must(queue_open_dataset(q, &spec, &dataset, &err), &err);
	started = clock_mono_ms();
	for (uint64_t i = 0; i < jobs; i += ENQUEUE_BATCH)
		enqueue(q, dataset, i, jobs - i < ENQUEUE_BATCH ? jobs - i : ENQUEUE_BATCH,
			shuffled);
	report("enqueue", jobs, jobs, started, path);
	started = clock_mono_ms();
	for (uint64_t i = 0; i < jobs; i += ENQUEUE_BATCH)
		enqueue(q, dataset, i, jobs - i < ENQUEUE_BATCH ? jobs - i : ENQUEUE_BATCH,
			shuffled);
	report("scan again", jobs, jobs, started, path);
	started = clock_mono_ms();
	while (batch * CLAIM_BATCH < worked && work(q, dataset, batch))
		batch++;
	report("work", worked, jobs, started, path);
	return 0;
}
