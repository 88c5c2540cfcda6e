/* Convolutions and products follow each other on one stream, so they share one workspace. */
#include "device_cuda.h"

#include "algo_cache.h"
#include "conv_choice.h"
#include "kernels.h"
#include "lt_product.h"
#include "plugin_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_WORKSPACE ((size_t)512 << 20)
#define PATIENCE	  0.5

struct device_cuda {
	struct gpu_device base;
	int index;
	cudaStream_t stream;
	struct device_memory *memory, *own_memory; /* the first may be another device's */
	struct conv_chooser convs;
	struct lt_products *products;
	struct algo_cache *cache;
	char *cache_path;
	char name[192];
};

static struct device_cuda *cuda_of(struct gpu_device *d)
{
	return (struct device_cuda *)d;
}

/* -- devices -------------------------------------------------------------------------------------- */

int device_cuda_list(struct latentd_cuda_device *list, size_t max, size_t *n,
		     struct latentd_cuda_error *err)
{
	int count = 0, old = 0;

	TRY_CUDA(cudaGetDeviceCount(&count));
	if (count == 0)
		return plugin_error_cuda(err, cudaErrorNoDevice, "looking for GPUs");
	TRY_CUDA(cudaGetDevice(&old));
	for (int i = 0; i < count && (size_t)i < max; i++) {
		struct latentd_cuda_device *d = &list[i];
		struct cudaDeviceProp prop = {.major = 0};
		size_t room = 0, total = 0;

		/* One that does not answer is there all the same: whoever opens it is told why not. */
		if (cudaGetDeviceProperties(&prop, i) != cudaSuccess ||
		    cudaSetDevice(i) != cudaSuccess || cudaMemGetInfo(&room, &total) != cudaSuccess)
			cudaGetLastError();
		*d = (struct latentd_cuda_device){.index = i,
						  .major = prop.major,
						  .minor = prop.minor,
						  .memory = total,
						  .memory_free = room};
		snprintf(d->name, sizeof(d->name), "%.127s", prop.name);
	}
	cudaSetDevice(old);
	cudaGetLastError();
	*n = (size_t)count < max ? (size_t)count : max;
	return 0;
}

int device_cuda_use(struct gpu_device *d, struct latentd_cuda_error *err)
{
	TRY_CUDA(cudaSetDevice(cuda_of(d)->index));
	return 0;
}

cudaStream_t device_cuda_stream(struct gpu_device *d)
{
	return cuda_of(d)->stream;
}

size_t device_cuda_room(const struct gpu_device *d)
{
	return device_memory_room(((const struct device_cuda *)d)->memory);
}

const char *device_cuda_name(const struct gpu_device *d)
{
	return ((const struct device_cuda *)d)->name;
}

/* -- memory --------------------------------------------------------------------------------------- */

static void *cuda_alloc(struct gpu_device *d, size_t bytes, struct latentd_cuda_error *err)
{
	return device_memory_alloc(cuda_of(d)->memory, bytes, "maps and parameters", err);
}

static void cuda_free(struct gpu_device *d, void *p)
{
	device_memory_release(cuda_of(d)->memory, p);
}

/* cudaMemcpy() may return before the last of it has arrived, and our stream would not wait for that. */
static int cuda_upload(struct gpu_device *d, void *out, const void *host, size_t bytes,
		       struct latentd_cuda_error *err)
{
	TRY_CUDA(cudaMemcpyAsync(out, host, bytes, cudaMemcpyHostToDevice, cuda_of(d)->stream));
	TRY_CUDA(cudaStreamSynchronize(cuda_of(d)->stream));
	return 0;
}

static int cuda_copy(struct gpu_device *d, void *out, const void *in, size_t bytes,
		     struct latentd_cuda_error *err)
{
	TRY_CUDA(cudaMemcpyAsync(out, in, bytes, cudaMemcpyDeviceToDevice, cuda_of(d)->stream));
	return 0;
}

static int cuda_sync(struct gpu_device *d, struct latentd_cuda_error *err)
{
	TRY_CUDA(cudaStreamSynchronize(cuda_of(d)->stream));
	return 0;
}

/* -- convolutions --------------------------------------------------------------------------------- */

/* The workspace may have grown with an algorithm. */
static void share_workspace(struct device_cuda *d)
{
	d->base.workspace = d->convs.workspace_bytes;
	lt_products_workspace(d->products, d->convs.workspace);
}

static int cuda_conv_open(struct gpu_device *d, const struct conv_problem *p, struct gpu_conv **out,
			  struct latentd_cuda_error *err)
{
	int r;

	cuda_of(d)->convs.spare = d->spare;
	cuda_of(d)->convs.spare_bytes = d->spare_bytes;
	r = conv_choice_open(&cuda_of(d)->convs, p, out, err);
	share_workspace(cuda_of(d));
	return r;
}

static void cuda_conv_close(struct gpu_device *d, struct gpu_conv *conv)
{
	(void)d;
	conv_choice_close(conv);
}

static int cuda_conv(struct gpu_device *d, struct gpu_conv *conv, const void *x, const void *w,
		     const void *bias, const void *z, void *y, struct latentd_cuda_error *err)
{
	return conv_choice_run(&cuda_of(d)->convs, conv, x, w, bias, z, y, err);
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
	TRY_CUDA(kernels_pixels(cuda_of(d)->stream, d->dtype, out, in, pixels));
	return 0;
}

static int cuda_latents(struct gpu_device *d, void *out, const float *in, int64_t n, int64_t pixels,
			int64_t channels, int64_t stride, struct latentd_cuda_error *err)
{
	TRY_CUDA(
	    kernels_latents(cuda_of(d)->stream, d->dtype, out, in, n, pixels, channels, stride));
	return 0;
}

