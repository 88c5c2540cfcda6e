/*
 * A convolution is what cuDNN fuses best: with bias and residual in one kernel where an engine does that, else plain with
 * kernels_add() behind it. Which is faster is timed, the winner's variant and place among cuDNN's proposals go into the
 * cache. Convolutions and products follow each other on one stream, so they share one workspace.
 */
#include "device_cuda.h"

#include "algo_cache.h"
#include "conv_graph.h"
#include "kernels.h"
#include "lt_product.h"
#include "plugin_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMED_FUSED = 4, TIMED_PLAIN = 8, REPEATS = 3 };

#define DEFAULT_WORKSPACE ((size_t)512 << 20)

struct device_cuda {
	struct gpu_device base;
	int index;
	size_t most_workspace;
	cudaStream_t stream;
	cudaEvent_t begin, end;
	cudnnHandle_t cudnn;
	struct lt_products *products;
	struct algo_cache *cache;
	char *cache_path;
	char name[192];
	void *workspace;
	device_cuda_timing_fn timing;
	void *timing_arg;
};

struct gpu_conv {
	struct conv_problem problem; /* as it was asked for */
	enum conv_epilogue fused;    /* what the plan does of its epilogue */
	struct conv_plan *plan;
};

#define TRY(call)                                                                                  \
	do {                                                                                       \
		cudaError_t status_ = (call);                                                      \
		if (status_ != cudaSuccess)                                                        \
			return plugin_error_cuda(err, (int)status_, #call);                        \
	} while (0)

static struct device_cuda *cuda_of(struct gpu_device *d)
{
	return (struct device_cuda *)d;
}

/* -- devices -------------------------------------------------------------------------------------- */

int device_cuda_list(struct latentd_cuda_device *list, size_t max, size_t *n,
		     struct latentd_cuda_error *err)
{
	int count = 0, old = 0;

	TRY(cudaGetDeviceCount(&count));
	if (count == 0)
		return plugin_error_cuda(err, cudaErrorNoDevice, "looking for GPUs");
	TRY(cudaGetDevice(&old));
	for (int i = 0; i < count && (size_t)i < max; i++) {
		struct latentd_cuda_device *d = &list[i];
		struct cudaDeviceProp prop;
		size_t room = 0, total = 0;

		TRY(cudaGetDeviceProperties(&prop, i));
		TRY(cudaSetDevice(i));
		TRY(cudaMemGetInfo(&room, &total));
		*d = (struct latentd_cuda_device){.index = i,
						  .major = prop.major,
						  .minor = prop.minor,
						  .memory = total,
						  .memory_free = room};
		snprintf(d->name, sizeof(d->name), "%.127s", prop.name);
	}
	TRY(cudaSetDevice(old));
	*n = (size_t)count < max ? (size_t)count : max;
	return 0;
}

int device_cuda_use(struct gpu_device *d, struct latentd_cuda_error *err)
{
	TRY(cudaSetDevice(cuda_of(d)->index));
	return 0;
}

cudaStream_t device_cuda_stream(struct gpu_device *d)
{
	return cuda_of(d)->stream;
}

const char *device_cuda_name(const struct gpu_device *d)
{
	return ((const struct device_cuda *)d)->name;
}

void device_cuda_timings(struct gpu_device *d, device_cuda_timing_fn timing, void *arg)
{
	cuda_of(d)->timing = timing;
	cuda_of(d)->timing_arg = arg;
}

/* -- memory --------------------------------------------------------------------------------------- */

static void *cuda_alloc(struct gpu_device *d, size_t bytes, struct latentd_cuda_error *err)
{
	void *p = NULL;
	cudaError_t status = cudaMalloc(&p, bytes ? bytes : 1);

	(void)d;
	if (status == cudaSuccess)
		return p;
	cudaGetLastError(); /* it is told here, not again by the next launch */
	plugin_error_cuda(err, (int)status, "memory for maps and weights");
	return NULL;
}

static void cuda_free(struct gpu_device *d, void *p)
{
	(void)d;
	cudaFree(p);
}

static int cuda_upload(struct gpu_device *d, void *out, const void *host, size_t bytes,
		       struct latentd_cuda_error *err)
{
	(void)d;
	TRY(cudaMemcpy(out, host, bytes, cudaMemcpyHostToDevice));
	return 0;
}

static int cuda_copy(struct gpu_device *d, void *out, const void *in, size_t bytes,
		     struct latentd_cuda_error *err)
{
	TRY(cudaMemcpyAsync(out, in, bytes, cudaMemcpyDeviceToDevice, cuda_of(d)->stream));
	return 0;
}

static int cuda_sync(struct gpu_device *d, struct latentd_cuda_error *err)
{
	TRY(cudaStreamSynchronize(cuda_of(d)->stream));
	return 0;
}

/* At least @bytes of workspace from now on. */
static int reserve(struct device_cuda *d, size_t bytes, struct latentd_cuda_error *err)
{
	void *more;

	if (bytes <= d->base.workspace)
		return 0;
	TRY(cudaStreamSynchronize(d->stream));
	more = cuda_alloc(&d->base, bytes, err);
	if (!more)
		return -1;
	cudaFree(d->workspace);
	d->workspace = more;
	d->base.workspace = bytes;
	lt_products_workspace(d->products, more, bytes);
	return 0;
}

/* -- convolutions --------------------------------------------------------------------------------- */

static int run_conv(struct device_cuda *d, const struct gpu_conv *conv, const void *x,
		    const void *w, const float *bias, const void *z, void *y,
		    struct latentd_cuda_error *err)
{
	const struct conv_problem *p = &conv->problem;

	if (conv_plan_run(conv->plan, x, w, bias, z, y, d->workspace, err) < 0)
		return -1;
	if (conv->fused == p->epilogue)
		return 0;
	TRY(kernels_add(d->stream, p->dtype, y, conv->fused == CONV_PLAIN ? bias : NULL,
			p->epilogue == CONV_BIAS_ADD ? z : NULL,
			p->n * conv_problem_out_height(p) * conv_problem_out_width(p), p->out));
	return 0;
}

static int cuda_conv(struct gpu_device *d, struct gpu_conv *conv, const void *x, const void *w,
		     const float *bias, const void *z, void *y, struct latentd_cuda_error *err)
{
	return run_conv(cuda_of(d), conv, x, w, bias, z, y, err);
}

/* What a convolution is timed on: memory of its size, full of small numbers. */
struct stage {
	void *x, *w, *bias, *z, *y;
};

static void stage_release(struct stage *s)
{
	cudaFree(s->x);
	cudaFree(s->w);
	cudaFree(s->bias);
	cudaFree(s->z);
	cudaFree(s->y);
}

static int stage_open(struct device_cuda *d, const struct conv_problem *p, struct stage *s)
{
	size_t element = latentd_cuda_dtype_size(p->dtype);
	size_t out =
	    (size_t)(p->n * conv_problem_out_height(p) * conv_problem_out_width(p) * p->out);
	size_t sizes[5] = {(size_t)(p->n * p->height * p->width * p->in) * element,
			   (size_t)(p->out * p->kernel * p->kernel * p->in) * element,
			   (size_t)p->out * 4, out * element, out * element};
	void **places[5] = {&s->x, &s->w, &s->bias, &s->z, &s->y};

	for (int i = 0; i < 5; i++) {
		*places[i] = cuda_alloc(&d->base, sizes[i], NULL);
		/* 0x3333 is 0.22 as float16, 4e-8 as bfloat16 and float32: nothing overflows */
		if (!*places[i] ||
		    cudaMemsetAsync(*places[i], 0x33, sizes[i], d->stream) != cudaSuccess)
			return -1;
	}
	return 0;
}

/* The best of a few runs in microseconds; negative where it does not run. */
static float time_conv(struct device_cuda *d, const struct gpu_conv *conv, const struct stage *s)
{
	float best = -1, ms = 0;

	for (int i = 0; i <= REPEATS; i++) {
		if (cudaEventRecord(d->begin, d->stream) != cudaSuccess ||
		    run_conv(d, conv, s->x, s->w, s->bias, s->z, s->y, NULL) < 0 ||
		    cudaEventRecord(d->end, d->stream) != cudaSuccess ||
		    cudaEventSynchronize(d->end) != cudaSuccess ||
		    cudaEventElapsedTime(&ms, d->begin, d->end) != cudaSuccess) {
			cudaGetLastError();
			return -1;
		}
		if (i > 0 && (best < 0 || ms < best))
			best = ms;
	}
	return best * 1000;
}

static struct conv_graph *graph_of(struct device_cuda *d, const struct gpu_conv *conv, int variant,
				   struct latentd_cuda_error *err)
{
	const struct conv_target target = {d->cudnn, NULL};
	struct conv_problem p = conv->problem;

	p.epilogue = (enum conv_epilogue)variant;
	return conv_graph_open(&target, &p, err);
}

/* The plan of a choice; fails where it is not to be had, or takes too much memory. */
static int open_choice(struct device_cuda *d, struct gpu_conv *conv,
		       const struct algo_choice *choice, struct latentd_cuda_error *err)
{
	struct conv_graph *g;

	if (choice->variant > (uint32_t)conv->problem.epilogue)
		return plugin_error_set(err, LATENTD_CUDA_BUG, "a choice of another problem");
	g = graph_of(d, conv, (int)choice->variant, err);
	if (!g)
		return -1;
	conv->fused = (enum conv_epilogue)choice->variant;
	conv->plan = conv_plan_open(g, choice->place, err);
	conv_graph_close(g);
	if (!conv->plan)
		return -1;
	if (conv_plan_workspace(conv->plan) <= d->most_workspace &&
	    reserve(d, conv_plan_workspace(conv->plan), err) == 0)
		return 0;
	conv_plan_close(conv->plan);
	conv->plan = NULL;
	return plugin_error_set(err, LATENTD_CUDA_NO_MEMORY, "a convolution's workspace");
}

/* Times what cuDNN proposes for one variant; keeps the fastest so far in @conv and @best. */
static void time_variant(struct device_cuda *d, struct gpu_conv *conv, int variant,
			 const struct stage *s, struct algo_choice *best)
{
	struct conv_graph *g = graph_of(d, conv, variant, NULL);
	size_t limit = variant == CONV_PLAIN ? TIMED_PLAIN : TIMED_FUSED, tried = 0;

	for (size_t i = 0; g && i < conv_graph_candidates(g) && tried < limit; i++) {
		struct gpu_conv candidate = {conv->problem, (enum conv_epilogue)variant,
					     conv_plan_open(g, i, NULL)};
		size_t workspace = candidate.plan ? conv_plan_workspace(candidate.plan) : 0;
		float us = -1;

		if (candidate.plan && workspace <= d->most_workspace &&
		    reserve(d, workspace, NULL) == 0) {
			us = time_conv(d, &candidate, s);
			tried++;
		}
		if (us >= 0 && d->timing)
			d->timing(d->timing_arg, &conv->problem, variant, i, us, workspace);
		if (us < 0 || (conv->plan && us >= best->microseconds)) {
			conv_plan_close(candidate.plan);
			continue;
		}
		conv_plan_close(conv->plan);
		*conv = candidate;
		*best = (struct algo_choice){(uint32_t)variant, (uint32_t)i, us};
	}
	conv_graph_close(g);
}

/* Without memory to time anything: the first proposal that can be had, of the most fused variant. */
static int open_first(struct device_cuda *d, struct gpu_conv *conv, struct latentd_cuda_error *err)
{
	struct latentd_cuda_error last = {LATENTD_CUDA_OK, ""};

	for (int variant = (int)conv->problem.epilogue; variant >= 0; variant--) {
		struct algo_choice choice = {(uint32_t)variant, 0, 0};

		for (; choice.place < TIMED_PLAIN; choice.place++) {
			last.code = LATENTD_CUDA_OK;
			if (open_choice(d, conv, &choice, &last) == 0)
				return 0;
		}
	}
	return plugin_error_set(err, last.code, "%s", last.message);
}

static int choose(struct device_cuda *d, struct gpu_conv *conv, const char *key,
		  struct latentd_cuda_error *err)
{
	struct algo_choice best = {0, 0, 0};
	struct stage s = {NULL, NULL, NULL, NULL, NULL};

	if (algo_cache_find(d->cache, key, &best) == 0 && open_choice(d, conv, &best, NULL) == 0)
		return 0;
	if (stage_open(d, &conv->problem, &s) == 0) {
		for (int variant = (int)conv->problem.epilogue; variant >= 0; variant--)
			time_variant(d, conv, variant, &s, &best);
	}
	stage_release(&s);
	if (!conv->plan)
		return open_first(d, conv, err);
	algo_cache_add(d->cache, key, &best);
	return 0;
}

static int cuda_conv_open(struct gpu_device *base, const struct conv_problem *p,
			  struct gpu_conv **out, struct latentd_cuda_error *err)
{
	struct gpu_conv *conv = calloc(1, sizeof(*conv));
	char key[LATENTD_CUDA_KEY_SIZE];

	if (!conv)
		return plugin_error_memory(err, sizeof(*conv));
	conv->problem = *p;
	conv_problem_key(p, key, sizeof(key));
	if (choose(cuda_of(base), conv, key, err) < 0) {
		free(conv);
		return -1;
	}
	*out = conv;
	return 0;
}

static void cuda_conv_close(struct gpu_device *d, struct gpu_conv *conv)
{
	(void)d;
	if (conv)
		conv_plan_close(conv->plan);
	free(conv);
}

/* -- the rest ------------------------------------------------------------------------------------- */

static int cuda_product(struct gpu_device *d, const struct gpu_product *p,
			struct latentd_cuda_error *err)
{
	return lt_products_run(cuda_of(d)->products, p, err);
}

static int cuda_pixels(struct gpu_device *d, void *out, const uint8_t *in, int64_t pixels,
		       struct latentd_cuda_error *err)
{
	TRY(kernels_pixels(cuda_of(d)->stream, d->dtype, out, in, pixels));
	return 0;
}

static int cuda_sums(struct gpu_device *d, float *partials, const void *x,
		     const struct gpu_rows *rows, const struct gpu_chunks *chunks,
		     struct latentd_cuda_error *err)
{
	TRY(kernels_sums(cuda_of(d)->stream, d->dtype, partials, x, rows, chunks));
	return 0;
}

static int cuda_norm(struct gpu_device *d, const struct gpu_norm_call *call,
		     const struct gpu_rows *map, const struct gpu_chunks *chunks,
		     struct latentd_cuda_error *err)
{
	TRY(kernels_norm(cuda_of(d)->stream, call, map, chunks));
	return 0;
}

static int cuda_apply(struct gpu_device *d, void *out, const void *x, const float *scale,
		      const float *shift, const struct gpu_rows *rows, bool silu,
		      struct latentd_cuda_error *err)
{
	TRY(kernels_apply(cuda_of(d)->stream, d->dtype, out, x, scale, shift, rows, silu));
	return 0;
}

static int cuda_softmax(struct gpu_device *d, void *p, float *inverse, const float *s, int64_t rows,
			int64_t columns, struct latentd_cuda_error *err)
{
	TRY(kernels_softmax(cuda_of(d)->stream, d->dtype, p, inverse, s, rows, columns));
	return 0;
}

static int cuda_scale_rows(struct gpu_device *d, void *out, const float *in, const float *inverse,
			   int64_t rows, int64_t columns, struct latentd_cuda_error *err)
{
	TRY(kernels_scale_rows(cuda_of(d)->stream, d->dtype, out, in, inverse, rows, columns));
	return 0;
}

static int cuda_moments(struct gpu_device *d, float *out, uint32_t *flags, const void *in,
			int64_t n, int64_t pixels, int64_t channels, int64_t stride,
			struct latentd_cuda_error *err)
{
	TRY(kernels_moments(cuda_of(d)->stream, d->dtype, out, flags, in, n, pixels, channels,
			    stride));
	return 0;
}

static const struct gpu_device_ops cuda_ops = {
    .name = "cuda",
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = cuda_upload,
    .conv_open = cuda_conv_open,
    .conv_close = cuda_conv_close,
    .conv = cuda_conv,
    .product = cuda_product,
    .pixels = cuda_pixels,
    .sums = cuda_sums,
    .norm = cuda_norm,
    .apply = cuda_apply,
    .softmax = cuda_softmax,
    .scale_rows = cuda_scale_rows,
    .moments = cuda_moments,
    .copy = cuda_copy,
    .sync = cuda_sync,
};

/* -- opening -------------------------------------------------------------------------------------- */

static int open_cache(struct device_cuda *d, const struct cudaDeviceProp *prop, const char *path,
		      struct latentd_cuda_error *err)
{
	size_t version = cudnnGetVersion();
	int driver = 0;
	char text[256];

	TRY(cudaDriverGetVersion(&driver));
	snprintf(d->name, sizeof(d->name), "%.100s cudnn-%zu.%zu.%zu", prop->name, version / 10000,
		 version / 100 % 100, version % 100);
	snprintf(text, sizeof(text),
		 "%.100s, %d SMs, driver %d, cudnn %zu, cublasLt %zu, " LATENTD_VERSION, prop->name,
		 prop->multiProcessorCount, driver, version, lt_products_version());
	d->cache = algo_cache_new(text);
	d->cache_path = path ? strdup(path) : NULL;
	if (!d->cache || (path && !d->cache_path))
		return plugin_error_memory(err, sizeof(text));
	if (path)
		algo_cache_load(d->cache, path);
	return 0;
}

static int open_libraries(struct device_cuda *d, const char *cache, struct latentd_cuda_error *err)
{
	struct cudaDeviceProp prop;
	cudnnStatus_t status;

	TRY(cudaSetDevice(d->index));
	TRY(cudaGetDeviceProperties(&prop, d->index));
	if (prop.major < 8)
		return plugin_error_set(err, LATENTD_CUDA_WRONG_DEVICE,
					"cuda:%d, %.100s, has compute capability %d.%d", d->index,
					prop.name, prop.major, prop.minor);
	TRY(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking));
	TRY(cudaEventCreate(&d->begin));
	TRY(cudaEventCreate(&d->end));
	status = cudnnCreate(&d->cudnn);
	if (status == CUDNN_STATUS_SUCCESS)
		status = cudnnSetStream(d->cudnn, d->stream);
	if (status != CUDNN_STATUS_SUCCESS)
		return plugin_error_cudnn(err, (int)status, "opening cuDNN");
	if (cudnnGetVersion() / 10000 != CUDNN_MAJOR)
		return plugin_error_set(err, LATENTD_CUDA_WRONG_LIBRARY,
					"cuDNN %zu was found, version %d was built with",
					cudnnGetVersion() / 10000, CUDNN_MAJOR);
	/* A band in a third of the cache leaves room for its output and the weights. */
	d->base.band_bytes = prop.l2CacheSize >= (32 << 20) ? (size_t)prop.l2CacheSize / 3 : 0;
	if (open_cache(d, &prop, cache, err) < 0)
		return -1;
	return lt_products_open(d->stream, d->base.dtype, d->base.tf32, d->cache, &d->products,
				err);
}

