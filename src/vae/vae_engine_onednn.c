/*
 * The layers on oneDNN's C API, versions 2 and 3; the only file that includes its header.
 *
 * Maps are plain NHWC, so that nothing is reordered between layers. A convolution's primitive (the
 * compiled kernel) depends on the layer's shape and on the size of the map, not on its weights: layers
 * of one shape share it, and a bounded number is kept, the least recently used one leaving first. Each layer holds its
 * weights in the layout that its primitives ask for: one copy, or one for each layout where sizes
 * differ in it.
 */
#include "vae/vae_engine.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "vae/fast_layers.h"

#include <math.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>
#include <string.h>

enum {
	MAX_PRIMITIVES = 256, /* a standard encoder has 20 for each size of image */
	MAX_LAYOUTS = 4,
	MAX_QUERIES = 256,		/* of attention at once */
	MAX_SCORES = 2 * 1024 * 1024,	/* 8 MiB: queries at once * tokens */
	ALIGNMENT = 64,
};

/* -- what differs between oneDNN 2 and 3 ---------------------------------------------------------- */

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t md_ref;
#else
typedef const dnnl_memory_desc_t *md_ref;
#endif

/* A memory descriptor that is owned. */
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
	dnnl_status_t status = dnnl_convolution_forward_desc_init(
	    &desc, dnnl_forward_inference, dnnl_convolution_direct, src, weights, bias, dst,
	    strides, before, after);

	if (status != dnnl_success)
		return status;
	return dnnl_primitive_desc_create(out, &desc, attr, engine, NULL);
#endif
}

/* -- types --------------------------------------------------------------------------------------- */

/* What a primitive was compiled for. */
struct conv_key {
	struct conv_shape shape;
	size_t height, width;
	bool accumulate;
};

struct conv_primitive {
	struct conv_key key;
	size_t last_used;
	dnnl_primitive_t primitive;
	dnnl_primitive_desc_t desc;
	dnnl_memory_t src, dst, scratch; /* handles are set for each run */
	size_t scratch_size;
};

struct onednn_conv {
	struct vae_conv base;
	float *bias;
	dnnl_memory_t bias_memory;
	dnnl_memory_t plain;		      /* as PyTorch has it, until a layout is known */
	dnnl_memory_t layouts[MAX_LAYOUTS];
	size_t n_layouts;
};

