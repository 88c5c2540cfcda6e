/*
 * Convolutions on a GPU whose algorithms are chosen: timed when a shape is seen first, remembered in the cache, or,
 * without memory to time anything, the first that cuDNN proposes.
 */
#ifndef LATENTD_ENCODER_CUDA_CONV_CHOICE_H
#define LATENTD_ENCODER_CUDA_CONV_CHOICE_H

#include "algo_cache.h"
#include "device_cuda.h"
#include "device_memory.h"

#include <cudnn.h>

struct conv_chooser {
	cudnnHandle_t cudnn; /* on @stream */
	cudaStream_t stream;
	cudaEvent_t begin, end;
	struct algo_cache *cache;
	struct device_memory *memory;
	size_t most_workspace;
	double patience; /* seconds for each variant of a convolution */
	void *workspace; /* grows with the algorithms */
	size_t workspace_bytes;
	void *spare; /* to time in, gpu_device.h; NULL */
	size_t spare_bytes;
};

int conv_choice_open(struct conv_chooser *d, const struct conv_problem *p, struct gpu_conv **out,
		     struct latentd_cuda_error *err);
void conv_choice_close(struct gpu_conv *conv);
int conv_choice_run(struct conv_chooser *d, const struct gpu_conv *conv, const void *x,
		    const void *w, const void *bias, const void *z, void *y,
		    struct latentd_cuda_error *err);
/* At least @bytes of workspace from now on; waits for the stream where it has to grow. */
int conv_choice_reserve(struct conv_chooser *d, size_t bytes, struct latentd_cuda_error *err);

#endif
