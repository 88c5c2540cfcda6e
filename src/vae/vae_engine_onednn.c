/*
 * The layers on oneDNN's C API, versions 2 and 3; the only file that includes its header.
 *
 * Maps are plain NHWC, so that nothing is reordered between layers. A convolution's primitive (the
 * compiled kernel) depends on the layer's shape and on the map's size, not on its weights: layers of
 * one shape share it. A few sizes' worth of primitives is kept, the least recently used leaving first:
 * each size costs megabytes of code, and compiling it again milliseconds. Each layer holds its weights
 * in the layout that its primitives ask for, which hardly ever depends on the map's size.
 *
 * A convolution runs in bands of rows, between which it can be ended: a primitive that runs cannot. Norms
 * and statistics are passes of their own over each band.
 */
#include "vae/vae_engine.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "vae/fast_layers.h"

#include <math.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>
#include <stdint.h>
#include <string.h>

enum {
	MAX_PRIMITIVES = 64, /* a standard encoder has 20 for each size of image */
	MAX_LAYOUTS = 3,
	NOMINAL_SIZE = 64,	      /* of the map that decides the first layout of weights */
	MAX_QUERIES = 256,	      /* of attention at once */
	MAX_SCORES = 2 * 1024 * 1024, /* queries at once * tokens: 8 MiB */
	ALIGNMENT = 64,
};

#define BAND_FLOP 8e9 /* 40 ms on two cores with AVX-512 */

/* For functions that return a status: on with it, or back. */
#define TRY(call)                                                                                  \
	do {                                                                                       \
		dnnl_status_t try_status_ = (call);                                                \
		if (try_status_ != dnnl_success)                                                   \
			return try_status_;                                                        \
	} while (0)

/* -- what differs between oneDNN 2 and 3 ---------------------------------------------------------- */

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t md_ref;
#else
typedef const dnnl_memory_desc_t *md_ref;
#endif

/* A memory descriptor that is owned: opaque since version 3, a plain struct before. */
struct md {
	dnnl_memory_desc_t desc;
};

static dnnl_status_t md_init(struct md *md, int ndims, const dnnl_dims_t dims,
			     dnnl_format_tag_t tag)
{
#if DNNL_VERSION_MAJOR >= 3
	return dnnl_memory_desc_create_with_tag(&md->desc, ndims, dims, dnnl_f32, tag);
#else
	return dnnl_memory_desc_init_by_tag(&md->desc, ndims, dims, dnnl_f32, tag);
#endif
}

static void md_release(struct md *md)
{
#if DNNL_VERSION_MAJOR >= 3
	if (md->desc)
		dnnl_memory_desc_destroy(md->desc);
#else
	(void)md;
#endif
}

static md_ref md_get(const struct md *md)
{
#if DNNL_VERSION_MAJOR >= 3
	return md->desc;
#else
	return &md->desc;
#endif
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
#if DNNL_VERSION_MAJOR >= 3
	return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
#else
	return dnnl_post_ops_append_sum(ops, 1.0f);
#endif
}

static dnnl_status_t conv_desc_create(dnnl_primitive_desc_t *out, dnnl_engine_t engine, md_ref src,
				      md_ref weights, md_ref bias, md_ref dst,
				      const dnnl_dims_t strides, const dnnl_dims_t before,
				      const dnnl_dims_t after, dnnl_primitive_attr_t attr)
{
#if DNNL_VERSION_MAJOR >= 3
	static const dnnl_dims_t no_dilation = {0, 0};

	return dnnl_convolution_forward_primitive_desc_create(
	    out, engine, dnnl_forward_inference, dnnl_convolution_direct, src, weights, bias, dst,
	    strides, no_dilation, before, after, attr);
#else
	dnnl_convolution_desc_t desc;

	TRY(dnnl_convolution_forward_desc_init(&desc, dnnl_forward_inference,
					       dnnl_convolution_direct, src, weights, bias, dst,
					       strides, before, after));
	return dnnl_primitive_desc_create(out, &desc, attr, engine, NULL);
#endif
}

