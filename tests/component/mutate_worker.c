/*
 * mutate_worker [--files N] [--seed S] [--workers W] [--keep DIR] DECODER FILE-OR-FOLDER...: image files, damaged in ways that
 * follow from the seed alone, through real confined decoders. Each batch of BATCH images has its own mode, policy,
 * filter and geometry, which follow from the seed too. What an image does must cost only itself: fails if
 * one ends otherwise than decoded or with a known reason, if a control image (every 50th, untouched) has other
 * pixels or another header than at first in its batch, or if the pool dies. Prints how the images ended, by reason; those that cost a worker
 * are written to DIR.
 */
#include "mutate_bytes.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "daemon/decode_pool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum {
	SIDE_MIN = 8,
	SIDE_MAX = 160,
	BATCH = 5000,
	CONTROL_EVERY = 50,
	WORKERS_MAX = 64,
	FILE_MAX = 8 << 20,
	TIME_LIMIT_MS = 20 * 1000,
};

/* How an image may end: done, or one of these. */
static const char *const reasons[] = {"empty",	 "unsupported", "truncated",
				      "corrupt", "too_large",	"bomb",
				      "timeout", "worker_died", "no_memory"};

struct original {
	char *name;
	struct buffer bytes;
	/* What came of it in this batch, once @seen: nothing if it @fails. */
	bool seen, fails;
	struct image_header header;
	uint8_t *want; /* pixels, where there are some */
};

/* What is asked of all images of a batch. */
struct task {
	enum decode_mode mode;
	struct image_policy policy;
	struct render_geometry geometry;
};

/* One image on its way. */
struct shot {
	bool running, returned;
	uint64_t number;
	struct original *original;
	bool control;
	struct image_header header;
};

static struct {
	struct decode_pool *pool;
	struct original *originals;
	size_t n, capacity;
	struct shot shots[WORKERS_MAX * DECODE_BERTHS];
	size_t workers;
	struct task task;
	uint64_t first, last; /* of the batch */
	uint64_t seed, files, next, ended, done, seen, bad;
	uint64_t by_reason[ARRAY_SIZE(reasons)];
	struct buffer scratch;
	const char *keep; /* NULL: nowhere */
	char confinement[CONFINEMENT_TEXT_SIZE];
} run;

static void complain(const struct shot *shot, const char *what)
{
	printf("FAILED: number %llu (%s%s): %s\n", (unsigned long long)shot->number,
	       shot->original->name, shot->control ? ", untouched" : "", what);
	run.bad++;
}

static void ended(struct shot *shot)
{
	shot->running = false;
	run.ended++;
}

static void must(int r, const struct error *err)
{
	if (r >= 0)
		return;
	fprintf(stderr, "mutate_worker: %s\n", err->message);
	exit(2);
}

/* The bytes of an image, into run.scratch. */
static void image_make(const struct shot *shot)
{
	struct mutation m = {.seed = run.seed, .number = shot->number};
	const struct original *o = shot->original, *other;

	buffer_reset(&run.scratch);
	buffer_append(&run.scratch, o->bytes.data, o->bytes.size);
	if (shot->control)
		return;
	other = &run.originals[mutation_random(&m) % run.n];
	mutate_bytes(&m, &run.scratch, other->bytes.data, other->bytes.size);
}

static void tell_death(const struct shot *shot, const struct error *why)
{
	cleanup_free char *path = NULL;
	cleanup_close int fd = -1;
	struct error err = ERROR_INIT;

	printf("number %llu (%s): %s\n", (unsigned long long)shot->number, shot->original->name,
	       why->message);
	if (!run.keep)
		return;
	path = xasprintf("%s/%llu-%llu", run.keep, (unsigned long long)run.seed,
			 (unsigned long long)shot->number);
	image_make(shot);
	fd = file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666, &err);
	must(fd, &err);
	must(fd_write_all(fd, run.scratch.data, run.scratch.size, &err), &err);
}

/* -- what is asked for ------------------------------------------------------------------------------ */

