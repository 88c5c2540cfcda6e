/*
 * Maps live in one arena. The current one, x, lies at one of its ends; what replaces it is made at the
 * other end, and what is needed in between lies in the middle. GroupNorms are no passes of their own: a
 * convolution gathers the statistics of what it writes, and the next one norms what it reads.
 *
 * So a residual holds x and the map z between its convolutions. In bands z is never whole: once its rows
 * are made for their statistics only and dropped, then they are made again, some rows ahead of the second
 * convolution, which adds to x in place. It costs the first convolution twice, and the second finds its
 * halo rows in the rows that were kept. The downsampler writes over its own input, which it has always
 * read before. Then one map of full size is all that an image needs.
 */
#include "vae/kl_forward.h"

#include "base/checked.h"
#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-6f /* of every GroupNorm in the class */

/* One image on its way. */
struct kl_run {
	const struct kl_model *model;
	struct vae_engine *engine;
	const struct kl_plan *plan;
	float *arena;
	float *x; /* the current map, at the beginning of the arena or at its end */
	size_t height, width, channels; /* of x */
	struct norm_stats stats, inner; /* of x, of z */
	float *scale, *shift;		/* of the norm that is applied */
	const struct kl_hooks *hooks;
	struct error *err;
};

/* -- maps ---------------------------------------------------------------------------------------- */

static bool at_beginning(const struct kl_run *run)
{
	return run->x == run->arena;
}

/* A map at the end of the arena where x is not. */
static float *opposite(const struct kl_run *run, size_t height, size_t width, size_t channels)
{
	if (!at_beginning(run))
		return run->arena;
	return run->arena + run->plan->floats - kl_map_floats(height, width, channels);
}

/*
 * Where nothing lies while a map with @channels is made at the opposite of x, or none if that is 0: behind
 * the one of them that is at the beginning.
 */
static float *middle(const struct kl_run *run, size_t channels)
{
	if (at_beginning(run))
		channels = run->channels;
	return run->arena + kl_map_floats(run->height, run->width, channels);
}

static void tap(const struct kl_run *run, const char *name)
{
	if (run->hooks->tap)
		run->hooks->tap(run->hooks->tap_arg, name, run->x, run->height, run->width,
				run->channels);
}

/* -- layers -------------------------------------------------------------------------------------- */

static enum kl_layer kind_of(const struct conv_shape *s)
{
	if (s->kernel == 1)
		return KL_LAYER_1X1;
	return s->stride == 1 ? KL_LAYER_3X3 : KL_LAYER_STRIDE_2;
}

static void count_layer(const struct kl_run *run, enum kl_layer kind, double flop, int64_t began)
{
	if (run->hooks->layer)
		run->hooks->layer(run->hooks->layer_arg, kind, flop,
				  (double)(clock_mono_ns() - began) * 1e-9);
}

/* Some rows of a layer over a map of the size of x; @c says which, and from where to where. */
static int conv_rows(const struct kl_run *run, struct vae_conv *layer, struct vae_conv_run c)
{
	const struct conv_shape *s = &layer->shape;
	int64_t began = clock_mono_ns();

	c.height = run->height;
	c.width = run->width;
	if (run->engine->ops->conv(run->engine, layer, &c, run->err) < 0)
		return -1;
	count_layer(run, kind_of(s),
		    2.0 * (double)(s->kernel * s->kernel * s->in * s->out) *
			(double)(c.out_rows * conv_out_size(s, c.width)),
		    began);
	return 0;
}

static int conv(const struct kl_run *run, struct vae_conv *layer, float *out, const float *in,
		const struct vae_norm *norm, struct norm_stats *stats)
{
	struct vae_conv_run c = {.out = out, .in = in, .norm = norm, .stats = stats};

	c.out_rows = conv_out_size(&layer->shape, run->height);
	if (stats)
		norm_stats_reset(stats, layer->shape.out);
	return conv_rows(run, layer, c);
}