/* -- types --------------------------------------------------------------------------------------- */

static void desc_release(dnnl_primitive_desc_t *desc)
{
	if (*desc)
		dnnl_primitive_desc_destroy(*desc);
}

static void attr_release(dnnl_primitive_attr_t *attr)
{
	if (*attr)
		dnnl_primitive_attr_destroy(*attr);
}

static void post_ops_release(dnnl_post_ops_t *ops)
{
	if (*ops)
		dnnl_post_ops_destroy(*ops);
}

static void primitive_release(dnnl_primitive_t *primitive)
{
	if (*primitive)
		dnnl_primitive_destroy(*primitive);
}

static void memory_release(dnnl_memory_t *memory)
{
	if (*memory)
		dnnl_memory_destroy(*memory);
}

#define cleanup_md	  cleanup_with(md_release)
#define cleanup_desc	  cleanup_with(desc_release)
#define cleanup_attr	  cleanup_with(attr_release)
#define cleanup_post_ops  cleanup_with(post_ops_release)
#define cleanup_primitive cleanup_with(primitive_release)
#define cleanup_memory	  cleanup_with(memory_release)

/* What a convolution is compiled for: a band of @rows input rows, and zero rows above and below it. */
struct conv_key {
	struct conv_shape shape;
	size_t rows, width, above, below;
	bool accumulate;
};

/* A compiled convolution; the data handles of its memories are set for each run. */
struct conv_kernel {
	struct conv_key key;
	size_t last_used;
	dnnl_primitive_desc_t desc;
	dnnl_primitive_t primitive;
	dnnl_memory_t src, dst, scratch;
	size_t scratch_size;
};

struct onednn_conv {
	struct vae_conv base;
	dnnl_memory_t bias;
	dnnl_memory_t layouts[MAX_LAYOUTS]; /* of the weights; at least one */
	size_t n_layouts;
};

struct onednn_scratch {
	void *data;
	size_t size;
};

struct onednn_engine {
	struct vae_engine base;
	size_t threads;
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	struct conv_kernel kernels[MAX_PRIMITIVES];
	size_t n_kernels, clock;
	/* Of convolutions, statistics and attention, one after the other; and a normed band. */
	struct onednn_scratch scratch, normed;
};

static struct onednn_engine *onednn(struct vae_engine *engine)
{
	return (struct onednn_engine *)engine;
}

