#include "test_cuda_pair.h"

#include "cuda_testing.h"
#include "device_cuda.h"

#include <cuda_runtime_api.h>
#include <stdlib.h>

struct pair pair_open(enum latentd_cuda_dtype dtype)
{
	static const double limits[] = {
	    [LATENTD_CUDA_F32] = 1e-5, [LATENTD_CUDA_F16] = 1e-3, [LATENTD_CUDA_BF16] = 8e-3};
	struct pair p = {.dtype = dtype, .limit = limits[dtype]};

	p.gpu = test_cuda_open(dtype);
	p.host = device_host_open(&p.err);
	return p;
}

void pair_close(struct pair *p)
{
	device_host_close(p->host);
	device_cuda_close(p->gpu);
}

void both_send(struct pair *p, struct both *b)
{
	enum latentd_cuda_dtype dtype = b->wide ? LATENTD_CUDA_F32 : p->dtype;
	void *converted = testing_alloc(b->n * sizeof(float));

	testing_round(b->host, b->n, dtype);
	gpu_convert(converted, dtype, b->host, b->n);
	test_cuda_check(p->gpu->ops->upload(p->gpu, b->gpu, converted,
					    b->n * latentd_cuda_dtype_size(dtype), &p->err),
			&p->err, "upload");
	free(converted);
}

struct both both_new(struct pair *p, size_t n, uint64_t seed, float scale, bool wide)
{
	enum latentd_cuda_dtype dtype = wide ? LATENTD_CUDA_F32 : p->dtype;
	struct both b = {testing_alloc(n * sizeof(float)), NULL, n, wide};

	testing_fill(b.host, n, seed, scale);
	b.gpu = p->gpu->ops->alloc(p->gpu, n * latentd_cuda_dtype_size(dtype), &p->err);
	if (!b.gpu)
		testing_die("%s", p->err.message);
	both_send(p, &b);
	return b;
}

void both_free(struct pair *p, struct both *b)
{
	free(b->host);
	p->gpu->ops->free(p->gpu, b->gpu);
}

float *both_read(struct pair *p, const struct both *b)
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

void both_compare(struct pair *p, const char *name, const struct both *b, double limit)
{
	float *got = both_read(p, b);

	test_cuda_result(name, p->dtype, testing_relative_rms(got, b->host, b->n), limit);
	free(got);
}
