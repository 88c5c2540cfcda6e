/*
 * fill_queue QUEUE.DB JOBS: as many jobs more, in batches of 4,096, into the datasets of the queue of a daemon that does not
 * run, in turn. Their files are nowhere. For daemon_figures.py.
 */
#include "base/checked.h"
#include "queue/queue.h"
#include "queue/queue_open.h"

#include <inttypes.h>
#include <stdio.h>

#define BATCH 4096
#define MOST  64

struct datasets {
	int64_t ids[MOST];
	size_t n;
};

static void must(int r, const struct error *err)
{
	if (r < 0) {
		fprintf(stderr, "fill_queue: %s\n", err->message);
		exit(1);
	}
}

static int on_dataset(void *arg, const struct queue_dataset *dataset)
{
	struct datasets *all = arg;

	if (all->n < MOST)
		all->ids[all->n++] = dataset->id;
	return 0;
}

static void enqueue(struct queue *q, int64_t dataset, uint64_t first, size_t n)
{
	static struct job_spec specs[BATCH];
	static char keys[BATCH][64], paths[BATCH][64], distinct[BATCH][64];
	struct enqueue_counts counts = {0};
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < n; i++) {
		uint64_t number = first + i;

		snprintf(keys[i], sizeof(keys[i]), "part-%06" PRIu64 "/photograph-%017" PRIu64,
			 number / 1000, number);
		snprintf(paths[i], sizeof(paths[i]), "%.40s.jpg", keys[i]);
		snprintf(distinct[i], sizeof(distinct[i]), "%.40s-0a1b2c3d", keys[i]);
		specs[i] = (struct job_spec){.path = paths[i],
					     .key = keys[i],
					     .key_distinct = distinct[i],
					     .size = 300000 + number % 1000000,
					     .mtime_ns = 1700000000000000000,
					     .inode = 40000000 + number};
	}
	must(queue_enqueue(q, dataset, specs, n, &counts, &err), &err);
}

int main(int argc, char **argv)
{
	struct error err = ERROR_INIT;
	cleanup_queue struct queue *q = NULL;
	struct datasets all = {.n = 0};
	uint64_t jobs;

	if (argc != 3) {
		fprintf(stderr, "usage: fill_queue QUEUE.DB JOBS\n");
		return 2;
	}
	jobs = strtoull(argv[2], NULL, 10);
	must(queue_sqlite_open(argv[1], &q, &err), &err);
	must(queue_datasets(q, on_dataset, &all, &err), &err);
	for (uint64_t i = 0; all.n > 0 && i < jobs; i += BATCH)
		enqueue(q, all.ids[i / BATCH % all.n], i, jobs - i < BATCH ? jobs - i : BATCH);
	return 0;
}
