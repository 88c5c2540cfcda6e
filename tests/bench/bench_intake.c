/*
 * bench_intake FOLDER: what it costs to keep a queue in step with a folder, with SQLite, all below FOLDER.
 *
 *	bench_intake DIR latency          from a file's close to its job: 1,000 files one at a time, then bursts
 *	bench_intake DIR idle SECONDS     CPU time and turns of a thread that watches 100,000 files in 1,000 folders
 *	bench_intake DIR many FILES       one folder with so many entries: a scan, again, a stop in its middle
 *	bench_intake DIR folders FOLDERS  memory for each watched folder, and how long it takes to watch them
 */
#include "daemon/db_queue.h"
#include "daemon/intake.h"
#include "queue/queue_open.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "source/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

struct bench {
	char *source, *database;
	sd_event *event;
	struct inbox *inbox;
	struct queue *queue, *reader;
	struct db *db;
	int64_t dataset;
	struct intake *intake;
	struct intake_state state;
	size_t jobs;
};

static void must(int r, const struct error *err)
{
	if (r < 0) {
		fprintf(stderr, "bench_intake: %s\n", err->message);
		exit(1);
	}
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void on_state(void *arg, const struct intake_state *state)
{
	((struct bench *)arg)->state = *state;
}

static void on_jobs(void *arg)
{
	((struct bench *)arg)->jobs++;
}

static void on_note(void *arg, const char *line)
{
	(void)arg;
	printf("note: %s\n", line);
}

static void open_all(struct bench *b, const char *dir)
{
	struct queue_dataset_spec spec = {"photos", "/out", "0123456789abcdef0123456789abcdef",
					  "{}"};
	struct error err = ERROR_INIT;

	b->source = xasprintf("%s/source", dir);
	b->database = xasprintf("%s/queue.db", dir);
	must(dir_make(b->source, &err), &err);
	sd_event_new(&b->event);
	must(inbox_open(b->event, &b->inbox, &err), &err);
	must(queue_sqlite_open(b->database, &b->queue, &err), &err);
	must(queue_open_dataset(b->queue, &spec, &b->dataset, &err), &err);
	must(db_open(b->inbox, b->queue, "bench:1", &b->db, &err), &err);
	must(queue_sqlite_open_readonly(b->database, &b->reader, &err), &err);
}

static void start(struct bench *b, const char *dir)
{
	const struct intake_source source = {.path = b->source, .recursive = true};
	const struct intake_options options = {.db = b->db,
					       .dataset = b->dataset,
					       .name = "photos",
					       .state = dir,
					       .sources = &source,
					       .n_sources = 1,
					       .shuffled = true,
					       .handlers = {on_state, on_jobs, on_note},
					       .arg = b};
	struct error err = ERROR_INIT;

	memset(&b->state, 0, sizeof(b->state));
	must(intake_open(&options, b->inbox, &b->intake, &err), &err);
}

static void wait_for_scan(struct bench *b)
{
	while (b->state.scans == 0 || b->state.phase == INTAKE_SCANNING)
		sd_event_run(b->event, UINT64_MAX);
}

static void close_all(struct bench *b)
{
	intake_close(b->intake);
	queue_close(b->reader);
	db_close(b->db);
	queue_close(b->queue);
	inbox_close(b->inbox);
	sd_event_unref(b->event);
	free(b->source);
	free(b->database);
}

/* -- latency -------------------------------------------------------------------------------------- */

static uint64_t available(struct bench *b)
{
	struct queue_counts counts;
	struct error err = ERROR_INIT;

	must(queue_counts(b->reader, b->dataset, &counts, &err), &err);
	return counts.jobs[JOB_AVAILABLE];
}

/* Written under a name that nobody looks at, so that what is measured begins with the last step. */
static void write_file(const struct bench *b, int number)
{
	cleanup_free char *path = xasprintf("%s/%06d.jpg", b->source, number);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, path, 100) < 0)
		perror(path);
	close(fd);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int64_t until(struct bench *b, uint64_t jobs, int64_t began)
{
	while (available(b) < jobs)
		sd_event_run(b->event, UINT64_MAX);
	return now_us() - began;
}

static void latency(struct bench *b, const char *dir)
{
	static int64_t took[1000];
	int number = 0;

	start(b, dir);
	wait_for_scan(b);
	for (size_t i = 0; i < ARRAY_SIZE(took); i++) {
		write_file(b, number++);
		took[i] = until(b, (uint64_t)number, now_us());
	}
	qsort(took, ARRAY_SIZE(took), sizeof(*took), compare);
	printf("one at a time: median %.1f ms, 99 %% %.1f ms, most %.1f ms\n",
	       (double)took[500] / 1000, (double)took[990] / 1000, (double)took[999] / 1000);
	for (int size = 100; size <= 10000; size *= 10) {
		int64_t began = now_us(), written;

		for (int i = 0; i < size; i++)
			write_file(b, number++);
		written = now_us();
		printf("%5d at once: written in %.1f ms, all available %.1f ms after the last\n",
		       size, (double)(written - began) / 1000,
		       (double)until(b, (uint64_t)number, written) / 1000);
	}
}