int device_cuda_open(const struct device_cuda_options *options, struct gpu_device **out,
		     struct latentd_cuda_error *err)
{
	struct device_cuda *d = calloc(1, sizeof(*d));

	if (!d)
		return plugin_error_memory(err, sizeof(*d));
	d->base.ops = &cuda_ops;
	d->base.dtype = options->dtype;
	d->base.tf32 = options->tf32;
	d->index = options->index;
	d->most_workspace = options->most_workspace ? options->most_workspace : DEFAULT_WORKSPACE;
	if (open_libraries(d, options->cache, err) < 0 ||
	    reserve(d, LT_PRODUCTS_WORKSPACE, err) < 0) {
		device_cuda_close(&d->base);
		return -1;
	}
	*out = &d->base;
	return 0;
}

void device_cuda_save(struct gpu_device *base)
{
	struct device_cuda *d = cuda_of(base);

	if (d->cache && d->cache_path)
		algo_cache_save(d->cache, d->cache_path);
}

void device_cuda_close(struct gpu_device *base)
{
	struct device_cuda *d = cuda_of(base);

	if (!d)
		return;
	device_cuda_save(base);
	lt_products_close(d->products);
	algo_cache_free(d->cache);
	free(d->cache_path);
	if (d->cudnn)
		cudnnDestroy(d->cudnn);
	cudaFree(d->workspace);
	if (d->begin)
		cudaEventDestroy(d->begin);
	if (d->end)
		cudaEventDestroy(d->end);
	if (d->stream)
		cudaStreamDestroy(d->stream);
	free(d);
}
