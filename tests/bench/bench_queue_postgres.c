/*
 * with_postgres.sh bench_queue_postgres [JOBS [CLIENTS]]: rates of the queue in PostgreSQL. JOBS (200,000) samples with
 * 40-byte keys are enqueued in batches of 4,096 by one client; then CLIENTS (4) processes claim and settle them in batches of
 * 64, each call a transaction; then one completes them in shards of 1,000. With LATENTD_TEST_POSTGRES_FSYNC=on
 * each commit is on the disk. Bytes are those of the tables with their indexes, and of the log.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "queue/queue.h"
#include "tests/contract/postgres_server.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENQUEUE_BATCH 4096
#define CLAIM_BATCH   64
#define SHARD	      1000

static void must(int r, const struct error *err)
{
	if (r < 0) {
		fprintf(stderr, "bench_queue_postgres: %s\n", err->message);
		exit(1);
	}
}

static struct queue *open_node(const char *node)
{
	struct queue_postgres_options options = {
	    .conninfo = postgres_conninfo(), .node = node, .patience_ms = 60000};
	struct error err = ERROR_INIT;
	struct queue *q = NULL;

	must(queue_postgres_open(&options, &q, &err), &err);
	return q;
}

static int64_t make_dataset(struct queue *q)
{
	struct queue_dataset_spec spec = {"bench", "/out", "0123456789abcdef0123456789abcdef",
					  "{}"};
	struct error err = ERROR_INIT;
	int64_t id = 0;

	must(queue_open_dataset(q, &spec, &id, &err), &err);
	return id;
}

static double number(const char *sql)
{
	char *text = postgres_value(sql);
	double value = strtod(text, NULL);

	free(text);
	return value;
}

static double log_position(void)
{
	return number("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')");
}

static void report(const char *what, uint64_t jobs, int64_t started, double log)
{
	double seconds = (double)(clock_mono_ms() - started) / 1000;
	double bytes = number("SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c"
			      " WHERE relnamespace = 'latentd'::regnamespace AND relkind = 'r'");

	printf("%-9s %8" PRIu64
	       " jobs %7.2f s %8.0f jobs/s %6.0f bytes a job in tables, %6.0f in the log\n",
	       what, jobs, seconds, (double)jobs / seconds, bytes / (double)jobs,
	       (log_position() - log) / (double)jobs);
	fflush(stdout);
}

static void enqueue(struct queue *q, int64_t dataset, uint64_t jobs)
{
	static struct job_spec specs[ENQUEUE_BATCH];
	static char paths[ENQUEUE_BATCH][72], keys[ENQUEUE_BATCH][64];
	struct enqueue_counts counts = {0};
	struct error err = ERROR_INIT;

	for (uint64_t done = 0; done < jobs; done += ENQUEUE_BATCH) {
		size_t n = jobs - done < ENQUEUE_BATCH ? (size_t)(jobs - done) : ENQUEUE_BATCH;

		for (size_t i = 0; i < n; i++) {
			uint64_t number_of = done + i;

			snprintf(keys[i], sizeof(keys[i]),
				 "photos/of/the/dataset/%05" PRIu64 "/%012" PRIu64,
				 number_of / 1000, number_of);
			snprintf(paths[i], sizeof(paths[i]), "%s.jpg", keys[i]);
			specs[i] = (struct job_spec){.path = paths[i],
						     .key = keys[i],
						     .key_distinct = "distinct",
						     .size = 200000,
						     .mtime_ns = 1,
						     .inode = number_of,
						     .rank = hash64_of(keys[i], 34, 0) >> 1,
						     .caption = 7};
		}
		must(queue_enqueue(q, dataset, specs, n, &counts, &err), &err);
	}
}

/* Until there are no more. */
static void work(int client)
{
	char *owner = xasprintf("bench:%d", client);
	struct queue *q = open_node(owner);
	struct job jobs[CLAIM_BATCH];
	struct job_outcome outcomes[CLAIM_BATCH];
	struct error err = ERROR_INIT;
	size_t n = 0;

	for (;;) {
		struct queue_claim claim = {.dataset = 1,
					    .owner = owner,
					    .now = clock_wall_ms(),
					    .lease_until = clock_wall_ms() + 60000,
					    .limit = CLAIM_BATCH};
		int r = queue_claim(q, &claim, jobs, &n, &err);

		must(r, &err);
		if (r > 0)
			break;
		for (size_t i = 0; i < n; i++) {
			outcomes[i] = (struct job_outcome){.job = jobs[i].id,
							   .fence = jobs[i].fence,
							   .kind = OUTCOME_ENCODED,
							   .has_content = true,
							   .content = hash128_of(&jobs[i].id, 8)};
			job_release(&jobs[i]);
		}
		must(queue_settle(q, outcomes, n, clock_wall_ms(), NULL, &err), &err);
	}
	queue_close(q);
	free(owner);
}

static void work_all(int clients)
{
	int status = 0;

	for (int i = 0; i < clients; i++) {
		if (fork() == 0) {
			work(i);
			_exit(0);
		}
	}
	while (wait(&status) > 0) {
		if (status != 0)
			exit(1);
	}
}

static void complete(struct queue *q, int64_t dataset, uint64_t jobs)
{
	static struct sample_row samples[SHARD];
	static char paths[SHARD][72], keys[SHARD][64];
	struct error err = ERROR_INIT;

	for (uint64_t done = 0; done + SHARD <= jobs; done += SHARD) {
		char path[32];
		struct shard_row row = {.dataset = dataset,
					.path = path,
					.format = "wds",
					.group = "512x512",
					.bytes = 1,
					.samples = SHARD};
		int64_t id = 0;

		snprintf(path, sizeof(path), "%06" PRIu64 ".tar", done / SHARD);
		for (size_t i = 0; i < SHARD; i++) {
			uint64_t number_of = done + i;
			int64_t job = (int64_t)number_of + 1;

			snprintf(keys[i], sizeof(keys[i]),
				 "photos/of/the/dataset/%05" PRIu64 "/%012" PRIu64,
				 number_of / 1000, number_of);
			snprintf(paths[i], sizeof(paths[i]), "%s.jpg", keys[i]);
			samples[i] = (struct sample_row){.key = keys[i],
							 .path = paths[i],
							 .job = job,
							 .content = hash128_of(&job, 8),
							 .latent = hash128_of(&job, 8),
							 .offset = i * 512,
							 .bytes = 512};
		}
		must(queue_complete(q, &row, samples, SHARD, clock_wall_ms(), &id, &err), &err);
	}
}

int main(int argc, char **argv)
{
	uint64_t jobs = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
	int clients = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 4;
	struct queue *q;
	int64_t dataset, started;
	double log;

	jobs = jobs < SHARD ? SHARD : jobs;
	postgres_empty();
	q = open_node("bench:scan");
	dataset = make_dataset(q);
	log = log_position();
	started = clock_mono_ms();
	enqueue(q, dataset, jobs);
	report("enqueue", jobs, started, log);
	log = log_position();
	started = clock_mono_ms();
	work_all(clients);
	report("work", jobs, started, log);
	log = log_position();
	started = clock_mono_ms();
	complete(q, dataset, jobs);
	report("complete", jobs, started, log);
	queue_close(q);
	return 0;
}