struct onednn_engine {
	struct vae_engine base;
	size_t threads;
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	struct conv_primitive primitives[MAX_PRIMITIVES];
	size_t n_primitives, clock;
	void *scratch; /* of convolutions, norms and attention, one after the other */
	size_t scratch_size;
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

static int want_scratch(struct onednn_engine *e, size_t bytes, struct error *err)
{
	void *fresh;

	if (bytes <= e->scratch_size)
		return 0;
	fresh = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
	if (!fresh)
		return error_set(err, ERR_NOMEM, "no memory for %zu bytes of scratch", bytes);
	free(e->scratch);
	e->scratch = fresh;
	e->scratch_size = bytes;
	return 0;
}

/* -- primitives ---------------------------------------------------------------------------------- */

static void primitive_release(struct conv_primitive *p)
{
	if (p->src)
		dnnl_memory_destroy(p->src);
	if (p->dst)
		dnnl_memory_destroy(p->dst);
	if (p->scratch)
		dnnl_memory_destroy(p->scratch);
	if (p->primitive)
		dnnl_primitive_destroy(p->primitive);
	if (p->desc)
		dnnl_primitive_desc_destroy(p->desc);
	memset(p, 0, sizeof(*p));
}

/* Scratch memory is ours (@attr says so); the residual sum is a post-op. */
static dnnl_status_t attr_create(bool accumulate, dnnl_primitive_attr_t *out)
{
	dnnl_post_ops_t ops = NULL;
	dnnl_status_t s = dnnl_primitive_attr_create(out);

	if (s == dnnl_success)
		s = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
	if (s != dnnl_success || !accumulate)
		return s;
	s = dnnl_post_ops_create(&ops);
	if (s == dnnl_success)
		s = append_sum(ops);
	if (s == dnnl_success)
		s = dnnl_primitive_attr_set_post_ops(*out, ops);
	if (ops)
		dnnl_post_ops_destroy(ops);
	return s;
}

static dnnl_status_t primitive_desc_create(const struct onednn_engine *e,
					   const struct conv_key *key, dnnl_primitive_desc_t *out)
{
	const struct conv_shape *c = &key->shape;
	dnnl_dim_t k = (dnnl_dim_t)c->kernel, in = (dnnl_dim_t)c->in, channels = (dnnl_dim_t)c->out;
	dnnl_dims_t src_dims = {1, in, (dnnl_dim_t)key->height, (dnnl_dim_t)key->width};
	dnnl_dims_t dst_dims = {1, channels, (dnnl_dim_t)conv_out_size(c, key->height),
				(dnnl_dim_t)conv_out_size(c, key->width)};
	dnnl_dims_t weight_dims = {channels, in, k, k}, bias_dims = {channels};
	dnnl_dims_t strides = {(dnnl_dim_t)c->stride, (dnnl_dim_t)c->stride};
	dnnl_dims_t before = {(dnnl_dim_t)c->pad_before, (dnnl_dim_t)c->pad_before};
	dnnl_dims_t after = {(dnnl_dim_t)c->pad_after, (dnnl_dim_t)c->pad_after};
	struct md src = {0}, dst = {0}, weights = {0}, bias = {0};
	dnnl_primitive_attr_t attr = NULL;
	dnnl_status_t s = attr_create(key->accumulate, &attr);

	if (s == dnnl_success)
		s = md_init(&src, 4, src_dims, dnnl_nhwc);
	if (s == dnnl_success)
		s = md_init(&dst, 4, dst_dims, dnnl_nhwc);
	if (s == dnnl_success)
		s = md_init(&weights, 4, weight_dims, dnnl_format_tag_any);
	if (s == dnnl_success)
		s = md_init(&bias, 1, bias_dims, dnnl_x);
	if (s == dnnl_success)
		s = conv_desc_create(out, e->engine, md_get(&src), md_get(&weights), md_get(&bias),
				     md_get(&dst), strides, before, after, attr);
	md_release(&src);
	md_release(&dst);
	md_release(&weights);
	md_release(&bias);
	if (attr)
		dnnl_primitive_attr_destroy(attr);
	return s;
}

static dnnl_status_t primitive_init(const struct onednn_engine *e, const struct conv_key *key,
				    struct conv_primitive *p)
{
	md_ref scratch;
	dnnl_status_t s = primitive_desc_create(e, key, &p->desc);

	p->key = *key;
	if (s == dnnl_success)
		s = dnnl_primitive_create(&p->primitive, p->desc);
	if (s == dnnl_success)
		s = dnnl_memory_create(&p->src,
				       dnnl_primitive_desc_query_md(p->desc, dnnl_query_src_md, 0),
				       e->engine, DNNL_MEMORY_NONE);
	if (s == dnnl_success)
		s = dnnl_memory_create(&p->dst,
				       dnnl_primitive_desc_query_md(p->desc, dnnl_query_dst_md, 0),
				       e->engine, DNNL_MEMORY_NONE);
	if (s != dnnl_success)
		return s;
	scratch = dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0);
	p->scratch_size = dnnl_memory_desc_get_size(scratch);
	return dnnl_memory_create(&p->scratch, scratch, e->engine, DNNL_MEMORY_NONE);
}

static bool same_key(const struct conv_key *a, const struct conv_key *b)
{
	return a->shape.in == b->shape.in && a->shape.out == b->shape.out &&
	       a->shape.kernel == b->shape.kernel && a->shape.stride == b->shape.stride &&
	       a->shape.pad_before == b->shape.pad_before &&
	       a->shape.pad_after == b->shape.pad_after && a->height == b->height &&
	       a->width == b->width && a->accumulate == b->accumulate;
}

