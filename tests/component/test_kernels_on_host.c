/*
 * Every kernel against the host's operations in all three dtypes, without a GPU: src/encoder/cuda/test_cuda_kernels.c, whose
 * device is device_cuda.c over a CUDA runtime that is made up, and kernels.cu on the processor. cuDNN and cuBLASLt are not
 * there: nobody asks for a convolution or a product.
 */
#include "encoder/cuda/conv_choice.h"
#include "encoder/cuda/cuda_testing.h"
#include "encoder/cuda/device_cuda.h"
#include "encoder/cuda/lt_product.h"
#include "encoder/cuda/test_cuda.h"
#include "tests/component/fake_cuda.h"

#include <stdio.h>
#include <stdlib.h>

static int failures;

const enum latentd_cuda_dtype test_cuda_dtypes[3] = {LATENTD_CUDA_F32, LATENTD_CUDA_F16,
						     LATENTD_CUDA_BF16};

void test_cuda_result(const char *name, enum latentd_cuda_dtype dtype, double error, double limit)
{
	bool ok = error <= limit;

	printf("%s %s %s: error %.3g, limit %.3g\n", ok ? "ok" : "FAILED", name,
	       latentd_cuda_dtype_name(dtype), error, limit);
	failures += !ok;
}

void test_cuda_check(int r, const struct latentd_cuda_error *err, const char *what)
{
	if (r < 0)
		testing_die("%s: %s", what, err->message);
}

struct gpu_device *test_cuda_open(enum latentd_cuda_dtype dtype)
{
	const struct device_cuda_options options = {.dtype = dtype, .memory = (uint64_t)1 << 30};
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct gpu_device *d = NULL;

	test_cuda_check(device_cuda_open(&options, &d, &err), &err, "the GPU");
	return d;
}

/* -- what is not there ------------------------------------------------------------------------------- */

cudnnStatus_t CUDNNWINAPI cudnnCreate(cudnnHandle_t *handle)
{
	*handle = NULL;
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t CUDNNWINAPI cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
	(void)handle;
	(void)stream;
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t CUDNNWINAPI cudnnDestroy(cudnnHandle_t handle)
{
	(void)handle;
	return CUDNN_STATUS_SUCCESS;
}

size_t CUDNNWINAPI cudnnGetVersion(void)
{
	return CUDNN_VERSION;
}

int conv_choice_open(struct conv_chooser *d, const struct conv_problem *p, struct gpu_conv **out,
		     struct latentd_cuda_error *err)
{
	(void)d;
	(void)p;
	(void)out;
	(void)err;
	abort();
}

void conv_choice_close(struct gpu_conv *conv)
{
	(void)conv;
}

int conv_choice_run(struct conv_chooser *d, const struct gpu_conv *conv, const void *x,
		    const void *w, const void *bias, const void *z, void *y,
		    struct latentd_cuda_error *err)
{
	(void)d;
	(void)conv;
	(void)x;
	(void)w;
	(void)bias;
	(void)z;
	(void)y;
	(void)err;
	abort();
}

int conv_choice_reserve(struct conv_chooser *d, size_t bytes, struct latentd_cuda_error *err)
{
	d->workspace = device_memory_alloc(d->memory, bytes, "a workspace", err);
	d->workspace_bytes = bytes;
	return d->workspace ? 0 : -1;
}

int lt_products_open(cudaStream_t stream, enum latentd_cuda_dtype dtype, bool tf32,
		     struct algo_cache *cache, struct lt_products **out,
		     struct latentd_cuda_error *err)
{
	(void)stream;
	(void)dtype;
	(void)tf32;
	(void)cache;
	(void)err;
	*out = NULL;
	return 0;
}

void lt_products_close(struct lt_products *l)
{
	(void)l;
}

void lt_products_workspace(struct lt_products *l, void *workspace)
{
	(void)l;
	(void)workspace;
}

int lt_products_run(struct lt_products *l, const struct gpu_product *p,
		    struct latentd_cuda_error *err)
{
	(void)l;
	(void)p;
	(void)err;
	abort();
}

size_t lt_products_version(void)
{
	return 0;
}

/* -- device_cuda.c's own ------------------------------------------------------------------------------ */

static void list_has_one_that_does_not_answer(void)
{
	struct latentd_cuda_device list[4];
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	size_t n = 0;

	fake_cuda.devices = 3;
	fake_cuda.dead = 1;
	test_cuda_check(device_cuda_list(list, 4, &n, &err), &err, "the list of GPUs");
	test_cuda_result(
	    "a GPU that does not answer is listed", LATENTD_CUDA_F32,
	    n == 3 && list[1].index == 1 && list[1].memory == 0 && list[2].memory > 0 ? 0 : 1, 0);
	test_cuda_result("and is no error of the next launch", LATENTD_CUDA_F32,
			 cudaGetLastError() == cudaSuccess ? 0 : 1, 0);
	fake_cuda.devices = 1;
	fake_cuda.dead = -1;
}

int main(void)
{
	fake_cuda_reset(1);
	list_has_one_that_does_not_answer();
	test_cuda_kernels();
	if (fake_cuda.held > 0) {
		printf("FAILED to give everything back: %zu bytes\n", fake_cuda.held);
		failures++;
	}
	return failures > 0;
}
