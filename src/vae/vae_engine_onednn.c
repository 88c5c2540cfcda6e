/*
 * The layers on oneDNN's C API, versions 2 and 3; it and onednn_kernels.h alone include its header.
 *
 * Maps are plain NHWC, so that nothing is reordered between layers.
 *
 * A convolution runs in bands of rows, between which it can be ended: a primitive that runs cannot. Norms
 * and statistics are passes of their own over each band.
 */
#include "vae/vae_engine.h"

#include "base/checked.h"
#include "vae/fast_layers.h"
#include "vae/onednn_kernels.h"

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

enum {
	MAX_QUERIES = 256,	      /* of attention at once */
	MAX_SCORES = 2 * 1024 * 1024, /* queries at once * tokens: 8 MiB */
	ALIGNMENT = 64,
};

#define BAND_FLOP 8e9 /* 40 ms on two cores with AVX-512 */

struct onednn_conv {
	struct vae_conv base;
	struct onednn_weights weights;
};

struct onednn_scratch {
	void *data;
	size_t size;
};

struct onednn_engine {
	struct vae_engine base;
	size_t threads;
	struct onednn_kernels kernels;
	/* Of convolutions, statistics and attention, one after the other; and a normed band. */
	struct onednn_scratch scratch, normed;
};

static struct onednn_engine *onednn(struct vae_engine *engine)
{
	return (struct onednn_engine *)engine;
}

/* oneDNN and OpenMP take the number from the thread that calls: any thread may own the engine. */
static void enter(const struct onednn_engine *e)
{
	omp_set_num_threads((int)e->threads);
}

