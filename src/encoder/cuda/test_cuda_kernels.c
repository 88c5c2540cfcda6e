/* Every operation of a GPU against device_host.c, with the same rounded values, in every dtype. */
#include "cuda_testing.h"
#include "device_cuda.h"
#include "test_cuda.h"

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A GPU of a dtype, and the host that defines it. */
struct pair {
	struct gpu_device *gpu, *host;
	enum latentd_cuda_dtype dtype;
	double limit;
	struct latentd_cuda_error err;
};

/* Values of the dtype on both. */
struct both {
	float *host;
	void *gpu;
	size_t n;
	bool wide; /* float32 on the GPU whatever the dtype */
};

static struct both both_new(struct pair *p, size_t n, uint64_t seed, float scale, bool wide)
{
	enum latentd_cuda_dtype dtype = wide ? LATENTD_CUDA_F32 : p->dtype;
	struct both b = {testing_alloc(n * sizeof(float)), NULL, n, wide};
	void *converted = testing_alloc(n * sizeof(float));

	testing_fill(b.host, n, seed, scale);
	testing_round(b.host, n, dtype);
	gpu_convert(converted, dtype, b.host, n);
	b.gpu = p->gpu->ops->alloc(p->gpu, n * latentd_cuda_dtype_size(dtype), &p->err);
	if (!b.gpu)
		testing_die("%s", p->err.message);
	test_cuda_check(p->gpu->ops->upload(p->gpu, b.gpu, converted,
					    n * latentd_cuda_dtype_size(dtype), &p->err),
			&p->err, "upload");
	free(converted);
	return b;
}

static void both_free(struct pair *p, struct both *b)
{
	free(b->host);
	p->gpu->ops->free(p->gpu, b->gpu);
}

/* What is on the GPU now, as floats; to be freed. */
static float *both_read(struct pair *p, const struct both *b)
{
	enum latentd_cuda_dtype dtype = b->wide ? LATENTD_CUDA_F32 : p->dtype;
	size_t bytes = b->n * latentd_cuda_dtype_size(dtype);
	float *out = testing_alloc(b->n * sizeof(float));
	void *raw = testing_alloc(bytes);

	test_cuda_check(p->gpu->ops->sync(p->gpu, &p->err), &p->err, "sync");
	if (cudaMemcpy(raw, b->gpu, bytes, cudaMemcpyDeviceToHost) != cudaSuccess)
		testing_die("a copy from the device");
	testing_widen(out, raw, b->n, dtype);
	free(raw);
	return out;
}

static void both_compare(struct pair *p, const char *name, const struct both *b, double limit)
{
	float *got = both_read(p, b);

	test_cuda_result(name, p->dtype, testing_relative_rms(got, b->host, b->n), limit);
	free(got);
}