static size_t task_number(struct mutation *m, size_t least, size_t most)
{
	return least + (size_t)(mutation_random(m) % (most - least + 1));
}

static struct render_geometry task_geometry(struct mutation *m)
{
	struct render_geometry g = {.full_width = task_number(m, SIDE_MIN, SIDE_MAX),
				    .full_height = task_number(m, SIDE_MIN, SIDE_MAX)};

	g.width = task_number(m, 1, g.full_width);
	g.height = task_number(m, 1, g.full_height);
	g.left = task_number(m, 0, g.full_width - g.width);
	g.top = task_number(m, 0, g.full_height - g.height);
	g.filter = (enum resample_filter)task_number(m, 0, FILTER_KOHYA);
	return g;
}

/* Half of the batches draw: there is more to go wrong. */
static struct task task_make(uint64_t batch)
{
	static const enum decode_mode modes[] = {DECODE_MODE_PIXELS, DECODE_MODE_PIXELS,
						 DECODE_MODE_HEADERS, DECODE_MODE_HASHES};
	struct mutation m = {.seed = run.seed, .number = UINT64_MAX - batch};
	struct task t = {
	    .mode = modes[mutation_random(&m) % ARRAY_SIZE(modes)],
	    .policy = {.apply_exif = mutation_random(&m) % 4 > 0,
		       .color = mutation_random(&m) % 2 ? COLOR_SRGB : COLOR_IGNORE,
		       .alpha = (enum image_alpha)(mutation_random(&m) % (ALPHA_ALONE + 1)),
		       .jpeg_scaling = mutation_random(&m) % 2}};

	for (size_t c = 0; c < 3; c++)
		t.policy.background[c] = (uint8_t)mutation_random(&m);
	t.geometry = task_geometry(&m);
	return t;
}

static size_t task_bytes(const struct task *t)
{
	return t->mode == DECODE_MODE_PIXELS ? t->geometry.width * t->geometry.height * 3 : 0;
}

static void task_tell(const struct task *t)
{
	static const char *const modes[] = {"pixels", "headers", "hashes"};
	static const char *const alphas[] = {"", ", alpha dropped", ", alpha alone"};

	printf("from %llu: %s", (unsigned long long)run.first, modes[t->mode]);
	if (t->mode == DECODE_MODE_PIXELS)
		printf(", %s, %zu x %zu of %zu x %zu%s%s%s%s",
		       resample_filter_name(t->geometry.filter), t->geometry.width,
		       t->geometry.height, t->geometry.full_width, t->geometry.full_height,
		       t->policy.apply_exif ? "" : ", no exif",
		       t->policy.color == COLOR_SRGB ? ", srgb" : "", alphas[t->policy.alpha],
		       t->policy.jpeg_scaling ? ", jpeg scaling" : "");
	printf("\n");
}

/* -- how an image ends ----------------------------------------------------------------------------- */

static void on_hashed(void *image, const struct hash128 *content, uint64_t bytes)
{
	(void)image;
	(void)content;
	(void)bytes;
}

static bool same_as_at_first(const struct original *o, const struct shot *shot,
			     const uint8_t *pixels)
{
	const struct image_header *a = &o->header, *b = &shot->header;

	return !o->fails && a->format == b->format && a->width == b->width &&
	       a->height == b->height && a->orientation == b->orientation &&
	       a->decode_bytes == b->decode_bytes &&
	       (!pixels || memcmp(o->want, pixels, task_bytes(&run.task)) == 0);
}

/* @pixels: NULL where the header is the end. */
static void ended_well(struct shot *shot, const uint8_t *pixels)
{
	struct original *o = shot->original;

	if (pixels)
		run.done++;
	else
		run.seen++;
	if (shot->control && !o->seen) {
		o->seen = true;
		o->header = shot->header;
		if (pixels) {
			o->want = xmalloc(task_bytes(&run.task));
			memcpy(o->want, pixels, task_bytes(&run.task));
		}
	} else if (shot->control && !same_as_at_first(o, shot, pixels)) {
		complain(shot, "came out otherwise than at first");
	}
	ended(shot);
}

