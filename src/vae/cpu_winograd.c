/*
 * A 3x3 convolution by tiles of 4x4 outputs (cpu_kernels_body.h has the algebra). A part is a block of
 * tiles, small enough that everything about it stays in the caches of the core that computes it:
 *
 *	rows of the input -> norm and SiLU -> a ring of 6 rows -> V [36][tiles][in]
 *	36 products V U = M [36][tiles][out]
 *	M -> inverse transform, bias, residual sum -> rows of the output, and the sums of their values
 *
 * Only input, output and U, the transformed weights, come from memory. Blocks overlap by two input
 * rows and columns, whose norm is computed twice. Where a map has few blocks, each is cut by output
 * channels too, and its input transformed once for each cut.
 */
#include "vae/cpu_engine.h"

#include <stdlib.h>
#include <string.h>

enum {
	BLOCK_COLUMNS = 8, /* tiles */
	BLOCK_ROWS = 6,
	BLOCK_ROWS_DEEP = 12, /* where weights are larger than caches */
	DEEP = 256 * 256,     /* channels, in times out */
	PARTS_A_THREAD = 4,   /* at least, so that none waits long for the last one */
	TRANSFORM_ROWS = 8,   /* input channels that a part of the weights' transform takes */
	SKEW = 16, /* floats between points beyond their size: else they share cache sets */
};

struct winograd_job {
	struct cpu_engine *e;
	const struct cpu_conv *conv;
	const struct vae_conv_run *run;
	const float *u;
	size_t rows, columns;	   /* of output tiles */
	size_t down, across, cuts; /* blocks, and cuts by output channels of each */
	size_t in;		   /* channels, padded */
	size_t in_end;		   /* input rows before this one are there */
	struct part_stats stats;   /* of blocks */
};

/* One part while it is computed. */
struct winograd_block {
	size_t first_row, rows, first_column, columns; /* tiles */
	size_t first_panel, panels;
	size_t tiles;
	float *ring, *v, *m;
	size_t ring_row, v_point, m_point, m_row; /* floats from one to the next */
	struct pixel_sums sums;
};

/* -- sizes --------------------------------------------------------------------------------------- */

/* Of tiles, at most. Weights are read once for each block, so it is larger where there are many. */
static size_t block_rows(size_t in, size_t out)
{
	return in * out > DEEP ? BLOCK_ROWS_DEEP : BLOCK_ROWS;
}

static size_t divide_up(size_t n, size_t by)
{
	return (n + by - 1) / by;
}

size_t cpu_winograd_blocks(size_t height, size_t width)
{
	return divide_up(height, WINOGRAD_TILE * BLOCK_ROWS) *
	       divide_up(width, WINOGRAD_TILE * BLOCK_COLUMNS);
}

size_t cpu_winograd_scratch(const struct cpu_engine *e, size_t in, size_t out)
{
	size_t tiles = block_rows(in, out) * BLOCK_COLUMNS;
	size_t channels = round_up(out, e->kernels->panel);

	in = round_up(in, e->kernels->lanes);
	return WINOGRAD_WINDOW * (WINOGRAD_TILE * BLOCK_COLUMNS + 2) * in +
	       WINOGRAD_POINTS * (tiles * (in + channels) + 2 * SKEW) + 3 * channels;
}

size_t cpu_winograd_weights(const struct cpu_conv *conv)
{
	return WINOGRAD_POINTS * conv->panels * conv->kernels->panel * conv->base.shape.in /
	       conv->kernels->packed;
}

/* -- weights ------------------------------------------------------------------------------------- */

struct transform_job {
	const struct cpu_conv *conv;
	float *out;
};

static void transform_part(void *arg, size_t part, float *scratch)
{
	const struct transform_job *job = arg;
	const struct cpu_kernels *kernels = job->conv->kernels;
	size_t in = job->conv->base.shape.in, panel = kernels->panel;
	size_t parts = divide_up(in, TRANSFORM_ROWS);
	size_t p = part / parts, first = part % parts * TRANSFORM_ROWS;
	size_t n = in - first < TRANSFORM_ROWS ? in - first : TRANSFORM_ROWS;

	(void)scratch;
	kernels->winograd_weights(job->out + (p * in + first) / kernels->packed * panel,
				  job->conv->panels * in / kernels->packed * panel,
				  job->conv->weights + (p * 9 * in + first) * panel, in * panel, n);
}

static int transform(struct cpu_engine *e, const struct cpu_conv *conv, float *out,
		     struct error *err)
{
	struct transform_job job = {conv, out};
	size_t parts = divide_up(conv->base.shape.in, TRANSFORM_ROWS);