/* The kept primitive for @key, or a new one; NULL with *err. It is the engine's. */
static struct conv_primitive *primitive_get(struct onednn_engine *e, const struct conv_key *key,
					    struct error *err)
{
	struct conv_primitive fresh = {0}, *oldest = e->primitives;
	dnnl_status_t s;

	for (size_t i = 0; i < e->n_primitives; i++) {
		struct conv_primitive *p = &e->primitives[i];

		if (same_key(&p->key, key)) {
			p->last_used = ++e->clock;
			return p;
		}
		if (p->last_used < oldest->last_used)
			oldest = p;
	}
	s = primitive_init(e, key, &fresh);
	if (s != dnnl_success) {
		primitive_release(&fresh);
		failed(s, "compile a convolution", err);
		return NULL;
	}
	if (e->n_primitives < MAX_PRIMITIVES)
		oldest = &e->primitives[e->n_primitives++];
	else
		primitive_release(oldest);
	*oldest = fresh;
	oldest->last_used = ++e->clock;
	return oldest;
}

/* -- weights ------------------------------------------------------------------------------------- */

static void onednn_conv_free(struct vae_engine *engine, struct vae_conv *base)
{
	struct onednn_conv *conv = (struct onednn_conv *)base;

	(void)engine;
	if (!conv)
		return;
	for (size_t i = 0; i < conv->n_layouts; i++)
		dnnl_memory_destroy(conv->layouts[i]);
	if (conv->plain)
		dnnl_memory_destroy(conv->plain);
	if (conv->bias_memory)
		dnnl_memory_destroy(conv->bias_memory);
	free(conv->bias);
	free(conv);
}

/* Weights and bias as they come, in memory of oneDNN's own. */
static dnnl_status_t weights_copy(const struct onednn_engine *e, struct onednn_conv *conv,
				  const float *weight, const float *bias)
{
	const struct conv_shape *c = &conv->base.shape;
	dnnl_dim_t k = (dnnl_dim_t)c->kernel;
	dnnl_dims_t weight_dims = {(dnnl_dim_t)c->out, (dnnl_dim_t)c->in, k, k};
	dnnl_dims_t bias_dims = {(dnnl_dim_t)c->out};
	struct md weight_md = {0}, bias_md = {0};
	void *data = NULL;
	dnnl_status_t s = md_init(&weight_md, 4, weight_dims, dnnl_oihw);

	if (s == dnnl_success)
		s = md_init(&bias_md, 1, bias_dims, dnnl_x);
	if (s == dnnl_success)
		s = dnnl_memory_create(&conv->plain, md_get(&weight_md), e->engine,
				       DNNL_MEMORY_ALLOCATE);
	if (s == dnnl_success)
		s = dnnl_memory_get_data_handle(conv->plain, &data);
	if (s == dnnl_success) {
		memcpy(data, weight, c->out * c->in * c->kernel * c->kernel * sizeof(float));
		memcpy(conv->bias, bias, c->out * sizeof(float));
		s = dnnl_memory_create(&conv->bias_memory, md_get(&bias_md), e->engine, conv->bias);
	}
	md_release(&weight_md);
	md_release(&bias_md);
	return s;
}

static int onednn_conv_new(struct vae_engine *engine, const struct conv_shape *shape,
			   const float *weight, const float *bias, struct vae_conv **out,
			   struct error *err)
{
	struct onednn_conv *conv = xcalloc(1, sizeof(*conv));
	dnnl_status_t s;

	conv->base.shape = *shape;
	conv->bias = xcalloc(shape->out, sizeof(float));
	s = weights_copy(onednn(engine), conv, weight, bias);
	if (s != dnnl_success) {
		onednn_conv_free(engine, &conv->base);
		return failed(s, "copy weights", err);
	}
	*out = &conv->base;
	return 0;
}