static void on_header(void *image, const struct image_header *header, struct decode_ticket *ticket)
{
	struct shot *shot = image;

	shot->header = *header;
	if (ticket)
		decode_pool_place(ticket, &run.task.geometry, 1, &run.task.policy);
	else
		ended_well(shot, NULL);
}

static void on_done(void *image, const uint8_t *pixels)
{
	ended_well(image, pixels);
}

static void on_failed(void *image, const struct error *why)
{
	struct shot *shot = image;
	struct original *o = shot->original;
	const char *reason = why->code == ERR_NOMEM ? "no_memory" : why->reason;
	size_t i = 0;

	while (i < ARRAY_SIZE(reasons) && strcmp(reasons[i], reason) != 0)
		i++;
	if (i == ARRAY_SIZE(reasons) || (why->code != ERR_DATA && why->code != ERR_NOMEM))
		complain(shot, why->message);
	else
		run.by_reason[i]++;
	if (strcmp(reason, "worker_died") == 0 || strcmp(reason, "timeout") == 0)
		tell_death(shot, why);
	if (shot->control && !o->seen)
		o->seen = o->fails = true;
	else if (shot->control && !o->fails)
		complain(shot, why->message);
	ended(shot);
}

/* Its worker died of another image. */
static void on_returned(void *image)
{
	struct shot *shot = image;

	shot->running = false;
	shot->returned = true;
}

/* -- images ------------------------------------------------------------------------------------------ */

/* Files larger than FILE_MAX are left out: a million of them would take days. */
static void add_file(const char *path)
{
	struct original o = {.name = xstrdup(path), .bytes = BUFFER_INIT};
	struct error err = ERROR_INIT;

	if (file_read_all(path, FILE_MAX, &o.bytes, &err) < 0) {
		printf("left out: %s\n", err.message);
		free(o.name);
		return;
	}
	ARRAY_GROW(run.originals, run.n, run.capacity);
	run.originals[run.n++] = o;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* In the order of names, so that the seed decides everything. */
static void add_path(const char *path)
{
	struct dirent **entries = NULL;
	int n = scandir(path, &entries, NULL, by_name);

	if (n < 0 && errno == ENOTDIR)
		add_file(path);
	for (int i = 0; i < n; i++) {
		cleanup_free char *file = xasprintf("%s/%s", path, entries[i]->d_name);
		struct stat st;

		if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
			add_file(file);
		free(entries[i]);
	}
	free(entries);
}

static int image_fd(const struct shot *shot)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct error err = ERROR_INIT;

	if (fd < 0)
		must(error_sys(&err, "create an image"), &err);
	image_make(shot);
	must(fd_write_all(fd, run.scratch.data, run.scratch.size, &err), &err);
	return fd;
}

static void hand_over(struct shot *shot)
{
	cleanup_close int fd = image_fd(shot);

	shot->running = true;
	shot->returned = false;
	decode_pool_start(run.pool, fd, shot);
}

static void start_one(struct shot *shot)
{
	uint64_t position = run.next - run.first;

	shot->number = run.next++;
	/* First all originals as they are; from then on every 50th. */
	shot->control = position < run.n || position % CONTROL_EVERY == 0;
	shot->original =
	    &run.originals[position < run.n
			       ? position
			       : hash64_of(&shot->number, sizeof(shot->number), run.seed) % run.n];
	/* Until it is known what an original decodes to, it cannot be a control of itself. */
	if (position >= run.n && !shot->original->seen)
		shot->control = false;
	hand_over(shot);
}

static void start_more(void)
{
	for (size_t i = 0; i < run.workers * DECODE_BERTHS; i++) {
		struct shot *shot = &run.shots[i];

		if (shot->running || decode_pool_room(run.pool) == 0)
			continue;
		if (shot->returned)
			hand_over(shot);
		else if (run.next < run.last)
			start_one(shot);
	}
}

