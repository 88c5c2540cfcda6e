/*
 * bench_queue [JOBS [FOLDER [random|ordered [WORKED]]]]: rates and file size of the SQLite queue, as issue
 * "nothing lost, nothing twice" asks for them: JOBS (1,000,000) samples with 40-byte keys enqueued in batches of
 * 4,096, then WORKED of them (all) claimed, settled and completed (catalog rows included) in batches of 64, each
 * call a transaction with synchronous=FULL. Ranks are random, as the program's are by default; `ordered`: those
 * of the scan. All have captions. Bytes a job are those of the file divided by JOBS; CPU is user and system time of
 * the phase; memory is the most that the process had until then. While jobs are worked, another process opens the
 * database for reading and asks for the counts, as status does, a hundred times a second.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "queue/queue.h"
#include "queue/queue_open.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENQUEUE_BATCH 4096
#define CLAIM_BATCH   64

static void must(int r, const struct error *err)
{
	if (r < 0) {
		fprintf(stderr, "bench_queue: %s\n", err->message);
		exit(1);
	}
}

/* -- phases --------------------------------------------------------------------------------------- */

struct phase {
	int64_t started;
	double user, system;
};

static double seconds_of(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static struct phase begin(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (struct phase){clock_mono_ms(), seconds_of(used.ru_utime),
			      seconds_of(used.ru_stime)};
}

static void report(const char *what, uint64_t jobs, uint64_t all, const struct phase *phase,
		   const char *path)
{
	double seconds = (double)(clock_mono_ms() - phase->started) / 1000;
	struct stat st = {0};
	struct rusage used;

	stat(path, &st);
	getrusage(RUSAGE_SELF, &used);
	printf("%-10s %9" PRIu64 " jobs %8.2f s %9.0f jobs/s, CPU %6.2f + %5.2f s, %6.1f bytes a "
	       "job in the file, %4ld MB\n",
	       what, jobs, seconds, (double)jobs / seconds, seconds_of(used.ru_utime) - phase->user,
	       seconds_of(used.ru_stime) - phase->system, (double)st.st_size / (double)all,
	       used.ru_maxrss / 1024);
	fflush(stdout);
}

/* -- a reader ------------------------------------------------------------------------------------- */

#define ASKED_MAX 100000

static int by_time(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

/* Asks until @until is closed: the first time includes opening. */
static void ask(const char *path, int64_t dataset, int until)
{
	static double ms[ASKED_MAX];
	struct pollfd end = {.fd = until, .events = POLLIN};
	struct error err = ERROR_INIT;
	size_t n = 0;

	while (n < ASKED_MAX && poll(&end, 1, 10) == 0) {
		cleanup_queue struct queue *q = NULL;
		struct timespec from, to;
		struct queue_counts counts;

		clock_gettime(CLOCK_MONOTONIC, &from);
		must(queue_sqlite_open_readonly(path, &q, &err), &err);
		must(queue_counts(q, dataset, &counts, &err), &err);
		clock_gettime(CLOCK_MONOTONIC, &to);
		ms[n++] = (double)(to.tv_sec - from.tv_sec) * 1e3 +
			  (double)(to.tv_nsec - from.tv_nsec) / 1e6;
	}
	if (n == 0)
		return;
	qsort(ms, n, sizeof(*ms), by_time);
	printf("counts     %9zu times, opening included: median %.2f ms, 99 %% in %.2f ms, longest "
	       "%.2f ms\n",
	       n, ms[n / 2], ms[n * 99 / 100], ms[n - 1]);
}

/* Its process; *until is to be closed when it shall end. */
static pid_t start_reader(const char *path, int64_t dataset, int *until)
{
	int ends[2];
	pid_t child;

	fflush(stdout);
	if (pipe(ends) < 0 || (child = fork()) < 0) {
		fprintf(stderr, "bench_queue: %s\n", strerror(errno));
		exit(1);
	}
	if (child == 0) {
		close(ends[1]);
		ask(path, dataset, ends[0]);
		fflush(stdout);
		_exit(0);
	}
	close(ends[0]);
	*until = ends[1];
	return child;
}

/* -- work ----------------------------------------------------------------------------------------- */

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
		    .caption = hash64_of(&number, sizeof(number), 2) >> 16,
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
	if (r > 0)
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
	struct phase phase;
	int64_t dataset;
	uint64_t batch = 0;
	pid_t reader;
	int until;

	must(queue_sqlite_open(path, &q, &err), &err);
	must(queue_open_dataset(q, &spec, &dataset, &err), &err);
	phase = begin();
	for (uint64_t i = 0; i < jobs; i += ENQUEUE_BATCH)
		enqueue(q, dataset, i, jobs - i < ENQUEUE_BATCH ? jobs - i : ENQUEUE_BATCH,
			shuffled);
	report("enqueue", jobs, jobs, &phase, path);
	phase = begin();
	for (uint64_t i = 0; i < jobs; i += ENQUEUE_BATCH)
		enqueue(q, dataset, i, jobs - i < ENQUEUE_BATCH ? jobs - i : ENQUEUE_BATCH,
			shuffled);
	report("scan again", jobs, jobs, &phase, path);
	if (worked == 0)
		return 0;
	reader = start_reader(path, dataset, &until);
	phase = begin();
	while (batch * CLAIM_BATCH < worked && work(q, dataset, batch))
		batch++;
	report("work", worked, jobs, &phase, path);
	close(until);
	waitpid(reader, NULL, 0);
	return 0;
}