static dnnl_status_t reorder(const struct onednn_engine *e, dnnl_memory_t from, dnnl_memory_t to)
{
	dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
	dnnl_primitive_desc_t desc = NULL;
	dnnl_primitive_t primitive = NULL;
	md_ref from_md, to_md;
	dnnl_status_t s = dnnl_memory_get_memory_desc(from, &from_md);

	if (s == dnnl_success)
		s = dnnl_memory_get_memory_desc(to, &to_md);
	if (s == dnnl_success)
		s = dnnl_reorder_primitive_desc_create(&desc, from_md, e->engine, to_md, e->engine,
						       NULL);
	if (s == dnnl_success)
		s = dnnl_primitive_create(&primitive, desc);
	if (s == dnnl_success)
		s = dnnl_primitive_execute(primitive, e->stream, 2, args);
	if (s == dnnl_success)
		s = dnnl_stream_wait(e->stream);
	if (primitive)
		dnnl_primitive_destroy(primitive);
	if (desc)
		dnnl_primitive_desc_destroy(desc);
	return s;
}

/* The layer's weights in the layout @want, made now if it is the first to ask. */
static dnnl_status_t weights_get(const struct onednn_engine *e, struct onednn_conv *conv,
				 md_ref want, dnnl_memory_t *out)
{
	dnnl_memory_t fresh = NULL;
	dnnl_status_t s;

	for (size_t i = 0; i < conv->n_layouts; i++) {
		md_ref have;

		s = dnnl_memory_get_memory_desc(conv->layouts[i], &have);
		if (s != dnnl_success)
			return s;
		if (dnnl_memory_desc_equal(have, want)) {
			*out = conv->layouts[i];
			return dnnl_success;
		}
	}
	if (conv->n_layouts == MAX_LAYOUTS) /* the last one's place is good enough */
		dnnl_memory_destroy(conv->layouts[--conv->n_layouts]);
	s = dnnl_memory_create(&fresh, want, e->engine, DNNL_MEMORY_ALLOCATE);
	if (s != dnnl_success)
		return s;
	s = reorder(e, conv->plain ? conv->plain : conv->layouts[0], fresh);
	if (s != dnnl_success) {
		dnnl_memory_destroy(fresh);
		return s;
	}
	if (conv->plain)
		dnnl_memory_destroy(conv->plain);
	conv->plain = NULL;
	conv->layouts[conv->n_layouts++] = fresh;
	*out = fresh;
	return dnnl_success;
}

/* -- operations ---------------------------------------------------------------------------------- */

static void onednn_close(struct vae_engine *engine)
{
	struct onednn_engine *e = onednn(engine);

	if (!e)
		return;
	for (size_t i = 0; i < e->n_primitives; i++)
		primitive_release(&e->primitives[i]);
	if (e->stream)
		dnnl_stream_destroy(e->stream);
	if (e->engine)
		dnnl_engine_destroy(e->engine);
	free(e->scratch);
	free(e);
}

static int onednn_open(size_t threads, struct vae_engine **out, struct error *err)
{
	struct onednn_engine *e = xcalloc(1, sizeof(*e));
	dnnl_status_t s = dnnl_engine_create(&e->engine, dnnl_cpu, 0);

	e->base.ops = &vae_engine_onednn;
	e->threads = threads ? threads : (size_t)omp_get_num_procs();
	if (s == dnnl_success)
		s = dnnl_stream_create(&e->stream, e->engine, dnnl_stream_default_flags);
	if (s != dnnl_success) {
		onednn_close(&e->base);
		return failed(s, "open", err);
	}
	*out = &e->base;
	return 0;
}

static dnnl_status_t conv_execute(struct onednn_engine *e, const struct onednn_conv *conv,
				  struct conv_primitive *p, dnnl_memory_t weights, float *out,
				  const float *in)
{
	dnnl_exec_arg_t args[] = {
	    {DNNL_ARG_SRC, p->src},   {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_BIAS, conv->bias_memory},
	    {DNNL_ARG_DST, p->dst},   {DNNL_ARG_SCRATCHPAD, p->scratch},
	};
	/* the API has no const; a convolution does not write its source */
	dnnl_status_t s = dnnl_memory_set_data_handle(p->src, (void *)(uintptr_t)in);

	if (s == dnnl_success)
		s = dnnl_memory_set_data_handle(p->dst, out);
	if (s == dnnl_success)
		s = dnnl_memory_set_data_handle(p->scratch, e->scratch);
	if (s == dnnl_success)
		s = dnnl_primitive_execute(p->primitive, e->stream, ARRAY_SIZE(args), args);
	if (s == dnnl_success)
		s = dnnl_stream_wait(e->stream);
	return s;
}