/* -- idle ----------------------------------------------------------------------------------------- */

static double cpu_ms(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static long switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_nvcsw + usage.ru_nivcsw;
}

static void make_folders(const struct bench *b, int folders, int files)
{
	for (int i = 0; i < folders; i++) {
		cleanup_free char *folder = xasprintf("%s/%05d", b->source, i);

		mkdir(folder, 0755);
		for (int k = 0; k < files; k++) {
			cleanup_free char *path = xasprintf("%s/%03d.jpg", folder, k);

			if (symlink("../none", path) < 0 && errno != EEXIST)
				perror(path);
		}
	}
}

static void idle(struct bench *b, const char *dir, int seconds)
{
	int64_t end;
	double cpu;
	long turns;

	make_folders(b, 1000, 100);
	start(b, dir);
	wait_for_scan(b);
	printf("%" PRIu64 " files, %" PRIu64 " folders watched, first scan %" PRId64 " ms\n",
	       b->state.scan_files, b->state.folders_watched, b->state.scan_ms);
	end = clock_mono_ms() + 1000;
	while (clock_mono_ms() < end)
		sd_event_run(b->event, 1000 * 1000);
	cpu = cpu_ms();
	turns = switches();
	end = clock_mono_ms() + (int64_t)seconds * 1000;
	while (clock_mono_ms() < end)
		sd_event_run(b->event, (uint64_t)(end - clock_mono_ms()) * 1000);
	printf("%d s idle: %.2f ms of CPU, %ld context switches\n", seconds, cpu_ms() - cpu,
	       switches() - turns);
}

/* -- many ----------------------------------------------------------------------------------------- */

static long peak_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void many(struct bench *b, const char *dir, int files)
{
	int64_t began;

	for (int i = 0; i < files; i++) {
		cleanup_free char *path = xasprintf("%s/%08d.jpg", b->source, i);

		if (symlink("none", path) < 0 && errno != EEXIST)
			perror(path);
	}
	for (int i = 0; i < 2; i++) {
		start(b, dir);
		wait_for_scan(b);
		printf("scan %d: %" PRIu64 " files in %" PRId64 " ms, memory at the peak %ld MiB\n",
		       i + 1, b->state.scan_files, b->state.scan_ms, peak_kib() / 1024);
		intake_close(b->intake);
	}
	for (int i = 0; i < 3; i++) {
		start(b, dir);
		while (b->state.phase != INTAKE_SCANNING || (i > 0 && b->state.running_files == 0))
			sd_event_run(b->event, UINT64_MAX);
		began = clock_mono_ms();
		intake_close(b->intake);
		printf("stopped while scanning, after %" PRId64 " ms\n", clock_mono_ms() - began);
	}
	b->intake = NULL;
}

/* -- folders -------------------------------------------------------------------------------------- */

static void folders(const struct bench *b, int n)
{
	const struct watch_options options = {.recursive = true};
	struct watch_event event = {WATCH_NOTE, "", false};
	struct error err = ERROR_INIT;
	struct mallinfo2 before, after;
	struct watch *w = NULL;
	int64_t began;

	make_folders(b, n, 0);
	before = mallinfo2();
	began = clock_mono_ms();
	must(watch_open(b->source, &options, &w, &err), &err);
	while (event.kind != WATCH_RESCAN)
		must(watch_next(w, &event, &err), &err);
	after = mallinfo2();
	printf("%zu folders watched in %" PRId64 " ms, %.0f bytes each\n", watch_folders(w),
	       clock_mono_ms() - began,
	       (double)(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) /
		   (double)watch_folders(w));
	watch_close(w);
}

int main(int argc, char **argv)
{
	struct bench b = {.jobs = 0};
	int n = argc > 3 ? atoi(argv[3]) : 0;

	if (argc < 3) {
		fprintf(stderr, "usage: bench_intake FOLDER latency|idle|many|folders [N]\n");
		return 2;
	}
	open_all(&b, argv[1]);
	if (strcmp(argv[2], "latency") == 0)
		latency(&b, argv[1]);
	else if (strcmp(argv[2], "idle") == 0)
		idle(&b, argv[1], n > 0 ? n : 60);
	else if (strcmp(argv[2], "many") == 0)
		many(&b, argv[1], n > 0 ? n : 1000000);
	else
		folders(&b, n > 0 ? n : 100000);
	close_all(&b);
	return 0;
}
