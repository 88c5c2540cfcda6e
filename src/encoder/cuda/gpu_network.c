/* The steps of an encode or decode, in order; gpu_convs.c has the convolutions. */
#include "gpu_network_parts.h"

#include "plugin_error.h"

#include <math.h>

#define EPS 1e-6f /* of every norm of these networks */

/* -- maps ----------------------------------------------------------------------------------------- */

void *gpu_run_at(const struct gpu_run *run, size_t offset)
{
	return run->arena ? run->arena + offset : NULL;
}

void *gpu_run_map(const struct gpu_run *run, int map, int64_t element)
{
	return gpu_run_at(run, run->plan->maps[map] + (size_t)element * run->plan->shape.element);
}

struct gpu_rows gpu_run_rows(const struct gpu_run *run, const struct gpu_map *m)
{
	int64_t height = run->plan->shape.height >> m->level;

	return (struct gpu_rows){run->plan->shape.n, height, run->plan->shape.width >> m->level,
				 m->channels,	     0,	     height};
}

struct gpu_rows gpu_run_rows_of(const struct gpu_run *run, int map)
{
	return gpu_run_rows(run, &run->steps->maps[map]);
}

struct gpu_chunks gpu_run_chunks(const struct gpu_rows *map)
{
	int64_t rows = gpu_plan_chunk_rows(map->height, map->width);

	return (struct gpu_chunks){rows, (map->height + rows - 1) / rows};
}

int gpu_run_sums(const struct gpu_run *run, int map, int64_t image, const struct gpu_rows *rows)
{
	struct gpu_chunks chunks = gpu_run_chunks(rows);
	size_t skipped = (size_t)(image * chunks.chunks * rows->channels * 2) * sizeof(float);
	float *partials = gpu_run_at(run, run->plan->partials + skipped);

	return run->ops->sums(
	    run->device, partials,
	    gpu_run_map(run, map, image * rows->height * rows->width * rows->channels), rows,
	    &chunks, run->err);
}

int gpu_run_norm(const struct gpu_run *run, int param, const struct gpu_rows *map, size_t scale,
		 size_t shift)
{
	struct gpu_chunks chunks = gpu_run_chunks(map);
	const struct gpu_norm_call call = {
	    .partials = gpu_run_at(run, run->plan->partials),
	    .weight = run->net->weights[param],
	    .bias = run->net->biases[param],
	    .scale = gpu_run_at(run, scale),
	    .shift = gpu_run_at(run, shift),
	    .groups = run->net->model->config.groups,
	    .eps = EPS,
	};

	return run->ops->norm(run->device, &call, map, &chunks, run->err);
}

int gpu_run_apply(const struct gpu_run *run, const struct gpu_step *step, int64_t image,
		  const struct gpu_rows *rows, void *out)
{
	const float *scale = gpu_run_at(run, run->plan->scale),
		    *shift = gpu_run_at(run, run->plan->shift);

	return run->ops->apply(
	    run->device, out,
	    gpu_run_map(run, step->in, image * rows->height * rows->width * rows->channels),
	    scale + image * rows->channels, shift + image * rows->channels, rows, step->silu,
	    run->err);
}

/* -- the other steps ------------------------------------------------------------------------------ */

