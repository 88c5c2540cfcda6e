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
	memcpy(conv->weight, weight, bytes);
	memcpy(conv->bias, bias, shape->out * sizeof(float));
	*out = &conv->base;
	return 0;
}

static int naive_conv_run(struct vae_engine *engine, struct vae_conv *base, float *out,
			  const float *in, size_t height, size_t width, bool accumulate,
			  struct error *err)
{
	const struct naive_conv *conv = (const struct naive_conv *)base;
	const struct conv_shape *s = &base->shape;
	size_t count = conv_out_size(s, height) * conv_out_size(s, width) * s->out;
	cleanup_free float *sum = NULL;

	if (!accumulate) {
		conv2d_naive(out, in, height, width, s, conv->weight, conv->bias);
		return vae_engine_step(engine, err);
	}
	sum = malloc(count * sizeof(float));
	if (!sum)
		return error_set(err, ERR_NOMEM, "no memory for %zu floats", count);
	conv2d_naive(sum, in, height, width, s, conv->weight, conv->bias);
	for (size_t i = 0; i < count; i++)
		out[i] += sum[i];
	return vae_engine_step(engine, err);
}

static int naive_group_norm(struct vae_engine *engine, float *out, const float *in, size_t pixels,
			    size_t channels, size_t groups, float eps, const float *weight,
			    const float *bias, bool silu, struct error *err)
{
	group_norm_naive(out, in, pixels, channels, groups, eps, weight, bias, silu);
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

/* A residual sum is made in a map of its own. */
static size_t naive_scratch_bytes(size_t pixels, size_t channels, size_t tokens, size_t c)
{
	(void)c;
	return (pixels * channels + tokens) * sizeof(float);
}

const struct vae_engine_ops vae_engine_naive = {
    .name = "naive",
    .version = naive_version,
    .open = naive_open,
    .close = naive_close,
    .conv_new = naive_conv_new,
    .conv_free = naive_conv_free,
    .conv = naive_conv_run,
    .group_norm = naive_group_norm,
    .attention = naive_attention,
    .scratch_bytes = naive_scratch_bytes,
};