	return cpu_engine_run(e, parts * conv->panels, transform_part, &job, err);
}

/* The first run of a layer keeps its transformed weights if they fit, in place of the others. */
static int keep_transformed(struct cpu_engine *e, struct cpu_conv *conv, size_t floats,
			    struct error *err)
{
	float *out = cpu_new_floats(floats, err);

	if (!out || transform(e, conv, out, err) < 0) {
		free(out);
		return -1;
	}
	free(conv->weights);
	conv->weights = NULL;
	conv->transformed = out;
	e->kept += floats;
	return 0;
}

/* *u: the layer's transformed weights, until the next layer asks. */
static int transformed_weights(struct cpu_engine *e, struct cpu_conv *conv, const float **u,
			       struct error *err)
{
	size_t floats = cpu_winograd_weights(conv);

	if (!conv->transformed && e->kept + floats <= e->base.weight_room / sizeof(float) &&
	    keep_transformed(e, conv, floats, err) < 0)
		return -1;
	*u = conv->transformed;
	if (*u)
		return 0;
	if (cpu_scratch_want(&e->transform, floats, err) < 0 ||
	    transform(e, conv, e->transform.data, err) < 0)
		return -1;
	*u = e->transform.data;
	return 0;
}

/* -- a block ------------------------------------------------------------------------------------- */

/*
 * Input row @y - 1 of the map to the ring, columns from left of the block's first tile on. Zeros for rows
 * that only tiles beyond the last output row see.
 */
static void fill_row(const struct winograd_job *job, const struct winograd_block *b, size_t y)
{
	const struct vae_conv_run *run = job->run;
	const struct conv_shape *s = &job->conv->base.shape;
	const struct vae_norm *norm = run->norm;
	float *row = b->ring + y % WINOGRAD_WINDOW * b->ring_row;
	size_t wanted = b->ring_row / job->in, left = b->first_column > 0 ? 0 : 1, n;
	size_t x = b->first_column * WINOGRAD_TILE + left - 1;

	if (y == 0 || y > job->in_end) {
		memset(row, 0, b->ring_row * sizeof(float));
		return;
	}
	n = run->width - x < wanted - left ? run->width - x : wanted - left;
	memset(row, 0, left * job->in * sizeof(float));
	job->conv->kernels->activate(row + left * job->in, job->in,
				     run->in + ((y - 1 - run->in_first) * run->width + x) * s->in,
				     n, s->in, norm ? norm->scale : NULL, norm ? norm->shift : NULL,
				     norm && norm->silu);
	memset(row + (left + n) * job->in, 0, (wanted - left - n) * job->in * sizeof(float));
}

static void transform_in(const struct winograd_job *job, const struct winograd_block *b)
{
	const struct cpu_kernels *kernels = job->conv->kernels;
	size_t filled = 0;

	for (size_t r = 0; r < b->rows; r++) {
		/* rows count from the padding: tile row t sees rows 4t to 4t + 5 */
		size_t first = job->run->out_first + (b->first_row + r) * WINOGRAD_TILE;
		const float *rows[WINOGRAD_WINDOW];

		for (size_t y = first; y < first + WINOGRAD_WINDOW; y++) {
			if (r == 0 || y >= filled)
				fill_row(job, b, y);
			rows[y - first] = b->ring + y % WINOGRAD_WINDOW * b->ring_row;
		}
		filled = first + WINOGRAD_WINDOW;
		kernels->winograd_input(b->v + r * b->columns * job->in / kernels->packed,
					b->v_point, rows, b->columns, job->in);
	}
}

static void multiply(const struct winograd_job *job, const struct winograd_block *b)
{
	const struct cpu_conv *conv = job->conv;
	const struct cpu_kernels *kernels = conv->kernels;
	size_t k = conv->base.shape.in / kernels->packed, panel_floats = k * kernels->panel;

	for (size_t p = 0; p < WINOGRAD_POINTS; p++)
		kernels->gemm(b->m + p * b->m_point, b->m_row, b->v + p * b->v_point,
			      job->in / kernels->packed,
			      job->u + (p * conv->panels + b->first_panel) * panel_floats,
			      panel_floats, b->tiles, k, b->panels, false);
}