static int linear_step(const struct gpu_run *run, const struct gpu_step *step)
{
	struct gpu_rows in = gpu_run_rows_of(run, step->in), out = gpu_run_rows_of(run, step->out);
	const struct gpu_product product = {
	    .a = gpu_run_map(run, step->in, 0),
	    .w = run->net->weights[step->layer],
	    .bias = run->net->biases[step->layer],
	    .z = step->z == GPU_NONE ? NULL : gpu_run_map(run, step->z, 0),
	    .out = gpu_run_map(run, step->out, 0),
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
	return step->stats ? gpu_run_sums(run, step->out, 0, &out) : 0;
}

/* @queries of @images, from row @row of all tokens on. */
static int attend(const struct gpu_run *run, size_t index, int64_t images, int64_t queries,
		  int64_t row)
{
	const struct gpu_step *step = &run->steps->steps[index];
	struct gpu_rows in = gpu_run_rows_of(run, step->in);
	int64_t c = in.channels / 3, tokens = in.height * in.width, keys = row / tokens * tokens;
	struct gpu_attention_scratch at_scratch = gpu_plan_attention(run->plan, tokens, c);
	uint8_t *scratch = gpu_run_at(run, run->plan->scratch[index]);
	float *scores = (float *)(scratch + at_scratch.scores);
	void *probabilities = scratch + at_scratch.probabilities;
	float *products = (float *)(scratch + at_scratch.products);
	float *inverse = (float *)(scratch + at_scratch.inverse);
	struct gpu_product p = {
	    .a = gpu_run_map(run, step->in, row * in.channels),
	    .w = gpu_run_map(run, step->in, keys * in.channels + c),
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
	p.w = gpu_run_map(run, step->in, keys * in.channels + 2 * c);
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
	return run->ops->scale_rows(run->device, gpu_run_map(run, step->out, row * c), products,
				    inverse, images * queries, c, run->err);
}

/* Scores exist for some queries at a time, never all of them. */
static int attention_step(const struct gpu_run *run, size_t index)
{
	struct gpu_rows in = gpu_run_rows_of(run, run->steps->steps[index].in);
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

static int norm_step(const struct gpu_run *run, const struct gpu_step *step)
{
	struct gpu_rows in = gpu_run_rows_of(run, step->in);

	if (gpu_run_norm(run, step->norm, &in, run->plan->scale, run->plan->shift) < 0)
		return -1;
	return gpu_run_apply(run, step, 0, &in, gpu_run_map(run, step->out, 0));
}

static int pixels_step(const struct gpu_run *run, const struct gpu_step *step)
{
	const struct gpu_shape *shape = &run->plan->shape;

	return run->ops->pixels(run->device, gpu_run_map(run, step->out, 0),
				gpu_run_at(run, run->plan->input[run->slot]),
				shape->n * shape->height * shape->width, run->err);
}

static int latents_step(const struct gpu_run *run, const struct gpu_step *step)
{
	struct gpu_rows out = gpu_run_rows_of(run, step->out);

	return run->ops->latents(run->device, gpu_run_map(run, step->out, 0),
				 gpu_run_at(run, run->plan->input[run->slot]), out.n,
				 out.height * out.width, run->steps->input.channels, out.channels,
				 run->err);
}

static int moments_step(const struct gpu_run *run, const struct gpu_step *step)
{
	struct gpu_rows in = gpu_run_rows_of(run, step->in);

	return run->ops->moments(run->device, gpu_run_at(run, run->plan->result[run->slot]),
				 gpu_run_at(run, run->plan->flags[run->slot]),
				 gpu_run_map(run, step->in, 0), in.n, in.height * in.width,
				 run->steps->result.channels, in.channels, run->err);
}

static int picture_step(const struct gpu_run *run, const struct gpu_step *step)
{
	struct gpu_rows in = gpu_run_rows_of(run, step->in);

	return run->ops->picture(run->device, gpu_run_at(run, run->plan->result[run->slot]),
				 gpu_run_at(run, run->plan->flags[run->slot]),
				 gpu_run_map(run, step->in, 0), in.n, in.height * in.width,
				 in.channels, run->err);
}

static int run_step(const struct gpu_run *run, size_t index)
{
	const struct gpu_step *step = &run->steps->steps[index];

	switch (step->kind) {
	case GPU_PIXELS:
		return pixels_step(run, step);
	case GPU_LATENTS:
		return latents_step(run, step);
	case GPU_CONV_STEP:
		return gpu_run_conv(run, index);
	case GPU_RESNET:
		return gpu_run_resnet(run, index);
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

static int tapped(const struct gpu_run *run, size_t index)
{
	int map = run->steps->steps[index].out;

	if (!run->net->tap || map == GPU_NONE)
		return 0;
	if (run->ops->sync(run->device, run->err) < 0)
		return -1;
	run->net->tap(run->net->tap_arg, index, gpu_run_map(run, map, 0));
	return 0;
}

int gpu_network_prepare(struct gpu_network *net, const struct gpu_plan *plan,
			struct latentd_cuda_error *err)
{
	const struct gpu_run run = {net, net->device->ops, net->device, plan, plan->steps, NULL, 0,
				    err};

	for (size_t i = 0; i < run.steps->n_steps; i++) {
		enum gpu_step_kind kind = run.steps->steps[i].kind;

		if ((kind == GPU_CONV_STEP && gpu_run_conv(&run, i) < 0) ||
		    (kind == GPU_RESNET && gpu_run_resnet(&run, i) < 0))
			return -1;
	}
	return 0;
}

int gpu_network_run(struct gpu_network *net, const struct gpu_plan *plan, void *arena, int slot,
		    struct latentd_cuda_error *err)
{
	const struct gpu_run run = {
	    net, net->device->ops, net->device, plan, plan->steps, arena, slot, err};

	for (size_t i = 0; i < run.steps->n_steps; i++) {
		if (run_step(&run, i) < 0 || tapped(&run, i) < 0)
			return -1;
	}
	return 0;
}