static int onednn_conv(struct vae_engine *engine, struct vae_conv *base, float *out,
		       const float *in, size_t height, size_t width, bool accumulate,
		       struct error *err)
{
	struct onednn_engine *e = onednn(engine);
	struct onednn_conv *conv = (struct onednn_conv *)base;
	struct conv_key key = {base->shape, height, width, accumulate};
	struct conv_primitive *p;
	dnnl_memory_t weights = NULL;
	dnnl_status_t s;

	enter(e);
	p = primitive_get(e, &key, err);
	if (!p || want_scratch(e, p->scratch_size, err) < 0)
		return -1;
	s = weights_get(e, conv, dnnl_primitive_desc_query_md(p->desc, dnnl_query_weights_md, 0),
			&weights);
	if (s != dnnl_success)
		return failed(s, "lay out weights", err);
	s = conv_execute(e, conv, p, weights, out, in);
	if (s != dnnl_success)
		return failed(s, "convolution", err);
	return 0;
}

static int onednn_group_norm(struct vae_engine *engine, float *out, const float *in, size_t pixels,
			     size_t channels, size_t groups, float eps, const float *weight,
			     const float *bias, bool silu, struct error *err)
{
	struct onednn_engine *e = onednn(engine);
	size_t scratch = fast_group_norm_scratch(pixels, channels) * sizeof(double);

	if (want_scratch(e, scratch, err) < 0)
		return -1;
	fast_group_norm(out, in, pixels, channels, groups, eps, weight, bias, silu, e->scratch,
			e->threads);
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
	float *scores = e->scratch, *sums = scores + n * tokens;
	float scale = (float)(1 / sqrt((double)c));
	dnnl_status_t s;

	s = dnnl_sgemm('N', 'T', rows, t, width, scale, q, width, k, width, 0, scores, t);
	if (s != dnnl_success)
		return s;
	fast_softmax_numerators(scores, sums, n, tokens, e->threads);
	s = dnnl_sgemm('N', 'N', rows, width, t, 1, scores, t, v, width, 0, out, width);
	if (s == dnnl_success)
		fast_divide_rows(out, sums, n, c);
	return s;
}

static int onednn_attention(struct vae_engine *engine, float *out, const float *q, const float *k,
			    const float *v, size_t tokens, size_t c, struct error *err)
{
	struct onednn_engine *e = onednn(engine);
	size_t step = queries_at_once(tokens);

	enter(e);
	if (want_scratch(e, step * (tokens + 1) * sizeof(float), err) < 0)
		return -1;
	for (size_t first = 0; first < tokens; first += step) {
		size_t n = tokens - first < step ? tokens - first : step;
		dnnl_status_t s =
		    attend(e, out + first * c, q + first * c, k, v, n, tokens, c);

		if (s != dnnl_success)
			return failed(s, "attention", err);
	}
	return 0;
}

static size_t onednn_scratch_bytes(size_t pixels, size_t channels, size_t tokens, size_t c)
{
	size_t norm = fast_group_norm_scratch(pixels, channels) * sizeof(double);
	size_t scores = c ? queries_at_once(tokens) * (tokens + 1) * sizeof(float) : 0;

	return norm > scores ? norm : scores;
}

const struct vae_engine_ops vae_engine_onednn = {
    .name = "onednn",
    .open = onednn_open,
    .close = onednn_close,
    .conv_new = onednn_conv_new,
    .conv_free = onednn_conv_free,
    .conv = onednn_conv,
    .group_norm = onednn_group_norm,
    .attention = onednn_attention,
    .scratch_bytes = onednn_scratch_bytes,
};
