/*
 * with_postgres.sh bench_queue_postgres [JOBS [CLIENTS [BATCH]]]: rates of the queue in PostgreSQL. JOBS (200,000) samples
 * with 40-byte keys are enqueued in batches of BATCH (1,000, as the daemon does) by one client; then CLIENTS (4) processes
 * claim and settle them in batches of 64, each call a transaction; then one completes them in shards of 1,000. With
 * LATENTD_TEST_POSTGRES_FSYNC=on each commit is on the disk. Bytes are those of the tables with their indexes, and of
 * the log; CPU time of the server is that of all its processes that ended meanwhile.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "queue/queue.h"
#include "queue/queue_open.h"
#include "tests/contract/postgres_server.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LARGEST_BATCH 65536
#define CLAIM_BATCH   64
#define SHARD	      1000

static size_t enqueue_batch = 1000;

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

struct cpu { /* seconds */
	double clients, server;
};

struct phase {
	int64_t started, ended;
	double log;
	struct cpu cpu;
};

/* Of clients that ended, and of the server's processes that ended with them. */
static struct cpu cpu_seconds(void)
{
	cleanup_free char *pid_path =
	    xasprintf("%s/data/postmaster.pid", getenv("LATENTD_TEST_POSTGRES_DIR"));
	FILE *file = fopen(pid_path, "r");
	unsigned long ticks[4] = {0};
	char stat_path[64];
	struct rusage own;
	int pid = 0;

	if (!file || fscanf(file, "%d", &pid) != 1)
		exit(1);
	fclose(file);
	snprintf(stat_path, sizeof(stat_path), "/proc/%d/stat", pid);
	file = fopen(stat_path, "r");
	if (!file ||
	    fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu",
		   &ticks[0], &ticks[1], &ticks[2], &ticks[3]) != 4)
		exit(1);
	fclose(file);
	getrusage(RUSAGE_CHILDREN, &own);
	return (struct cpu){.clients = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
				       (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6,
			    .server = (double)(ticks[0] + ticks[1] + ticks[2] + ticks[3]) /
				      (double)sysconf(_SC_CLK_TCK)};
}

static void report(const char *what, uint64_t jobs, const struct phase *phase)
{
	double seconds = (double)(phase->ended - phase->started) / 1000;
	struct cpu cpu = cpu_seconds();
	double clients = (cpu.clients - phase->cpu.clients) * 1e6 / (double)jobs;
	double server = (cpu.server - phase->cpu.server) * 1e6 / (double)jobs;
	double bytes = number("SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c"
			      " WHERE relnamespace = 'latentd'::regnamespace AND relkind = 'r'");

	printf("%-9s %8" PRIu64 " jobs %7.2f s %8.0f jobs/s; CPU a job: clients %4.1f us, server "
	       "%5.1f us; bytes a job: tables %5.0f, log %5.0f\n",
	       what, jobs, seconds, (double)jobs / seconds, clients, server, bytes / (double)jobs,
	       (log_position() - phase->log) / (double)jobs);
	fflush(stdout);
}

static void enqueue(struct queue *q, int64_t dataset, uint64_t jobs)
{
	static struct job_spec specs[LARGEST_BATCH];
	static char paths[LARGEST_BATCH][72], keys[LARGEST_BATCH][64];
	struct enqueue_counts counts = {0};
	struct error err = ERROR_INIT;

	for (uint64_t done = 0; done < jobs; done += enqueue_batch) {
		size_t n = jobs - done < enqueue_batch ? (size_t)(jobs - done) : enqueue_batch;

		for (size_t i = 0; i < n; i++) {
			uint64_t number_of = done + i;

			snprintf(keys[i], sizeof(keys[i]),
				 "photos/of/the/dataset/%05" PRIu64 "/%012" PRIu64,
				 number_of / 1000, number_of);
			snprintf(paths[i], sizeof(paths[i]), "%.63s.jpg", keys[i]);
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
			snprintf(paths[i], sizeof(paths[i]), "%.63s.jpg", keys[i]);
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

/* Each phase in processes of their own, so that what they and their servers used is known when they ended. */
static void run(const char *what, int clients, uint64_t jobs)
{
	struct phase phase = {
	    .started = clock_mono_ms(), .log = log_position(), .cpu = cpu_seconds()};
	struct timespec reaping = {0,
				   300000000}; /* of the server's processes, which end after ours */
	int status = 0;

	for (int i = 0; i < clients; i++) {
		struct queue *q;

		if (fork() != 0)
			continue;
		q = open_node("bench:scan");
		if (strcmp(what, "enqueue") == 0)
			enqueue(q, make_dataset(q), jobs);
		else if (strcmp(what, "work") == 0)
			work(i);
		else
			complete(q, make_dataset(q), jobs);
		queue_close(q);
		_exit(0);
	}
	while (wait(&status) > 0) {
		if (status != 0)
			exit(1);
	}
	phase.ended = clock_mono_ms();
	nanosleep(&reaping, NULL);
	report(what, jobs, &phase);
}

int main(int argc, char **argv)
{
	uint64_t jobs = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
	int clients = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 4;

	if (argc > 3)
		enqueue_batch = strtoull(argv[3], NULL, 10);
	if (enqueue_batch < 1 || enqueue_batch > LARGEST_BATCH)
		enqueue_batch = LARGEST_BATCH;
	jobs = jobs < SHARD ? SHARD : jobs;
	postgres_empty();
	run("enqueue", 1, jobs);
	run("work", clients, jobs);
	run("complete", 1, jobs);
	return 0;
}