/* The norm @n of a map with @stats, until the next one is asked for. */
static struct vae_norm norm_of(const struct kl_run *run, const struct kl_norm *n,
			       const struct norm_stats *stats, bool silu)
{
	assert(stats->channels == n->channels);
	norm_stats_scales(stats, run->model->config.norm_num_groups, NORM_EPS, n->weight, n->bias,
			  run->scale, run->shift);
	return (struct vae_norm){run->scale, run->shift, silu};
}

/* -- residuals ----------------------------------------------------------------------------------- */

/* A residual in the middle of which only some rows of z exist. */
struct kl_bands {
	const struct kl_resnet *r;
	float *out; /* x, or the shortcut of x */
	float *z;   /* rows z_first to z_end */
	size_t z_first, z_end;
	size_t z_row, out_row; /* floats */
};

/* Statistics of z, whose rows are not kept. */
static int inner_stats(struct kl_run *run, struct kl_bands *b)
{
	struct vae_norm norm = norm_of(run, &b->r->norm1, &run->stats, true);

	norm_stats_reset(&run->inner, b->r->norm2.channels);
	for (size_t y = 0; y < run->height; y += run->plan->band) {
		size_t left = run->height - y;
		struct vae_conv_run c = {.out = b->z,
					 .in = run->x,
					 .out_first = y,
					 .out_rows =
					     left < run->plan->band ? left : run->plan->band,
					 .norm = &norm,
					 .stats = &run->inner};

		if (conv_rows(run, b->r->conv1, c) < 0)
			return -1;
	}
	return 0;
}

/* Rows of z up to @end, those before @first given up. */
static int advance_inner(const struct kl_run *run, struct kl_bands *b, size_t first, size_t end,
			 const struct vae_norm *norm)
{
	struct vae_conv_run c = {.in = run->x, .out_first = b->z_end, .norm = norm};

	memmove(b->z, b->z + (first - b->z_first) * b->z_row,
		(b->z_end - first) * b->z_row * sizeof(float));
	b->z_first = first;
	c.out = b->z + (b->z_end - first) * b->z_row;
	c.out_rows = end - b->z_end;
	b->z_end = end;
	return c.out_rows > 0 ? conv_rows(run, b->r->conv1, c) : 0;
}

/* b->out += conv2(norm2(z)), a band at a time. @outer, @inner: the norms, each with memory of its own. */
static int add_bands(struct kl_run *run, struct kl_bands *b, const struct vae_norm *outer,
		     const struct vae_norm *inner)
{
	for (size_t y = 0; y < run->height; y += run->plan->band) {
		size_t end = y + run->plan->band < run->height ? y + run->plan->band : run->height;
		struct vae_conv_run c = {.out = b->out + y * b->out_row,
					 .in = b->z,
					 .out_first = y,
					 .out_rows = end - y,
					 .accumulate = true,
					 .norm = inner,
					 .stats = &run->stats};

		if (advance_inner(run, b, y > 0 ? y - 1 : 0,
				  end < run->height ? end + 1 : run->height, outer) < 0)
			return -1;
		c.in_first = b->z_first;
		if (conv_rows(run, b->r->conv2, c) < 0)
			return -1;
	}
	return 0;
}

static int residual_in_bands(struct kl_run *run, const struct kl_resnet *r, float *out, float *z)
{
	size_t in = r->norm1.channels, inner = r->norm2.channels;
	float *scales = xcalloc(2 * in, sizeof(float));
	struct vae_norm outer = {scales, scales + in, true}, inner_norm;
	struct kl_bands b = {
	    .r = r, .out = out, .z = z, .z_row = run->width * inner, .out_row = run->width * inner};
	int status;

	norm_of(run, &r->norm1, &run->stats, true);
	memcpy(scales, run->scale, in * sizeof(float));
	memcpy(scales + in, run->shift, in * sizeof(float));
	status = inner_stats(run, &b);
	if (status == 0) {
		inner_norm = norm_of(run, &r->norm2, &run->inner, true);
		norm_stats_reset(&run->stats, inner);
		status = add_bands(run, &b, &outer, &inner_norm);
	}
	free(scales);
	return status;
}

