/*
 * A normed convolution goes band by band: rows of its input are normed into the band, then convolved, then the sums of
 * what came out are taken while it is still in the cache. One that sees its input in twice its size does the same with
 * rows that are repeated. The last two rows of a band are the first two of the next.
 * They are copied, not normed again; so a row of the input is not read once it may have been written, and the output
 * may take the input's place.
 */
#include "gpu_network_parts.h"

#include "plugin_error.h"

#include <math.h>

#define EPS 1e-6f /* of every norm of these networks */

/* One encode or decode; without an arena it only chooses algorithms. */
struct run {
	struct gpu_network *net;
	const struct gpu_device_ops *ops;
	struct gpu_device *device;
	const struct gpu_plan *plan;
	const struct gpu_steps *steps;
	uint8_t *arena;
	int slot;
	struct latentd_cuda_error *err;
};

/* -- maps ----------------------------------------------------------------------------------------- */

static void *at(const struct run *run, size_t offset)
{
	return run->arena ? run->arena + offset : NULL;
}

static void *map_at(const struct run *run, int map, int64_t element)
{
	return at(run, run->plan->maps[map] + (size_t)element * run->plan->shape.element);
}

/* All rows of a map. */
static struct gpu_rows rows_of_map(const struct run *run, const struct gpu_map *m)
{
	int64_t height = run->plan->shape.height >> m->level;

	return (struct gpu_rows){run->plan->shape.n, height, run->plan->shape.width >> m->level,
				 m->channels,	     0,	     height};
}

static struct gpu_rows rows_of(const struct run *run, int map)
{
	return rows_of_map(run, &run->steps->maps[map]);
}

static struct gpu_chunks chunks_of(const struct gpu_rows *map)
{
	int64_t rows = gpu_plan_chunk_rows(map->height, map->width);

	return (struct gpu_chunks){rows, (map->height + rows - 1) / rows};
}

/* Sums of rows of the images from @image on. */
static int sums(const struct run *run, int map, int64_t image, const struct gpu_rows *rows)
{
	struct gpu_chunks chunks = chunks_of(rows);
	size_t skipped = (size_t)(image * chunks.chunks * rows->channels * 2) * sizeof(float);
	float *partials = at(run, run->plan->partials + skipped);

	return run->ops->sums(run->device, partials,
			      map_at(run, map, image * rows->height * rows->width * rows->channels),
			      rows, &chunks, run->err);
}

/* Scale and shift of the norm of a map whose sums are known. */
static int norm(const struct run *run, const struct gpu_step *step)
{
	struct gpu_rows map = rows_of(run, step->in);
	struct gpu_chunks chunks = chunks_of(&map);
	const struct gpu_norm_call call = {
	    .partials = at(run, run->plan->partials),
	    .weight = run->net->weights[step->norm],
	    .bias = run->net->biases[step->norm],
	    .scale = at(run, run->plan->scale),
	    .shift = at(run, run->plan->shift),
	    .groups = run->net->model->config.groups,
	    .eps = EPS,
	};

	return run->ops->norm(run->device, &call, &map, &chunks, run->err);
}

static int apply(const struct run *run, const struct gpu_step *step, int64_t image,
		 const struct gpu_rows *rows, void *out)
{
	const float *scale = at(run, run->plan->scale), *shift = at(run, run->plan->shift);

	return run->ops->apply(
	    run->device, out,
	    map_at(run, step->in, image * rows->height * rows->width * rows->channels),
	    scale + image * rows->channels, shift + image * rows->channels, rows, step->silu,
	    run->err);
}

/* -- convolutions --------------------------------------------------------------------------------- */

/* A piece of a convolution: rows @out_first and following of images @image and following. */
struct piece {
	size_t index;
	const struct gpu_step *step;
	struct gpu_rows in, out; /* whole maps, n images at once; in as it is seen */
	int64_t image;
	int64_t first, rows; /* of the output */
	int64_t in_first, in_rows;
	struct conv_problem problem;
};