/* The same operation on both devices. */
#define ON_BOTH(p, op, gpu_args, host_args)                                                        \
	do {                                                                                       \
		test_cuda_check((p)->gpu->ops->op gpu_args, &(p)->err, #op);                       \
		test_cuda_check((p)->host->ops->op host_args, &(p)->err, #op);                     \
	} while (0)

static void test_conv(struct pair *p, const char *name, const struct conv_problem *shape)
{
	struct conv_problem problem = *shape;
	size_t out = (size_t)(shape->n * conv_problem_out_height(shape) *
			      conv_problem_out_width(shape) * shape->out);
	size_t weights = (size_t)(shape->out * shape->kernel * shape->kernel * shape->in);
	struct both x =
	    both_new(p, (size_t)(shape->n * shape->height * shape->width * shape->in), 1, 2, false);
	struct both w =
	    both_new(p, weights, 2, 1.7f * sqrtf((float)shape->out / (float)weights), false);
	struct both bias = both_new(p, (size_t)shape->out, 3, 1, true),
		    z = both_new(p, out, 4, 1, false);
	struct both y = both_new(p, out, 5, 1, false);
	struct gpu_conv *on_gpu = NULL, *on_host = NULL;
	bool add = shape->epilogue == CONV_BIAS_ADD;

	problem.dtype = p->dtype;
	ON_BOTH(p, conv_open, (p->gpu, &problem, &on_gpu, &p->err),
		(p->host, &problem, &on_host, &p->err));
	ON_BOTH(
	    p, conv, (p->gpu, on_gpu, x.gpu, w.gpu, bias.gpu, add ? z.gpu : NULL, y.gpu, &p->err),
	    (p->host, on_host, x.host, w.host, bias.host, add ? z.host : NULL, y.host, &p->err));
	both_compare(p, name, &y, p->limit);
	p->gpu->ops->conv_close(p->gpu, on_gpu);
	p->host->ops->conv_close(p->host, on_host);
	both_free(p, &x);
	both_free(p, &w);
	both_free(p, &bias);
	both_free(p, &z);
	both_free(p, &y);
}

static void test_convs(struct pair *p)
{
	static const struct {
		const char *name;
		struct conv_problem problem;
	} convs[] = {
	    {"conv 3x3", {2, 20, 36, 64, 128, 3, 1, 1, 1, 1, 1, 0, CONV_BIAS, false}},
	    {"conv 3x3 with residual",
	     {2, 20, 36, 64, 128, 3, 1, 1, 1, 1, 1, 0, CONV_BIAS_ADD, false}},
	    {"conv 3x3 of a first band",
	     {1, 17, 40, 64, 64, 3, 1, 1, 0, 1, 1, 0, CONV_BIAS, false}},
	    {"conv 3x3 of a band", {1, 18, 40, 64, 64, 3, 1, 0, 0, 1, 1, 0, CONV_BIAS_ADD, false}},
	    {"conv of 8 channels", {2, 24, 40, 8, 128, 3, 1, 1, 1, 1, 1, 0, CONV_BIAS, false}},
	    {"conv to 8 channels", {2, 16, 24, 512, 8, 3, 1, 1, 1, 1, 1, 0, CONV_BIAS, false}},
	    {"conv with stride 2", {2, 20, 36, 64, 64, 3, 2, 0, 1, 0, 1, 0, CONV_BIAS, false}},
	    {"conv with stride 2 of a band",
	     {1, 17, 36, 64, 64, 3, 2, 0, 0, 0, 1, 0, CONV_BIAS, false}},
	};

	for (size_t i = 0; i < sizeof(convs) / sizeof(convs[0]); i++)
		test_conv(p, convs[i].name, &convs[i].problem);
}

static void test_product(struct pair *p, const char *name, struct gpu_product shape, bool biased,
			 bool added)
{
	size_t out = (size_t)(shape.batch * shape.m * shape.n);
	struct both a = both_new(p, (size_t)(shape.batch * shape.m * shape.k), 1, 1, false);
	struct both w = both_new(p, (size_t)(shape.batch * shape.n * shape.k), 2,
				 1.7f / sqrtf((float)shape.k), false);
	struct both bias = both_new(p, (size_t)shape.n, 3, 1, false),
		    z = both_new(p, out, 4, 1, false);
	struct both y = both_new(p, out, 5, 1, shape.out_f32);
	struct gpu_product on_gpu, on_host;

	shape.a_row = shape.k;
	shape.w_row = shape.w_transposed ? shape.k : shape.n;
	shape.out_row = shape.n;
	shape.a_batch = shape.m * shape.k;
	shape.w_batch = shape.n * shape.k;
	shape.out_batch = shape.m * shape.n;
	on_gpu = on_host = shape;
	on_gpu.a = a.gpu, on_gpu.w = w.gpu, on_gpu.out = y.gpu;
	on_gpu.bias = biased ? bias.gpu : NULL, on_gpu.z = added ? z.gpu : NULL;
	on_host.a = a.host, on_host.w = w.host, on_host.out = y.host;
	on_host.bias = biased ? bias.host : NULL, on_host.z = added ? z.host : NULL;
	ON_BOTH(p, product, (p->gpu, &on_gpu, &p->err), (p->host, &on_host, &p->err));
	both_compare(p, name, &y, p->limit);
	both_free(p, &a);
	both_free(p, &w);
	both_free(p, &bias);
	both_free(p, &z);
	both_free(p, &y);
}

static void test_products(struct pair *p)
{
	const struct gpu_product linear = {
	    .m = 300, .n = 256, .k = 128, .batch = 1, .w_transposed = true, .alpha = 1};
	const struct gpu_product scores = {.m = 45,
					   .n = 45,
					   .k = 64,
					   .batch = 3,
					   .w_transposed = true,
					   .out_f32 = true,
					   .alpha = 0.125f};
	const struct gpu_product values = {
	    .m = 45, .n = 64, .k = 45, .batch = 3, .out_f32 = true, .alpha = 1};

	test_product(p, "product with bias", linear, true, false);
	test_product(p, "product with bias and residual", linear, true, true);
	test_product(p, "product q k", scores, false, false);
	test_product(p, "product p v", values, false, false);
}

/* Groups of 4, 8 and 16 channels; a map that lies far from zero; rows in two parts. */
static void test_norm(struct pair *p, int64_t channels, int64_t groups, float offset)
{
	struct gpu_rows map = {2, 37, 50, channels, 0, 37}, top = map, bottom = map;
	struct gpu_chunks chunks = {10, 4};
	size_t n = (size_t)(map.n * map.height * map.width * channels);
	struct both x = both_new(p, n, 1, 1, false), y = both_new(p, n, 2, 1, false);
	struct both partials =
	    both_new(p, (size_t)(map.n * chunks.chunks * channels * 2), 3, 1, true);
	struct both weight = both_new(p, (size_t)channels, 4, 1, true);
	struct both bias = both_new(p, (size_t)channels, 5, 1, true);
	struct both scale = both_new(p, (size_t)(map.n * channels), 6, 1, true);
	struct both shift = both_new(p, (size_t)(map.n * channels), 7, 1, true);
	struct gpu_norm_call on_gpu = {partials.gpu, weight.gpu, bias.gpu, scale.gpu,
				       shift.gpu,    groups,	 1e-6f};
	struct gpu_norm_call on_host = {partials.host, weight.host, bias.host, scale.host,
					shift.host,    groups,	    1e-6f};
	void *converted = testing_alloc(n * sizeof(float));
	char name[96];

	for (size_t i = 0; i < n; i++)
		x.host[i] += offset;
	testing_round(x.host, n, p->dtype);
	gpu_convert(converted, p->dtype, x.host, n);
	test_cuda_check(p->gpu->ops->upload(p->gpu, x.gpu, converted,
					    n * latentd_cuda_dtype_size(p->dtype), &p->err),
			&p->err, "upload");
	top.rows = 20;
	bottom.first = 20;
	bottom.rows = 17;
	ON_BOTH(p, sums, (p->gpu, partials.gpu, x.gpu, &top, &chunks, &p->err),
		(p->host, partials.host, x.host, &top, &chunks, &p->err));
	ON_BOTH(p, sums, (p->gpu, partials.gpu, x.gpu, &bottom, &chunks, &p->err),
		(p->host, partials.host, x.host, &bottom, &chunks, &p->err));
	ON_BOTH(p, norm, (p->gpu, &on_gpu, &map, &chunks, &p->err),
		(p->host, &on_host, &map, &chunks, &p->err));
	snprintf(name, sizeof(name), "norm's factors, %d channels, around %g", (int)channels,
		 (double)offset);
	both_compare(p, name, &scale, 1e-4);
	ON_BOTH(p, apply, (p->gpu, y.gpu, x.gpu, scale.gpu, shift.gpu, &map, true, &p->err),
		(p->host, y.host, x.host, scale.host, shift.host, &map, true, &p->err));
	snprintf(name, sizeof(name), "norm and SiLU, %d channels, around %g", (int)channels,
		 (double)offset);
	both_compare(p, name, &y, p->limit * (1 + (double)fabsf(offset) / 4));
	free(converted);
	both_free(p, &x);
	both_free(p, &y);
	both_free(p, &partials);
	both_free(p, &weight);
	both_free(p, &bias);
	both_free(p, &scale);
	both_free(p, &shift);
}

static void test_softmax(struct pair *p, int64_t rows, int64_t columns)
{
	struct both s = both_new(p, (size_t)(rows * columns), 1, 12, true);
	struct both prob = both_new(p, (size_t)(rows * columns), 2, 1, false);
	struct both inverse = both_new(p, (size_t)rows, 3, 1, true);
	struct both in = both_new(p, (size_t)(rows * 64), 4, 100, true);
	struct both out = both_new(p, (size_t)(rows * 64), 5, 1, false);

	ON_BOTH(p, softmax, (p->gpu, prob.gpu, inverse.gpu, s.gpu, rows, columns, &p->err),
		(p->host, prob.host, inverse.host, s.host, rows, columns, &p->err));
	both_compare(p, "softmax", &prob, p->limit);
	both_compare(p, "softmax's sums", &inverse, p->limit);
	ON_BOTH(p, scale_rows, (p->gpu, out.gpu, in.gpu, inverse.gpu, rows, 64, &p->err),
		(p->host, out.host, in.host, inverse.host, rows, 64, &p->err));
	both_compare(p, "scaled rows", &out, 2 * p->limit);
	both_free(p, &s);
	both_free(p, &prob);
	both_free(p, &inverse);
	both_free(p, &in);
	both_free(p, &out);
}

static void test_pixels_and_moments(struct pair *p)
{
	enum { PIXELS = 999, CHANNELS = 8 };
	uint8_t bytes[PIXELS * 3];
	void *on_gpu = p->gpu->ops->alloc(p->gpu, sizeof(bytes), &p->err);
	struct both x = both_new(p, PIXELS * CHANNELS, 1, 1, false);
	struct both moments = both_new(p, PIXELS * CHANNELS, 2, 1, true);
	struct both flags = both_new(p, 1, 3, 1, true);

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	test_cuda_check(p->gpu->ops->upload(p->gpu, on_gpu, bytes, sizeof(bytes), &p->err), &p->err,
			"upload");
	ON_BOTH(p, pixels, (p->gpu, x.gpu, on_gpu, PIXELS, &p->err),
		(p->host, x.host, bytes, PIXELS, &p->err));
	both_compare(p, "pixels", &x, p->limit);
	ON_BOTH(p, moments,
		(p->gpu, moments.gpu, flags.gpu, x.gpu, 1, PIXELS, CHANNELS, CHANNELS, &p->err),
		(p->host, moments.host, (uint32_t *)(void *)flags.host, x.host, 1, PIXELS, CHANNELS,
		 CHANNELS, &p->err));
	both_compare(p, "moments", &moments, p->limit);
	p->gpu->ops->free(p->gpu, on_gpu);
	both_free(p, &x);
	both_free(p, &moments);
	both_free(p, &flags);
}

void test_cuda_kernels(void)
{
	static const double limits[] = {1e-5, 1e-3, 8e-3}; /* float32, float16, bfloat16 */

	for (size_t i = 0; i < 3; i++) {
		struct pair p = {.dtype = test_cuda_dtypes[i], .limit = limits[i]};

		p.gpu = test_cuda_open(p.dtype);
		p.host = device_host_open(&p.err);
		test_pixels_and_moments(&p);
		test_norm(&p, 128, 32, 0);
		test_norm(&p, 96, 16, 0);
		test_norm(&p, 512, 32, 30);
		test_softmax(&p, 70, 45);
		test_softmax(&p, 130, 4096);
		test_products(&p);
		test_convs(&p);
		device_host_close(p.host);
		device_cuda_close(p.gpu);
	}
}