static size_t align_bytes(size_t bytes)
{
	return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int want_scratch(struct onednn_scratch *scratch, size_t bytes, struct error *err)
{
	if (bytes <= scratch->size)
		return 0;
	free(scratch->data);
	scratch->size = 0;
	scratch->data = aligned_alloc(ALIGNMENT, align_bytes(bytes));
	if (!scratch->data)
		return error_set(err, ERR_NOMEM, "no memory for %zu bytes of scratch", bytes);
	scratch->size = bytes;
	return 0;
}

/* -- operations ---------------------------------------------------------------------------------- */

static void onednn_close(struct vae_engine *engine)
{
	struct onednn_engine *e = onednn(engine);

	if (!e)
		return;
	onednn_kernels_close(&e->kernels);
	free(e->scratch.data);
	free(e->normed.data);
	free(e);
}

static char *onednn_version(void)
{
	const dnnl_version_t *v = dnnl_version();

	return xasprintf("%d.%d.%d", v->major, v->minor, v->patch);
}

static int onednn_open(size_t threads, struct vae_engine **out, struct error *err)
{
	struct onednn_engine *e = xcalloc(1, sizeof(*e));
	dnnl_status_t s = onednn_kernels_open(&e->kernels);

	e->base.ops = &vae_engine_onednn;
	e->threads = threads ? threads : (size_t)omp_get_num_procs();
	if (s != dnnl_success) {
		onednn_close(&e->base);
		return onednn_failed(s, "open", err);
	}
	*out = &e->base;
	return 0;
}

static void onednn_conv_free(struct vae_engine *engine, struct vae_conv *base)
{
	struct onednn_conv *conv = (struct onednn_conv *)base;

	(void)engine;
	if (!conv)
		return;
	onednn_weights_release(&conv->weights);
	free(conv);
}

static int onednn_conv_new(struct vae_engine *engine, const struct conv_shape *shape,
			   const float *weight, const float *bias, struct vae_conv **out,
			   struct error *err)
{
	struct onednn_conv *conv = xcalloc(1, sizeof(*conv));
	dnnl_status_t s;

	enter(onednn(engine));
	conv->base.shape = *shape;
	engine->weight_bytes +=
	    shape->out * shape->in * shape->kernel * shape->kernel * sizeof(float);
	s = onednn_weights_init(&onednn(engine)->kernels, shape, &conv->weights, weight, bias);
	if (s != dnnl_success) {
		onednn_conv_free(engine, &conv->base);
		return onednn_failed(s, "lay out weights", err);
	}
	*out = &conv->base;
	return 0;
}

static dnnl_status_t conv_execute(const struct onednn_engine *e, struct onednn_conv *conv,
				  const struct conv_kernel *k, float *out, const float *in)
{
	md_ref want = dnnl_primitive_desc_query_md(k->desc, dnnl_query_weights_md, 0);
	dnnl_memory_t weights = NULL;

	ONEDNN_TRY(onednn_weights_get(&e->kernels, &conv->weights, want, &weights));
	ONEDNN_TRY(dnnl_memory_set_data_handle(k->src, (void *)(uintptr_t)in));
	ONEDNN_TRY(dnnl_memory_set_data_handle(k->dst, out));
	ONEDNN_TRY(dnnl_memory_set_data_handle(k->scratch, e->scratch.data));
	{
		dnnl_exec_arg_t args[] = {
		    {DNNL_ARG_SRC, k->src},
		    {DNNL_ARG_WEIGHTS, weights},
		    {DNNL_ARG_BIAS, conv->weights.bias},
		    {DNNL_ARG_DST, k->dst},
		    {DNNL_ARG_SCRATCHPAD, k->scratch},
		};

		ONEDNN_TRY(dnnl_primitive_execute(k->primitive, e->kernels.stream, ARRAY_SIZE(args),
						  args));
	}
	return dnnl_stream_wait(e->kernels.stream);
}

/* Output rows to compute at once. */
static size_t band_rows(const struct conv_shape *s, size_t width)
{
	double row = 2.0 * (double)(s->kernel * s->kernel * s->in * s->out) *
		     (double)conv_out_size(s, width);

	return row < BAND_FLOP ? (size_t)(BAND_FLOP / (row + 1)) + 1 : 1;
}

/* Rows of the input for one band, normed. */
static const float *norm_band(struct onednn_engine *e, const struct vae_norm *norm, const float *in,
			      size_t pixels, size_t channels, struct error *err)
{
	if (want_scratch(&e->normed, pixels * channels * sizeof(float), err) < 0)
		return NULL;
	fast_norm_apply(e->normed.data, in, pixels, channels, norm->scale, norm->shift, norm->silu,
			e->threads);
	return e->normed.data;
}

static int band_stats(struct onednn_engine *e, struct norm_stats *stats, const float *out,
		      size_t pixels, size_t channels, struct error *err)
{
	size_t scratch = fast_channel_stats_scratch(pixels, channels) * sizeof(double);

	if (want_scratch(&e->scratch, scratch, err) < 0)
		return -1;
	fast_channel_stats(stats, out, pixels, channels, e->scratch.data, e->threads);
	return 0;
}

/* @n rows of the output from @first on. */
static int conv_band(struct onednn_engine *e, struct onednn_conv *conv,
		     const struct vae_conv_run *run, size_t first, size_t n, struct error *err)
{
	const struct conv_shape *s = &conv->base.shape;
	struct conv_key key = {.shape = *s, .width = run->width, .accumulate = run->accumulate};
	size_t from, end, row = conv_out_size(s, run->width) * s->out, top = first * s->stride;
	float *out = run->out + (first - run->out_first) * row;
	struct conv_kernel *k;
	dnnl_status_t status;
	const float *in;

	vae_conv_needs(s, run->height, first, n, &from, &end);
	key.rows = end - from;
	key.above = from + s->pad_before - top;
	key.below = (n - 1) * s->stride + s->kernel - key.above - key.rows;
	in = run->in + (from - run->in_first) * run->width * s->in;
	if (run->norm)
		in = norm_band(e, run->norm, in, key.rows * run->width, s->in, err);
	k = onednn_kernel_get(&e->kernels, &key, err);
	if (!in || !k || want_scratch(&e->scratch, k->scratch_size, err) < 0)
		return -1;
	status = conv_execute(e, conv, k, out, in);
	if (status != dnnl_success)
		return onednn_failed(status, "convolution", err);
	if (run->stats && band_stats(e, run->stats, out, n * row / s->out, s->out, err) < 0)
		return -1;
	return vae_engine_step(&e->base, err);
}

static int onednn_conv(struct vae_engine *engine, struct vae_conv *conv,
		       const struct vae_conv_run *run, struct error *err)
{
	struct onednn_engine *e = onednn(engine);
	size_t step = band_rows(&conv->shape, run->width), end = run->out_first + run->out_rows;

	enter(e);
	for (size_t first = run->out_first; first < end; first += step) {
		size_t n = end - first < step ? end - first : step;

		if (conv_band(e, (struct onednn_conv *)conv, run, first, n, err) < 0)
			return -1;
	}
	return 0;
}

static size_t queries_at_once(size_t tokens)
{
	size_t n = MAX_SCORES / tokens;

	n = n < 16 ? 16 : n > MAX_QUERIES ? MAX_QUERIES : n;
	return n < tokens ? n : tokens;
}

/* Queries @first to @first + @n: their scores, numerators of softmax, times v, divided. */
static dnnl_status_t attend(const struct onednn_engine *e, float *out, const float *q,
			    const float *k, const float *v, size_t n, size_t tokens, size_t c)
{
	dnnl_dim_t rows = (dnnl_dim_t)n, t = (dnnl_dim_t)tokens, width = (dnnl_dim_t)c;
	float *scores = e->scratch.data, *sums = scores + n * tokens;
	float scale = (float)(1 / sqrt((double)c));

	ONEDNN_TRY(dnnl_sgemm('N', 'T', rows, t, width, scale, q, width, k, width, 0, scores, t));
	fast_softmax_numerators(scores, sums, n, tokens, e->threads);
	ONEDNN_TRY(dnnl_sgemm('N', 'N', rows, width, t, 1, scores, t, v, width, 0, out, width));
	fast_divide_rows(out, sums, n, c);
	return dnnl_success;
}

static int onednn_attention(struct vae_engine *engine, float *out, const float *q, const float *k,
			    const float *v, size_t tokens, size_t c, struct error *err)
{
	struct onednn_engine *e = onednn(engine);
	size_t step = queries_at_once(tokens);

	enter(e);
	if (want_scratch(&e->scratch, step * (tokens + 1) * sizeof(float), err) < 0)
		return -1;
	for (size_t first = 0; first < tokens; first += step) {
		size_t n = tokens - first < step ? tokens - first : step;
		dnnl_status_t s = attend(e, out + first * c, q + first * c, k, v, n, tokens, c);

		if (s != dnnl_success)
			return onednn_failed(s, "attention", err);
		if (vae_engine_step(engine, err) < 0)
			return -1;
	}
	return 0;
}

/* Normed are a band of the largest maps, or all that attention sees. */
static size_t onednn_scratch_bytes(const struct vae_engine *engine, size_t height, size_t width,
				   size_t channels, size_t tokens, size_t c)
{
	const struct conv_shape largest = {channels, channels, 3, 1, 1, 1};
	size_t rows = band_rows(&largest, width) + 2, pixels = height * width;
	size_t normed = (rows < height ? rows : height) * width * channels * sizeof(float);
	size_t stats = fast_channel_stats_scratch(pixels, channels) * sizeof(double);
	size_t scores = c ? queries_at_once(tokens) * (tokens + 1) * sizeof(float) : 0;

	(void)engine;
	if (tokens * c * sizeof(float) > normed)
		normed = tokens * c * sizeof(float);
	return align_bytes(stats > scores ? stats : scores) + align_bytes(normed);
}

const struct vae_engine_ops vae_engine_onednn = {
    .name = "onednn",
    .version = onednn_version,
    .open = onednn_open,
    .close = onednn_close,
    .conv_new = onednn_conv_new,
    .conv_free = onednn_conv_free,
    .conv = onednn_conv,
    .attention = onednn_attention,
    .scratch_bytes = onednn_scratch_bytes,
};
