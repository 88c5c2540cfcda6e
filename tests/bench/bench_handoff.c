/*
 * bench_handoff [--mode headers|hashes|pixels] [--resolution N] [--workers N] [--rounds N] DECODER FOLDER: what an
 * image costs beside its decoding: opened here, looked at by latentd-decode, told about in messages. Every file of
 * FOLDER is opened anew each time; wall clock, and CPU time of this process and of the workers. With a resolution
 * pixels are those of a kohya bucket, by Lanczos: the decode stage of a run alone.
 */
#include "bench/bench.h"

#include "base/checked.h"
#include "base/files.h"
#include "daemon/decode_pool.h"
#include "image/bucket.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

enum { SIDE = 16 };

static struct {
	struct decode_pool *pool;
	struct bucket_table *buckets; /* NULL: all pictures become SIDE x SIDE */
	char **names;
	size_t n, capacity;
	size_t next, total, ended, failed;
} bench;

static int folder = -1;

static void start_more(void)
{
	while (bench.next < bench.total && decode_pool_room(bench.pool) > 0) {
		const char *name = bench.names[bench.next++ % bench.n];
		cleanup_close int fd =
		    openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

		if (fd < 0) {
			perror(name);
			exit(1);
		}
		decode_pool_start(bench.pool, fd, &bench);
	}
}

static void on_end(void)
{
	bench.ended++;
	start_more();
}

static void on_hashed(void *image, const struct hash128 *content, uint64_t bytes)
{
	(void)image;
	(void)content;
	(void)bytes;
}

static struct render_geometry geometry_of(const struct image_header *header)
{
	struct bucket_placement p;
	size_t width, height;

	if (!bench.buckets)
		return (struct render_geometry){SIDE, SIDE, 0, 0, SIDE, SIDE, FILTER_NEAREST};
	image_oriented_size(header, &width, &height);
	bucket_place(bench.buckets, width, height, &p);
	return (struct render_geometry){p.resized_width, p.resized_height, p.crop_left,
					p.crop_top,	 p.target_width,   p.target_height,
					FILTER_LANCZOS};
}

static void on_header(void *image, const struct image_header *header, struct decode_ticket *ticket)
{
	const struct render_geometry geometry = geometry_of(header);
	const struct image_policy policy = IMAGE_POLICY_DEFAULT;

	(void)image;
	if (!ticket) {
		on_end();
		return;
	}
	start_more(); /* the next is looked at before this one is drawn */
	decode_pool_place(ticket, &geometry, 1, &policy);
}

static void on_done(void *image, const uint8_t *pixels)
{
	(void)image;
	(void)pixels;
	on_end();
}

static void on_failed(void *image, const struct error *why)
{
	(void)image;
	(void)why;
	bench.failed++;
	on_end();
}

static void read_names(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (!dir) {
		perror(path);
		exit(1);
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		ARRAY_GROW(bench.names, bench.n, bench.capacity);
		bench.names[bench.n++] = xstrdup(entry->d_name);
	}
	folder = dup(dirfd(dir));
	closedir(dir);
}

static double cpu_seconds(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void run(sd_event *event, const struct decode_pool_options *options, size_t rounds)
{
	struct error err = ERROR_INIT;
	double began, wall, own, workers, n;

	bench_must(decode_pool_open(event, options, &bench.pool, &err), &err);
	while (decode_pool_room(bench.pool) < options->workers)
		sd_event_run(event, UINT64_MAX);
	bench.total = rounds * bench.n;
	began = bench_seconds();
	own = cpu_seconds(RUSAGE_SELF);
	while (bench.ended < bench.total) {
		start_more(); /* also with workers that are new */
		sd_event_run(event, UINT64_MAX);
	}
	wall = bench_seconds() - began;
	own = cpu_seconds(RUSAGE_SELF) - own;
	printf("%s\n", decode_pool_confinement(bench.pool));
	decode_pool_close(bench.pool);
	workers = cpu_seconds(RUSAGE_CHILDREN);
	n = (double)bench.ended;
	printf(
	    "%zu images (%zu failed), %zu workers: %.0f images/s, %.1f us each; CPU here %.1f us, "
	    "in workers %.1f us\n",
	    bench.ended, bench.failed, options->workers, n / wall, wall / n * 1e6, own / n * 1e6,
	    workers / n * 1e6);
}

int main(int argc, char **argv)
{
	static const char *const modes[] = {"pixels", "headers", "hashes"};
	struct decode_pool_options options = {
	    .workers = 2,
	    .limits = IMAGE_LIMITS_DEFAULT,
	    .mode = DECODE_MODE_HEADERS,
	    .handlers = {on_hashed, on_header, on_done, on_failed, NULL}};
	struct bucket_options buckets = {.rule = BUCKET_KOHYA};
	struct error err = ERROR_INIT;
	size_t rounds = 1;
	sd_event *event = NULL;
	int i = 1;

	for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
		if (strcmp(argv[i], "--workers") == 0)
			options.workers = strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--rounds") == 0)
			rounds = strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--resolution") == 0)
			buckets.resolution = strtoul(argv[i + 1], NULL, 10);
		for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
			if (strcmp(argv[i + 1], modes[m]) == 0)
				options.mode = (enum decode_mode)m;
		}
	}
	if (i + 2 != argc) {
		fprintf(stderr, "usage: bench_handoff [--mode headers|hashes|pixels] "
				"[--resolution N] [--workers N] [--rounds N] DECODER FOLDER\n");
		return 2;
	}
	options.program = argv[i];
	options.slot_bytes = options.mode == DECODE_MODE_PIXELS ? (size_t)SIDE * SIDE * 3 : 0;
	if (options.mode == DECODE_MODE_PIXELS && buckets.resolution > 0) {
		bench.buckets = bucket_table_new(&buckets, &err);
		bench_must(bench.buckets ? 0 : -1, &err);
		options.slot_bytes = bucket_table_max_pixels(bench.buckets) * 3;
	}
	read_names(argv[i + 1]);
	if (bench.n == 0 || sd_event_new(&event) < 0)
		return 1;
	run(event, &options, rounds);
	sd_event_unref(event);
	for (size_t k = 0; k < bench.n; k++)
		free(bench.names[k]);
	free(bench.names);
	bucket_table_free(bench.buckets);
	close(folder);
	return 0;
}