static void aim(const struct run *run, struct piece *p)
{
	const struct gpu_param *param = &run->net->model->params[p->step->layer];
	int64_t stride = param->stride, before = stride == 1 ? 1 : 0, top, bottom;

	top = p->first * stride - before;
	bottom = (p->first + p->rows - 1) * stride - before + 3;
	p->in_first = top > 0 ? top : 0;
	p->in_rows = (bottom < p->in.height ? bottom : p->in.height) - p->in_first;
	p->problem = (struct conv_problem){
	    .n = p->in.n,
	    .height = p->in_rows,
	    .width = p->in.width,
	    .in = p->in.channels,
	    .out = p->out.channels,
	    .kernel = 3,
	    .stride = stride,
	    .pad_top = p->in_first - top,
	    .pad_bottom = bottom - (p->in_first + p->in_rows),
	    .pad_left = before,
	    .pad_right = 1,
	    .dtype = run->device->dtype,
	    .epilogue = p->step->z == GPU_NONE ? CONV_BIAS : CONV_BIAS_ADD,
	    .tf32 = run->device->tf32,
	};
}

/* The rows that the piece reads, from its input in half their size. */
static int repeat(const struct run *run, const struct piece *p, const struct gpu_rows *rows,
		  void *out)
{
	int64_t half = p->in.height / 2 * (p->in.width / 2) * p->in.channels;

	return run->ops->repeat(run->device, out, map_at(run, p->step->in, p->image * half), rows,
				run->err);
}

/* The rows that the piece reads, normed or repeated, in the band; *x is where they begin. */
static int fill_band(const struct run *run, const struct piece *p, int64_t previous_rows, void **x)
{
	int64_t row = p->in.width * p->in.channels;
	size_t bytes = (size_t)row * run->plan->shape.element, kept = p->first > 0 ? 2 : 0;
	uint8_t *band = at(run, run->plan->scratch[p->index]);
	struct gpu_rows rows = p->in;

	*x = band;
	if (kept && run->ops->copy(run->device, band, band + (size_t)(previous_rows - 2) * bytes,
				   2 * bytes, run->err) < 0)
		return -1;
	rows.first = p->in_first + (int64_t)kept;
	rows.rows = p->in_rows - (int64_t)kept;
	if (rows.rows == 0)
		return 0;
	band += kept * bytes;
	return p->step->up ? repeat(run, p, &rows, band)
			   : apply(run, p->step, p->image, &rows, band);
}

static int conv_piece(const struct run *run, struct piece *p, int64_t previous_rows)
{
	const struct gpu_step *step = p->step;
	int64_t in_row = p->in.width * p->in.channels, out_row = p->out.width * p->out.channels;
	bool in_band = step->norm != GPU_NONE || step->up;
	int64_t out_at = (p->image * p->out.height + p->first) * out_row;
	struct gpu_conv *conv = gpu_network_conv(run->net, &p->problem, run->err);
	struct gpu_rows written = p->out;
	void *x = NULL;

	if (!conv)
		return -1;
	if (!run->arena)
		return 0;
	if (in_band && fill_band(run, p, previous_rows, &x) < 0)
		return -1;
	if (!in_band)
		x = map_at(run, step->in, (p->image * p->in.height + p->in_first) * in_row);
	if (run->ops->conv(run->device, conv, x, run->net->weights[step->layer],
			   run->net->biases[step->layer],
			   step->z == GPU_NONE ? NULL : map_at(run, step->z, out_at),
			   map_at(run, step->out, out_at), run->err) < 0)
		return -1;
	written.first = p->first;
	written.rows = p->rows;
	return step->stats ? sums(run, step->out, p->image, &written) : 0;
}

static int conv_step(const struct run *run, size_t index)
{
	const struct gpu_pieces *pieces = &run->plan->pieces[index];
	struct piece p = {.index = index, .step = &run->steps->steps[index]};
	struct gpu_map seen = gpu_plan_seen(run->steps, p.step);

	p.in = rows_of_map(run, &seen);
	p.out = rows_of(run, p.step->out);
	if (run->arena && p.step->norm != GPU_NONE && norm(run, p.step) < 0)
		return -1;
	p.in.n = p.out.n = pieces->images;
	for (p.image = 0; p.image < run->plan->shape.n; p.image += pieces->images) {
		int64_t previous_rows = 0;

		for (p.first = 0; p.first < p.out.height; p.first += pieces->rows) {
			int64_t left = p.out.height - p.first;

			p.rows = left < pieces->rows ? left : pieces->rows;
			aim(run, &p);
			if (conv_piece(run, &p, previous_rows) < 0)
				return -1;
			previous_rows = p.in_rows;
		}
	}
	return 0;
}