static int residual(struct kl_run *run, const struct kl_resnet *r, float *out, float *z)
{
	struct vae_norm norm = norm_of(run, &r->norm1, &run->stats, true);
	struct vae_conv_run c = {
	    .out = out, .in = z, .out_rows = run->height, .accumulate = true, .norm = &norm};

	if (conv(run, r->conv1, z, run->x, &norm, &run->inner) < 0)
		return -1;
	norm = norm_of(run, &r->norm2, &run->inner, true);
	norm_stats_reset(&run->stats, r->norm2.channels);
	c.stats = &run->stats;
	return conv_rows(run, r->conv2, c);
}

/* x = shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x)))))) */
static int resnet(struct kl_run *run, const struct kl_resnet *r, const char *name)
{
	size_t channels = r->norm2.channels;
	float *out = run->x, *z = middle(run, 0);

	if (r->shortcut) {
		out = opposite(run, run->height, run->width, channels);
		z = middle(run, channels);
		if (conv(run, r->shortcut, out, run->x, NULL, NULL) < 0)
			return -1;
	}
	if ((run->plan->band ? residual_in_bands : residual)(run, r, out, z) < 0)
		return -1;
	run->x = out;
	run->channels = channels;
	tap(run, name);
	return 0;
}

/* -- downsampler --------------------------------------------------------------------------------- */

/* Over its own input, from the first row on: out row r takes the place of a quarter of rows before 2r. */
static int down_in_place(struct kl_run *run, struct vae_conv *layer, float *rows)
{
	size_t height = conv_out_size(&layer->shape, run->height);
	size_t row = conv_out_size(&layer->shape, run->width) * run->channels;

	norm_stats_reset(&run->stats, run->channels);
	for (size_t y = 0; y < height; y += run->plan->band) {
		size_t left = height - y;
		struct vae_conv_run c = {.out = rows,
					 .in = run->x,
					 .out_first = y,
					 .out_rows =
					     left < run->plan->band ? left : run->plan->band,
					 .stats = &run->stats};

		if (conv_rows(run, layer, c) < 0)
			return -1;
		memcpy(run->x + y * row, rows, c.out_rows * row * sizeof(float));
	}
	if (!at_beginning(run))
		memmove(run->arena, run->x, height * row * sizeof(float));
	run->x = run->arena;
	return 0;
}

static int down(struct kl_run *run, struct vae_conv *layer)
{
	size_t height = conv_out_size(&layer->shape, run->height);
	size_t width = conv_out_size(&layer->shape, run->width);

	if (run->plan->band) {
		if (down_in_place(run, layer, middle(run, 0)) < 0)
			return -1;
	} else {
		float *out = opposite(run, height, width, run->channels);

		if (conv(run, layer, out, run->x, NULL, &run->stats) < 0)
			return -1;
		run->x = out;
	}
	run->height = height;
	run->width = width;
	return 0;
}

static int down_block(struct kl_run *run, size_t index)
{
	const struct kl_block *block = &run->model->blocks[index];
	char name[96];

	for (size_t j = 0; j < run->model->config.layers_per_block; j++) {
		snprintf(name, sizeof(name), "encoder.down_blocks.%zu.resnets.%zu", index, j);
		if (resnet(run, &block->resnets[j], name) < 0)
			return -1;
	}
	if (block->down && down(run, block->down) < 0)
		return -1;
	snprintf(name, sizeof(name), "encoder.down_blocks.%zu", index);
	tap(run, name);
	return 0;
}

/* -- middle and end ------------------------------------------------------------------------------ */

