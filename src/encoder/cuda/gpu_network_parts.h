/* The inside of a gpu_network: gpu_network_open.c makes it, gpu_network.c runs it. */
#ifndef LATENTD_ENCODER_CUDA_GPU_NETWORK_PARTS_H
#define LATENTD_ENCODER_CUDA_GPU_NETWORK_PARTS_H

#include "gpu_network.h"

struct known_conv {
	char key[LATENTD_CUDA_KEY_SIZE];
	struct gpu_conv *conv;
};

struct gpu_network {
	const struct latentd_cuda_model *model;
	struct gpu_device *device;
	void *weights[GPU_MAX_LAYERS], *biases[GPU_MAX_LAYERS];
	size_t bytes;
	struct known_conv
	    *convs; /* of every size and band that came: a dataset in buckets has over a thousand */
	size_t n_convs, convs_capacity;
	gpu_network_tap_fn tap;
	void *tap_arg;
};

/* The convolution of that shape, opened when it is asked for first; NULL with an error. */
struct gpu_conv *gpu_network_conv(struct gpu_network *net, const struct conv_problem *p,
				  struct latentd_cuda_error *err);

#endif