/* -- the other steps ------------------------------------------------------------------------------ */

static int linear_step(const struct run *run, const struct gpu_step *step)
{
	struct gpu_rows in = rows_of(run, step->in), out = rows_of(run, step->out);
	const struct gpu_product product = {
	    .a = map_at(run, step->in, 0),
	    .w = run->net->weights[step->layer],
	    .bias = run->net->biases[step->layer],
	    .z = step->z == GPU_NONE ? NULL : map_at(run, step->z, 0),
	    .out = map_at(run, step->out, 0),
	    .m = in.n * in.height * in.width,
	    .n = out.channels,
	    .k = in.channels,
	    .batch = 1,
	    .a_row = in.channels,
	    .w_row = in.channels,
	    .out_row = out.channels,
	    .w_transposed = true,
	    .alpha = 1,
	};

	if (run->ops->product(run->device, &product, run->err) < 0)
		return -1;
	return step->stats ? sums(run, step->out, 0, &out) : 0;
}

/* @queries of @images, from row @row of all tokens on. */
static int attend(const struct run *run, size_t index, int64_t images, int64_t queries, int64_t row)
{
	const struct gpu_step *step = &run->steps->steps[index];
	struct gpu_rows in = rows_of(run, step->in);
	int64_t c = in.channels / 3, tokens = in.height * in.width, keys = row / tokens * tokens;
	struct gpu_attention_scratch at_scratch = gpu_plan_attention(run->plan, tokens, c);
	uint8_t *scratch = at(run, run->plan->scratch[index]);
	float *scores = (float *)(scratch + at_scratch.scores);
	void *probabilities = scratch + at_scratch.probabilities;
	float *products = (float *)(scratch + at_scratch.products);
	float *inverse = (float *)(scratch + at_scratch.inverse);
	struct gpu_product p = {
	    .a = map_at(run, step->in, row * in.channels),
	    .w = map_at(run, step->in, keys * in.channels + c),
	    .out = scores,
	    .m = queries,
	    .n = tokens,
	    .k = c,
	    .batch = images,
	    .a_row = in.channels,
	    .w_row = in.channels,
	    .out_row = tokens,
	    .a_batch = tokens * in.channels,
	    .w_batch = tokens * in.channels,
	    .out_batch = queries * tokens,
	    .w_transposed = true,
	    .out_f32 = true,
	    .alpha = (float)(1 / sqrt((double)c)),
	};

	if (run->ops->product(run->device, &p, run->err) < 0 ||
	    run->ops->softmax(run->device, probabilities, inverse, scores, images * queries, tokens,
			      run->err) < 0)
		return -1;
	p.a = probabilities;
	p.w = map_at(run, step->in, keys * in.channels + 2 * c);
	p.out = products;
	p.n = c;
	p.k = tokens;
	p.a_row = tokens;
	p.out_row = c;
	p.a_batch = queries * tokens;
	p.out_batch = queries * c;
	p.w_transposed = false;
	p.alpha = 1;
	if (run->ops->product(run->device, &p, run->err) < 0)
		return -1;
	return run->ops->scale_rows(run->device, map_at(run, step->out, row * c), products, inverse,
				    images * queries, c, run->err);
}

/* Scores exist for some queries at a time, never all of them. */
static int attention_step(const struct run *run, size_t index)
{
	struct gpu_rows in = rows_of(run, run->steps->steps[index].in);
	int64_t tokens = in.height * in.width;

	for (int64_t image = 0; image < in.n; image += run->plan->attend_images) {
		int64_t left = in.n - image;
		int64_t images = left < run->plan->attend_images ? left : run->plan->attend_images;

		for (int64_t q = 0; q < tokens; q += run->plan->attend_queries) {
			int64_t rest = tokens - q;
			int64_t queries =
			    rest < run->plan->attend_queries ? rest : run->plan->attend_queries;

			if (attend(run, index, images, queries, image * tokens + q) < 0)
				return -1;
		}
	}
	return 0;
}