/* -- the run ----------------------------------------------------------------------------------------- */

static void report(double seconds)
{
	printf("%llu images in %.1f s (%.0f/s), seed %llu, %s: %llu decoded, %llu headers",
	       (unsigned long long)run.ended, seconds, (double)run.ended / seconds,
	       (unsigned long long)run.seed, run.confinement, (unsigned long long)run.done,
	       (unsigned long long)run.seen);
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (run.by_reason[i] > 0)
			printf(", %llu %s", (unsigned long long)run.by_reason[i], reasons[i]);
	}
	printf(", %llu wrong\n", (unsigned long long)run.bad);
	fflush(stdout);
}

/* False: it cannot go on. */
static bool run_batch(sd_event *event)
{
	while (run.ended < run.last) {
		if (decode_pool_dead(run.pool)) {
			printf("FAILED: the pool is dead: %s\n", decode_pool_last_end(run.pool));
			run.bad++;
			return false;
		}
		start_more();
		if (sd_event_run(event, UINT64_MAX) < 0) {
			run.bad++;
			return false;
		}
	}
	return true;
}

static void forget_originals(void)
{
	for (size_t i = 0; i < run.n; i++) {
		free(run.originals[i].want);
		run.originals[i].want = NULL;
		run.originals[i].seen = run.originals[i].fails = false;
	}
}

static void run_all(sd_event *event, struct decode_pool_options *options)
{
	int64_t began = clock_mono_ms(), told = began;
	struct error err = ERROR_INIT;
	bool goes_on = true;

	while (run.next < run.files && goes_on) {
		run.first = run.next;
		run.last = run.files - run.first > BATCH ? run.first + BATCH : run.files;
		run.task = task_make(run.first / BATCH);
		task_tell(&run.task);
		options->mode = run.task.mode;
		options->slot_bytes = task_bytes(&run.task);
		must(decode_pool_open(event, options, &run.pool, &err), &err);
		goes_on = run_batch(event);
		snprintf(run.confinement, sizeof(run.confinement), "%s",
			 decode_pool_confinement(run.pool));
		decode_pool_close(run.pool);
		forget_originals();
		if (clock_mono_ms() - told > 60 * 1000) {
			told = clock_mono_ms();
			report((double)(told - began) * 1e-3);
		}
	}
	report((double)(clock_mono_ms() - began) * 1e-3);
}

static int usage(void)
{
	fprintf(stderr, "usage: mutate_worker [--files N] [--seed S] [--workers W] [--keep DIR] "
			"DECODER FILE-OR-FOLDER...\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct decode_pool_options options = {
	    .limits = {FILE_MAX + 65536, 20 * 1000 * 1000, 65500},
	    .time_limit_ms = TIME_LIMIT_MS,
	    .handlers = {on_hashed, on_header, on_done, on_failed, on_returned}};
	sd_event *event = NULL;
	int i = 1;

	run.workers = 2;
	run.files = 2000;
	for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
		unsigned long long value = strtoull(argv[i + 1], NULL, 10);

		if (strcmp(argv[i], "--files") == 0)
			run.files = value;
		else if (strcmp(argv[i], "--seed") == 0)
			run.seed = value;
		else if (strcmp(argv[i], "--keep") == 0)
			run.keep = argv[i + 1];
		else if (strcmp(argv[i], "--workers") == 0 && value <= WORKERS_MAX)
			run.workers = value;
		else
			return usage();
	}
	if (argc - i < 2 || run.workers == 0)
		return usage();
	options.program = argv[i];
	options.workers = run.workers;
	while (++i < argc)
		add_path(argv[i]);
	if (run.n == 0 || sd_event_new(&event) < 0)
		return usage();
	run_all(event, &options);
	sd_event_unref(event);
	for (size_t k = 0; k < run.n; k++) {
		free(run.originals[k].name);
		buffer_release(&run.originals[k].bytes);
	}
	free(run.originals);
	buffer_release(&run.scratch);
	return run.bad > 0;
}
