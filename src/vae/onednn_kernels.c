#include "vae/onednn_kernels.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <oneapi/dnnl/dnnl_debug.h>
#include <stdint.h>

enum { NOMINAL_SIZE = 64 /* of the map that decides the first layout of weights */ };

/* -- what differs between oneDNN 2 and 3 ---------------------------------------------------------- */

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

	ONEDNN_TRY(dnnl_convolution_forward_desc_init(&desc, dnnl_forward_inference,
						      dnnl_convolution_direct, src, weights, bias,
						      dst, strides, before, after));
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

int onednn_failed(dnnl_status_t status, const char *what, struct error *err)
{
	return error_set(err, status == dnnl_out_of_memory ? ERR_NOMEM : ERR_BUG, "oneDNN: %s: %s",
			 what, dnnl_status2str(status));
}

/* -- kernels ------------------------------------------------------------------------------------- */

/* The scratchpad is ours; the residual sum is a post-op. */
static dnnl_status_t attr_create(bool accumulate, dnnl_primitive_attr_t *out)
{
	cleanup_attr dnnl_primitive_attr_t attr = NULL;
	cleanup_post_ops dnnl_post_ops_t ops = NULL;

	ONEDNN_TRY(dnnl_primitive_attr_create(&attr));
	ONEDNN_TRY(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
	if (accumulate) {
		ONEDNN_TRY(dnnl_post_ops_create(&ops));
		ONEDNN_TRY(append_sum(ops));
		ONEDNN_TRY(dnnl_primitive_attr_set_post_ops(attr, ops));
	}
	*out = TAKE(attr);
	return dnnl_success;
}

static dnnl_status_t kernel_desc(const struct onednn_kernels *e, const struct conv_key *key,
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

	ONEDNN_TRY(attr_create(key->accumulate, &attr));
	ONEDNN_TRY(md_init(&src, 4, src_dims, dnnl_nhwc));
	ONEDNN_TRY(md_init(&dst, 4, dst_dims, dnnl_nhwc));
	ONEDNN_TRY(md_init(&weights, 4, weight_dims, dnnl_format_tag_any));
	ONEDNN_TRY(md_init(&bias, 1, bias_dims, dnnl_x));
	return conv_desc_create(out, e->engine, md_get(&src), md_get(&weights), md_get(&bias),
				md_get(&dst), strides, before, after, attr);
}

static dnnl_status_t kernel_memory(const struct onednn_kernels *e, const struct conv_kernel *k,
				   dnnl_query_t which, dnnl_memory_t *out)
{
	return dnnl_memory_create(out, dnnl_primitive_desc_query_md(k->desc, which, 0), e->engine,
				  DNNL_MEMORY_NONE);
}

static dnnl_status_t kernel_init(const struct onednn_kernels *e, const struct conv_key *key,
				 struct conv_kernel *k)
{
	k->key = *key;
	ONEDNN_TRY(kernel_desc(e, key, &k->desc));
	ONEDNN_TRY(dnnl_primitive_create(&k->primitive, k->desc));
	ONEDNN_TRY(kernel_memory(e, k, dnnl_query_src_md, &k->src));
	ONEDNN_TRY(kernel_memory(e, k, dnnl_query_dst_md, &k->dst));
	ONEDNN_TRY(kernel_memory(e, k, dnnl_query_scratchpad_md, &k->scratch));
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

struct conv_kernel *onednn_kernel_get(struct onednn_kernels *e, const struct conv_key *key,
				      struct error *err)
{
	struct conv_kernel fresh = {0}, *place = e->list;
	dnnl_status_t s;

	for (size_t i = 0; i < e->n; i++) {
		struct conv_kernel *k = &e->list[i];

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
		onednn_failed(s, "compile a convolution", err);
		return NULL;
	}
	if (e->n < ONEDNN_PRIMITIVES)
		place = &e->list[e->n++];
	else
		kernel_release(place);
	*place = fresh;
	place->last_used = ++e->clock;
	return place;
}

dnnl_status_t onednn_kernels_open(struct onednn_kernels *e)
{
	/* oneDNN's own cache would keep every kernel ever compiled, up to 1024 */
	ONEDNN_TRY(dnnl_set_primitive_cache_capacity(0));
	/* a recipe says float32: DNNL_DEFAULT_FPMATH_MODE may not make it less */
	ONEDNN_TRY(dnnl_set_default_fpmath_mode(dnnl_fpmath_mode_strict));
	ONEDNN_TRY(dnnl_engine_create(&e->engine, dnnl_cpu, 0));
	return dnnl_stream_create(&e->stream, e->engine, dnnl_stream_default_flags);
}

void onednn_kernels_close(struct onednn_kernels *e)
{
	for (size_t i = 0; i < e->n; i++)
		kernel_release(&e->list[i]);
	if (e->stream)
		dnnl_stream_destroy(e->stream);
	if (e->engine)
		dnnl_engine_destroy(e->engine);
}

/* -- weights ------------------------------------------------------------------------------------- */

/* A copy of @from in the layout @want. */
static dnnl_status_t reorder(const struct onednn_kernels *e, dnnl_memory_t from, md_ref want,
			     dnnl_memory_t *out)
{
	cleanup_memory dnnl_memory_t to = NULL;
	cleanup_desc dnnl_primitive_desc_t desc = NULL;
	cleanup_primitive dnnl_primitive_t primitive = NULL;
	dnnl_exec_arg_t args[2];
	md_ref have;

	ONEDNN_TRY(dnnl_memory_create(&to, want, e->engine, DNNL_MEMORY_ALLOCATE));
	ONEDNN_TRY(dnnl_memory_get_memory_desc(from, &have));
	ONEDNN_TRY(
	    dnnl_reorder_primitive_desc_create(&desc, have, e->engine, want, e->engine, NULL));
	ONEDNN_TRY(dnnl_primitive_create(&primitive, desc));
	args[0] = (dnnl_exec_arg_t){DNNL_ARG_FROM, from};
	args[1] = (dnnl_exec_arg_t){DNNL_ARG_TO, to};
	ONEDNN_TRY(dnnl_primitive_execute(primitive, e->stream, 2, args));
	ONEDNN_TRY(dnnl_stream_wait(e->stream));
	*out = TAKE(to);
	return dnnl_success;
}

dnnl_status_t onednn_weights_get(const struct onednn_kernels *e, struct onednn_weights *w,
				 md_ref want, dnnl_memory_t *out)
{
	dnnl_memory_t fresh;

	for (size_t i = 0; i < w->n; i++) {
		md_ref have;

		ONEDNN_TRY(dnnl_memory_get_memory_desc(w->layouts[i], &have));
		if (dnnl_memory_desc_equal(have, want)) {
			*out = w->layouts[i];
			return dnnl_success;
		}
	}
	ONEDNN_TRY(reorder(e, w->layouts[0], want, &fresh));
	if (w->n == ONEDNN_LAYOUTS)
		dnnl_memory_destroy(w->layouts[--w->n]);
	w->layouts[w->n++] = fresh;
	*out = fresh;
	return dnnl_success;
}

dnnl_status_t onednn_weights_init(const struct onednn_kernels *e, const struct conv_shape *c,
				  struct onednn_weights *w, const float *weight, const float *bias)
{
	struct conv_key nominal = {*c,		 NOMINAL_SIZE, NOMINAL_SIZE, c->pad_before,
				   c->pad_after, false};
	dnnl_dim_t k = (dnnl_dim_t)c->kernel;
	dnnl_dims_t weight_dims = {(dnnl_dim_t)c->out, (dnnl_dim_t)c->in, k, k};
	dnnl_dims_t bias_dims = {(dnnl_dim_t)c->out};
	cleanup_md struct md weight_md = {0}, bias_md = {0};
	cleanup_memory dnnl_memory_t plain_weight = NULL, plain_bias = NULL;
	cleanup_desc dnnl_primitive_desc_t desc = NULL;

	ONEDNN_TRY(md_init(&weight_md, 4, weight_dims, dnnl_oihw));
	ONEDNN_TRY(md_init(&bias_md, 1, bias_dims, dnnl_x));
	/* the API has no const; a reorder does not write its source */
	ONEDNN_TRY(dnnl_memory_create(&plain_weight, md_get(&weight_md), e->engine,
				      (void *)(uintptr_t)weight));
	ONEDNN_TRY(
	    dnnl_memory_create(&plain_bias, md_get(&bias_md), e->engine, (void *)(uintptr_t)bias));
	ONEDNN_TRY(kernel_desc(e, &nominal, &desc));
	ONEDNN_TRY(reorder(e, plain_bias, md_get(&bias_md), &w->bias));
	ONEDNN_TRY(reorder(e, plain_weight,
			   dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0),
			   &w->layouts[0]));
	w->n = 1;
	return dnnl_success;
}

void onednn_weights_release(struct onednn_weights *w)
{
	for (size_t i = 0; i < w->n; i++)
		dnnl_memory_destroy(w->layouts[i]);
	memory_release(&w->bias);
}