static int norm_step(const struct run *run, const struct gpu_step *step)
{
	struct gpu_rows in = rows_of(run, step->in);

	if (norm(run, step) < 0)
		return -1;
	return apply(run, step, 0, &in, map_at(run, step->out, 0));
}

static int pixels_step(const struct run *run, const struct gpu_step *step)
{
	const struct gpu_shape *shape = &run->plan->shape;

	return run->ops->pixels(run->device, map_at(run, step->out, 0),
				at(run, run->plan->input[run->slot]),
				shape->n * shape->height * shape->width, run->err);
}

static int latents_step(const struct run *run, const struct gpu_step *step)
{
	struct gpu_rows out = rows_of(run, step->out);

	return run->ops->latents(
	    run->device, map_at(run, step->out, 0), at(run, run->plan->input[run->slot]), out.n,
	    out.height * out.width, run->steps->input.channels, out.channels, run->err);
}

static int moments_step(const struct run *run, const struct gpu_step *step)
{
	struct gpu_rows in = rows_of(run, step->in);

	return run->ops->moments(run->device, at(run, run->plan->result[run->slot]),
				 at(run, run->plan->flags[run->slot]), map_at(run, step->in, 0),
				 in.n, in.height * in.width, run->steps->result.channels,
				 in.channels, run->err);
}

static int picture_step(const struct run *run, const struct gpu_step *step)
{
	struct gpu_rows in = rows_of(run, step->in);

	return run->ops->picture(run->device, at(run, run->plan->result[run->slot]),
				 at(run, run->plan->flags[run->slot]), map_at(run, step->in, 0),
				 in.n, in.height * in.width, in.channels, run->err);
}

static int run_step(const struct run *run, size_t index)
{
	const struct gpu_step *step = &run->steps->steps[index];

	switch (step->kind) {
	case GPU_PIXELS:
		return pixels_step(run, step);
	case GPU_LATENTS:
		return latents_step(run, step);
	case GPU_CONV_STEP:
		return conv_step(run, index);
	case GPU_LINEAR_STEP:
		return linear_step(run, step);
	case GPU_NORM_STEP:
		return norm_step(run, step);
	case GPU_ATTENTION:
		return attention_step(run, index);
	case GPU_MOMENTS:
		return moments_step(run, step);
	case GPU_PICTURE:
		return picture_step(run, step);
	}
	return plugin_error_set(run->err, LATENTD_CUDA_BUG, "a step of kind %d", (int)step->kind);
}

static int tapped(const struct run *run, size_t index)
{
	int map = run->steps->steps[index].out;

	if (!run->net->tap || map == GPU_NONE)
		return 0;
	if (run->ops->sync(run->device, run->err) < 0)
		return -1;
	run->net->tap(run->net->tap_arg, index, map_at(run, map, 0));
	return 0;
}

int gpu_network_prepare(struct gpu_network *net, const struct gpu_plan *plan,
			struct latentd_cuda_error *err)
{
	const struct run run = {
	    net, net->device->ops, net->device, plan, &net->model->steps, NULL, 0, err};

	for (size_t i = 0; i < run.steps->n_steps; i++) {
		if (run.steps->steps[i].kind == GPU_CONV_STEP && conv_step(&run, i) < 0)
			return -1;
	}
	return 0;
}

int gpu_network_run(struct gpu_network *net, const struct gpu_plan *plan, void *arena, int slot,
		    struct latentd_cuda_error *err)
{
	const struct run run = {
	    net, net->device->ops, net->device, plan, &net->model->steps, arena, slot, err};

	for (size_t i = 0; i < run.steps->n_steps; i++) {
		if (run_step(&run, i) < 0 || tapped(&run, i) < 0)
			return -1;
	}
	return 0;
}