static int cuda_repeat(struct gpu_device *d, void *out, const void *x, const struct gpu_rows *rows,
		       struct latentd_cuda_error *err)
{
	TRY_CUDA(kernels_repeat(cuda_of(d)->stream, d->dtype, out, x, rows));
	return 0;
}

static int cuda_sums(struct gpu_device *d, float *partials, const void *x,
		     const struct gpu_rows *rows, const struct gpu_chunks *chunks,
		     struct latentd_cuda_error *err)
{
	TRY_CUDA(kernels_sums(cuda_of(d)->stream, d->dtype, partials, x, rows, chunks));
	return 0;
}

static int cuda_norm(struct gpu_device *d, const struct gpu_norm_call *call,
		     const struct gpu_rows *map, const struct gpu_chunks *chunks,
		     struct latentd_cuda_error *err)
{
	TRY_CUDA(kernels_norm(cuda_of(d)->stream, call, map, chunks));
	return 0;
}

static int cuda_apply(struct gpu_device *d, void *out, const void *x, const float *scale,
		      const float *shift, const struct gpu_rows *rows, bool silu,
		      struct latentd_cuda_error *err)
{
	TRY_CUDA(kernels_apply(cuda_of(d)->stream, d->dtype, out, x, scale, shift, rows, silu));
	return 0;
}

static int cuda_softmax(struct gpu_device *d, void *p, float *inverse, const float *s, int64_t rows,
			int64_t columns, struct latentd_cuda_error *err)
{
	TRY_CUDA(kernels_softmax(cuda_of(d)->stream, d->dtype, p, inverse, s, rows, columns));
	return 0;
}

static int cuda_scale_rows(struct gpu_device *d, void *out, const float *in, const float *inverse,
			   int64_t rows, int64_t columns, struct latentd_cuda_error *err)
{
	TRY_CUDA(kernels_scale_rows(cuda_of(d)->stream, d->dtype, out, in, inverse, rows, columns));
	return 0;
}

static int cuda_moments(struct gpu_device *d, float *out, uint32_t *flags, const void *in,
			int64_t n, int64_t pixels, int64_t channels, int64_t stride,
			struct latentd_cuda_error *err)
{
	TRY_CUDA(kernels_moments(cuda_of(d)->stream, d->dtype, out, flags, in, n, pixels, channels,
				 stride));
	return 0;
}

static int cuda_picture(struct gpu_device *d, float *out, uint32_t *flags, const void *in,
			int64_t n, int64_t pixels, int64_t stride, struct latentd_cuda_error *err)
{
	TRY_CUDA(kernels_picture(cuda_of(d)->stream, d->dtype, out, flags, in, n, pixels, stride));
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
    .latents = cuda_latents,
    .repeat = cuda_repeat,
    .sums = cuda_sums,
    .norm = cuda_norm,
    .apply = cuda_apply,
    .softmax = cuda_softmax,
    .scale_rows = cuda_scale_rows,
    .moments = cuda_moments,
    .picture = cuda_picture,
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

	TRY_CUDA(cudaDriverGetVersion(&driver));
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

	TRY_CUDA(cudaSetDevice(d->index));
	TRY_CUDA(cudaGetDeviceProperties(&prop, d->index));
	if (prop.major < 8)
		return plugin_error_set(err, LATENTD_CUDA_WRONG_DEVICE,
					"cuda:%d, %.100s, has compute capability %d.%d", d->index,
					prop.name, prop.major, prop.minor);
	TRY_CUDA(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking));
	TRY_CUDA(cudaEventCreate(&d->convs.begin));
	TRY_CUDA(cudaEventCreate(&d->convs.end));
	status = cudnnCreate(&d->convs.cudnn);
	if (status == CUDNN_STATUS_SUCCESS)
		status = cudnnSetStream(d->convs.cudnn, d->stream);
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
	d->convs.stream = d->stream;
	d->convs.cache = d->cache;
	return lt_products_open(d->stream, d->base.dtype, d->base.tf32, d->cache, &d->products,
				err);
}

static int open_memory(struct device_cuda *d, const struct device_cuda_options *options,
		       struct latentd_cuda_error *err)
{
	size_t room = 0, total = 0, limit = options->memory;

	if (options->with) {
		d->memory = cuda_of(options->with)->memory;
	} else {
		TRY_CUDA(cudaMemGetInfo(&room, &total));
		if (!limit)
			limit =
			    room / 100 * (options->memory_percent ? options->memory_percent : 80);
		d->memory = d->own_memory = device_memory_new(limit);
		if (!d->memory)
			return plugin_error_memory(err, sizeof(void *));
	}
	d->convs.memory = d->memory;
	return conv_choice_reserve(&d->convs, LT_PRODUCTS_WORKSPACE, err);
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
	d->convs.patience = options->patience > 0 ? options->patience : PATIENCE;
	d->convs.most_workspace =
	    options->most_workspace ? options->most_workspace : DEFAULT_WORKSPACE;
	if (open_libraries(d, options->cache, err) < 0 || open_memory(d, options, err) < 0) {
		device_cuda_close(&d->base);
		return -1;
	}
	share_workspace(d);
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
	if (d->cache && d->cache_path)
		algo_cache_save_rest(d->cache, d->cache_path);
	lt_products_close(d->products);
	algo_cache_free(d->cache);
	free(d->cache_path);
	if (d->convs.cudnn)
		cudnnDestroy(d->convs.cudnn);
	if (d->memory)
		device_memory_release(d->memory, d->convs.workspace);
	device_memory_free(d->own_memory);
	if (d->convs.begin)
		cudaEventDestroy(d->convs.begin);
	if (d->convs.end)
		cudaEventDestroy(d->convs.end);
	if (d->stream)
		cudaStreamDestroy(d->stream);
	free(d);
}
