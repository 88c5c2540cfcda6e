/*
 * A GPU as a gpu_device: cuDNN for convolutions, cuBLASLt for products, kernels.cu for the rest, all on one stream.
 *
 *	device_cuda_open(&options, &device, err)
 *	device->ops->...
 *	device_cuda_close(device)
 *
 * Algorithms are timed when a shape is seen for the first time, and remembered in the cache's file.
 */
#ifndef LATENTD_ENCODER_CUDA_DEVICE_CUDA_H
#define LATENTD_ENCODER_CUDA_DEVICE_CUDA_H

#include "gpu_device.h"

#include <cuda_runtime_api.h>

struct device_cuda_options {
	int index;
	enum latentd_cuda_dtype dtype;
	bool tf32;
	const char *cache;	 /* NULL: algorithms are not remembered */
	size_t most_workspace;	 /* bytes that a convolution may hold beside maps; 0: 512 MiB */
	uint64_t memory;	 /* bytes that may be held together; 0: see below */
	unsigned memory_percent; /* of what is free now; 0: 80 */
	struct gpu_device *with; /* shares its limit with that one, which outlives it; NULL */
	double patience; /* seconds to time each variant of a convolution for; 0: half a second */
};

/* Devices that this process sees; -1 with the reason why there is none. */
int device_cuda_list(struct latentd_cuda_device *list, size_t max, size_t *n,
		     struct latentd_cuda_error *err);

int device_cuda_open(const struct device_cuda_options *options, struct gpu_device **out,
		     struct latentd_cuda_error *err);
void device_cuda_close(struct gpu_device *d);

/* Makes the device the calling thread's; needed before CUDA is called directly. */
int device_cuda_use(struct gpu_device *d, struct latentd_cuda_error *err);
cudaStream_t device_cuda_stream(struct gpu_device *d);
/* Bytes that may still be allocated. */
size_t device_cuda_room(const struct gpu_device *d);
/* "NVIDIA H200 cudnn-9.19.0" */
const char *device_cuda_name(const struct gpu_device *d);
/* Writes the cache of algorithms, if it has grown. */
void device_cuda_save(struct gpu_device *d);

#endif
