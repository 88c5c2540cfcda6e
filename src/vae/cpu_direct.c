/*
 * A convolution by its definition, as matrix product: of a run of output pixels, the inputs under some
 * taps of the filter are gathered as rows of a matrix and multiplied with the weights of those taps. A
 * 1x1 convolution's input is such a matrix already. A part is a few runs.
 */
#include "vae/cpu_engine.h"

#include <assert.h>
#include <string.h>

enum {
	RUN_PIXELS = 96,
	MOST_RUNS = 16, /* of a part */
	PARTS = 64,	/* of a map that has enough pixels */
	GATHERED =
	    512, /* at most, of a pixel at once: a row of that length stays in the L1 cache */
};

struct direct_job {
	struct cpu_engine *e;
	const struct cpu_conv *conv;
	const struct vae_conv_run *run;
	size_t pixels, part_pixels, out_width;
	size_t taps; /* gathered at once */
	struct part_stats stats;
};

static size_t taps_at_once(const struct conv_shape *s)
{
	size_t all = s->kernel * s->kernel, n = GATHERED / s->in;

	return n < 1 ? 1 : n < all ? n : all;
}

static bool reads_input_as_it_is(const struct conv_shape *s)
{
	return s->kernel == 1 && s->stride == 1;
}

/* Input under taps @first to @first + @n of output pixel @pixel, zeros outside of the map. */
static void gather(const struct direct_job *job, float *row, size_t pixel, size_t first, size_t n)
{
	const struct vae_conv_run *run = job->run;
	const struct conv_shape *s = &job->conv->base.shape;
	size_t top = (run->out_first + pixel / job->out_width) * s->stride;
	size_t left = pixel % job->out_width * s->stride;

	for (size_t tap = first; tap < first + n; tap++, row += s->in) {
		size_t y = top + tap / s->kernel - s->pad_before;
		size_t x = left + tap % s->kernel - s->pad_before;

		/* "row -1" is a huge number: both borders in one comparison */
		if (y < run->height && x < run->width)
			memcpy(row, run->in + ((y - run->in_first) * run->width + x) * s->in,
			       s->in * sizeof(float));
		else
			memset(row, 0, s->in * sizeof(float));
	}
}

static void multiply_taps(const struct direct_job *job, float *sums, float *rows, size_t pixel,
			  size_t pixels, size_t first, size_t taps)
{
	const struct cpu_kernels *kernels = job->e->kernels;
	const struct conv_shape *s = &job->conv->base.shape;
	const struct vae_norm *norm = job->run->norm;
	const float *a = rows;
	size_t k = taps * s->in;

	if (reads_input_as_it_is(s)) {
		size_t skipped = (job->run->out_first - job->run->in_first) * job->run->width;

		a = job->run->in + (skipped + pixel) * s->in;
		if (norm) {
			kernels->activate(rows, s->in, a, pixels, s->in, norm->scale, norm->shift,
					  norm->silu);
			a = rows;
		}
	} else {
		for (size_t i = 0; i < pixels; i++)
			gather(job, rows + i * k, pixel + i, first, taps);
	}
	kernels->gemm(sums, job->conv->panels * kernels->panel, a, k,
		      job->conv->weights + first * s->in * kernels->panel,
		      s->kernel * s->kernel * s->in * kernels->panel, pixels, k, job->conv->panels,
		      first > 0);
}

static void direct_run(const struct direct_job *job, size_t first, size_t n, float *scratch,
		       struct pixel_sums *of_written)
{
	const struct cpu_kernels *kernels = job->e->kernels;
	const struct conv_shape *s = &job->conv->base.shape;
	size_t channels = job->conv->panels * kernels->panel, all = s->kernel * s->kernel;
	float *sums = scratch, *rows = sums + RUN_PIXELS * channels;

	for (size_t tap = 0; tap < all; tap += job->taps)
		multiply_taps(job, sums, rows, first, n, tap,
			      all - tap < job->taps ? all - tap : job->taps);
	kernels->finish(job->run->out + first * s->out, sums, channels, n, s->out, job->conv->bias,
			job->run->accumulate, job->run->stats ? of_written : NULL);
}

static void direct_part(void *arg, size_t part, float *scratch)
{
	const struct direct_job *job = arg;
	size_t channels = job->conv->panels * job->e->kernels->panel;
	size_t first = part * job->part_pixels, left = job->pixels - first;
	size_t n = left < job->part_pixels ? left : job->part_pixels;
	struct pixel_sums of_written = {scratch, scratch + channels, scratch + 2 * channels, false};

	for (size_t i = 0; i < n; i += RUN_PIXELS)
		direct_run(job, first + i, n - i < RUN_PIXELS ? n - i : RUN_PIXELS,
			   scratch + 3 * channels, &of_written);
	if (job->run->stats)
		part_stats_set(&job->stats, part, 0, job->conv->base.shape.out, n, &of_written);
}

size_t cpu_direct_scratch(const struct cpu_engine *e, size_t in, size_t out)
{
	size_t gathered = in > GATHERED ? in : GATHERED;

	return (RUN_PIXELS + 3) * round_up(out, e->kernels->panel) + RUN_PIXELS * gathered;
}

static size_t pixels_of_part(size_t pixels)
{
	size_t runs = pixels / (RUN_PIXELS * PARTS);

	return RUN_PIXELS * (runs < 1 ? 1 : runs < MOST_RUNS ? runs : MOST_RUNS);
}

int cpu_direct_run(struct cpu_engine *e, struct cpu_conv *conv, const struct vae_conv_run *run,
		   struct error *err)
{
	const struct conv_shape *s = &conv->base.shape;
	struct direct_job job = {.e = e,
				 .conv = conv,
				 .run = run,
				 .out_width = conv_out_size(s, run->width),
				 .taps = taps_at_once(s)};
	size_t parts;

	assert(!run->norm || reads_input_as_it_is(s));
	job.pixels = run->out_rows * job.out_width;
	job.part_pixels = pixels_of_part(job.pixels);
	parts = (job.pixels + job.part_pixels - 1) / job.part_pixels;
	if (cpu_engine_want(e, cpu_direct_scratch(e, s->in, s->out), err) < 0 ||
	    (run->stats && part_stats_init(&job.stats, e, parts, s->out, err) < 0) ||
	    cpu_engine_run(e, parts, direct_part, &job, err) < 0)
		return -1;
	if (run->stats)
		part_stats_add_to(&job.stats, parts, run->stats);
	return 0;
}
