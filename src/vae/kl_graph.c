/*
 * A residual holds x and the map z between its convolutions. In bands z is never whole: once its rows
 * are made for their statistics only and dropped, then they are made again, some rows ahead of the second
 * convolution, which adds to x in place. It costs the first convolution twice, and the second finds its
 * halo rows in the rows that were kept.
 */
#include "vae/kl_graph.h"

#include "base/checked.h"
#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-6f /* of every GroupNorm in the class */

/* -- maps ---------------------------------------------------------------------------------------- */

static bool at_beginning(const struct kl_run *run)
{
	return run->x == run->arena;
}

float *kl_run_opposite(const struct kl_run *run, size_t height, size_t width, size_t channels)
{
	if (!at_beginning(run))
		return run->arena;
	return run->arena + run->plan->floats - kl_map_floats(height, width, channels);
}

/* Behind whichever of the two is at the beginning. */
float *kl_run_middle(const struct kl_run *run, size_t floats)
{
	if (at_beginning(run))
		floats = kl_map_floats(run->height, run->width, run->channels);
	return run->arena + floats;
}

void kl_run_tap(const struct kl_run *run, const char *name)
{
	const char *part = vae_part_name(run->model->part);
	char full[96];

	if (!run->hooks->tap)
		return;
	snprintf(full, sizeof(full), "%s.%s", part, name);
	run->hooks->tap(run->hooks->tap_arg, full, run->x, run->height, run->width, run->channels);
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

int kl_run_rows(const struct kl_run *run, struct vae_conv *layer, struct vae_conv_run c)
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

int kl_run_conv(const struct kl_run *run, struct vae_conv *layer, float *out, const float *in,
		const struct vae_norm *norm, struct norm_stats *stats)
{
	struct vae_conv_run c = {.out = out, .in = in, .norm = norm, .stats = stats};

	c.out_rows = conv_out_size(&layer->shape, run->height);
	if (stats)
		norm_stats_reset(stats, layer->shape.out);
	return kl_run_rows(run, layer, c);
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

		if (kl_run_rows(run, b->r->conv1, c) < 0)
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
	return c.out_rows > 0 ? kl_run_rows(run, b->r->conv1, c) : 0;
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
		if (kl_run_rows(run, b->r->conv2, c) < 0)
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

	if (kl_run_conv(run, r->conv1, z, run->x, &norm, &run->inner) < 0)
		return -1;
	norm = norm_of(run, &r->norm2, &run->inner, true);
	norm_stats_reset(&run->stats, r->norm2.channels);
	c.stats = &run->stats;
	return kl_run_rows(run, r->conv2, c);
}

int kl_run_resnet(struct kl_run *run, const struct kl_resnet *r, const char *name)
{
	size_t channels = r->norm2.channels;
	float *out = run->x, *z = kl_run_middle(run, 0);

	if (r->shortcut) {
		out = kl_run_opposite(run, run->height, run->width, channels);
		z = kl_run_middle(run, kl_map_floats(run->height, run->width, channels));
		if (kl_run_conv(run, r->shortcut, out, run->x, NULL, NULL) < 0)
			return -1;
	}
	if ((run->plan->band ? residual_in_bands : residual)(run, r, out, z) < 0)
		return -1;
	run->x = out;
	run->channels = channels;
	kl_run_tap(run, name);
	return 0;
}

/* -- middle and end ------------------------------------------------------------------------------ */

/* x = x + out(softmax(q k^T / sqrt(c)) v), q, k, v of norm(x) */
static int attention(struct kl_run *run, const struct kl_attention *a)
{
	size_t c = run->channels, tokens = run->height * run->width;
	size_t floats = kl_map_floats(run->height, run->width, c);
	float *t = kl_run_middle(run, 0), *q = t + floats, *k = q + floats, *v = k + floats;
	struct vae_norm norm = norm_of(run, &a->norm, &run->stats, false);
	struct vae_conv_run out = {
	    .out = run->x, .in = t, .out_rows = run->height, .accumulate = true};
	int64_t began;

	if (kl_run_conv(run, a->q, q, run->x, &norm, NULL) < 0 ||
	    kl_run_conv(run, a->k, k, run->x, &norm, NULL) < 0 ||
	    kl_run_conv(run, a->v, v, run->x, &norm, NULL) < 0)
		return -1;
	began = clock_mono_ns();
	if (run->engine->ops->attention(run->engine, t, q, k, v, tokens, c, run->err) < 0)
		return -1;
	count_layer(run, KL_LAYER_ATTENTION, 4.0 * (double)tokens * (double)tokens * (double)c,
		    began);
	norm_stats_reset(&run->stats, c);
	out.stats = &run->stats;
	if (kl_run_rows(run, a->out, out) < 0)
		return -1;
	kl_run_tap(run, "mid_block.attentions.0");
	return 0;
}

int kl_run_mid(struct kl_run *run)
{
	const struct kl_model *m = run->model;

	if (kl_run_resnet(run, &m->mid[0], "mid_block.resnets.0") < 0)
		return -1;
	if (m->config.mid_block_add_attention && attention(run, &m->attention) < 0)
		return -1;
	if (kl_run_resnet(run, &m->mid[1], "mid_block.resnets.1") < 0)
		return -1;
	kl_run_tap(run, "mid_block");
	return 0;
}

int kl_run_replace(struct kl_run *run, struct vae_conv *layer, const struct vae_norm *norm)
{
	float *out = kl_run_opposite(run, run->height, run->width, layer->shape.out);

	if (kl_run_conv(run, layer, out, run->x, norm, NULL) < 0)
		return -1;
	run->x = out;
	run->channels = layer->shape.out;
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
	kl_run_tap(run, "conv_act");
	run->x = x;
	free(copy);
}

int kl_run_end(struct kl_run *run)
{
	const struct kl_model *m = run->model;
	struct vae_norm norm = norm_of(run, &m->norm_out, &run->stats, true);

	tap_activation(run, &norm);
	if (kl_run_replace(run, m->conv_out, &norm) < 0)
		return -1;
	kl_run_tap(run, "conv_out");
	return 0;
}

/* -- a run --------------------------------------------------------------------------------------- */

void kl_run_init(struct kl_run *run, const struct kl_model *model, const struct kl_plan *plan,
		 float *arena, const struct kl_hooks *hooks, struct error *err)
{
	const size_t *widths = vae_config_channels(&model->config, model->part);
	size_t channels = 0;

	for (size_t i = 0; i < model->config.blocks; i++)
		channels = widths[i] > channels ? widths[i] : channels;
	*run = (struct kl_run){.model = model,
			       .engine = model->engine,
			       .plan = plan,
			       .arena = arena,
			       .x = arena,
			       .height = plan->height,
			       .width = plan->width,
			       .hooks = hooks,
			       .err = err};
	run->scale = xcalloc(2 * channels, sizeof(float));
	run->shift = run->scale + channels;
	run->engine->step = hooks->step;
}

void kl_run_release(struct kl_run *run)
{
	norm_stats_release(&run->stats);
	norm_stats_release(&run->inner);
	free(run->scale);
}