/* x = x + out(softmax(q k^T / sqrt(c)) v), q, k, v of norm(x) */
static int attention(struct kl_run *run, const struct kl_attention *a)
{
	size_t c = run->channels, tokens = run->height * run->width;
	size_t floats = kl_map_floats(run->height, run->width, c);
	float *t = middle(run, 0), *q = t + floats, *k = q + floats, *v = k + floats;
	struct vae_norm norm = norm_of(run, &a->norm, &run->stats, false);
	struct vae_conv_run out = {
	    .out = run->x, .in = t, .out_rows = run->height, .accumulate = true};
	int64_t began;

	if (conv(run, a->q, q, run->x, &norm, NULL) < 0 ||
	    conv(run, a->k, k, run->x, &norm, NULL) < 0 ||
	    conv(run, a->v, v, run->x, &norm, NULL) < 0)
		return -1;
	began = clock_mono_ns();
	if (run->engine->ops->attention(run->engine, t, q, k, v, tokens, c, run->err) < 0)
		return -1;
	count_layer(run, KL_LAYER_ATTENTION, 4.0 * (double)tokens * (double)tokens * (double)c,
		    began);
	norm_stats_reset(&run->stats, c);
	out.stats = &run->stats;
	if (conv_rows(run, a->out, out) < 0)
		return -1;
	tap(run, "encoder.mid_block.attentions.0");
	return 0;
}

static int mid_block(struct kl_run *run)
{
	const struct kl_model *m = run->model;

	if (resnet(run, &m->mid[0], "encoder.mid_block.resnets.0") < 0)
		return -1;
	if (m->config.mid_block_add_attention && attention(run, &m->attention) < 0)
		return -1;
	if (resnet(run, &m->mid[1], "encoder.mid_block.resnets.1") < 0)
		return -1;
	tap(run, "encoder.mid_block");
	return 0;
}

static int replace(struct kl_run *run, struct vae_conv *layer, const struct vae_norm *norm,
		   const char *name)
{
	float *out = opposite(run, run->height, run->width, layer->shape.out);

	if (conv(run, layer, out, run->x, norm, NULL) < 0)
		return -1;
	run->x = out;
	run->channels = layer->shape.out;
	tap(run, name);
	return 0;
}

/* The activation before the last convolution, which nobody else ever sees whole. */
static void tap_activation(struct kl_run *run, const struct vae_norm *norm)
{
	size_t n = run->height * run->width * run->channels;
	float *x = run->x, *copy;

	if (!run->hooks->tap)
		return;
	copy = xmalloc(n * sizeof(float));
	memcpy(copy, x, n * sizeof(float));
	norm_apply_naive(copy, n / run->channels, run->channels, norm->scale, norm->shift, true);
	run->x = copy;
	tap(run, "encoder.conv_act");
	run->x = x;
	free(copy);
}

static int forward(struct kl_run *run, const float *pixels)
{
	const struct kl_model *m = run->model;
	struct vae_norm norm;

	run->channels = m->conv_in->shape.out;
	if (conv(run, m->conv_in, run->x, pixels, NULL, &run->stats) < 0)
		return -1;
	tap(run, "encoder.conv_in");
	for (size_t i = 0; i < m->config.blocks; i++) {
		if (down_block(run, i) < 0)
			return -1;
	}
	if (mid_block(run) < 0)
		return -1;
	norm = norm_of(run, &m->norm_out, &run->stats, true);
	tap_activation(run, &norm);
	if (replace(run, m->conv_out, &norm, "encoder.conv_out") < 0)
		return -1;
	return m->quant_conv ? replace(run, m->quant_conv, NULL, "quant_conv") : 0;
}

int kl_forward(const struct kl_model *model, const struct kl_plan *plan, float *arena,
	       const float *pixels, const struct kl_hooks *hooks, const float **moments,
	       struct error *err)
{
	size_t channels = 0;
	struct kl_run run = {.model = model,
			     .engine = model->engine,
			     .plan = plan,
			     .arena = arena,
			     .x = arena,
			     .height = plan->height,
			     .width = plan->width,
			     .hooks = hooks,
			     .err = err};
	int r;

	for (size_t i = 0; i < model->config.blocks; i++) {
		if (model->config.block_out_channels[i] > channels)
			channels = model->config.block_out_channels[i];
	}
	run.scale = xcalloc(2 * channels, sizeof(float));
	run.shift = run.scale + channels;
	run.engine->step = hooks->step;
	r = forward(&run, pixels);
	*moments = run.x;
	norm_stats_release(&run.stats);
	norm_stats_release(&run.inner);
	free(run.scale);
	return r;
}