static int failed(dnnl_status_t status, const char *what, struct error *err)
{
	return error_set(err, status == dnnl_out_of_memory ? ERR_NOMEM : ERR_BUG, "oneDNN: %s: %s",
			 what, dnnl_status2str(status));
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

/* -- kernels ------------------------------------------------------------------------------------- */

/* The scratchpad is ours; the residual sum is a post-op. */
static dnnl_status_t attr_create(bool accumulate, dnnl_primitive_attr_t *out)
{
	cleanup_attr dnnl_primitive_attr_t attr = NULL;
	cleanup_post_ops dnnl_post_ops_t ops = NULL;

	TRY(dnnl_primitive_attr_create(&attr));
	TRY(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
	if (accumulate) {
		TRY(dnnl_post_ops_create(&ops));
		TRY(append_sum(ops));
		TRY(dnnl_primitive_attr_set_post_ops(attr, ops));
	}
	*out = TAKE(attr);
	return dnnl_success;
}

static dnnl_status_t kernel_desc(const struct onednn_engine *e, const struct conv_key *key,
				 dnnl_primitive_desc_t *out)
{
	const struct conv_shape *c = &key->shape;
	dnnl_dim_t k = (dnnl_dim_t)c->kernel, channels = (dnnl_dim_t)c->out;
	dnnl_dims_t src_dims = {1, (dnnl_dim_t)c->in, (dnnl_dim_t)key->rows,
				(dnnl_dim_t)key->width};
	size_t out_rows = (key->above + key->rows + key->below - c->kernel) / c->stride + 1;
	dnnl_dims_t dst_dims = {1, channels, (dnnl_dim_t)out_rows,
				(dnnl_dim_t)conv_out_size(c, key->width)};
	dnnl_dims_t weight_dims = {channels, (dnnl_dim_t)c->in, k, k}, bias_dims = {channels};
	dnnl_dims_t strides = {(dnnl_dim_t)c->stride, (dnnl_dim_t)c->stride};
	dnnl_dims_t before = {(dnnl_dim_t)key->above, (dnnl_dim_t)c->pad_before};
	dnnl_dims_t after = {(dnnl_dim_t)key->below, (dnnl_dim_t)c->pad_after};
	cleanup_md struct md src = {0}, dst = {0}, weights = {0}, bias = {0};
	cleanup_attr dnnl_primitive_attr_t attr = NULL;

	TRY(attr_create(key->accumulate, &attr));
	TRY(md_init(&src, 4, src_dims, dnnl_nhwc));
	TRY(md_init(&dst, 4, dst_dims, dnnl_nhwc));
	TRY(md_init(&weights, 4, weight_dims, dnnl_format_tag_any));
	TRY(md_init(&bias, 1, bias_dims, dnnl_x));
	return conv_desc_create(out, e->engine, md_get(&src), md_get(&weights), md_get(&bias),
				md_get(&dst), strides, before, after, attr);
}

static dnnl_status_t kernel_memory(const struct onednn_engine *e, const struct conv_kernel *k,
				   dnnl_query_t which, dnnl_memory_t *out)
{
	return dnnl_memory_create(out, dnnl_primitive_desc_query_md(k->desc, which, 0), e->engine,
				  DNNL_MEMORY_NONE);
}

static dnnl_status_t kernel_init(const struct onednn_engine *e, const struct conv_key *key,
				 struct conv_kernel *k)
{
	k->key = *key;
	TRY(kernel_desc(e, key, &k->desc));
	TRY(dnnl_primitive_create(&k->primitive, k->desc));
	TRY(kernel_memory(e, k, dnnl_query_src_md, &k->src));
	TRY(kernel_memory(e, k, dnnl_query_dst_md, &k->dst));
	TRY(kernel_memory(e, k, dnnl_query_scratchpad_md, &k->scratch));
	k->scratch_size = dnnl_memory_desc_get_size(
	    dnnl_primitive_desc_query_md(k->desc, dnnl_query_scratchpad_md, 0));
	return dnnl_success;
}

static void kernel_release(struct conv_kernel *k)
{
	memory_release(&k->src);
	memory_release(&k->dst);
	memory_release(&k->scratch);
	primitive_release(&k->primitive);
	desc_release(&k->desc);
}

static bool same_key(const struct conv_key *a, const struct conv_key *b)
{
	return a->shape.in == b->shape.in && a->shape.out == b->shape.out &&
	       a->shape.kernel == b->shape.kernel && a->shape.stride == b->shape.stride &&
	       a->shape.pad_before == b->shape.pad_before &&
	       a->shape.pad_after == b->shape.pad_after && a->rows == b->rows &&
	       a->width == b->width && a->above == b->above && a->below == b->below &&
	       a->accumulate == b->accumulate;
}

/* The kept kernel for @key, or a new one; NULL with *err. It is the engine's. */
static struct conv_kernel *kernel_get(struct onednn_engine *e, const struct conv_key *key,
				      struct error *err)
{
	struct conv_kernel fresh = {0}, *place = e->kernels;
	dnnl_status_t s;

	for (size_t i = 0; i < e->n_kernels; i++) {
		struct conv_kernel *k = &e->kernels[i];

		if (same_key(&k->key, key)) {
			k->last_used = ++e->clock;
			return k;
		}
		if (k->last_used < place->last_used)
			place = k;
	}
	s = kernel_init(e, key, &fresh);
	if (s != dnnl_success) {
		kernel_release(&fresh);
		failed(s, "compile a convolution", err);
		return NULL;
	}
	if (e->n_kernels < MAX_PRIMITIVES)
		place = &e->kernels[e->n_kernels++];
	else
		kernel_release(place);
	*place = fresh;
	place->last_used = ++e->clock;
	return place;
}

/* -- weights ------------------------------------------------------------------------------------- */

/* A copy of @from in the layout @want. */
static dnnl_status_t reorder(const struct onednn_engine *e, dnnl_memory_t from, md_ref want,
			     dnnl_memory_t *out)
{
	cleanup_memory dnnl_memory_t to = NULL;
	cleanup_desc dnnl_primitive_desc_t desc = NULL;
	cleanup_primitive dnnl_primitive_t primitive = NULL;
	dnnl_exec_arg_t args[2];
	md_ref have;

	TRY(dnnl_memory_create(&to, want, e->engine, DNNL_MEMORY_ALLOCATE));
	TRY(dnnl_memory_get_memory_desc(from, &have));
	TRY(dnnl_reorder_primitive_desc_create(&desc, have, e->engine, want, e->engine, NULL));
	TRY(dnnl_primitive_create(&primitive, desc));
	args[0] = (dnnl_exec_arg_t){DNNL_ARG_FROM, from};
	args[1] = (dnnl_exec_arg_t){DNNL_ARG_TO, to};
	TRY(dnnl_primitive_execute(primitive, e->stream, 2, args));
	TRY(dnnl_stream_wait(e->stream));
	*out = TAKE(to);
	return dnnl_success;
}

/* The layer's weights in the layout @want, made now if it is the first to ask. */
static dnnl_status_t weights_get(const struct onednn_engine *e, struct onednn_conv *conv,
				 md_ref want, dnnl_memory_t *out)
{
	dnnl_memory_t fresh;

	for (size_t i = 0; i < conv->n_layouts; i++) {
		md_ref have;

		TRY(dnnl_memory_get_memory_desc(conv->layouts[i], &have));
		if (dnnl_memory_desc_equal(have, want)) {
			*out = conv->layouts[i];
			return dnnl_success;
		}
	}
	TRY(reorder(e, conv->layouts[0], want, &fresh));
	if (conv->n_layouts == MAX_LAYOUTS)
		dnnl_memory_destroy(conv->layouts[--conv->n_layouts]);
	conv->layouts[conv->n_layouts++] = fresh;
	*out = fresh;
	return dnnl_success;
}

/* Weights and bias from what PyTorch has, the weights as a map of nominal size wants them. */
static dnnl_status_t weights_init(const struct onednn_engine *e, struct onednn_conv *conv,
				  const float *weight, const float *bias)
{
	const struct conv_shape *c = &conv->base.shape;
	struct conv_key nominal = {*c,		 NOMINAL_SIZE, NOMINAL_SIZE, c->pad_before,
				   c->pad_after, false};
	dnnl_dim_t k = (dnnl_dim_t)c->kernel;
	dnnl_dims_t weight_dims = {(dnnl_dim_t)c->out, (dnnl_dim_t)c->in, k, k};
	dnnl_dims_t bias_dims = {(dnnl_dim_t)c->out};
	cleanup_md struct md weight_md = {0}, bias_md = {0};
	cleanup_memory dnnl_memory_t plain_weight = NULL, plain_bias = NULL;
	cleanup_desc dnnl_primitive_desc_t desc = NULL;

	TRY(md_init(&weight_md, 4, weight_dims, dnnl_oihw));
	TRY(md_init(&bias_md, 1, bias_dims, dnnl_x));
	/* the API has no const; a reorder does not write its source */
	TRY(dnnl_memory_create(&plain_weight, md_get(&weight_md), e->engine,
			       (void *)(uintptr_t)weight));
	TRY(dnnl_memory_create(&plain_bias, md_get(&bias_md), e->engine, (void *)(uintptr_t)bias));
	TRY(kernel_desc(e, &nominal, &desc));
	TRY(reorder(e, plain_bias, md_get(&bias_md), &conv->bias));
	TRY(reorder(e, plain_weight, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0),
		    &conv->layouts[0]));
	conv->n_layouts = 1;
	return dnnl_success;
}

/* -- operations ---------------------------------------------------------------------------------- */

static void onednn_close(struct vae_engine *engine)
{
	struct onednn_engine *e = onednn(engine);

	if (!e)
		return;
	for (size_t i = 0; i < e->n_kernels; i++)
		kernel_release(&e->kernels[i]);
	if (e->stream)
		dnnl_stream_destroy(e->stream);
	if (e->engine)
		dnnl_engine_destroy(e->engine);
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
	/* oneDNN's own cache would keep every kernel ever compiled, up to 1024 */
	dnnl_status_t s = dnnl_set_primitive_cache_capacity(0);

	e->base.ops = &vae_engine_onednn;
	e->threads = threads ? threads : (size_t)omp_get_num_procs();
	/* a recipe says float32: DNNL_DEFAULT_FPMATH_MODE may not make it less */
	if (s == dnnl_success)
		s = dnnl_set_default_fpmath_mode(dnnl_fpmath_mode_strict);
	if (s == dnnl_success)
		s = dnnl_engine_create(&e->engine, dnnl_cpu, 0);
	if (s == dnnl_success)
		s = dnnl_stream_create(&e->stream, e->engine, dnnl_stream_default_flags);
	if (s != dnnl_success) {
		onednn_close(&e->base);
		return failed(s, "open", err);
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
	for (size_t i = 0; i < conv->n_layouts; i++)
		dnnl_memory_destroy(conv->layouts[i]);
	memory_release(&conv->bias);
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
	s = weights_init(onednn(engine), conv, weight, bias);
	if (s != dnnl_success) {
		onednn_conv_free(engine, &conv->base);
		return failed(s, "lay out weights", err);
	}
	*out = &conv->base;
	return 0;
}

static dnnl_status_t conv_execute(const struct onednn_engine *e, struct onednn_conv *conv,
				  const struct conv_kernel *k, float *out, const float *in)
{
	md_ref want = dnnl_primitive_desc_query_md(k->desc, dnnl_query_weights_md, 0);
	dnnl_memory_t weights = NULL;

	TRY(weights_get(e, conv, want, &weights));
	TRY(dnnl_memory_set_data_handle(k->src, (void *)(uintptr_t)in));
	TRY(dnnl_memory_set_data_handle(k->dst, out));
	TRY(dnnl_memory_set_data_handle(k->scratch, e->scratch.data));
	{
		dnnl_exec_arg_t args[] = {
		    {DNNL_ARG_SRC, k->src},
		    {DNNL_ARG_WEIGHTS, weights},
		    {DNNL_ARG_BIAS, conv->bias},
		    {DNNL_ARG_DST, k->dst},
		    {DNNL_ARG_SCRATCHPAD, k->scratch},
		};

		TRY(dnnl_primitive_execute(k->primitive, e->stream, ARRAY_SIZE(args), args));
	}
	return dnnl_stream_wait(e->stream);
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
	k = kernel_get(e, &key, err);
	if (!in || !k || want_scratch(&e->scratch, k->scratch_size, err) < 0)
		return -1;
	status = conv_execute(e, conv, k, out, in);
	if (status != dnnl_success)
		return failed(status, "convolution", err);
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

	TRY(dnnl_sgemm('N', 'T', rows, t, width, scale, q, width, k, width, 0, scores, t));
	fast_softmax_numerators(scores, sums, n, tokens, e->threads);
	TRY(dnnl_sgemm('N', 'N', rows, width, t, 1, scores, t, v, width, 0, out, width));
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
			return failed(s, "attention", err);
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
