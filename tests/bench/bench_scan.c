/*
 * bench_scan FOLDER FILES [IN_EACH]: a tree of so many empty files, IN_EACH (1,000) in each of its folders, below FOLDER,
 * made if it is not there; then how fast it is listed, with and without looking for captions, and how fast a scan brings
 * it into an SQLite queue with synchronous=FULL, for the first time and once more when nothing has changed. CPU is user and
 * system time of the phase; memory is the most that the process had until then.
 */
#include "daemon/scan.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "queue/queue_open.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct phase {
	int64_t started;
	double user, system;
};

static void must(int r, const struct error *err)
{
	if (r < 0) {
		fprintf(stderr, "bench_scan: %s\n", err->message);
		exit(1);
	}
}

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

static void report(const char *what, uint64_t files, const struct phase *phase)
{
	double seconds = (double)(clock_mono_ms() - phase->started) / 1000;
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	printf("%-22s %9" PRIu64 " files %8.2f s %9.0f files/s, CPU %6.2f + %5.2f s, %4ld MB\n",
	       what, files, seconds, (double)files / seconds,
	       seconds_of(used.ru_utime) - phase->user, seconds_of(used.ru_stime) - phase->system,
	       used.ru_maxrss / 1024);
	fflush(stdout);
}

static void make_tree(const char *root, uint64_t files, uint64_t in_each)
{
	if (file_exists(root))
		return;
	for (uint64_t i = 0; i < files; i++) {
		cleanup_free char *folder = xasprintf("%s/part-%06" PRIu64, root, i / in_each);
		cleanup_free char *path = xasprintf("%s/photograph-%012" PRIu64 ".jpg", folder, i);
		struct error err = ERROR_INIT;

		if (i % in_each == 0)
			must(dir_make(folder, &err), &err);
		if (mknod(path, S_IFREG | 0644, 0) < 0) {
			fprintf(stderr, "bench_scan: %s: %s\n", path, strerror(errno));
			exit(1);
		}
	}
}

static struct source *open_source(const char *root, bool captions)
{
	const struct source_folder_options options = {.recursive = true, .captions = captions};
	struct error err = ERROR_INIT;
	struct source *source = NULL;

	must(source_folder_open(root, &options, &source, &err), &err);
	return source;
}

static void list(const char *root, bool captions)
{
	struct source *source = open_source(root, captions);
	struct phase phase = begin();
	struct error err = ERROR_INIT;
	struct source_entry entry;
	uint64_t files = 0;
	int r;

	while ((r = source_next(source, &entry, &err)) == 0)
		files++;
	must(r, &err);
	report(captions ? "listed, with captions" : "listed", files, &phase);
	source_close(source);
}

static void scan(const char *root, struct queue *q, int64_t dataset, const char *what)
{
	const struct scan_options options = {
	    .dataset = dataset, .shuffled = true, .captions = true};
	struct source *source = open_source(root, true);
	struct enqueue_counts counts = {0};
	struct phase phase = begin();
	struct error err = ERROR_INIT;

	must(scan_source(q, source, &options, &counts, &err), &err);
	report(what, counts.added + counts.known, &phase);
	source_close(source);
}

int main(int argc, char **argv)
{
	const struct queue_dataset_spec spec = {"photos", "/out",
						"0123456789abcdef0123456789abcdef", "{}"};
	uint64_t files = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	uint64_t in_each = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000;
	cleanup_free char *root = NULL, *database = NULL;
	struct error err = ERROR_INIT;
	struct queue *q = NULL;
	struct stat st = {0};
	int64_t dataset;

	if (files == 0 || in_each == 0) {
		fprintf(stderr, "usage: bench_scan FOLDER FILES [IN_EACH]\n");
		return 2;
	}
	root = xasprintf("%s/source", argv[1]);
	database = xasprintf("%s/queue.db", argv[1]);
	make_tree(root, files, in_each);
	unlink(database);
	for (int i = 0; i < 2; i++)
		list(root, i > 0);
	must(queue_sqlite_open(database, &q, &err), &err);
	must(queue_open_dataset(q, &spec, &dataset, &err), &err);
	scan(root, q, dataset, "scanned");
	scan(root, q, dataset, "scanned again");
	queue_close(q);
	stat(database, &st);
	printf("%.1f bytes a file in the queue\n", (double)st.st_size / (double)files);
	return 0;
}
