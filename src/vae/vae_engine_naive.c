/*
 * The definitions of layers.h behind the engine's operations: slow, one thread, the reference. A
 * layer is one piece of work, however long it takes.
 */
#include "vae/vae_engine.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

struct naive_conv {
	struct vae_conv base;
	float *weight, *bias;
};

static char *naive_version(void)
{
	return xstrdup(LATENTD_VERSION);
}

static int naive_open(size_t threads, struct vae_engine **out, struct error *err)
{
	struct vae_engine *engine = xcalloc(1, sizeof(*engine));

	(void)threads;
	(void)err;
	engine->ops = &vae_engine_naive;
	*out = engine;
	return 0;
}

static void naive_close(struct vae_engine *engine)
{
	free(engine);
}

static void naive_conv_free(struct vae_engine *engine, struct vae_conv *base)
{
	struct naive_conv *conv = (struct naive_conv *)base;

	(void)engine;
	if (!conv)
		return;
	free(conv->weight);
	free(conv->bias);
	free(conv);
}

static int naive_conv_new(struct vae_engine *engine, const struct conv_shape *shape,
			  const float *weight, const float *bias, struct vae_conv **out,
			  struct error *err)
{
	size_t bytes = shape->out * shape->in * shape->kernel * shape->kernel * sizeof(float);
	struct naive_conv *conv = xcalloc(1, sizeof(*conv));

	conv->base.shape = *shape;
	conv->weight = malloc(bytes);
	conv->bias = malloc(shape->out * sizeof(float));
	if (!conv->weight || !conv->bias) {
		naive_conv_free(engine, &conv->base);
		return error_set(err, ERR_NOMEM, "no memory for %zu bytes of weights", bytes);
	}
	engine->weight_bytes += bytes;
	memcpy(conv->weight, weight, bytes);
	memcpy(conv->bias, bias, shape->out * sizeof(float));
	*out = &conv->base;
	return 0;
}

/*
 * The input rows that a run needs, normed, with their padding around them: a map of which the run is
 * the convolution without padding. *rows, *columns: its size.
 */
static float *padded_input(const struct conv_shape *s, const struct vae_conv_run *run, size_t *rows,
			   size_t *columns)
{
	size_t first, end, top = run->out_first * s->stride;
	float *map;

	vae_conv_needs(s, run->height, run->out_first, run->out_rows, &first, &end);
	*rows = (run->out_rows - 1) * s->stride + s->kernel;
	*columns = run->width + s->pad_before + s->pad_after;
	map = calloc(*rows * *columns * s->in, sizeof(float));
	for (size_t y = first; map && y < end; y++) {
		size_t row = y + s->pad_before - top;
		float *to = map + (row * *columns + s->pad_before) * s->in;
		const float *from = run->in + (y - run->in_first) * run->width * s->in;

		memcpy(to, from, run->width * s->in * sizeof(float));
		if (run->norm)
			norm_apply_naive(to, run->width, s->in, run->norm->scale, run->norm->shift,
					 run->norm->silu);
	}
	return map;
}

static void add_stats(struct norm_stats *stats, const float *map, size_t pixels, size_t channels)
{
	double *mean = xcalloc(2 * channels, sizeof(*mean)), *deviation = mean + channels;

	channel_stats_naive(mean, deviation, map, pixels, channels);
	norm_stats_add(stats, pixels, mean, deviation);
	free(mean);
}

static int naive_conv_run(struct vae_engine *engine, struct vae_conv *base,
			  const struct vae_conv_run *run, struct error *err)
{
	const struct naive_conv *conv = (const struct naive_conv *)base;
	struct conv_shape unpadded = base->shape;
	size_t rows, columns, pixels = run->out_rows * conv_out_size(&base->shape, run->width);
	size_t count = pixels * base->shape.out;
	cleanup_free float *in = padded_input(&base->shape, run, &rows, &columns);
	cleanup_free float *sum = malloc(count * sizeof(float));

	if (!in || !sum)
		return error_set(err, ERR_NOMEM, "no memory for %zu floats", count);
	unpadded.pad_before = unpadded.pad_after = 0;
	conv2d_naive(sum, in, rows, columns, &unpadded, conv->weight, conv->bias);
	for (size_t i = 0; i < count; i++)
		run->out[i] = run->accumulate ? run->out[i] + sum[i] : sum[i];
	if (run->stats)
		add_stats(run->stats, run->out, pixels, base->shape.out);
	return vae_engine_step(engine, err);
}

static int naive_attention(struct vae_engine *engine, float *out, const float *q, const float *k,
			   const float *v, size_t tokens, size_t c, struct error *err)
{
	cleanup_free float *scores = malloc(tokens * sizeof(float));

	if (!scores)
		return error_set(err, ERR_NOMEM, "no memory for %zu floats", tokens);
	attention_naive(out, q, k, v, tokens, c, scores);
	return vae_engine_step(engine, err);
}

/* A layer's padded input and its output; maps of less than full size have at most as many numbers. */
static size_t naive_scratch_bytes(const struct vae_engine *engine, size_t height, size_t width,
				  size_t channels, size_t tokens, size_t c)
{
	(void)engine;
	(void)c;
	return (2 * (height + 2) * (width + 2) * channels + tokens) * sizeof(float);
}

const struct vae_engine_ops vae_engine_naive = {
    .name = "naive",
    .version = naive_version,
    .open = naive_open,
    .close = naive_close,
    .conv_new = naive_conv_new,
    .conv_free = naive_conv_free,
    .conv = naive_conv_run,
    .attention = naive_attention,
    .scratch_bytes = naive_scratch_bytes,
};
