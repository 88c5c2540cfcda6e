/*
 * Encoded images into shards of a store that may be far away: what packing has of the network, and the encoder of packing.
 *
 *	bench_packer [IMAGES [PER-SECOND [SAMPLES]]]                          into memory
 *	slow_store.py --latency-ms 200 --megabytes-per-s 50 bench_packer ...  into S3_TEST_URL
 *
 * An image is a latent of 4 x 64 x 64 floats, 64 KiB, noise. It is given to the packer when it comes from an encoder of this
 * speed (0: as fast as it is taken), and later while the packer says that it is behind.
 */
#include "bench.h"
#include "tests/component/run_rig.h"

#include "base/checked.h"
#include "base/clock.h"
#include "storage/store_s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS = 512, MEMORY = 256 << 20 };

struct bench {
	struct run run;
	struct packer *packer;
	struct job *jobs;
	struct buffer noise;
	int64_t *given; /* ms, by job in order of appending; jobs become encoded in that order */
	size_t n, done, encoded, shards;
	int64_t worst_ms, sum_ms, behind_us;
};

static void on_encoded(void *arg, const struct packed *what)
{
	struct bench *b = arg;
	int64_t lag = clock_mono_ms() - b->given[b->encoded++];

	(void)what;
	b->sum_ms += lag;
	if (lag > b->worst_ms)
		b->worst_ms = lag;
}

static void on_rejected(void *arg, const struct packed *what, const char *path,
			const struct error *why)
{
	(void)arg;
	(void)what;
	fprintf(stderr, "%s: %s\n", path, why->message);
	exit(1);
}

static void on_shard(void *arg, const char *name, size_t samples, uint64_t bytes)
{
	(void)name;
	(void)samples;
	(void)bytes;
	((struct bench *)arg)->shards++;
}

static void on_fatal(void *arg, const struct error *why)
{
	(void)arg;
	fprintf(stderr, "%s\n", why->message);
	exit(1);
}

static void open_packer(struct bench *b, struct store *store, size_t samples)
{
	struct error err = ERROR_INIT;
	const struct packer_options options = {
	    .db = b->run.db,
	    .spool = b->run.spool,
	    .store = store,
	    .recipe = &b->run.recipe,
	    .dataset = b->run.dataset,
	    .shard_samples = samples,
	    .shard_bytes = (size_t)256 << 20,
	    .spool_waste = UINT64_MAX,
	    .backlog = MEMORY,
	    .handlers = {on_encoded, on_rejected, on_shard, on_fatal},
	    .arg = b,
	};

	bench_must(packer_open(b->run.event, b->run.inbox, &options, &b->packer, &err), &err);
}

/* Noise is made once: it costs more than packing. */
static struct finished image(struct bench *b, const struct job *job)
{
	struct finished f = run_finished(job, 64, 64);
	struct bucket_placement *p = &f.placements[0];
	size_t shape[3] = {4, PIXELS / 8, PIXELS / 8};
	struct error err = ERROR_INIT;

	if (b->noise.size == 0) {
		struct finished whole = run_finished(job, PIXELS, PIXELS);

		buffer_append(&b->noise, whole.latents[0].data, whole.latents[0].bytes);
		finished_release(&whole);
	}
	ndarray_release(&f.latents[0]);
	bench_must(ndarray_alloc(&f.latents[0], DTYPE_F32, 3, shape, &err), &err);
	memcpy(f.latents[0].data, b->noise.data, b->noise.size);
	f.facts.header.width = f.facts.header.height = PIXELS;
	p->target_width = p->target_height = p->resized_width = p->resized_height = PIXELS;
	p->kohya_crop_ltrb[2] = p->kohya_crop_ltrb[3] = PIXELS;
	return f;
}

static void give(struct bench *b)
{
	struct finished *f = xcalloc(1, sizeof(*f));

	*f = image(b, &b->jobs[b->done]);
	b->given[b->done++] = clock_mono_ms();
	packer_append(b->packer, f, 1);
}

static void turn(struct bench *b, uint64_t wait_us)
{
	if (sd_event_run(b->run.event, wait_us) < 0)
		exit(1);
}

/* The encoder has memory for a few images: what it makes while the packer is behind is not made then. */
static void feed(struct bench *b, double per_second)
{
	int64_t period = per_second > 0 ? (int64_t)(1e6 / per_second) : 0,
		next = clock_mono_ns() / 1000;

	while (b->done < b->n) {
		int64_t now = clock_mono_ns() / 1000;

		if (packer_is_behind(b->packer)) {
			turn(b, 1000);
			b->behind_us += clock_mono_ns() / 1000 - now;
			next = clock_mono_ns() / 1000;
		} else if (now < next) {
			turn(b, (uint64_t)(next - now));
		} else {
			give(b);
			next += period;
			turn(b, 0);
		}
	}
}

int main(int argc, char **argv)
{
	struct bench b = {.n = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000};
	double per_second = argc > 2 ? strtod(argv[2], NULL) : 0;
	size_t samples = argc > 3 ? strtoul(argv[3], NULL, 10) : 500;
	const char *url = getenv("S3_TEST_URL");
	struct error err = ERROR_INIT;
	struct store *store = NULL;
	int64_t began;

	run_open(&b.run);
	if (url)
		bench_must(
		    store_s3_open(&(struct store_s3_options){.folder = b.run.dir, .url = url},
				  &store, &err),
		    &err);
	b.jobs = xcalloc(b.n, sizeof(*b.jobs));
	b.given = xcalloc(b.n, sizeof(*b.given));
	for (size_t i = 0; i < b.n; i++) {
		cleanup_free char *path = xasprintf("a%zu.png", i);

		b.jobs[i] = run_claimed(&b.run, path, i);
	}
	run_open_loop(&b.run);
	open_packer(&b, store ? store : b.run.store, samples);
	began = clock_mono_ms();
	feed(&b, per_second);
	packer_drain(b.packer, true);
	while (!packer_idle(b.packer))
		turn(&b, UINT64_MAX);
	began = clock_mono_ms() - began;
	printf("%zu images, %zu shards: %.1f s, %.0f images/s; the encoder waited %.1f s; durable "
	       "after "
	       "%.2f s on average, %.2f s at most\n",
	       b.n, b.shards, (double)began / 1e3, (double)b.n * 1e3 / (double)began,
	       (double)b.behind_us / 1e6, (double)b.sum_ms / 1e3 / (double)b.n,
	       (double)b.worst_ms / 1e3);
	packer_close(b.packer);
	for (size_t i = 0; i < b.n; i++)
		job_release(&b.jobs[i]);
	free(b.jobs);
	free(b.given);
	buffer_release(&b.noise);
	run_close(&b.run);
	store_close(store);
	return 0;
}