static void transform_out(const struct winograd_job *job, struct winograd_block *b, size_t block)
{
	const struct vae_conv_run *run = job->run;
	size_t out = job->conv->base.shape.out, first = b->first_panel * job->conv->kernels->panel;
	size_t channels = out - first < b->m_row ? out - first : b->m_row, rows = 0;
	size_t x = b->first_column * WINOGRAD_TILE, columns = b->columns * WINOGRAD_TILE;

	columns = run->width - x < columns ? run->width - x : columns;
	for (size_t r = 0; r < b->rows; r++) {
		size_t y = (b->first_row + r) * WINOGRAD_TILE, left = run->out_rows - y;
		struct winograd_row row = {
		    .m = b->m + r * b->columns * b->m_row,
		    .m_point = b->m_point,
		    .m_row = b->m_row,
		    .channels = channels,
		    .bias = job->conv->bias + first,
		    .out = run->out + (y * run->width + x) * out + first,
		    .out_pixel = out,
		    .out_row = run->width * out,
		    .rows = left < WINOGRAD_TILE ? left : WINOGRAD_TILE,
		    .columns = columns,
		    .accumulate = run->accumulate,
		    .sums = run->stats ? &b->sums : NULL,
		};

		job->conv->kernels->winograd_output(&row);
		rows += row.rows;
	}
	if (run->stats)
		part_stats_set(&job->stats, block, first, channels, rows * columns, &b->sums);
}

/* The first of @n things in share @i of @shares, whose sizes differ by one at most. */
static size_t share(size_t n, size_t i, size_t shares)
{
	return i * n / shares;
}

static void winograd_part(void *arg, size_t part, float *scratch)
{
	const struct winograd_job *job = arg;
	size_t block = part / job->cuts, cut = part % job->cuts;
	size_t down = block / job->across, across = block % job->across;
	struct winograd_block b = {
	    .first_row = share(job->rows, down, job->down),
	    .first_column = share(job->columns, across, job->across),
	    .first_panel = share(job->conv->panels, cut, job->cuts),
	    .ring = scratch,
	};

	b.rows = share(job->rows, down + 1, job->down) - b.first_row;
	b.columns = share(job->columns, across + 1, job->across) - b.first_column;
	b.panels = share(job->conv->panels, cut + 1, job->cuts) - b.first_panel;
	b.tiles = b.rows * b.columns;
	b.ring_row = (WINOGRAD_TILE * b.columns + 2) * job->in;
	b.m_row = b.panels * job->conv->kernels->panel;
	b.v_point = b.tiles * job->in / job->conv->kernels->packed + SKEW;
	b.m_point = b.tiles * b.m_row + SKEW;
	b.v = b.ring + WINOGRAD_WINDOW * b.ring_row;
	b.m = b.v + WINOGRAD_POINTS * b.v_point;
	b.sums.pivot = b.m + WINOGRAD_POINTS * b.m_point;
	b.sums.sum = b.sums.pivot + b.m_row;
	b.sums.square = b.sums.sum + b.m_row;
	transform_in(job, &b);
	multiply(job, &b);
	transform_out(job, &b, block);
}

/* -- a layer ------------------------------------------------------------------------------------- */

static void plan(struct winograd_job *job)
{
	const struct conv_shape *s = &job->conv->base.shape;
	size_t enough = PARTS_A_THREAD * thread_pool_size(job->e->pool), in_first;

	job->rows = divide_up(job->run->out_rows, WINOGRAD_TILE);
	job->columns = divide_up(job->run->width, WINOGRAD_TILE);
	job->down = divide_up(job->rows, block_rows(s->in, s->out));
	job->across = divide_up(job->columns, BLOCK_COLUMNS);
	job->cuts = divide_up(enough, job->down * job->across);
	if (job->cuts > job->conv->panels)
		job->cuts = job->conv->panels;
	job->in = round_up(s->in, job->conv->kernels->lanes);
	vae_conv_needs(s, job->run->height, job->run->out_first, job->run->out_rows, &in_first,
		       &job->in_end);
}

int cpu_winograd_run(struct cpu_engine *e, struct cpu_conv *conv, const struct vae_conv_run *run,
		     struct error *err)
{
	struct winograd_job job = {.e = e, .conv = conv, .run = run};
	const struct conv_shape *s = &conv->base.shape;
	size_t blocks;

	if (transformed_weights(e, conv, &job.u, err) < 0)
		return -1;
	plan(&job);
	blocks = job.down * job.across;
	if (cpu_engine_want(e, cpu_winograd_scratch(e, s->in, s->out), err) < 0 ||
	    (run->stats && part_stats_init(&job.stats, e, blocks, s->out, err) < 0))
		return -1;
	if (cpu_engine_run(e, blocks * job.cuts, winograd_part, &job, err) < 0)
		return -1;
	if (run->stats)
		part_stats_add_to(&job.stats, blocks, run->stats);
	return 0;
}
