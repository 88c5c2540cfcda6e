/* cuDNN's convolutions and cuBLASLt's products against device_host.c, in every dtype. */
#include "test_cuda_pair.h"

#include <math.h>

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
	struct both bias = both_new(p, (size_t)shape->out, 3, 1, false),
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

void test_cuda_libraries(void)
{
	for (size_t i = 0; i < 3; i++) {
		struct pair p = pair_open(test_cuda_dtypes[i]);

		test_products(&p);
		test_convs(&p);
		pair_close(&p);
	}
}
